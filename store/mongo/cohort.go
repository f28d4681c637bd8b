package mongo

import (
	"context"

	"firebreak/store"
)

// AddMembers is store.Cohorts. A member's _id is the key of tenant, job and
// patient, and there is nothing else in it.
func (s *Store) AddMembers(ctx context.Context, f store.Fence, patients []string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	of, rows := prefix(string(f.Tenant), f.Job), make([]bareRow, len(patients))
	for i, p := range patients {
		rows[i].ID = of + p
	}
	return failed(ctx, s.fenced(ctx, f, func(ctx context.Context) error {
		return insertMissing(ctx, s.db.Collection(members), rows)
	}))
}

// Members is store.Cohorts.
func (s *Store) Members(ctx context.Context, t store.Tenant, c store.CohortID, after string, n int) ([]string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	out, err := namesIn(ctx, s.db.Collection(members), prefix(string(t), string(c)), after, n)
	return out, failed(ctx, err)
}
