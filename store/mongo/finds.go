package mongo

import (
	"context"
	"strings"

	"firebreak/fhir"
	"firebreak/store"
)

// AddFinds is store.Finds. A find's _id is the key of tenant, job, type and id,
// and there is nothing else in it.
func (s *Store) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	of, rows := prefix(string(f.Tenant), f.Job), make([]bareRow, len(ids))
	for i, id := range ids {
		rows[i].ID = of + key(id.Type, id.ID)
	}
	return failed(ctx, s.fenced(ctx, f, func(ctx context.Context) error {
		return insertMissing(ctx, s.db.Collection(finds), rows)
	}))
}

// Finds is store.Finds. As "/" comes before every letter, they are in order of
// type though one type's name may begin with another's.
func (s *Store) Finds(ctx context.Context, t store.Tenant, jobID string, after fhir.ID, n int) ([]fhir.ID, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	names, err := namesIn(ctx, s.db.Collection(finds), prefix(string(t), jobID), key(after.Type, after.ID), n)
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := make([]fhir.ID, len(names))
	for i, name := range names {
		out[i].Type, out[i].ID, _ = strings.Cut(name, "/")
	}
	return out, nil
}
