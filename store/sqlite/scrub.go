package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"time"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Scrub is store.Eraser.
//
// With secure_delete SQLite overwrites a cell that it removes and a page that
// it frees. What it leaves is in the unallocated parts of pages: when cells are
// moved between pages, the place where they were is not overwritten. So each
// page is looked at, and zeros are written where nothing is in those of tables
// and indexes. Vacuum would do the same, but it writes all that there is, and
// needs as much room beside it. Then the WAL is copied and cut to nothing.
//
// All pages are read as of one instant, while others write. What they write
// meanwhile may move such leavings from a page that was not looked at to one
// that was. So the pages that the WAL names since are looked at again, in
// rounds, of which the last has the writer for itself.
func (s *Store) Scrub(ctx context.Context) (store.Traces, error) {
	return store.Traces{}, orContext(ctx, full(s.scrub(ctx, scrubbedAtOnce, func() {})))
}

// scrub is Scrub with the number of pages of one round, and what is called
// before each. One goes on at a time.
func (s *Store) scrub(ctx context.Context, most int, before func()) error {
	select {
	case s.scrubs <- struct{}{}:
		defer func() { <-s.scrubs }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := errStartedOver
	for try := 0; errors.Is(err, errStartedOver) && try < maxTries; try++ {
		err = s.scrubPages(ctx, most, before)
	}
	for err == nil {
		busy := false
		err = s.w.doAlone(ctx, func(conn *sqlite.Conn) (err error) {
			busy, err = cutWAL(conn)
			return err
		})
		if err != nil || !busy {
			break
		}
		err = wait(ctx, readersPause)
	}
	return err
}

// maxTries is how often the pages are looked at anew because the WAL had been
// copied just then, and started over.
const maxTries = 5

// readersPause is how long readers have, after they kept the WAL from being
// cut, before it is tried again.
const readersPause = 50 * time.Millisecond

// cutWAL copies the WAL into the database and cuts it; busy: somebody reads it.
func cutWAL(conn *sqlite.Conn) (busy bool, err error) {
	stmt, err := conn.Prepare(`PRAGMA wal_checkpoint(TRUNCATE)`)
	if err != nil {
		return false, err
	}
	err = rows(stmt, func() error {
		busy = stmt.ColumnBool(0)
		return nil
	})
	return busy, err
}

// How many pages are overwritten in one round, and how many rounds there are
// before one does all that is left.
const (
	scrubbedAtOnce = 1500
	maxRounds      = 100
)

// scrubPages overwrites the unallocated parts of all pages of tables and
// indexes. If it is broken off, what it did is done.
func (s *Store) scrubPages(ctx context.Context, most int, before func()) error {
	conn, err := s.openWatcher()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was only read
	conn.SetInterrupt(ctx.Done())
	s.w.pinned.Store(true)
	defer s.w.pinned.Store(false)
	x := scrubbing{snapshot: conn, log: walLog{path: s.w.wal}}
	if err := s.w.doAlone(ctx, x.begin); err != nil {
		return err
	}
	if err := x.look(); err != nil {
		return err
	}
	for round := 1; !x.done; round++ {
		before()
		if round > maxRounds {
			most = 0
		}
		if err := s.w.doAlone(ctx, func(conn *sqlite.Conn) error { return x.round(conn, most) }); err != nil {
			return err
		}
	}
	return nil
}

// openWatcher opens a connection that reads as of one instant for long, which
// those that requests share must not.
func (s *Store) openWatcher() (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(filepath.Join(s.cfg.Dir, File), sqlite.OpenReadOnly)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(prepareReader(conn), pragmas(conn, "cache_size=-200")); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// scrubbing is one call of Scrub. Its methods but look are called by the writer.
type scrubbing struct {
	snapshot *sqlite.Conn
	log      walLog
	todo     pageSet // pages that may have something to be overwritten
	done     bool
}

// begin fixes the instant of the look, and notes where the WAL ends then. A
// page is written before, so that the instant is in the WAL: while it is read,
// the WAL goes on and does not start over. What the writer has cached goes, to
// make room for the pages of the rounds.
func (x *scrubbing) begin(conn *sqlite.Conn) error {
	for _, query := range []string{`PRAGMA shrink_memory`, `BEGIN IMMEDIATE`, `UPDATE sqlite_dbpage SET data=data WHERE pgno=1`, `COMMIT`} {
		if err := step(conn, query); err != nil {
			return rolledBack(conn, err)
		}
	}
	if err := step(x.snapshot, `BEGIN`); err != nil {
		return err
	}
	if err := step(x.snapshot, `SELECT count(*) FROM sqlite_schema`); err != nil {
		return err
	}
	return x.log.skip()
}

// rolledBack is err of a transaction that is not open any more.
func rolledBack(conn *sqlite.Conn, err error) error {
	if err != nil && !conn.AutocommitEnabled() {
		return errors.Join(err, step(conn, `ROLLBACK`))
	}
	return err
}

// look reads all pages. Which of them are of tables and indexes is not known
// here; one that is not may be noted too.
func (x *scrubbing) look() error {
	stmt, err := x.snapshot.Prepare(`SELECT pgno, data FROM sqlite_dbpage`)
	if err != nil {
		return err
	}
	var p page
	return rows(stmt, func() error {
		runtime.Gosched() // who reads for a request goes first
		p.no, p.data = stmt.ColumnInt64(0), columnBytes(stmt, 1, p.data[:0])
		if changed, err := p.scrub(); changed && err == nil {
			x.todo.add(p.no)
		}
		return nil
	})
}

// round overwrites some of the pages that are noted, or all if most is 0, and
// notes those that were written since the last round. When nothing is left, no
// page of a table or an index has anything to be overwritten.
func (x *scrubbing) round(conn *sqlite.Conn, most int) error {
	if err := x.log.next(x.todo.add); err != nil {
		return err
	}
	if err := step(conn, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := x.some(conn, most)
	if err == nil {
		err = step(conn, `COMMIT`)
	}
	if err != nil {
		return rolledBack(conn, err)
	}
	x.done = x.todo.count == 0
	return x.log.skip() // what this round wrote
}

// some is what round does in its transaction.
func (x *scrubbing) some(conn *sqlite.Conn, most int) error {
	var trees pageSet
	if err := inTrees(conn, &trees); err != nil {
		return err
	}
	write, err := conn.Prepare(`UPDATE sqlite_dbpage SET data=? WHERE pgno=?`)
	if err != nil {
		return err
	}
	p, written := page{}, 0
	for no := range x.todo.all() {
		if written == most && most > 0 {
			return nil
		}
		x.todo.remove(no)
		if !trees.has(no) {
			continue
		}
		if err := p.read(conn, no); err != nil {
			return err
		}
		changed, err := p.scrub()
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		write.BindBytes(1, p.data)
		write.BindInt64(2, no)
		if err := rows(write, func() error { return nil }); err != nil {
			return err
		}
		written++
	}
	return nil
}
