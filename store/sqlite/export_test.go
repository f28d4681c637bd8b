package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

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
