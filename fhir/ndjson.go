package fhir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrLineTooLong says that a line is longer than the reader was allowed to
// take. It comes wrapped in a LineError; the reader goes on with the line
// after it.
var ErrLineTooLong = errors.New("line is too long")

// LineError is what went wrong at one line of an ndjson stream. Number is the
// physical line, counted from 1; Err is ErrLineTooLong or what the underlying
// reader returned. The text of the line is never part of it.
type LineError struct {
	Number int
	Err    error
}

// Error names the line and the cause.
func (e *LineError) Error() string { return fmt.Sprintf("ndjson line %d: %v", e.Number, e.Err) }

// Unwrap gives errors.Is and errors.As the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Line is one line that is not blank. Number counts physical lines from 1,
// blank ones included, so that it is what an editor shows. Bytes has no line
// end and no byte order mark; it is valid until the next call of Next.
type Line struct {
	Number int
	Bytes  []byte
}

const (
	// readSize is what is asked of the underlying reader at a time; a line
	// that lies inside one such piece is handed out without a copy.
	readSize = 64 << 10
	// keepSize is the largest joining buffer that outlives its line.
	keepSize = 1 << 20
	// trimmed is what a line may have beside its content: a byte order mark
	// and a carriage return.
	trimmed = len(byteOrderMark) + 1

	byteOrderMark = "\xef\xbb\xbf"
)

// LineReader reads newline-delimited JSON (Bulk Data, "application/fhir+ndjson")
// line by line, without looking at what the lines hold. It accepts LF and CRLF,
// a byte order mark at the very start and a last line without an end, and skips
// lines of white space only. A reader is used by one goroutine.
type LineReader struct {
	in      *bufio.Reader
	maxLine int
	number  int
	joined  []byte
	err     error
}

// NewLineReader reads lines of at most maxLine bytes from r, line end and byte
// order mark not counted. The reader holds at most maxLine bytes and a constant
// of 64 KiB, and half as much again for the moment in which its buffer grows: a
// longer line is passed over piece by piece. A buffer of more than 1 MiB is given
// back when the next line is joined, not kept for the largest one ever seen.
func NewLineReader(r io.Reader, maxLine int) *LineReader {
	return &LineReader{in: bufio.NewReaderSize(r, readSize), maxLine: max(maxLine, 0)}
}

// Next returns the next line that is not blank, or io.EOF after the last. Any
// other error is a *LineError. After ErrLineTooLong the next call goes on with
// the following line; every other error is final and is returned again, and the
// part of a line that was read before it is not handed out.
func (l *LineReader) Next() (Line, error) {
	for l.err == nil {
		text, err := l.read()
		if err != nil {
			return Line{}, err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			return Line{Number: l.number, Bytes: text}, nil
		}
	}
	return Line{}, l.err
}

// read returns one physical line without its end. At the end of the stream it
// returns what is left, perhaps nothing, and sets l.err.
func (l *LineReader) read() ([]byte, error) {
	l.number++
	raw, long, err := l.readRaw()
	switch {
	case errors.Is(err, io.EOF):
		l.err = io.EOF
	case err != nil:
		l.err = &LineError{Number: l.number, Err: err}
		return nil, l.err
	}
	text := l.trim(raw)
	if long || len(text) > l.maxLine {
		return nil, &LineError{Number: l.number, Err: ErrLineTooLong}
	}
	return text, nil
}

// trim takes away the line end, and the byte order mark from the first line.
func (l *LineReader) trim(raw []byte) []byte {
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	raw = bytes.TrimSuffix(raw, []byte("\r"))
	if l.number == 1 {
		raw = bytes.TrimPrefix(raw, []byte(byteOrderMark))
	}
	return raw
}

// readRaw reads to the end of the line. A line that reaches over several
// pieces is joined; once it is too long to be accepted, its pieces are dropped
// and long is true.
func (l *LineReader) readRaw() (raw []byte, long bool, err error) {
	piece, err := l.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return piece, false, err
	}
	if cap(l.joined) > keepSize {
		l.joined = nil
	}
	l.joined = l.joined[:0]
	for {
		long = long || !l.join(piece)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.joined, long, err
		}
		piece, err = l.in.ReadSlice('\n')
	}
}

// join appends a piece, unless the line would become longer than any that is
// accepted. The buffer doubles, but never beyond the longest line.
func (l *LineReader) join(piece []byte) bool {
	limit := l.maxLine + trimmed + len("\n")
	need := len(l.joined) + len(piece)
	if need > limit {
		return false
	}
	if need > cap(l.joined) {
		grown := make([]byte, len(l.joined), min(max(2*cap(l.joined), need), limit))
		copy(grown, l.joined)
		l.joined = grown
	}
	l.joined = append(l.joined, piece...)
	return true
}
