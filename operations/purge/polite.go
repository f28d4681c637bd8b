package purge

import (
	"context"
	"sync"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// polite is a store of which the units of all purges use one call at a time
// while the server has many requests, in small pieces, and after each they rest,
// the longer the more requests there are. A purge is seldom urgent, and one on
// each core would leave requests to wait for a turn.
type polite struct {
	Store
	requests func() int
	mu       *sync.Mutex
}

func politely(s Store, requests func() int) Store {
	if requests == nil {
		return s
	}
	return polite{s, requests, new(sync.Mutex)}
}

// How many requests in a second are many, and what pieces are small: each is
// some milliseconds of a core.
const (
	many        = 50
	fewVersions = 50
	fewIDs      = 100
)

// busy tells whether there are many requests.
func (p polite) busy() bool { return p.requests() >= many }

// rest is how long to rest after a call: as long as it took where requests are
// many, and four times that from a thousand a second on.
func (p polite) rest(took time.Duration) time.Duration {
	return took + took*3*time.Duration(min(p.requests(), 1000))/1000
}

// turn waits for the others, if that is to be; done ends it.
func (p polite) turn(ctx context.Context) (done func()) {
	if !p.busy() {
		return func() {}
	}
	p.mu.Lock()
	began := time.Now()
	return func() {
		defer p.mu.Unlock()
		rest := time.NewTimer(p.rest(time.Since(began)))
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
	}
}

// Mentions is store.Eraser.
func (p polite) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	defer p.turn(ctx)()
	return p.Store.Mentions(ctx, t, targets)
}

// Versions is store.Eraser.
func (p polite) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	for len(ids) > fewIDs && p.busy() {
		if err := p.versions(ctx, t, ids[:fewIDs], yield); err != nil {
			return err
		}
		ids = ids[fewIDs:]
	}
	return p.versions(ctx, t, ids, yield)
}

func (p polite) versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	defer p.turn(ctx)()
	return p.Store.Versions(ctx, t, ids, yield)
}

// Scan is store.Scanner.
func (p polite) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	defer p.turn(ctx)()
	return p.Store.Scan(ctx, t, sel, r, after, yield)
}

// Erase is store.Eraser, but that it may be several commits. The versions of one
// resource, if they are together, are in one of them: who is cut off may find
// the resource by one that goes with those after it.
func (p polite) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (out job.Erased, err error) {
	for len(vs) > fewVersions && p.busy() {
		few := whole(vs, fewVersions)
		n, err := p.erase(ctx, f, vs[:few], of...)
		if out = out.Add(n); err != nil || few == len(vs) {
			return out, err
		}
		vs = vs[few:]
	}
	n, err := p.erase(ctx, f, vs, of...)
	return out.Add(n), err
}

// whole is n, or more to where the versions of a resource end.
func whole(vs []store.VersionRef, n int) int {
	for n < len(vs) && vs[n].ID == vs[n-1].ID {
		n++
	}
	return n
}

func (p polite) erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (job.Erased, error) {
	defer p.turn(ctx)()
	return p.Store.Erase(ctx, f, vs, of...)
}

// Residue is store.Eraser.
func (p polite) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	defer p.turn(ctx)()
	return p.Store.Residue(ctx, t, g)
}
