// Package ledger remembers, outside the database, what was purged, so that it
// does not come back with a restored backup. It remembers no id: an entry has
// an HMAC of one, under a key that is in a file beside the ledger.
//
// # The file
//
// The file is a header and then records of one size, which are only added. A
// record has the HMAC-SHA-256 of tenant, type and id, the tick up to which
// versions were erased, what was done, and a checksum that its number is part
// of. Records are numbered from 1; an entry is a record, and so are an empty one
// and one that revokes others.
//
// # With the store
//
// The store keeps, for each ledger, up to what number it goes. An entry is
// made in this order: the store reserves its number, the entry is written and
// synced, and then something is erased. So
//
//   - after a crash the store may have reserved more than the ledger has, by
//     one batch at most: Join writes empty records for that;
//   - a store that is behind the ledger is one that was restored: ErrRestored;
//   - a ledger that has less than it had when the store last reserved was put
//     in the place of a later one: ErrLost.
//
// An entry is harmless that nothing was erased for, as a purge goes on until it
// has. What keeps a purge from that, a hold that was set between the two, has it
// revoke the entry: with another record, which names its number. So what others
// have entered of the same resource stands. Only where the process ends between
// the two, or the store does not answer, and the purge is then stopped for good,
// nobody revokes: the few resources that it was at are taken for purged when the
// ledger is replayed.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"firebreak/store"
)

// Store is what a ledger needs of a store.
type Store = store.Ledgers

// Errors of a ledger. The text says what to do.
var (
	// ErrHeld: another process has the ledger.
	ErrHeld = errors.New("ledger: the ledger is held by another process; each server needs one of its own")
	// ErrNoKey: there is a ledger and no key beside it.
	ErrNoKey = errors.New("ledger: the ledger is there and its key is not; put the key back, as without it nobody can tell what was purged")
	// ErrOtherKey: the key is not the one that the ledger was made with.
	ErrOtherKey = errors.New("ledger: the key is not this ledger's; put back the one that it was made with")
	// ErrNotALedger: the file is something else.
	ErrNotALedger = errors.New("ledger: the file is not a ledger of Firebreak, or of a newer one")
	// ErrRestored: the store does not know of entries that the ledger has.
	ErrRestored = errors.New("ledger: the ledger has entries that the database does not know of: the database was restored from a backup that has what was purged since")
	// ErrLost: the ledger does not have entries that the store knows of.
	ErrLost = errors.New("ledger: the ledger has fewer entries than the database knows of: it is an old copy, or was cut")
)

// DamageError tells of a record that is not what was written.
type DamageError struct {
	Path   string
	Number int64 // of the record, from 1
	Offset int64 // in the file, in bytes
}

// Error is error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("ledger: %s is damaged at byte %d (record %d); put back a copy of it", e.Path, e.Offset, e.Number)
}

// File is what a ledger needs of the file that it is in. An *os.File is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Ledger is a ledger that this process holds. Its methods may be called from
// many goroutines at once.
type Ledger struct {
	path  string
	f     File
	id    string
	salt  [idSize]byte
	key   []byte
	store Store // set by Join

	turn chan struct{} // who writes
	last int64         // the number of the last record; of who has the turn
	// asked is what the store was last asked to reserve. While it is above last,
	// whether the store did is not known, or the file has not come up to it.
	asked  store.Ledger
	broken error // of a sync: what is on disk is not known any more

	mu      sync.Mutex
	pending *batch
}

// Make says what becomes of a ledger that is not there.
type Make bool

// What can become of it.
const (
	MustExist Make = false // fs.ErrNotExist
	MayMake   Make = true  // it is made, with a key
)

// Open takes the ledger at a path and reads it through; its key is at the path
// with ".key" behind. What a crash left of a record at its end is cut off. Any
// other record that is not what was written is a *DamageError.
func Open(path string, m Make) (*Ledger, error) {
	return OpenVia(path, m, nil)
}

// OpenVia is Open for a ledger that reads and writes its file by way of what via
// makes of it, such as one that fails when it is to. nil: of nothing else.
func OpenVia(path string, m Make, via func(File) File) (*Ledger, error) {
	flags := os.O_RDWR
	if m == MayMake {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: open: %w", err)
	}
	l := &Ledger{path: path, f: f, turn: make(chan struct{}, 1)}
	if via != nil {
		l.f = via(f)
	}
	if err := l.open(f, m); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *Ledger) open(f *os.File, m Make) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrHeld
	}
	if err != nil {
		return fmt.Errorf("ledger: lock: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("ledger: open: %w", err)
	}
	isNew, err := l.unmade(info.Size())
	if err != nil {
		return err
	}
	if l.key, err = readKey(l.path+keySuffix, isNew && m == MayMake); err != nil {
		return err
	}
	if isNew {
		if err := l.begin(); err != nil {
			return err
		}
		return syncFolder(filepath.Dir(l.path))
	}
	if err := l.readHeader(); err != nil {
		return err
	}
	return l.readThrough(info.Size())
}

// ID names the ledger in the store.
func (l *Ledger) ID() string { return l.id }

// Last is the number of the last record.
func (l *Ledger) Last() int64 {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l.last
}

// Close gives the ledger back. Closing again does nothing.
func (l *Ledger) Close() error {
	if err := l.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Join holds the ledger against a store, in which its entries are reserved from
// now on. lossy takes a ledger that has lost entries for whole. After an error
// nothing can be entered. ErrRestored, ErrLost.
func (l *Ledger) Join(ctx context.Context, st Store, lossy bool) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	noted, err := l.noted(ctx, st)
	switch {
	case err != nil:
		return err
	case l.last > noted.To:
		return ErrRestored
	case l.last < noted.From && !lossy:
		return ErrLost
	}
	l.asked, l.store = noted, st
	return l.settle(ctx)
}

// Replayed tells a store that all of the ledger was replayed in it.
func (l *Ledger) Replayed(ctx context.Context, st Store) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	noted, err := l.noted(ctx, st)
	if err != nil || noted.To >= l.last {
		return err
	}
	return st.Reserve(ctx, store.Ledger{ID: l.id, From: noted.To, To: l.last})
}

// noted is what a store knows of the ledger.
func (l *Ledger) noted(ctx context.Context, st Store) (store.Ledger, error) {
	all, err := st.Ledgers(ctx)
	if err != nil {
		return store.Ledger{}, fmt.Errorf("ledger: ask the store: %w", err)
	}
	for _, one := range all {
		if one.ID == l.id {
			return one, nil
		}
	}
	return store.Ledger{ID: l.id}, nil
}
