package engine

import (
	"context"
	"errors"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// attendPage is how many jobs are looked at with one read.
const attendPage = 200

// attend looks after all jobs that need it: those whose cancel was requested
// are stopped, those dismissed or expired are removed. If a job may have been
// left unsettled, every one under way is settled too.
func (e *Engine) attend(ctx context.Context) {
	all := e.settlesAll()
	for after := ""; ; {
		js, err := e.cfg.Store.Attend(ctx, e.cfg.Now(), all, after, attendPage)
		if err != nil {
			if ctx.Err() == nil {
				e.cfg.Log.Error("attend to jobs", "error", err)
			}
			e.again(all)
			return
		}
		for _, j := range js {
			e.tend(ctx, j, all)
			after = j.ID
		}
		if len(js) < attendPage {
			return
		}
	}
}

// settlesAll tells whether every job under way is to be settled now: at the
// start, after one could not be, and once a lease, as whoever ended the last
// unit of a job may have been gone before it settled that. Nothing else lists
// them all: whoever ends a unit settles its job.
func (e *Engine) settlesAll() bool {
	now := e.cfg.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.unsettled || !now.Before(e.settled.Add(e.cfg.Lease))
	if e.unsettled = false; all {
		e.settled = now
	}
	return all
}

// again has the next attend settle every job.
func (e *Engine) again(all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unsettled = e.unsettled || all
}

func (e *Engine) tend(ctx context.Context, j job.Job, all bool) {
	t := store.Tenant(j.Tenant)
	cancelled := !j.CancelRequested.IsZero()
	if cancelled {
		e.breakOff(t, j.ID)
	}
	if !j.State.Final() && (cancelled || all) {
		j = e.settle(ctx, t, j.ID)
	}
	// A unit may be at work even now: one that was claimed while the job failed.
	// When it has ended, it is this job's turn again.
	if j.Discard(e.cfg.Now()) && !e.breakOff(t, j.ID) {
		e.discard(ctx, j)
	}
}

// settle moves a job on to where its units stand. The job is read before they
// are counted, and is left as it is if a cancel was requested since: a unit may
// have been claimed after the count, and before the cancel. Whoever asked for
// the cancel has woken the engine. So it is if the job began anew since: its
// units are not where they were counted.
func (e *Engine) settle(ctx context.Context, t store.Tenant, id string) job.Job {
	j, err := e.cfg.Store.Peek(ctx, t, id)
	var tally job.Tally
	if err == nil {
		tally, err = e.cfg.Store.Tally(ctx, t, id)
	}
	if err == nil {
		next, settled := j.Settle(tally, e.cfg.Now())
		if settled == nil && next.State == j.State {
			return j
		}
		asked, restarts := j.CancelRequested, j.Restarts
		j, err = e.cfg.Store.Update(ctx, t, id, func(j job.Job) (job.Job, error) {
			if !j.CancelRequested.Equal(asked) || j.Restarts != restarts {
				return j, nil
			}
			return j.Settle(tally, e.cfg.Now())
		})
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		e.again(true)
		if ctx.Err() == nil {
			e.cfg.Log.Error("settle a job", "job", id, "error", err)
		}
	}
	return j
}

// discard removes a job: what it left outside the store first, then its record,
// so that a crash in between leaves something that finds the rest. That it
// expired is told before; that it was dismissed, whoever did it has told.
func (e *Engine) discard(ctx context.Context, j job.Job) {
	h, ok := e.cfg.Handlers[j.Kind]
	if !ok {
		return // an operation that this binary does not offer; its files stay known
	}
	var err error
	if j.Dismissed.IsZero() {
		err = e.cfg.Record(ctx, job.Event{Act: job.Expiry, Tenant: j.Tenant, Job: j.ID, Kind: j.Kind})
	}
	if err == nil {
		err = guard(func() error { return h.Discard(ctx, j) })
	}
	if err == nil {
		err = e.cfg.Store.Remove(ctx, store.Tenant(j.Tenant), j.ID)
	}
	if err != nil && ctx.Err() == nil {
		e.cfg.Log.Error("remove a job", "job", j.ID, "error", err)
	}
}

// sweeps has the handlers sweep, now and then, until ctx ends.
func (e *Engine) sweeps(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Sweep)
	defer tick.Stop()
	for {
		for kind, h := range e.cfg.Handlers {
			if err := guard(func() error { return h.Sweep(ctx) }); err != nil && ctx.Err() == nil {
				e.cfg.Log.Error("sweep", "kind", kind, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
