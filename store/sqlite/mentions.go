package sqlite

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/store"

	"zombiezen.com/go/sqlite/sqlitex"
)

// Mentions is store.Eraser.
func (s *Store) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) (out []fhir.ID, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	defer sqlitex.Transaction(conn)(&err)
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

// versionsAtOnce is how many bytes of bodies Versions holds, or one body.
const versionsAtOnce = 1 << 20

// Versions is store.Eraser.
func (s *Store) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	if len(ids) == 0 {
		_, err := s.Get(ctx, t)
		return err
	}
	ids = distinct(ids)
	for at := (spot{}); at.i < len(ids); {
		vs, next, err := s.versionsFrom(ctx, t, ids, at)
		if err != nil {
			return err
		}
		for i := range vs {
			if err := yield(&vs[i]); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// distinct are the resources once each, in their order.
func distinct(ids []fhir.ID) []fhir.ID {
	seen := make(map[fhir.ID]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id fhir.ID) bool {
		was := seen[id]
		seen[id] = true
		return was
	})
}

// spot is how far Versions came: to the versions below one of a resource, or to
// its latest.
type spot struct {
	i      int
	before int64
}

// versionsFrom reads versions from a place on: of as many resources as there is
// room for, as a transaction for each would cost as much again. It holds no
// reader while they are looked at.
func (s *Store) versionsFrom(ctx context.Context, t store.Tenant, ids []fhir.ID, at spot) (out []store.Version, next spot, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, at, err
	}
	defer put()
	defer sqlitex.Transaction(conn)(&err)
	for size := 0; at.i < len(ids) && err == nil; {
		var v store.Version
		if at.before == 0 {
			v, err = s.get(conn, t, ids[at.i])
		} else {
			v, err = s.before(conn, t, ids[at.i], at.before)
		}
		switch size += len(v.Body); {
		case err != nil:
			return nil, at, orContext(ctx, err)
		case size > versionsAtOnce && len(out) > 0:
			return out, at, nil
		case v.N > 0:
			out = append(out, v)
		}
		if at.before = v.N; v.N <= 1 { // 0: there are no more; 1: nothing is below
			at = spot{i: at.i + 1}
		}
	}
	return out, at, nil
}
