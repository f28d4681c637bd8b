package sqlite

import (
	"errors"
	"os"

	"zombiezen.com/go/sqlite"
)

const (
	walSoft = 16 << 20  // bytes committed until the WAL is copied, beside the writer
	walHard = 256 << 20 // size of the WAL at which the writer does that, and waits
)

// tendWAL has the WAL copied into the database. That runs beside the writer;
// only when writing goes on so fast that the WAL never starts over, the writer
// does the rest of it by itself: but not while it cannot, as the WAL is read.
func (w *writer) tendWAL(bytes int) {
	if w.grown += bytes + 4096; w.grown < walSoft {
		return
	}
	w.grown = 0
	if info, err := os.Stat(w.wal); err == nil && info.Size() > walHard && !w.pinned.Load() {
		// An error leaves the WAL as long as it is, to be tried again.
		_ = exec(w.conn, "PRAGMA wal_checkpoint(RESTART)")
		return
	}
	select {
	case w.copyWAL <- struct{}{}:
	default:
	}
}

// openCopier opens the connection that copies the WAL. It syncs the WAL before
// and the database after it.
func openCopier(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	if err := pragmas(conn, "synchronous=FULL", "mmap_size=0", "cache_size=-1000", "wal_autocheckpoint=0"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// copyWAL copies the WAL into the database whenever the writer hints at it.
func (s *Store) copyWAL(path string) {
	defer close(s.checked)
	conn, err := openCopier(path)
	if err != nil {
		return // the writer copies at walHard
	}
	defer conn.Close() //nolint:errcheck // it copied what the WAL still holds
	for {
		select {
		case <-s.done:
			return
		case <-s.w.copyWAL:
			_ = exec(conn, "PRAGMA wal_checkpoint(PASSIVE)") // as above
		}
	}
}
