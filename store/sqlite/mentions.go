package sqlite

import (
	"context"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Mentions is store.Eraser.
func (s *Store) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	var out []fhir.ID
	seen := map[fhir.ID]bool{}
	n := s.naming(conn, t)
	err = n.each(targets, func(m mention) error {
		if id := m.by; !id.IsZero() && !seen[id] && (m.ref || m.compartment && m.target.Type == "Patient") {
			seen[id] = true
			out = append(out, id)
		}
		return nil
	})
	return out, orContext(ctx, err)
}

// naming looks for links to targets, in all of a tenant's types.
type naming struct {
	conn             *sqlite.Conn
	d                *dictionary
	tenant           int64
	ref, compartment int64 // numbers of parameters
}

func (s *Store) naming(conn *sqlite.Conn, t store.Tenant) naming {
	d := s.w.committed.Load()
	return naming{conn, d, d.tenants[string(t)], d.params[search.Ref], d.params[search.Compartment]}
}

// mention is a link to a target. by is zero if there is no version behind it.
type mention struct {
	target           fhir.ID
	by               fhir.ID
	ref, compartment bool
}

// each calls f for each link to one of the targets.
func (n naming) each(targets []fhir.ID, f func(mention) error) error {
	spaces, err := n.spaces()
	if err != nil {
		return err
	}
	for _, sp := range spaces {
		for seg := range segments(sp.first, sp.next) {
			for _, target := range targets {
				if err := n.in(seg, target, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// used is the range of keys that a space has given out.
type used struct{ first, next int64 }

func (n naming) spaces() (out []used, err error) {
	err = each(n.conn, `SELECT no, next FROM space WHERE no>=? AND no<?`, func(st *sqlite.Stmt) {
		out = append(out, used{space(st.ColumnInt64(0)).first(), st.ColumnInt64(1)})
	}, n.tenant<<typeBits, (n.tenant+1)<<typeBits)
	return out, err
}

// in calls f for each link of a segment to the target.
func (n naming) in(seg segment, target fhir.ID, f func(mention) error) error {
	stmt, err := n.conn.Prepare(`SELECT v.id, l.params, v.key IS NULL FROM link l LEFT JOIN version v ON v.key=l.key WHERE l.seg=? AND l.target=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, seg.from>>segmentBits)
	bindTarget(stmt, target.String())
	typ := n.d.typeNames[space(seg.from>>counterBits).typ()]
	var buf [64]byte
	return rows(stmt, func() error {
		params := columnBytes(stmt, 1, buf[:0])
		m := mention{target: target, ref: hasParam(params, n.ref), compartment: hasParam(params, n.compartment)}
		if !stmt.ColumnBool(2) {
			m.by = fhir.ID{Type: typ, ID: columnID(stmt, 0)}
		}
		return f(m)
	})
}

// versionsAtOnce is how many bytes of bodies Versions holds, or one body.
const versionsAtOnce = 1 << 20

// Versions is store.Eraser.
func (s *Store) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	if len(ids) == 0 {
		_, err := s.Get(ctx, t)
		return err
	}
	seen := make(map[fhir.ID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := s.eachVersion(ctx, t, id, yield); err != nil {
			return err
		}
	}
	return nil
}

// eachVersion yields the versions of one resource, the latest first.
func (s *Store) eachVersion(ctx context.Context, t store.Tenant, id fhir.ID, yield func(*store.Version) error) error {
	for before := int64(0); before != 1; {
		vs, err := s.History(ctx, t, id, before, versionsAtOnce)
		if err != nil {
			return err
		}
		before = 1
		for i := range vs {
			if err := yield(&vs[i]); err != nil {
				return err
			}
			before = vs[i].N
		}
	}
	return nil
}
