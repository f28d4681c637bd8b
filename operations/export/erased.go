package export

import (
	"context"
	"errors"
	"maps"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// ErrHeld is what SweepErased answers when all that it waits for are attempts
// whose lease has run out, and nobody has claimed their units for a while.
// Their worker may be gone, and what it wrote is there. It is for the caller to
// make way, as it may be that it keeps the worker that would claim them, and to
// call again.
var ErrHeld = errors.New("export: an attempt whose lease has run out may have left files")

// heldGlances is how many glances an attempt may be without a worker.
const heldGlances = 5

// SweepErased makes sure that nothing is left of what exports of a tenant read
// before the call, but what a record names. It is for who has erased, and has
// voided what holds it. When it returns
//
//   - each attempt at an export that was running at the call has ended, or has
//     lost its unit; one that lost it and is at work in this process has been
//     broken off;
//   - each file of an export is gone that no record names, those of void parts
//     among them, and that no attempt is writing which was claimed later.
//
// It does not wait for attempts that are claimed after the call. One that has
// lost its unit and is at work in another process is not seen: it goes on until
// it is to renew its lease, and removes what it wrote then. ErrHeld: call again.
func (x *Export) SweepErased(ctx context.Context, t store.Tenant) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	hints := x.cfg.Store.Watch(watching)
	here := x.atWork.of(t)
	begun, err := x.begun(ctx, t)
	if err != nil {
		return err
	}
	if err := x.awaitEnds(ctx, hints, t, begun); err != nil {
		return err
	}
	for _, one := range here {
		one.cancel(errLost)
		select {
		case <-one.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return x.sweepAll(ctx, func(other store.Tenant) bool { return other == t })
}

// fences are the attempts at the units of one job.
type fences = map[store.Fence]bool

// begun are the attempts at exports of a tenant that may end, by job.
func (x *Export) begun(ctx context.Context, t store.Tenant) (map[string]fences, error) {
	out := map[string]fences{}
	for after := ""; ; {
		js, err := x.cfg.Store.Attend(ctx, x.cfg.Now(), true, after, unitPage)
		if err != nil {
			return nil, err
		}
		for _, j := range js {
			after = j.ID
			if j.Tenant != string(t) || j.Kind != Kind {
				continue
			}
			if out[j.ID], _, err = x.running(ctx, t, j.ID); err != nil {
				return nil, err
			}
		}
		if len(js) < unitPage {
			return out, nil
		}
	}
}

// running are a job's attempts that may end; leased tells whether one of them
// has its lease. Which one, nobody says; but a unit whose lease has run out is
// claimed before any other.
func (x *Export) running(ctx context.Context, t store.Tenant, id string) (now fences, leased bool, err error) {
	j, err := x.cfg.Store.Peek(ctx, t, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && j.State.Final() {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	now = fences{}
	err = x.eachUnit(ctx, j, func(u job.Unit) {
		if u.State == job.Running {
			now[store.Fence{Tenant: t, Job: id, Unit: u.ID, Attempt: u.Attempt}] = true
		}
	})
	if err != nil || len(now) == 0 {
		return nil, false, err
	}
	tally, err := x.cfg.Store.Tally(ctx, t, id)
	return now, tally.Running > 0, err
}

// awaitEnds returns when none of the attempts can end any more. It looks at
// each hint and, as leases run out without one, now and then.
func (x *Export) awaitEnds(ctx context.Context, hints <-chan struct{}, t store.Tenant, begun map[string]fences) error {
	tick := time.NewTicker(x.cfg.Glance)
	defer tick.Stop()
	for held := 0; ; {
		leased, err := x.forgetEnded(ctx, t, begun)
		switch {
		case err != nil:
			return err
		case len(begun) == 0:
			return nil
		case leased:
			held = 0
		case held >= heldGlances:
			return ErrHeld
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hints:
		case <-tick.C:
			held++
		}
	}
}

// forgetEnded takes out the attempts that cannot end any more, and tells
// whether one of the others may have its lease.
func (x *Export) forgetEnded(ctx context.Context, t store.Tenant, begun map[string]fences) (leased bool, err error) {
	for id, those := range begun {
		now, one, err := x.running(ctx, t, id)
		if err != nil {
			return false, err
		}
		maps.DeleteFunc(those, func(f store.Fence, _ bool) bool { return !now[f] })
		if len(those) == 0 {
			delete(begun, id)
			continue
		}
		leased = leased || one
	}
	return leased, nil
}
