package purge

import (
	"context"
	"errors"

	"firebreak/fhir"
	"firebreak/fhir/detach"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/store"
)

// detachPage is how many resources are detached in one commit.
const detachPage = 50

// detach writes versions that do not name the record any more. What was
// changed meanwhile is new, and stays; but what another purge put in the place
// of a version is detached in its turn.
func (a attempt) detach(ctx context.Context, g *gathering) error {
	var page []*resource
	for i := range g.found.shared {
		if g.found.shared[i].detach != 0 {
			page = append(page, &g.found.shared[i])
		}
		if len(page) < detachPage && i < len(g.found.shared)-1 {
			continue
		}
		if err := a.detachPage(ctx, g, page); err != nil {
			return err
		}
		page = page[:0]
	}
	return nil
}

// detachPage detaches some resources, again while others come first. Whoever
// does is done with a resource then, so that ends.
func (a attempt) detachPage(ctx context.Context, g *gathering, page []*resource) error {
	for lost := len(page) > 0; lost; {
		var rs []resource
		for _, r := range page {
			rs = append(rs, *r)
		}
		if err := a.mayDetach(ctx, g.onAccountOf(rs)); err != nil {
			return err
		}
		puts, err := a.replacing(ctx, g, page)
		if err != nil {
			return err
		}
		if err := g.enterPuts(ctx, puts); err != nil {
			return err
		}
		if lost, err = a.put(ctx, puts); err != nil {
			return err
		}
	}
	return nil
}

// replacing are the versions that take the places of those of resources that
// are to be detached, or of what a purge put there since, which goes too.
func (a attempt) replacing(ctx context.Context, g *gathering, page []*resource) (puts []store.Put, err error) {
	var ids []fhir.ID
	by := map[fhir.ID]*resource{}
	for _, r := range page {
		ids, by[r.id] = append(ids, r.id), r
	}
	current, err := a.cfg.Store.Get(ctx, a.fence.Tenant, ids...)
	if err != nil {
		return nil, err
	}
	for _, v := range current {
		r := by[v.ID]
		since := v.Detached && v.N > r.detach
		if v.Deleted || v.N != r.detach && !since {
			continue
		}
		put, err := a.detached(v, g.detaches)
		if since && errors.Is(err, errAttached) { // it does not name the record
			continue
		}
		if err != nil {
			return nil, err
		}
		if since {
			r.detach, r.versions = v.N, append(r.versions, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		}
		puts = append(puts, put)
	}
	return puts, nil
}

// detaches tells whether a reference to it is replaced. Those to other patients
// of the job are by their own units, if these come to it.
func (g *gathering) detaches(id fhir.ID) bool { return g.record.Has(id) && !g.elsewhere(id) }

var errAttached = errors.New("purge: a resource names the record in a way that cannot be replaced")

// detached is the version that takes the place of one that names the record.
func (a attempt) detached(v store.Version, of func(fhir.ID) bool) (store.Put, error) {
	body, n := detach.Detach(v.Body, of)
	if n == 0 {
		return store.Put{}, errAttached
	}
	r, err := fhir.Reader{Known: r4.IsType}.Read(body)
	if err != nil {
		return store.Put{}, err
	}
	return store.Put{Resource: r, Terms: search.Terms(r.ID.Type, r.ID.ID, r.Body), Expect: v.N, Owner: v.Owner, Detached: true}, nil
}

// put writes all that can be written at once; if another changed one of them,
// each by itself, without that: lost.
func (a attempt) put(ctx context.Context, puts []store.Put) (lost bool, err error) {
	if len(puts) == 0 {
		return false, nil
	}
	_, err = a.cfg.Store.Commit(ctx, a.fence.Tenant, store.Batch{ID: a.cfg.NewBatchID(), Puts: puts})
	if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrTooLarge) || len(puts) == 1 {
		if lost = errors.Is(err, store.ErrConflict); lost {
			err = nil
		}
		return lost, err
	}
	for i := range puts {
		one, err := a.put(ctx, puts[i:i+1])
		if err != nil {
			return lost, err
		}
		lost = lost || one
	}
	return lost, nil
}
