package engine

import (
	"context"
	"errors"

	"firebreak/operations/job"
	"firebreak/store"
)

// attendPage is how many jobs are looked at with one read.
const attendPage = 200

// attend looks after all jobs that may need it: those whose cancel was
// requested are stopped, those dismissed or expired are removed. With all set,
// every job under way is settled too, as a crash may have come between the end
// of its last unit and its own.
func (e *Engine) attend(ctx context.Context, all bool) {
	for after := ""; ; {
		js, err := e.cfg.Store.Attend(ctx, e.cfg.Now(), after, attendPage)
		if err != nil {
			if ctx.Err() == nil {
				e.cfg.Log.Error("attend to jobs", "error", err)
			}
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

func (e *Engine) tend(ctx context.Context, j job.Job, all bool) {
	t := store.Tenant(j.Tenant)
	cancelled := !j.CancelRequested.IsZero()
	if cancelled {
		e.breakOff(t, j.ID, errCancelled)
	}
	if !j.State.Final() && (cancelled || all) {
		j = e.settle(ctx, t, j.ID)
	}
	if j.Discard(e.cfg.Now()) {
		e.discard(ctx, j)
	}
}

// settle moves a job on to where its units stand.
func (e *Engine) settle(ctx context.Context, t store.Tenant, id string) job.Job {
	tally, err := e.cfg.Store.Tally(ctx, t, id)
	var j job.Job
	if err == nil {
		j, err = e.cfg.Store.Peek(ctx, t, id)
	}
	if err == nil {
		next, settled := j.Settle(tally, e.cfg.Now())
		if settled == nil && next.State == j.State {
			return j
		}
		j, err = e.cfg.Store.Update(ctx, t, id, func(j job.Job) (job.Job, error) { return j.Settle(tally, e.cfg.Now()) })
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
		e.cfg.Log.Error("settle a job", "job", id, "error", err)
	}
	return j
}

// discard removes a job: what it left outside the store first, then its record,
// so that a crash in between leaves something that finds the rest.
func (e *Engine) discard(ctx context.Context, j job.Job) {
	h, ok := e.cfg.Handlers[j.Kind]
	if !ok {
		return // an operation that this binary does not offer; its files stay known
	}
	err := h.Discard(ctx, j)
	if err == nil {
		err = e.cfg.Store.Remove(ctx, store.Tenant(j.Tenant), j.ID)
	}
	if err != nil && ctx.Err() == nil {
		e.cfg.Log.Error("remove a job", "job", j.ID, "error", err)
	}
}
