package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Schemas is how many schemas there have been.
func Schemas() int { return len(migrations) }

// MakeOld brings what is in a folder, or nothing, to an earlier schema, and adds
// some rows.
func MakeOld(dir string, schema int, rows string) error {
	conn, err := sqlite.OpenConn(filepath.Join(dir, File), sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return err
	}
	at, err := recognise(conn)
	for ; err == nil && at < schema; at++ {
		err = migrateOnce(conn, at)
	}
	if err == nil {
		err = sqlitex.ExecuteScript(conn, rows, nil)
	}
	return errors.Join(err, conn.Close())
}

// Schema is what the database has: its version, and the definition of each
// table and index.
func (s *Store) Schema(ctx context.Context) (at int, definitions []string, err error) {
	err = s.w.do(ctx, 0, func(x *tx) error {
		if at, err = pragmaInt(x.conn, "user_version"); err != nil {
			return err
		}
		return each(x.conn, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql`, func(st *sqlite.Stmt) {
			definitions = append(definitions, st.ColumnText(0))
		})
	})
	return at, definitions, err
}

// LimitPages has SQLite answer that the disk is full once the database has so
// many pages; 0 takes the limit away.
func (s *Store) LimitPages(ctx context.Context, n int) error {
	if n == 0 {
		n = 1 << 30
	}
	return s.w.do(ctx, 0, func(x *tx) error { return exec(x.conn, fmt.Sprintf("PRAGMA max_page_count=%d", n)) })
}

// Synchronous reads the setting of the writer's connection.
func (s *Store) Synchronous(ctx context.Context) (level int, err error) {
	err = s.w.do(ctx, 0, func(x *tx) error {
		level, err = pragmaInt(x.conn, "synchronous")
		return err
	})
	return level, err
}

// ReadersSynchronous reads the setting of each connection that reads.
func (s *Store) ReadersSynchronous(ctx context.Context) (levels []int, err error) {
	for range s.cfg.Readers {
		conn, done, err := s.reader(ctx)
		if err != nil {
			return nil, err
		}
		defer done() // at the end, so that each is another
		level, err := pragmaInt(conn, "synchronous")
		if err != nil {
			return nil, err
		}
		levels = append(levels, level)
	}
	return levels, nil
}

// CopierSynchronous reads the setting of a connection that copies the WAL.
func (s *Store) CopierSynchronous() (int, error) {
	conn, err := openCopier(filepath.Join(s.cfg.Dir, File))
	if err != nil {
		return 0, err
	}
	level, err := pragmaInt(conn, "synchronous")
	return level, errors.Join(err, conn.Close())
}

// HintPlans is how SQLite answers what the engine asks at each hint, by what
// that is.
func (s *Store) HintPlans(ctx context.Context) (map[string]string, error) {
	plans := map[string]string{
		"attend": attendNeedy, "lost": lostUnit, "queued": queuedUnit, "next lost": nextLost, "next queued": nextQueued,
	}
	err := s.w.do(ctx, 0, func(x *tx) error {
		for name, query := range plans {
			stmt, _, err := x.conn.PrepareTransient("EXPLAIN QUERY PLAN " + query) // nothing is bound
			if err != nil {
				return err
			}
			plans[name] = ""
			if err := errors.Join(rows(stmt, func() error {
				plans[name] += stmt.ColumnText(3) + "\n"
				return nil
			}), stmt.Finalize()); err != nil {
				return err
			}
		}
		return nil
	})
	return plans, err
}

// Unscrubbed counts the pages of all tables and indexes, and those of them that
// a scrub would change.
func (s *Store) Unscrubbed(ctx context.Context) (pages, left int, err error) {
	err = s.w.doAlone(ctx, func(conn *sqlite.Conn) error {
		var trees pageSet
		if err := inTrees(conn, &trees); err != nil {
			return err
		}
		var p page
		for no := range trees.all() {
			if err := p.read(conn, no); err != nil {
				return err
			}
			changed, err := p.scrub()
			if err != nil {
				return err
			}
			if pages++; changed {
				left++
			}
		}
		return nil
	})
	return pages, left, err
}

// ScrubInRounds is Scrub in rounds of so many pages, before each of which
// something is done.
func ScrubInRounds(ctx context.Context, s *Store, pages int, before func()) error {
	return orContext(ctx, s.scrub(ctx, pages, before))
}
