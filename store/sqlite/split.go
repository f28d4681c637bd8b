package sqlite

import (
	"context"
	"slices"
	"strings"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// samples is how many places of a range are looked at to guess its bytes.
const samples = 24

// Split is store.Scanner.
func (s *Store) Split(ctx context.Context, t store.Tenant, sel store.Selection, bytesEach int64) ([]store.Range, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	var out []store.Range
	for _, typ := range s.typesOf(t, sel) {
		ranges, err := s.splitType(conn, t, sel, typ, max(bytesEach, 1))
		if err != nil {
			return nil, orContext(ctx, err)
		}
		out = append(out, ranges...)
	}
	return out, nil
}

// typesOf lists the types that a tenant has anything of, those selected, in order.
func (s *Store) typesOf(t store.Tenant, sel store.Selection) []string {
	d := s.w.committed.Load()
	if _, ok := d.tenants[string(t)]; !ok {
		return nil
	}
	var out []string
	for typ := range d.types {
		if sel.Types == nil || slices.Contains(sel.Types, typ) {
			out = append(out, typ)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return int(d.types[a] - d.types[b]) })
	return out
}

func (s *Store) splitType(conn *sqlite.Conn, t store.Tenant, sel store.Selection, typ string, each int64) ([]store.Range, error) {
	sp, _ := s.w.committed.Load().space(t, typ)
	from, to, err := bounds(conn, sp, sel)
	if err != nil || from >= to {
		return nil, err
	}
	mean, err := meanBody(conn, from, to)
	if err != nil {
		return nil, err
	}
	switch {
	case sel.Deleted: // tombstones have no body
		return []store.Range{asRange(typ, from, to, 1)}, nil
	case sel.IDs != nil:
		return []store.Range{asRange(typ, from, to, mean*int64(len(sel.IDs)))}, nil
	case sel.Cohort != "":
		return s.splitCohort(conn, cohortOf{t, sel, typ, sp}, span{from, to, mean}, each)
	}
	bytes := mean * (to - from)
	n := min(max(bytes/each, 1), to-from)
	var out []store.Range
	for i := range n {
		a, b := from+(to-from)*i/n, from+(to-from)*(i+1)/n
		out = append(out, asRange(typ, a, b, mean*(b-a)))
	}
	return out, nil
}

// span is a range of rowids with the mean bytes of the bodies in it.
type span struct{ from, to, mean int64 }

func asRange(typ string, from, to, bytes int64) store.Range {
	return store.Range{Type: typ, From: keyText(from), To: keyText(to), Bytes: bytes}
}

// bounds is where in a space the versions begin that became current after
// After, and where those end that did by At.
func bounds(conn *sqlite.Conn, sp space, sel store.Selection) (from, to int64, err error) {
	end := sp.first()
	if err := each(conn, `SELECT next FROM space WHERE no=?`, func(st *sqlite.Stmt) { end = st.ColumnInt64(0) }, int64(sp)); err != nil {
		return 0, 0, err
	}
	if from, err = firstAfter(conn, sp.first(), end, sel.After); err != nil {
		return 0, 0, err
	}
	to, err = firstAfter(conn, from, end, sel.At)
	return from, to, err
}

// firstAfter is the first key in [from, to) of a version that became current
// after the tick; to if there is none. Keys of a space go in order of From.
func firstAfter(conn *sqlite.Conn, from, to int64, at store.Tick) (int64, error) {
	stmt, err := conn.Prepare(`SELECT key, "from" FROM version WHERE key>=? AND key<? ORDER BY key LIMIT 1`)
	if err != nil {
		return 0, err
	}
	for from < to {
		mid := from + (to-from)/2
		stmt.BindInt64(1, mid)
		stmt.BindInt64(2, to)
		key, later := mid, true
		if err := rows(stmt, func() error {
			key, later = stmt.ColumnInt64(0), store.Tick(stmt.ColumnInt64(1)) > at
			return nil
		}); err != nil {
			return 0, err
		}
		if later {
			to = mid
		} else {
			from = key + 1
		}
	}
	return from, nil
}

// meanBody is about how many bytes a body in the range has, and 1 at least.
func meanBody(conn *sqlite.Conn, from, to int64) (int64, error) {
	stmt, err := conn.Prepare(`SELECT length(body) FROM version WHERE key>=? AND key<? ORDER BY key LIMIT 4`)
	if err != nil {
		return 0, err
	}
	var sum, count int64
	for i := range int64(samples) {
		stmt.BindInt64(1, from+(to-from)*i/samples)
		stmt.BindInt64(2, to)
		if err := rows(stmt, func() error {
			sum, count = sum+stmt.ColumnInt64(0), count+1
			return nil
		}); err != nil {
			return 0, err
		}
	}
	return max(sum/max(count, 1), 1), nil
}

// splitCohort cuts by segments, so that what it costs follows the cohort.
func (s *Store) splitCohort(conn *sqlite.Conn, c cohortOf, of span, bytesEach int64) ([]store.Range, error) {
	var out []store.Range
	open := store.Range{}
	for seg := range segments(of.from, of.to) {
		keys := newKeySet(seg.from, seg.to)
		if err := s.collect(conn, c, keys); err != nil {
			return nil, err
		}
		bytes := int64(keys.len()) * of.mean
		if bytes == 0 {
			continue
		}
		if open.Bytes > 0 && open.Bytes+bytes > bytesEach {
			out, open = append(out, open), store.Range{}
		}
		if open.Bytes == 0 {
			open = asRange(c.typ, seg.from, seg.to, 0)
		}
		open.To, open.Bytes = keyText(seg.to), open.Bytes+bytes
	}
	if open.Bytes > 0 {
		out = append(out, open)
	}
	return slices.CompactFunc(out, func(a, b store.Range) bool { return strings.Compare(string(a.From), string(b.From)) == 0 }), nil
}
