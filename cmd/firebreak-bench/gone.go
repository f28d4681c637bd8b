package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"firebreak/store/sqlite"

	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// removeBatch is how many versions a plain program would remove at a time.
const removeBatch = 1000

// keep copies the files. What was committed last may be in the log beside the
// database.
func (e sqliteEngine) keep(_ context.Context, p place) (place, error) {
	to := e.place(filepath.Dir(p.data), "kept")
	if err := os.Mkdir(to.data, 0o700); err != nil {
		return to, err
	}
	for _, name := range []string{sqlite.File, sqlite.File + "-wal"} {
		_, err := copyFile(filepath.Join(p.data, name), filepath.Join(to.data, name))
		if err != nil && (name == sqlite.File || !errors.Is(err, fs.ErrNotExist)) {
			return to, err
		}
	}
	return to, nil
}

// findGone finds what is to be deleted, before the time begins: the rows that
// are in the copy and not in what the product has purged, in the order of their
// keys and in batches of 1,000.
const findGone = `
CREATE TEMP TABLE gone (no INTEGER PRIMARY KEY, key INTEGER NOT NULL);
INSERT INTO gone (key) SELECT v.key FROM main.version AS v
	WHERE NOT EXISTS (SELECT 1 FROM purged.version AS p WHERE p.key=v.key) ORDER BY v.key;
CREATE UNIQUE INDEX temp.gone_key ON gone (key);
CREATE TEMP TABLE gone_link AS SELECT (g.no-1)/1000 AS batch, l.seg, l.target, l.key
	FROM main.link AS l CROSS JOIN gone AS g ON g.key=l.key;
CREATE INDEX temp.gone_link_batch ON gone_link (batch);
CREATE TEMP TABLE gone_current AS SELECT (g.no-1)/1000 AS batch, c.space, c.id
	FROM main.current AS c CROSS JOIN gone AS g ON g.key=c.key;
CREATE INDEX temp.gone_current_batch ON gone_current (batch);
`

// removeGone deletes with the settings that the product writes with.
func (sqliteEngine) removeGone(ctx context.Context, kept, p place) (n int64, took time.Duration, err error) {
	conn, err := driver.OpenConn(filepath.Join(kept.data, sqlite.File), driver.OpenReadWrite)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetInterrupt(ctx.Done())
	for _, query := range []string{
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA secure_delete=ON", "PRAGMA temp_store=MEMORY",
		"PRAGMA cache_size=-32000", "PRAGMA wal_autocheckpoint=4000",
	} {
		if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
			return 0, 0, err
		}
	}
	gone, err := findRows(conn, filepath.Join(p.data, sqlite.File))
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for batch := int64(0); err == nil && batch*removeBatch < gone; batch++ {
		err = deleteBatch(conn, batch)
		n += int64(conn.Changes())
	}
	return n, time.Since(began), errors.Join(err, allRemoved(n, gone))
}

// allRemoved is the error of a plain program that did something else.
func allRemoved(n, gone int64) error {
	if n == gone {
		return nil
	}
	return fmt.Errorf("of %d versions that are not there any more, the copy had %d", gone, n)
}

// findRows also counts the versions.
func findRows(conn *driver.Conn, purged string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(conn, "ATTACH ? AS purged", &sqlitex.ExecOptions{Args: []any{purged}})
	if err == nil {
		err = sqlitex.ExecuteScript(conn, findGone, nil)
	}
	if err == nil {
		err = sqlitex.ExecuteTransient(conn, "DETACH purged", nil)
	}
	if err != nil {
		return 0, err
	}
	err = sqlitex.ExecuteTransient(conn, "SELECT count(*) FROM gone", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *driver.Stmt) error { n = stmt.ColumnInt64(0); return nil },
	})
	return n, err
}

// deleteBatch deletes versions last, so that their number is that of the
// changes of the connection.
func deleteBatch(conn *driver.Conn, batch int64) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, query := range []string{
		`DELETE FROM link WHERE (seg, target, key) IN (SELECT seg, target, key FROM gone_link WHERE batch=?1)`,
		`DELETE FROM current WHERE (space, id) IN (SELECT space, id FROM gone_current WHERE batch=?1)`,
		`DELETE FROM version WHERE key IN (SELECT key FROM gone WHERE no>1000*?1 AND no<=1000*(?1+1))`,
	} {
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: []any{batch}}); err != nil {
			return err
		}
	}
	return nil
}
