package sqlite

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Referrers is store.Referrers.
func (s *Store) Referrers(ctx context.Context, t store.Tenant, at store.Tick, typ string, targets []fhir.ID) ([]fhir.ID, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	d := s.w.committed.Load()
	sp, ok := d.space(t, typ)
	if !ok {
		return nil, nil
	}
	r := referrers{conn: conn, space: sp, typ: typ, ref: d.params[search.Ref], wanted: make(map[string]bool, len(targets))}
	for _, id := range targets {
		r.wanted[id.String()] = true
	}
	from, to, err := bounds(conn, sp, store.Selection{At: store.Forever - 1})
	if err == nil {
		err = r.linked(from, to)
	}
	if err == nil {
		err = r.closed(at)
	}
	return r.found, orContext(ctx, err)
}

// referrers is one search for who names the wanted targets.
type referrers struct {
	conn   *sqlite.Conn
	space  space
	typ    string
	ref    int64 // number of the parameter of all references; a compartment's is none
	wanted map[string]bool
	found  []fhir.ID
}

// linked finds those whose current version does.
func (r *referrers) linked(from, to int64) error {
	stmt, err := r.conn.Prepare(`SELECT v.id, l.params FROM link l JOIN version v ON v.key=l.key WHERE l.seg=? AND l.target=?`)
	if err != nil {
		return err
	}
	var buf [64]byte
	for seg := range segments(from, to) {
		for target := range r.wanted {
			stmt.BindInt64(1, seg.from>>segmentBits)
			bindTarget(stmt, target)
			if err := rows(stmt, func() error {
				if hasParam(columnBytes(stmt, 1, buf[:0]), r.ref) {
					r.add(columnID(stmt, 0))
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// closed finds those whose version as of an instant does, where that has been
// replaced since.
func (r *referrers) closed(at store.Tick) error {
	stmt, err := r.conn.Prepare(`SELECT id, body FROM version WHERE "to" IS NOT NULL AND space=? AND "to">? AND "from"<=? AND NOT deleted`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, int64(r.space))
	stmt.BindInt64(2, int64(at))
	stmt.BindInt64(3, int64(at))
	return rows(stmt, func() error {
		id := columnID(stmt, 0)
		if slices.ContainsFunc(terms(fhir.ID{Type: r.typ, ID: id}, columnBytes(stmt, 1, nil)), func(t search.Term) bool {
			return t.Param == search.Ref && r.wanted[t.Value]
		}) {
			r.add(id)
		}
		return nil
	})
}

func (r *referrers) add(id string) { r.found = append(r.found, fhir.ID{Type: r.typ, ID: id}) }

// AddFinds is store.Finds.
func (s *Store) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		for _, id := range ids {
			stmt, err := x.conn.Prepare(`INSERT OR IGNORE INTO find (tenant, job, type, id) VALUES (?, ?, ?, ?)`)
			if err != nil {
				return err
			}
			stmt.BindInt64(1, no)
			stmt.BindText(2, f.Job)
			stmt.BindText(3, id.Type)
			bindID(stmt, 4, id.ID)
			if _, err := stmt.Step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Finds is store.Finds.
func (s *Store) Finds(ctx context.Context, t store.Tenant, jobID string, after fhir.ID, n int) ([]fhir.ID, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	stmt, err := conn.Prepare(`SELECT type, id FROM find WHERE tenant=? AND job=? AND (type, id)>(?, ?) ORDER BY type, id LIMIT ?`)
	if err != nil {
		return nil, orContext(ctx, err)
	}
	stmt.BindInt64(1, s.tenantNo(t))
	stmt.BindText(2, jobID)
	stmt.BindText(3, after.Type)
	bindID(stmt, 4, after.ID)
	stmt.BindInt64(5, int64(n))
	var out []fhir.ID
	err = rows(stmt, func() error {
		out = append(out, fhir.ID{Type: stmt.ColumnText(0), ID: columnID(stmt, 1)})
		return nil
	})
	return out, orContext(ctx, err)
}
