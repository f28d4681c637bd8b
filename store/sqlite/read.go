package sqlite

import (
	"context"

	"firebreak/fhir"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// row is a row of version as the writer needs it.
type row struct {
	key, n, owner int64
	from          store.Tick
	deleted       bool
	patients      []byte
	body          []byte
}

// current reads the current version of a resource; n is 0 if there is none.
func current(conn *sqlite.Conn, sp space, id string) (row, error) {
	stmt, err := conn.Prepare(`SELECT v.key, v.n, v."from", v.deleted, v.owner, v.patients, v.body
		FROM current c JOIN version v ON v.key = c.key WHERE c.space=? AND c.id=?`)
	if err != nil {
		return row{}, err
	}
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, id)
	var r row
	err = rows(stmt, func() error {
		r = row{
			key: stmt.ColumnInt64(0), n: stmt.ColumnInt64(1), from: store.Tick(stmt.ColumnInt64(2)),
			deleted: stmt.ColumnBool(3), owner: stmt.ColumnInt64(4),
			patients: columnBytes(stmt, 5, nil), body: columnBytes(stmt, 6, nil),
		}
		return nil
	})
	return r, err
}

// columnBytes appends a column's bytes to buf; nil of an empty column and buf.
func columnBytes(stmt *sqlite.Stmt, col int, buf []byte) []byte {
	n := stmt.ColumnLen(col)
	if n == 0 {
		return buf
	}
	at := len(buf)
	buf = append(buf, make([]byte, n)...)
	stmt.ColumnBytes(col, buf[at:])
	return buf
}

// versionColumns are the columns that scanVersion reads.
const versionColumns = `v.key, v.id, v.n, v."from", v."to", v.deleted, v.owner, v.meta_at, v.patients, v.body, v.detached`

// version reads the row that stmt stands on; the body goes behind arena.
func (s *Store) version(conn *sqlite.Conn, stmt *sqlite.Stmt, arena []byte) (store.Version, []byte, error) {
	key := stmt.ColumnInt64(0)
	sp := space(key >> counterBits)
	v := store.Version{
		Key:     keyText(key),
		ID:      fhir.ID{Type: s.w.committed.Load().typeNames[sp.typ()], ID: columnID(stmt, 1)},
		N:       stmt.ColumnInt64(2),
		From:    store.Tick(stmt.ColumnInt64(3)),
		To:      store.Forever,
		Deleted: stmt.ColumnBool(5),
		MetaAt:  stmt.ColumnInt(7),
	}
	if !stmt.ColumnIsNull(4) {
		v.To = store.Tick(stmt.ColumnInt64(4))
	}
	var buf [256]byte
	v.Patients = unpackPatients(columnBytes(stmt, 8, buf[:0]))
	at := len(arena)
	if arena = columnBytes(stmt, 9, arena); len(arena) > at {
		v.Body = arena[at:len(arena):len(arena)]
	}
	v.Detached = stmt.ColumnBool(10)
	var err error
	v.Owner, err = s.ownerOf(conn, stmt.ColumnInt64(6))
	return v, arena, err
}

// Get is store.Reader.
func (s *Store) Get(ctx context.Context, t store.Tenant, ids ...fhir.ID) (out []store.Version, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	if len(ids) > 1 { // or each would be a transaction, which costs as much again
		end := sqlitex.Transaction(conn)
		defer func() { end(&err) }()
	}
	out = make([]store.Version, len(ids))
	for i, id := range ids {
		if out[i], err = s.get(conn, t, id); err != nil {
			return nil, orContext(ctx, err)
		}
	}
	return out, nil
}

func (s *Store) get(conn *sqlite.Conn, t store.Tenant, id fhir.ID) (store.Version, error) {
	sp, ok := s.w.committed.Load().space(t, id.Type)
	if !ok {
		return store.Version{}, nil
	}
	stmt, err := conn.Prepare(`SELECT ` + versionColumns + ` FROM current c JOIN version v ON v.key = c.key WHERE c.space=? AND c.id=?`)
	if err != nil {
		return store.Version{}, err
	}
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, id.ID)
	return s.one(conn, stmt)
}

// one reads the only row of a statement; N is 0 if there is none.
func (s *Store) one(conn *sqlite.Conn, stmt *sqlite.Stmt) (store.Version, error) {
	var v store.Version
	err := rows(stmt, func() (err error) {
		v, _, err = s.version(conn, stmt, nil)
		return err
	})
	return v, err
}

// Version is store.Reader.
func (s *Store) Version(ctx context.Context, t store.Tenant, id fhir.ID, n int64) (store.Version, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return store.Version{}, err
	}
	defer put()
	v, err := s.get(conn, t, id)
	if err == nil && v.N != n && v.N > 0 {
		v, err = s.closed(conn, t, id, n)
	}
	if err == nil && v.N == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Version{}, orContext(ctx, err)
	}
	return v, nil
}

// closed reads a version that was replaced; N is 0 if there is none.
func (s *Store) closed(conn *sqlite.Conn, t store.Tenant, id fhir.ID, n int64) (store.Version, error) {
	sp, _ := s.w.committed.Load().space(t, id.Type)
	stmt, err := conn.Prepare(`SELECT ` + versionColumns + ` FROM version v WHERE v."to" IS NOT NULL AND v.space=? AND v.id=? AND v.n=?`)
	if err != nil {
		return store.Version{}, err
	}
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, id.ID)
	stmt.BindInt64(3, n)
	return s.one(conn, stmt)
}

// before reads the latest version below versionId n that was replaced; N is 0
// if there is none. What was erased leaves gaps.
func (s *Store) before(conn *sqlite.Conn, t store.Tenant, id fhir.ID, n int64) (store.Version, error) {
	sp, _ := s.w.committed.Load().space(t, id.Type)
	stmt, err := conn.Prepare(`SELECT ` + versionColumns + ` FROM version v WHERE v."to" IS NOT NULL AND v.space=? AND v.id=? AND v.n<?
		ORDER BY v.n DESC LIMIT 1`)
	if err != nil {
		return store.Version{}, err
	}
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, id.ID)
	stmt.BindInt64(3, n)
	return s.one(conn, stmt)
}

// History is store.Reader.
func (s *Store) History(ctx context.Context, t store.Tenant, id fhir.ID, before int64, limit int) ([]store.Version, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	v, err := s.get(conn, t, id)
	var out []store.Version
	for bytes := 0; err == nil && v.N > 0; v, err = s.before(conn, t, id, v.N) {
		if before > 0 && v.N >= before {
			v.N = before
			continue
		}
		if bytes += len(v.Body); bytes > limit && len(out) > 0 {
			break
		}
		out = append(out, v)
	}
	return out, orContext(ctx, err)
}
