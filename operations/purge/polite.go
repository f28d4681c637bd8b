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
// while the server is busy with requests, and after each rest as long as it
// took. A purge is seldom urgent, and one on each core would leave requests to
// wait for a turn.
type polite struct {
	Store
	busy func() bool
	mu   *sync.Mutex
}

func politely(s Store, busy func() bool) Store {
	if busy == nil {
		return s
	}
	return polite{s, busy, new(sync.Mutex)}
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
		rest := time.NewTimer(time.Since(began))
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
	defer p.turn(ctx)()
	return p.Store.Versions(ctx, t, ids, yield)
}

// Scan is store.Scanner.
func (p polite) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	defer p.turn(ctx)()
	return p.Store.Scan(ctx, t, sel, r, after, yield)
}

// Erase is store.Eraser.
func (p polite) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef) (job.Erased, error) {
	defer p.turn(ctx)()
	return p.Store.Erase(ctx, f, vs)
}

// Residue is store.Eraser.
func (p polite) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	defer p.turn(ctx)()
	return p.Store.Residue(ctx, t, g)
}
