package ledger

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"firebreak/store"
)

// The header, big-endian: magic, version, size of a record, id, key check, a
// checksum of these.
const (
	magic      = "FBLEDGER"
	version    = 1
	idSize     = 16
	checkSize  = 28
	headerSize = 64
)

// A record, big-endian: HMAC, tick, kind, two zeros, and a checksum of these, of
// the record's number and of the ledger's id. One that revokes has in the place
// of the HMAC the numbers of the first and the last record that it revokes, and
// zeros.
const (
	macSize    = 32
	recordSize = 48
	tickAt     = macSize
	kindAt     = tickAt + 8
	sumAt      = recordSize - 4
)

// kind is what a record says. Programs from before records could be revoked know
// its first byte only. To them one that revokes is empty: so they take what was
// revoked for erased, and nothing that was erased for kept.
type kind uint16

const (
	erased   kind = 0x0100 // nothing of the resource up to the tick is left
	detached kind = 0x0200 // of the versions up to the tick those went that are of, or name, what was erased
	empty    kind = 0x0300 // nothing
	revoking kind = 0x0301 // that the entries of some records came to nothing
)

type entry struct {
	mac  [macSize]byte
	at   store.Tick
	kind kind
}

func offsetOf(number int64) int64 { return headerSize + (number-1)*recordSize }

// checksum is CRC-32C.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// unmade tells whether a file of a size is empty, or has no more than the
// beginning of a header.
func (l *Ledger) unmade(size int64) (bool, error) {
	if size >= headerSize {
		return false, nil
	}
	b := make([]byte, size)
	if _, err := l.f.ReadAt(b, 0); err != nil && size > 0 {
		return false, fmt.Errorf("ledger: read the header: %w", err)
	}
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return false, ErrNotALedger
	}
	return true, nil
}

// begin makes the file a ledger without records.
func (l *Ledger) begin() error {
	_, _ = rand.Read(l.salt[:]) // it never fails
	b := append(make([]byte, 0, headerSize), magic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, recordSize)
	b = append(b, l.salt[:]...)
	b = append(b, keyCheck(l.key, l.salt)...)
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	l.id = hex.EncodeToString(l.salt[:])
	if _, err := l.f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("ledger: write the header: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("ledger: write the header: %w", err)
	}
	return nil
}

func (l *Ledger) readHeader() error {
	b := make([]byte, headerSize)
	if _, err := l.f.ReadAt(b, 0); err != nil {
		return fmt.Errorf("ledger: read the header: %w", err)
	}
	head := b[:headerSize-4]
	switch {
	case string(b[:len(magic)]) != magic:
		return ErrNotALedger
	case checksum(head) != binary.BigEndian.Uint32(b[headerSize-4:]):
		return &DamageError{Path: l.path}
	case binary.BigEndian.Uint32(b[8:]) != version, binary.BigEndian.Uint32(b[12:]) != recordSize:
		return ErrNotALedger
	}
	copy(l.salt[:], b[16:])
	l.id = hex.EncodeToString(l.salt[:])
	if subtle.ConstantTimeCompare(keyCheck(l.key, l.salt), b[16+idSize:headerSize-4]) != 1 {
		return ErrOtherKey
	}
	return nil
}

// appendRecord writes an entry down as the record of a number.
func (l *Ledger) appendRecord(b []byte, number int64, e entry) []byte {
	start := len(b)
	b = append(b, e.mac[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.at))
	b = binary.BigEndian.AppendUint16(b, uint16(e.kind))
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint32(b, l.sum(number, b[start:]))
}

// sum is the checksum of a record without it.
func (l *Ledger) sum(number int64, b []byte) uint32 {
	var seed [idSize + 8]byte
	copy(seed[:], l.salt[:])
	binary.BigEndian.PutUint64(seed[idSize:], uint64(number))
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, seed[:]), table, b)
}

// record reads what appendRecord wrote.
func (l *Ledger) record(b []byte, number int64) (e entry, ok bool) {
	if l.sum(number, b[:sumAt]) != binary.BigEndian.Uint32(b[sumAt:]) {
		return e, false
	}
	copy(e.mac[:], b)
	e.at = store.Tick(binary.BigEndian.Uint64(b[tickAt:]))
	e.kind = kind(binary.BigEndian.Uint16(b[kindAt:]))
	switch e.kind {
	case erased, detached, empty:
		return e, true
	case revoking:
		from, to := e.revoked()
		return e, 1 <= from && from <= to && to < number
	}
	return e, false
}

// revocation is an entry that revokes the records from one number to another.
func revocation(from, to int64) entry {
	e := entry{kind: revoking}
	binary.BigEndian.PutUint64(e.mac[:], uint64(from))
	binary.BigEndian.PutUint64(e.mac[8:], uint64(to))
	return e
}

// revoked is what a revocation revokes.
func (e entry) revoked() (from, to int64) {
	return int64(binary.BigEndian.Uint64(e.mac[:])), int64(binary.BigEndian.Uint64(e.mac[8:]))
}

// readThrough looks at all records and cuts off what a crash left at the end:
// less than a record, and records that a file system made room for and never
// wrote.
func (l *Ledger) readThrough(size int64) error {
	unwritten := int64(0) // the first that is nothing but zeros; 0: none
	zeros := make([]byte, recordSize)
	err := l.each((size-headerSize)/recordSize, func(number int64, b []byte) error {
		_, ok := l.record(b, number)
		switch {
		case ok && unwritten == 0:
			l.last = number
		case ok:
			return &DamageError{l.path, unwritten, offsetOf(unwritten)}
		case !bytes.Equal(b, zeros):
			return &DamageError{l.path, number, offsetOf(number)}
		case unwritten == 0:
			unwritten = number
		}
		return nil
	})
	if end := offsetOf(l.last + 1); err == nil && end < size {
		err = l.cut(end)
	}
	return err
}

func (l *Ledger) cut(size int64) error {
	if err := errors.Join(l.f.Truncate(size), l.f.Sync()); err != nil {
		return fmt.Errorf("ledger: cut off the end: %w", err)
	}
	return nil
}

// each calls f with each of the first n records. b is valid until f returns.
func (l *Ledger) each(n int64, f func(number int64, b []byte) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(l.f, headerSize, n*recordSize), 1<<20)
	b := make([]byte, recordSize)
	for number := int64(1); number <= n; number++ {
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("ledger: read record %d: %w", number, err)
		}
		if err := f(number, b); err != nil {
			return err
		}
	}
	return nil
}
