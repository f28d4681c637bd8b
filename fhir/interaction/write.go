package interaction

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"
)

// Create writes a new resource of the type under an id of the server's. An id
// within the data is not kept.
func (s *Service) Create(ctx context.Context, p auth.Principal, typ string, data []byte) (Shown, error) {
	if err := allow(p, auth.Create, typ); err != nil {
		return Shown{}, err
	}
	r, err := s.read(typ, data)
	if err != nil {
		return Shown{}, err
	}
	r = r.WithID(s.cfg.NewID())
	return s.write(ctx, p, store.Put{Resource: r, Expect: store.Absent})
}

// Condition is what a write expects of the present state. The zero Condition
// expects nothing.
type Condition struct {
	Version int64 // this one is current; 0: not asked
	Absent  bool  // there is none, or a deleted one; not together with Version
}

// Update writes the next version of a resource, or its first one: a client may
// choose ids. The id within the data must be the same. A Condition that does
// not hold is Precondition, and content that is there already is no new version.
func (s *Service) Update(ctx context.Context, p auth.Principal, id fhir.ID, data []byte, when Condition) (Shown, error) {
	if err := allow(p, auth.Update, id.Type); err != nil {
		return Shown{}, err
	}
	if err := fhir.CheckID(id.ID); err != nil {
		return Shown{}, fhir.Errorf(fhir.Invalid, "the address has no id: %v", err).With(fhir.CodeValue)
	}
	r, err := s.read(id.Type, data)
	if err != nil {
		return Shown{}, err
	}
	if r.ID.ID != id.ID {
		return Shown{}, fhir.Errorf(fhir.Invalid, "the id of the resource is not that of the address").With(fhir.CodeValue).At(id.Type + ".id")
	}
	expect, err := s.expect(ctx, p, id, when)
	if err != nil {
		return Shown{}, err
	}
	return s.write(ctx, p, store.Put{Resource: r, Expect: expect})
}

// Delete deletes a resource. Where there is none, or a deleted one, that is
// success too: Unchanged, and Version is 0 where there was never one.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id fhir.ID, when Condition) (Shown, error) {
	if err := allow(p, auth.Delete, id.Type); err != nil {
		return Shown{}, err
	}
	if fhir.CheckID(id.ID) != nil {
		return Shown{}, errNotFound()
	}
	expect, err := s.expect(ctx, p, id, when)
	if err != nil {
		return Shown{}, err
	}
	return s.write(ctx, p, store.Put{Resource: fhir.Resource{ID: id}, Expect: expect, Delete: true})
}

// read takes a resource of the type from its JSON.
func (s *Service) read(typ string, data []byte) (fhir.Resource, error) {
	r, err := s.Reader().Read(data)
	if err == nil && r.ID.Type != typ {
		err = fhir.Errorf(fhir.Invalid, "resourceType is not the type of the address").With(fhir.CodeValue).At("resourceType")
	}
	return r, err
}

// expect is a Condition in the words of the store, to which a deletion is a
// version like any other.
func (s *Service) expect(ctx context.Context, p auth.Principal, id fhir.ID, when Condition) (int64, error) {
	switch {
	case when.Version != 0:
		return when.Version, nil
	case !when.Absent:
		return store.Any, nil
	}
	found, err := s.cfg.Store.Get(ctx, tenantOf(p), id)
	switch {
	case err != nil:
		return 0, explain(err)
	case found[0].N == 0:
		return store.Absent, nil
	case found[0].Deleted:
		return found[0].N, nil
	}
	return 0, fhir.Errorf(fhir.Precondition, "the resource is there already")
}

// write commits one Put and shows what came of it.
func (s *Service) write(ctx context.Context, p auth.Principal, put store.Put) (Shown, error) {
	r := put.Resource
	if err := s.mayWrite(ctx, p, r.ID); err != nil {
		return Shown{}, err
	}
	put.Owner = ownerOf(p)
	if !put.Delete {
		put.Terms = search.Terms(r.ID.Type, r.ID.ID, r.Body)
	}
	done, err := s.cfg.Store.Commit(ctx, tenantOf(p), store.Batch{ID: s.cfg.NewBatchID(), Puts: []store.Put{put}})
	if errors.Is(err, store.ErrConflict) && put.Expect != store.Any {
		return Shown{}, fhir.Errorf(fhir.Precondition, "the resource is not at the version that was expected; read it again").Because(err)
	}
	if err != nil {
		return Shown{}, explain(err)
	}
	a := done[0]
	shown := Shown{ID: r.ID, Version: a.N, LastUpdated: a.At.Time(), Created: a.Created, Unchanged: a.Unchanged}
	if !put.Delete {
		shown.Body = fhir.AppendShown(nil, r.Body, r.MetaAt, a.N, int64(a.At))
	}
	return shown, nil
}

// mayWrite refuses AuditEvents that the server made: what it recorded stands.
func (s *Service) mayWrite(ctx context.Context, p auth.Principal, ids ...fhir.ID) error {
	events := slices.DeleteFunc(slices.Clone(ids), func(id fhir.ID) bool { return id.Type != "AuditEvent" })
	if s.cfg.Server == "" || len(events) == 0 {
		return nil
	}
	there, err := s.cfg.Store.Get(ctx, tenantOf(p), events...)
	if err != nil {
		return explain(err)
	}
	if slices.ContainsFunc(there, func(v store.Version) bool { return v.Owner.Client == s.cfg.Server }) {
		return fhir.Errorf(fhir.Forbidden, "an AuditEvent that this server recorded cannot be changed or deleted")
	}
	return nil
}

// PutAll writes many resources under their own ids, all or none of them, in
// the order of the results. They have been read by Reader.
func (s *Service) PutAll(ctx context.Context, p auth.Principal, rs []fhir.Resource) ([]store.Applied, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	ids := make([]fhir.ID, len(rs))
	for i, r := range rs {
		ids[i] = r.ID
	}
	if err := s.mayWrite(ctx, p, ids...); err != nil {
		return nil, err
	}
	puts := make([]store.Put, 0, len(rs))
	for i, r := range rs {
		if err := allow(p, auth.Update, r.ID.Type); err != nil {
			return nil, err
		}
		if r.ID.ID == "" {
			return nil, fhir.Errorf(fhir.Invalid, "resource %d has no id", i).With(fhir.CodeRequired).At(r.ID.Type + ".id")
		}
		terms := search.Terms(r.ID.Type, r.ID.ID, r.Body)
		puts = append(puts, store.Put{Resource: r, Terms: terms, Owner: ownerOf(p)})
	}
	done, err := s.cfg.Store.Commit(ctx, tenantOf(p), store.Batch{ID: s.cfg.NewBatchID(), Puts: puts})
	if err != nil {
		return nil, explain(err)
	}
	if len(done) != len(rs) {
		return nil, fmt.Errorf("the store answered %d of %d writes", len(done), len(rs))
	}
	return done, nil
}
