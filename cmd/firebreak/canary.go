package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sought is a text that must not be in any file: as it is, as JSON may write it
// with escapes, in base64 wherever it begins there, and if it is a UUID as the
// 16 bytes of it.
type sought struct {
	text    string
	plain   [][]byte // what it is looked for as, byte for byte
	names   []string // of these
	longest int      // bytes that it can be written in
}

// leastCanary is how many bytes a canary has at least: a shorter text stands
// anywhere by chance.
const leastCanary = 6

func newSought(text string) sought {
	c := sought{text: text}
	c.add("as it is", []byte(text))
	for at := range 3 {
		c.add("in base64", inBase64(base64.RawStdEncoding, text, at))
		c.add("in base64", inBase64(base64.RawURLEncoding, text, at))
	}
	if len(text) == 36 && strings.Count(text, "-") == 4 {
		if b, err := hex.DecodeString(strings.ReplaceAll(text, "-", "")); err == nil {
			c.add("as 16 bytes", b)
		}
	}
	c.longest = max(c.longest, 12*utf8.RuneCountInString(text)) // two escapes of six bytes each
	return c
}

func (c *sought) add(name string, b []byte) {
	if slices.ContainsFunc(c.plain, func(p []byte) bool { return bytes.Equal(p, b) }) {
		return
	}
	c.plain, c.names = append(c.plain, b), append(c.names, name)
	c.longest = max(c.longest, len(b))
}

// inBase64 is what stands of a text, and of nothing beside it, in the base64 of
// what has it so many bytes after a multiple of three.
func inBase64(enc *base64.Encoding, text string, at int) []byte {
	coded := []byte(enc.EncodeToString(append(make([]byte, at), text...)))
	from := []int{0, 2, 3}[at] // these have bits of what is before
	if (at+len(text))%3 > 0 {
		coded = coded[:len(coded)-1] // and this of what comes after
	}
	return coded[from:]
}

// finding is a place of a canary.
type finding struct {
	offset int64
	how    string
}

// in finds a canary in a buffer.
func (c sought) in(buf []byte) (found []finding) {
	for i, p := range c.plain {
		for at := 0; ; {
			n := bytes.Index(buf[at:], p)
			if n < 0 {
				break
			}
			found = append(found, finding{int64(at + n), c.names[i]})
			at += n + 1
		}
	}
	found = append(found, c.escaped(buf)...)
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(a.offset, b.offset) })
	return found
}

// escaped finds a canary where some of it is written with escapes of JSON.
func (c sought) escaped(buf []byte) (found []finding) {
	if bytes.IndexByte(buf, '\\') < 0 {
		return nil
	}
	first := c.text[:1]
	for at := 0; ; at++ {
		n := bytes.IndexAny(buf[at:], `\`)
		if m := bytes.Index(buf[at:], []byte(first)); m >= 0 && (n < 0 || m < n) {
			n = m
		}
		if n < 0 {
			return found
		}
		at += n
		if length := matchJSON(buf[at:], c.text); length > len(c.text) {
			found = append(found, finding{int64(at), "with escapes of JSON"})
		}
	}
}

// matchJSON is how many bytes of buf are the text, as JSON may write it; 0 if
// it does not begin with it.
func matchJSON(buf []byte, text string) (length int) {
	for _, r := range text {
		n := matchRune(buf[length:], r)
		if n == 0 {
			return 0
		}
		length += n
	}
	return length
}

// escapes are what JSON writes as a backslash and a letter.
const (
	escapes   = "\"\\/\b\f\n\r\t"
	escapedAs = `"\/bfnrt`
)

func matchRune(buf []byte, r rune) int {
	if len(buf) == 0 {
		return 0
	}
	if buf[0] != '\\' || r == '\\' && (len(buf) < 2 || buf[1] != '\\' && buf[1] != 'u') {
		if n := utf8.RuneLen(r); n > 0 && bytes.HasPrefix(buf, []byte(string(r))) {
			return n
		}
		return 0
	}
	if i := strings.IndexRune(escapes, r); i >= 0 && len(buf) > 1 && buf[1] == escapedAs[i] {
		return 2
	}
	if r <= 0xffff {
		return matchUnit(buf, r)
	}
	r -= 0x10000
	if matchUnit(buf, 0xd800+r>>10) == 0 {
		return 0
	}
	return 2 * matchUnit(buf[6:], 0xdc00+r&0x3ff)
}

// matchUnit is 6 if the buffer begins with the escape of a UTF-16 unit.
func matchUnit(buf []byte, unit rune) int {
	if len(buf) < 6 || buf[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(buf[2:6]), 16, 16)
	if buf[0] != '\\' || err != nil || rune(n) != unit {
		return 0
	}
	return 6
}

// scanSize is how much of a file is looked at at a time.
const scanSize = 4 << 20

// scanned is what a look at a folder came to.
type scanned struct {
	files int
	bytes int64
}

// scanFolder looks for canaries in every byte of every file of a folder, and
// calls tell with each place.
func scanFolder(ctx context.Context, folder string, cs []sought, tell func(path string, c sought, f finding)) (sum scanned, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err == nil {
			var n int64
			n, err = scanFile(ctx, path, cs, func(c sought, f finding) { tell(path, c, f) })
			sum.files, sum.bytes = sum.files+1, sum.bytes+n
		}
		if errors.Is(err, fs.ErrNotExist) && path != folder {
			return nil // it went meanwhile
		}
		return err
	})
	return sum, err
}

func scanFile(ctx context.Context, path string, cs []sought, tell func(c sought, f finding)) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return scan(ctx, f, scanSize, cs, tell)
}

// scan reads in pieces, each of which begins with the end of the one before, as
// far as a canary can reach over it.
func scan(ctx context.Context, r io.Reader, piece int, cs []sought, tell func(c sought, f finding)) (size int64, err error) {
	overlap := 0
	for _, c := range cs {
		overlap = max(overlap, c.longest-1)
	}
	buf, had := make([]byte, overlap+piece), 0
	told := make([]map[finding]bool, len(cs)) // of each canary, in the piece before
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := io.ReadFull(r, buf[had:])
		for i, c := range cs {
			told[i] = c.tellNew(buf[:had+n], size-int64(had), told[i], tell)
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, nil
		case err != nil:
			return size, err
		}
		keep := min(overlap, had+n)
		had = copy(buf, buf[had+n-keep:had+n])
	}
}

// tellNew tells of what is found in a buffer that begins at an offset, but for
// what was told of the one before, and gives all of it.
func (c sought) tellNew(buf []byte, offset int64, told map[finding]bool, tell func(c sought, f finding)) map[finding]bool {
	all := map[finding]bool{}
	for _, f := range c.in(buf) {
		f.offset += offset
		if all[f] = true; !told[f] {
			tell(c, f)
		}
	}
	return all
}
