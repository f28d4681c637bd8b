package sqlite

import (
	"context"
	"slices"

	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// A chunk of a scan is read in one go and then yielded, so that no
// transaction is open meanwhile. It ends at whichever comes first.
const (
	chunkBytes = 1 << 20
	chunkRows  = 2048
)

// Scan is store.Scanner.
func (s *Store) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	from, err := keyRow(r.From)
	if err != nil {
		return err
	}
	to, err := keyRow(r.To)
	if err != nil {
		return err
	}
	if after != "" {
		last, err := keyRow(after)
		if err != nil {
			return err
		}
		from = max(from, last+1)
	}
	sp, ok := s.w.committed.Load().space(t, r.Type)
	if !ok || sel.Types != nil && !slices.Contains(sel.Types, r.Type) {
		return nil
	}
	c := &chunk{s: s, ctx: ctx, sel: sel, yield: yield, of: cohortOf{t, sel, r.Type, sp}}
	from, to = max(from, sp.first()), min(to, sp.end())
	if sel.Cohort == "" && sel.IDs == nil || sel.Deleted {
		return orContext(ctx, c.sequence(from, to, nil))
	}
	for seg := range segments(from, to) {
		if err := c.keys(seg); err != nil {
			return orContext(ctx, err)
		}
	}
	return nil
}

// chunk reads a part of a scan and yields it.
type chunk struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // a chunk lives within one call of Scan
	sel   store.Selection
	of    cohortOf
	yield func(*store.Version) error

	arena []byte
	rows  []store.Version
}

// sequence yields what is selected of [from, to), within the set if there is one.
func (c *chunk) sequence(from, to int64, only *keySet) error {
	for from < to {
		next, err := c.read(func(conn *sqlite.Conn) (int64, error) { return c.fill(conn, from, to, only) })
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// keys yields what is selected of a segment by a cohort or by ids.
func (c *chunk) keys(seg segment) error {
	set := newKeySet(seg.from, seg.to)
	if _, err := c.read(func(conn *sqlite.Conn) (int64, error) { return 0, c.s.collect(conn, c.of, set) }); err != nil {
		return err
	}
	if dense := (seg.to - seg.from) / 4; int64(set.len()) > dense {
		return c.sequence(seg.from, seg.to, set)
	}
	for from := seg.from - 1; ; {
		last, err := c.read(func(conn *sqlite.Conn) (int64, error) { return c.pick(conn, set, from) })
		if err != nil || last == from {
			return err
		}
		from = last
	}
}

// read calls f with a connection, then yields the rows that f left.
func (c *chunk) read(f func(*sqlite.Conn) (int64, error)) (int64, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	conn, put, err := c.s.reader(c.ctx)
	if err != nil {
		return 0, err
	}
	c.arena, c.rows = c.arena[:0], c.rows[:0]
	next, err := f(conn)
	put()
	if err != nil {
		return 0, err
	}
	for i := range c.rows {
		if err := c.yield(&c.rows[i]); err != nil {
			return 0, err
		}
		if err := c.ctx.Err(); err != nil {
			return 0, err
		}
	}
	if cap(c.arena) > 4*chunkBytes {
		c.arena = nil
	}
	return next, nil
}

// fill reads a chunk of [from, to) in order of key. It returns from where to
// go on.
func (c *chunk) fill(conn *sqlite.Conn, from, to int64, only *keySet) (int64, error) {
	query := `SELECT ` + versionColumns + ` FROM version v WHERE v.key>=?1 AND v.key<?2 AND v."from"<=?3 AND v."from">?4`
	switch {
	case c.sel.Every:
	case c.sel.Deleted:
		query += ` AND (v."to" IS NULL OR v."to">?3) AND v.deleted`
	default:
		query += ` AND (v."to" IS NULL OR v."to">?3) AND NOT v.deleted`
	}
	if c.sel.Compartments {
		query += ` AND v.patients IS NOT NULL`
	}
	if c.sel.Owner != nil {
		query += ` AND v.owner=(SELECT no FROM owner WHERE client=?5 AND user=?6)`
	}
	stmt, err := conn.Prepare(query + ` ORDER BY v.key`)
	if err != nil {
		return 0, err
	}
	for i, a := range []int64{from, to, int64(c.sel.At), int64(c.sel.After)} {
		stmt.BindInt64(i+1, a)
	}
	if c.sel.Owner != nil {
		stmt.BindText(5, c.sel.Owner.Client)
		stmt.BindText(6, c.sel.Owner.User)
	}
	looked, next := 0, to
	err = rows(stmt, func() error {
		key := stmt.ColumnInt64(0)
		ok, err := c.wanted(conn, stmt, key, only)
		if ok && err == nil {
			err = c.add(conn, stmt)
		}
		if err != nil {
			return err
		}
		if looked++; c.full() || looked >= 4*chunkRows {
			next = key + 1
			return errEnough
		}
		return nil
	})
	return next, err
}

// wanted tells whether a row of the sequence is meant. Tombstones are few and
// have an index of their own, so each is looked at for its id and its patients.
func (c *chunk) wanted(conn *sqlite.Conn, stmt *sqlite.Stmt, key int64, only *keySet) (bool, error) {
	if !c.sel.Deleted {
		return only == nil || only.has(key), nil
	}
	id := columnID(stmt, 1)
	if c.sel.IDs != nil && !slices.Contains(c.sel.IDs, id) {
		return false, nil
	}
	if c.sel.Cohort == "" {
		return true, nil
	}
	patients := []string{id}
	if c.of.typ != "Patient" {
		patients = unpackPatients(columnBytes(stmt, 8, nil))
	}
	return c.s.anyMember(conn, c.of, patients)
}

func (c *chunk) full() bool { return len(c.arena) >= chunkBytes || len(c.rows) >= chunkRows }

// add keeps the row that stmt stands on.
func (c *chunk) add(conn *sqlite.Conn, stmt *sqlite.Stmt) error {
	if n := stmt.ColumnLen(9); n > cap(c.arena)-len(c.arena) {
		// What stands there stays with the rows that hold it.
		c.arena = make([]byte, 0, max(n, chunkBytes+chunkBytes/4))
	}
	v, arena, err := c.s.version(conn, stmt, c.arena)
	c.arena = arena
	c.rows = append(c.rows, v)
	return err
}

// pick reads a chunk of the set after the given key, by its keys. It returns
// the last key that was looked at.
func (c *chunk) pick(conn *sqlite.Conn, set *keySet, after int64) (int64, error) {
	stmt, err := conn.Prepare(`SELECT ` + versionColumns + ` FROM version v WHERE v.key=?
		AND v."from"<=? AND v."from">? AND (v."to" IS NULL OR v."to">?) AND NOT v.deleted`)
	if err != nil {
		return 0, err
	}
	last := after
	for key := range set.after(after) {
		last = key
		for i, a := range []int64{key, int64(c.sel.At), int64(c.sel.After), int64(c.sel.At)} {
			stmt.BindInt64(i+1, a)
		}
		err := rows(stmt, func() error {
			if c.sel.Compartments && stmt.ColumnIsNull(8) {
				return nil
			}
			return c.add(conn, stmt)
		})
		if err != nil || c.full() {
			return last, err
		}
	}
	return last, nil
}

// cohortOf is a selection by cohort or ids, of one type.
type cohortOf struct {
	tenant store.Tenant
	sel    store.Selection
	typ    string
	space  space
}

// collect adds the keys of a segment that the selection may mean: those of any
// version, replaced ones too. Whether a version is really meant as of the
// selection's instant, its row says.
func (s *Store) collect(conn *sqlite.Conn, c cohortOf, set *keySet) error {
	if c.sel.IDs == nil {
		return s.collectCohort(conn, c, set)
	}
	for _, id := range c.sel.IDs {
		if err := collectResource(conn, c.space, id, set); err != nil {
			return err
		}
	}
	if c.sel.Cohort == "" {
		return nil
	}
	members := newKeySet(set.from, set.to)
	if err := s.collectCohort(conn, c, members); err != nil {
		return err
	}
	set.keep(members)
	return nil
}

func (s *Store) collectCohort(conn *sqlite.Conn, c cohortOf, set *keySet) error {
	return s.eachMember(conn, c.tenant, c.sel.Cohort, func(patient string) error {
		if c.typ == "Patient" {
			return collectResource(conn, c.space, patient, set)
		}
		return s.collectLinked(conn, patient, set)
	})
}

// collectResource adds the versions of a resource: the current one first, then
// those that were replaced, so that one that is closed in between is found
// either way.
func collectResource(conn *sqlite.Conn, sp space, id string, set *keySet) error {
	for _, query := range []string{
		`SELECT key FROM current WHERE space=? AND id=?`,
		`SELECT key FROM version WHERE "to" IS NOT NULL AND space=? AND id=?`,
	} {
		stmt, err := conn.Prepare(query)
		if err != nil {
			return err
		}
		stmt.BindInt64(1, int64(sp))
		bindID(stmt, 2, id)
		if err := rows(stmt, func() error {
			set.add(stmt.ColumnInt64(0))
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// collectLinked adds the versions in a patient's compartment.
func (s *Store) collectLinked(conn *sqlite.Conn, patient string, set *keySet) error {
	compartment, ok := s.w.committed.Load().params[search.Compartment]
	if !ok {
		return nil
	}
	stmt, err := conn.Prepare(`SELECT key, params FROM link WHERE seg=? AND target=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, set.from>>segmentBits)
	bindTarget(stmt, "Patient/"+patient)
	var buf [64]byte
	return rows(stmt, func() error {
		if hasParam(columnBytes(stmt, 1, buf[:0]), compartment) {
			set.add(stmt.ColumnInt64(0))
		}
		return nil
	})
}
