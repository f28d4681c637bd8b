package sqlite

import (
	"context"

	"firebreak/fhir"
	"firebreak/store"
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
