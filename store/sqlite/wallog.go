package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// walLog reads which pages the WAL has, in order of writing, from where it
// stopped. It needs somebody who reads as of an instant in the WAL all the
// while, so that the WAL does not start over
// (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
type walLog struct {
	path string
	at   int64 // from where to go on
	salt [8]byte
}

// The headers of the WAL and of each frame of it, and where the salts are in
// both. A frame with others is of an earlier run of the WAL.
const (
	walHeader   = 32
	walSalt     = 16
	frameHeader = 24
	frameSalt   = 8
)

var errStartedOver = errors.New("sqlite: the WAL started over while it was read")

// skip passes over all that there is.
func (l *walLog) skip() error { return l.next(func(int64) {}) }

// next calls f with the page of each frame that came since the last call, or is
// being written. One may come twice.
func (l *walLog) next(f func(no int64)) error {
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	var head [walHeader]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return fmt.Errorf("sqlite: read the WAL: %w", err)
	}
	salt := [8]byte(head[walSalt:])
	if l.at == 0 {
		l.at, l.salt = walHeader, salt
	}
	if salt != l.salt {
		return errStartedOver
	}
	if _, err := file.Seek(l.at, io.SeekStart); err != nil {
		return err
	}
	return l.frames(bufio.NewReaderSize(file, 1<<20), int(binary.BigEndian.Uint32(head[8:])), f)
}

func (l *walLog) frames(r *bufio.Reader, pageSize int, f func(no int64)) error {
	var head [frameHeader]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return unlessEnd(err)
		}
		if [8]byte(head[frameSalt:]) != l.salt {
			return nil
		}
		if _, err := r.Discard(pageSize); err != nil {
			return unlessEnd(err)
		}
		l.at += int64(frameHeader + pageSize)
		f(int64(binary.BigEndian.Uint32(head[:])))
	}
}

// unlessEnd is err unless it says that there is no more.
func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
