package fhir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"firebreak/fhir"

	"github.com/google/go-cmp/cmp"
)

// got is a line, or the fact that it was too long, in a form that compares.
type got struct {
	Number  int
	Text    string
	TooLong bool
}

// readAll drains the reader and returns what stopped it, nil for io.EOF.
func readAll(r *fhir.LineReader) ([]got, error) {
	var all []got
	for {
		line, err := r.Next()
		switch at := (*fhir.LineError)(nil); {
		case err == nil:
			all = append(all, got{Number: line.Number, Text: string(line.Bytes)})
		case errors.Is(err, fhir.ErrLineTooLong) && errors.As(err, &at):
			all = append(all, got{Number: at.Number, TooLong: true})
		case errors.Is(err, io.EOF):
			return all, nil
		default:
			return all, err
		}
	}
}

// slowLines is the obvious reference: all in memory, split at line feeds.
func slowLines(data []byte, maxLine int) []got {
	var all []got
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) > maxLine:
			all = append(all, got{Number: i + 1, TooLong: true})
		case len(bytes.TrimSpace(line)) > 0:
			all = append(all, got{Number: i + 1, Text: string(line)})
		}
	}
	return all
}

func TestLinesAreReadAsWritten(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	tests := map[string]struct {
		in   string
		max  int
		want []got
	}{
		"nothing":                          {"", 10, nil},
		"white space only":                 {"\n \t\r\n\n", 10, nil},
		"a byte order mark only":           {"\xef\xbb\xbf", 10, nil},
		"two lines":                        {"a\nb\n", 10, []got{{1, "a", false}, {2, "b", false}}},
		"CRLF and no end at the last line": {"a\r\nb", 10, []got{{1, "a", false}, {2, "b", false}}},
		"a CR at the very end":             {"a\r", 10, []got{{1, "a", false}}},
		"a CR inside a line stays":         {"a\rb\n", 10, []got{{1, "a\rb", false}}},
		"blank lines are counted":          {"\n\na\n  \nb", 10, []got{{3, "a", false}, {5, "b", false}}},
		"a byte order mark is no content":  {"\xef\xbb\xbfabc\r\n", 3, []got{{1, "abc", false}}},
		"a second mark is content":         {"a\n\xef\xbb\xbfb", 10, []got{{1, "a", false}, {2, "\xef\xbb\xbfb", false}}},
		"exactly as long as allowed":       {"abc\n", 3, []got{{1, "abc", false}}},
		"one byte too long":                {"abcd\nb\n", 3, []got{{1, "", true}, {2, "b", false}}},
		"too long at the end":              {"a\nabcd", 3, []got{{1, "a", false}, {2, "", true}}},
		"longer than the read size":        {"a\n" + long + "\nb", 200_000, []got{{1, "a", false}, {2, long, false}, {3, "b", false}}},
		"longer than read size and limit":  {"a\n" + long + "\nb", 199_999, []got{{1, "a", false}, {2, "", true}, {3, "b", false}}},
		"a negative limit allows nothing":  {"a\n", -1, []got{{1, "", true}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			all, err := readAll(fhir.NewLineReader(strings.NewReader(tt.in), tt.max))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, all); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAReadErrorNamesTheLineAndIsFinal(t *testing.T) {
	broken := errors.New("cable pulled")
	in := io.MultiReader(strings.NewReader("a\nhalf a li"), iotest.ErrReader(broken))
	r := fhir.NewLineReader(in, 100)
	all, err := readAll(r)
	if diff := cmp.Diff([]got{{1, "a", false}}, all); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	var at *fhir.LineError
	if !errors.Is(err, broken) || !errors.As(err, &at) || at.Number != 2 {
		t.Errorf("error is %v, want the cause at line 2", err)
	}
	if _, again := r.Next(); !errors.Is(again, broken) {
		t.Errorf("the next call gives %v, want the same error", again)
	}
}

func TestTheEndIsReachedOnceAndForAll(t *testing.T) {
	r := fhir.NewLineReader(strings.NewReader("a"), 100)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Next(); err != io.EOF { //nolint:errorlint // the promise is io.EOF itself
			t.Fatalf("error is %v, want io.EOF", err)
		}
	}
}

func TestALineErrorDoesNotRepeatTheLine(t *testing.T) {
	_, err := fhir.NewLineReader(strings.NewReader("secret\n"), 3).Next()
	if want := "ndjson line 1: line is too long"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

// endless is a line that never ends.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

func TestALongLineIsPassedOverInBoundedMemory(t *testing.T) {
	const maxLine = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	all, err := readAll(fhir.NewLineReader(&endless{left: 64 << 20}, maxLine))
	runtime.ReadMemStats(&after)
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	// Doubling up to the limit allocates twice the limit in all, never 64 MiB.
	if n := after.TotalAlloc - before.TotalAlloc; n > 4*maxLine {
		t.Errorf("%d bytes allocated for a limit of %d", n, maxLine)
	}
}

func FuzzLinesAgreeWithTheSlowReference(f *testing.F) {
	f.Add([]byte("\xef\xbb\xbf{}\r\n\n{\"a\":1}\n"), 5, false)
	f.Add([]byte("abcdef\n\r\n\rx"), 3, true)
	f.Fuzz(func(t *testing.T, data []byte, maxLine int, stretch bool) {
		maxLine = min(max(maxLine, 0), 1<<20)
		if stretch { // so that lines reach over several reads
			data = bytes.ReplaceAll(data, []byte("x"), bytes.Repeat([]byte("x"), 50_000))
		}
		var in io.Reader = bytes.NewReader(data)
		if len(data) < 1000 {
			in = iotest.OneByteReader(in)
		}
		all, err := readAll(fhir.NewLineReader(in, maxLine))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slowLines(data, maxLine), all); diff != "" {
			t.Errorf("lines (-slow +fast):\n%s", diff)
		}
	})
}

func ExampleLineReader() {
	r := fhir.NewLineReader(strings.NewReader("{\"a\":1}\n\nfar too long a line\n{\"b\":2}"), 10)
	for {
		line, err := r.Next()
		switch {
		case errors.Is(err, fhir.ErrLineTooLong):
			fmt.Println(err)
		case err != nil:
			return
		default:
			fmt.Println(line.Number, string(line.Bytes))
		}
	}
	// Output:
	// 1 {"a":1}
	// ndjson line 3: line is too long
	// 4 {"b":2}
}
