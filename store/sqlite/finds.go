package sqlite

import (
	"context"

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
	r := referrers{conn: conn, typ: typ, ref: d.params[search.Ref], wanted: make(map[string]bool, len(targets))}
	for _, id := range targets {
		r.wanted[id.String()] = true
	}
	from, to, err := bounds(conn, sp, store.Selection{At: store.Forever - 1})
	if err == nil {
		err = r.linked(from, to, at)
	}
	return r.found, orContext(ctx, err)
}

// referrers is one search for who names the wanted targets.
type referrers struct {
	conn   *sqlite.Conn
	typ    string
	ref    int64 // number of the parameter of all references; a compartment's is none
	wanted map[string]bool
	found  []fhir.ID
}

// linked finds them among the links of versions that were current at an
// instant, or since.
func (r *referrers) linked(from, to int64, at store.Tick) error {
	stmt, err := r.conn.Prepare(`SELECT v.id, l.params FROM link l JOIN version v ON v.key=l.key
		WHERE l.seg=? AND l.target=? AND (v."to" IS NULL OR v."to">?)`)
	if err != nil {
		return err
	}
	var buf [64]byte
	for seg := range segments(from, to) {
		for target := range r.wanted {
			stmt.BindInt64(1, seg.from>>segmentBits)
			bindTarget(stmt, target)
			stmt.BindInt64(3, int64(at))
			if err := rows(stmt, func() error {
				if hasParam(columnBytes(stmt, 1, buf[:0]), r.ref) {
					r.found = append(r.found, fhir.ID{Type: r.typ, ID: columnID(stmt, 0)})
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

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
