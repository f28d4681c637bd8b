// Package sqlite is the store in one SQLite database beside the binary.
//
// One connection writes, with group commit: requests that wait together are
// committed together, each in a savepoint of its own. Many connections read.
// The journal is a WAL with synchronous=FULL, so that what was acknowledged
// survives a power cut.
//
// # Layout
//
// A version's key is its rowid: tenant, type and a counter that only goes up,
// in 15, 8 and 40 bits. So tenants never share a range, a type is one range,
// and within a type keys go in order of From: an export of what changed since
// an instant begins where the instant is.
//
// What refers to what is in link: one row for each target that a version
// names, with the search parameters by which it does. A row comes with its
// version and goes when the version is erased; that the version is replaced
// does not touch it. A tombstone has rows for the compartments of the version
// before. Link is cut into segments of 2^16 keys, so that inserting stays
// within a small part of the index however large the store is.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Config says where the store is and how large it may be.
type Config struct {
	Dir     string           // the data directory; made if it is not there
	Now     func() time.Time // the machine's clock
	Readers int              // connections that read; 0: 8
	// MaxBatch is the most bytes of bodies in one batch; 0: 64 MiB.
	MaxBatch int
	// Observe is told of each commit: how many requests shared it, the bytes of
	// bodies in them, and how long it took from its beginning. It is called by
	// the one writer, which waits for it. nil: nobody is.
	Observe func(requests, bytes int, took time.Duration)
}

// File is the name of the database within the data directory.
const File = "firebreak.db"

// ErrHeld is what Open answers when another process holds the data directory.
var ErrHeld = errors.New("the data directory is held by another process")

// Store is a store.Store in SQLite.
type Store struct {
	cfg     Config
	lock    *os.File
	readers *sqlitex.Pool
	w       *writer
	watch   store.Watchers
	owners  sync.Map      // number → store.Owner
	scrubs  chan struct{} // has one while somebody scrubs
	done    chan struct{}
	checked chan struct{}
}

var _ store.Store = (*Store)(nil)

// Open takes the data directory, brings its schema up to date, and ends all
// leases: whoever worked under them is gone. ErrHeld: another process has it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Now == nil {
		return nil, errors.New("sqlite: Config.Now is missing")
	}
	if cfg.Readers == 0 {
		cfg.Readers = 8
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = 64 << 20
	}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("sqlite: make the data directory: %w", err)
	}
	lock, err := takeLock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, lock: lock, scrubs: make(chan struct{}, 1), done: make(chan struct{}), checked: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	path := filepath.Join(s.cfg.Dir, File)
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return fmt.Errorf("sqlite: open: %w", err)
	}
	conn.SetInterrupt(ctx.Done())
	if err := prepareWriter(conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	conn.SetInterrupt(nil)
	if s.w, err = newWriter(conn, s.cfg); err != nil {
		return errors.Join(err, conn.Close())
	}
	s.readers, err = sqlitex.NewPool(path, sqlitex.PoolOptions{
		Flags: sqlite.OpenReadOnly, PoolSize: s.cfg.Readers, PrepareConn: prepareReader,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("sqlite: open readers: %w", err), conn.Close())
	}
	go s.w.loop()
	go s.copyWAL(path)
	return nil
}

// prepareWriter sets what a connection of ours must have, and migrates.
func prepareWriter(conn *sqlite.Conn) error {
	at, err := recognise(conn)
	if err != nil {
		return err
	}
	if err := pragmas(conn,
		"page_size=4096", "auto_vacuum=NONE", "journal_mode=WAL", "synchronous=FULL",
		"secure_delete=ON", "temp_store=MEMORY", "mmap_size=0", "foreign_keys=OFF",
		"cache_size=-32000", "wal_autocheckpoint=0",
		fmt.Sprintf("journal_size_limit=%d", walSoft), "busy_timeout=10000"); err != nil {
		return err
	}
	if err := migrate(conn, at); err != nil {
		return err
	}
	return exec(conn, `UPDATE unit SET lease_until=0 WHERE state='running'`)
}

func prepareReader(conn *sqlite.Conn) error {
	return pragmas(conn, "synchronous=FULL", "query_only=ON", "temp_store=MEMORY",
		"mmap_size=0", "cache_size=-4000", "busy_timeout=10000")
}

func pragmas(conn *sqlite.Conn, list ...string) error {
	for _, p := range list {
		if err := exec(conn, "PRAGMA "+p); err != nil {
			return fmt.Errorf("sqlite: set %s: %w", p, err)
		}
	}
	return nil
}

func exec(conn *sqlite.Conn, query string) error {
	return sqlitex.ExecuteTransient(conn, query, nil)
}

// makeDir makes a directory that survives a power cut: what it makes, and what
// another has just made, is synced into its parent.
func makeDir(path string) error {
	parent := filepath.Dir(path)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// takeLock takes the lock that says whose the data directory is. The kernel
// gives it back when the process ends, however it ends.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open the lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(ErrHeld, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: lock the data directory: %w", err), f.Close())
	}
	return f, nil
}

// Ping commits nothing through the writer, so that a stuck or full one is seen.
func (s *Store) Ping(ctx context.Context) error {
	return s.w.do(ctx, 0, func(*tx) error { return nil })
}

// Close waits for commits under way, and gives the data directory back.
// Closing again does nothing.
func (s *Store) Close() error {
	if !s.w.close() {
		return nil
	}
	close(s.done)
	<-s.checked
	return errors.Join(s.readers.Close(), s.w.conn.Close(), s.lock.Close())
}

// reader takes a reading connection; it is interrupted when ctx ends.
func (s *Store) reader(ctx context.Context) (*sqlite.Conn, func(), error) {
	if s.w.isClosed() {
		return nil, nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err // Take may give a reader all the same
	}
	conn, err := s.readers.Take(ctx)
	if err != nil {
		return nil, nil, orContext(ctx, fmt.Errorf("sqlite: take a reader: %w", err))
	}
	return conn, func() { s.readers.Put(conn) }, nil
}

// orContext gives the context's own error where it is the cause.
func orContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
