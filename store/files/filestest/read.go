package filestest

import (
	"errors"
	"io"
	"strings"

	"firebreak/store/files"
)

func readCases() []testCase {
	return []testCase{
		{"a file that is not there is ErrNotFound", absentIsNotFound},
		{"a file is read from any place", readFromAnyPlace},
		{"a large file is read as it was written", readLarge},
		{"a place before a file is none, after it is its end", seekOutside},
		{"an open file that is removed is read or an error", readRemoved},
		{"an open file that is replaced is read or an error", readReplaced},
		{"a file is read in two places at once", readTwice},
	}
}

func absentIsNotFound(e *env) {
	e.put("job/a", "a")
	e.put("job/a.b", "a")
	e.wantAbsent("job/b", "absent/a", "jo/a")
	e.ok(e.RemoveFolder(e.Context(), "job"))
	e.wantAbsent("job/a", "job/a.b")
}

// wantRead wants the next bytes of a file.
func (e *env) wantRead(f files.File, want string) {
	e.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(f, got)
	if string(got[:n]) != want || err != nil {
		e.Errorf("read %.40q, %v; want %.40q", got[:n], err, want)
	}
}

func (e *env) seek(f files.File, offset int64, whence int, want int64) {
	e.Helper()
	at, err := f.Seek(offset, whence)
	if at != want || err != nil {
		e.Errorf("Seek(%d, %d) is %d, %v; want %d", offset, whence, at, err, want)
	}
}

func (e *env) wantEnd(f files.File) {
	e.Helper()
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		e.Errorf("read %d bytes, %v, at the end", n, err)
	}
}

func readFromAnyPlace(e *env) {
	e.put("job/a", "0123456789")
	f := e.open("job/a")
	if f.Size() != 10 {
		e.Errorf("it has %d bytes", f.Size())
	}
	e.seek(f, -3, io.SeekEnd, 7)
	e.wantRead(f, "789")
	e.wantEnd(f)
	e.seek(f, 2, io.SeekStart, 2)
	e.wantRead(f, "23")
	e.seek(f, 0, io.SeekCurrent, 4)
	e.wantRead(f, "4")
	e.seek(f, 2, io.SeekCurrent, 7)
	e.wantRead(f, "7")
	e.seek(f, -4, io.SeekCurrent, 4)
	e.wantRead(f, "456789")
	e.seek(f, 0, io.SeekEnd, 10)
	e.wantEnd(f)
	e.seek(f, 0, io.SeekStart, 0)
	e.wantRead(f, "0123456789")
	e.wantEnd(f)
}

func readLarge(e *env) {
	content := large()
	e.put("job/a", content)
	e.want("job/a", content)
	f := e.open("job/a")
	for i := range 20 {
		at := i * 104_729 * 16 % len(content) // all over the file, back and forth
		n := min(len(content)-at, i*5003)
		e.seek(f, int64(at), io.SeekStart, int64(at))
		e.wantRead(f, content[at:at+n])
	}
	e.seek(f, -5, io.SeekEnd, int64(len(content))-5)
	e.wantRead(f, content[len(content)-5:])
	e.wantEnd(f)
}

func seekOutside(e *env) {
	e.put("job/a", "0123456789")
	f := e.open("job/a")
	e.wantRead(f, "01")
	for _, s := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-11, io.SeekEnd}, {-3, io.SeekCurrent}} {
		if at, err := f.Seek(s.offset, s.whence); err == nil {
			e.Errorf("Seek(%d, %d) is %d", s.offset, s.whence, at)
		}
	}
	e.wantRead(f, "23")
	e.seek(f, 100, io.SeekStart, 100)
	e.wantEnd(f)
	e.seek(f, -1, io.SeekEnd, 9)
	e.wantRead(f, "9")
}

// wantOldOrError reads a file that was begun to be read: what comes is the
// file as it was, to its end, or what an error left of it.
func (e *env) wantOldOrError(f files.File, old string) {
	e.Helper()
	got, err := io.ReadAll(f)
	if err == nil && string(got) != old || !strings.HasPrefix(old, string(got)) {
		e.Errorf("read %d bytes (%.20q), %v", len(got), got, err)
	}
}

func readRemoved(e *env) {
	content := large()
	e.put("job/a", content)
	f, begun := e.open("job/a"), e.open("job/a")
	e.wantRead(begun, content[:1000])
	e.ok(e.RemoveFolder(e.Context(), "job"))
	e.wantOldOrError(f, content)
	e.wantOldOrError(begun, content[1000:])
}

func readReplaced(e *env) {
	content := large()
	e.put("job/a", content)
	f, begun := e.open("job/a"), e.open("job/a")
	e.wantRead(begun, content[:1000])
	e.put("job/a", strings.Repeat("x", len(content)))
	e.wantOldOrError(f, content)
	e.seek(begun, 10, io.SeekStart, 10)
	e.wantOldOrError(begun, content[10:])
}

func readTwice(e *env) {
	e.put("job/twice", "0123456789")
	one, two := e.open("job/twice"), e.open("job/twice")
	e.wantRead(one, "01")
	e.wantRead(two, "0123")
	e.wantRead(one, "23")
	e.ok(one.Close())
	e.wantRead(two, "456789")
}
