package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// ending bounds what is still written after the engine's context has ended.
const ending = 10 * time.Second

// attempt works on a unit, ends the attempt, and settles the job. work is the
// handler's context, which ends with cancel.
func (e *Engine) attempt(ctx, work context.Context, cancel context.CancelCauseFunc, u job.Unit, f store.Fence) {
	stop := context.AfterFunc(ctx, func() { cancel(errShutdown) })
	defer stop()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		e.renew(work, f, cancel)
	}()
	seen, ended := e.cfg.Observe(work, u)
	end, err := e.run(seen, u, f)
	why := context.Cause(work)
	cancel(nil)
	<-renewed
	e.mu.Lock()
	delete(e.work, f)
	e.mu.Unlock()

	last, done := context.WithTimeout(context.WithoutCancel(ctx), ending)
	defer done()
	end = e.end(last, u, f, e.verdict(u, end, err, why))
	ended(end)
	e.finish(last, u, f, end)
}

// finish does what follows the end of an attempt as the store has it, and
// settles the job.
func (e *Engine) finish(ctx context.Context, u job.Unit, f store.Fence, end job.UnitEnd) {
	if end.State == job.Succeeded || len(end.Drop) > 0 {
		if err := guard(func() error { return e.cfg.Handlers[u.Kind].Ended(ctx, end) }); err != nil {
			e.cfg.Log.Warn("remove what a unit left", "job", u.Job, "unit", u.ID, "error", err)
		}
	}
	// After a success the job is settled when none of it is at work here and no
	// other unit of it was claimed: to count its units after each of thousands
	// would take longer than most of them.
	switch end.State {
	case "":
	case job.Succeeded:
		e.mu.Lock()
		e.done[jobID{f.Tenant, f.Job}] = true
		e.mu.Unlock()
	default:
		e.settle(ctx, f.Tenant, f.Job)
	}
}

// settleDone settles the jobs of which units have succeeded, but those that are
// at work here: these are when that has ended. It goes on when ctx has ended.
func (e *Engine) settleDone(ctx context.Context) {
	last, done := context.WithTimeout(context.WithoutCancel(ctx), ending)
	defer done()
	for _, j := range e.takeDone() {
		e.settle(last, j.tenant, j.id)
	}
}

// takeDone are the jobs that are to be settled.
func (e *Engine) takeDone() (out []jobID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for f := range e.work {
		delete(e.done, jobID{f.Tenant, f.Job})
	}
	for j := range e.done {
		out = append(out, j)
	}
	clear(e.done)
	return out
}

// guard calls a handler. One that panics has erred.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: a handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// run has the handler work on the unit.
func (e *Engine) run(ctx context.Context, u job.Unit, f store.Fence) (end job.UnitEnd, err error) {
	j, err := e.cfg.Store.Peek(ctx, f.Tenant, f.Job)
	if err != nil {
		return end, err
	}
	if u.Poisoned() {
		return end, &job.Failure{Permanent: true, Reason: job.Reason{
			Code: "exception", Message: fmt.Sprintf("unit %s was given up: its worker was lost %d times", u.ID, u.Lost),
		}}
	}
	if j.State == job.Queued {
		j, err = e.cfg.Store.Update(ctx, f.Tenant, f.Job, func(j job.Job) (job.Job, error) { return j.Start(e.cfg.Now()) })
		if err != nil {
			return end, err
		}
	}
	err = guard(func() error { end, err = e.cfg.Handlers[u.Kind].Run(ctx, j, u, f); return err })
	if err == nil && end.State != job.Succeeded && end.State != job.Failed && end.State != job.Queued {
		err = fmt.Errorf("engine: a handler ended a unit as %q", end.State)
	}
	return end, err
}

// renew prolongs the lease until ctx ends, and ends it if it cannot.
func (e *Engine) renew(ctx context.Context, f store.Fence, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(e.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.cfg.Store.Renew(ctx, f, e.cfg.Lease); errors.Is(err, store.ErrFenced) {
			cancel(errLost)
			return
		}
	}
}

// verdict is how the attempt ends. What was asked of the attempt from outside
// comes before how its handler took it.
func (e *Engine) verdict(u job.Unit, end job.UnitEnd, err, why error) job.UnitEnd {
	switch {
	case err == nil:
		return end
	case errors.Is(why, errCancelled), errors.Is(why, errLost):
		return job.UnitEnd{State: job.Cancelled}
	case errors.Is(why, errShutdown):
		return job.UnitEnd{State: job.Queued}
	case errors.Is(err, store.ErrFenced):
		// The handler noticed before the lease was to be renewed.
		e.cfg.Log.Warn("a unit is another's", "job", u.Job, "kind", u.Kind, "unit", u.ID, "attempt", u.Attempt)
		return job.UnitEnd{State: job.Queued, RunAt: e.cfg.Now().Add(away)}
	case errors.Is(err, store.ErrTransient):
		// That the database was away is no error of the unit's.
		e.cfg.Log.Warn("a unit is put back until the database answers", "job", u.Job, "kind", u.Kind, "unit", u.ID, "attempt", u.Attempt, "error", err)
		return job.UnitEnd{State: job.Queued, RunAt: e.cfg.Now().Add(away)}
	}
	e.cfg.Log.Error("a unit erred", "job", u.Job, "kind", u.Kind, "unit", u.ID, "attempt", u.Attempt, "error", err)
	reason, permanent := reasonOf(err)
	if permanent || u.Exhausted() {
		return job.UnitEnd{State: job.Failed, Reason: &reason, Erred: true}
	}
	return job.UnitEnd{State: job.Queued, Reason: &reason, Erred: true, RunAt: e.cfg.Now().Add(u.Backoff())}
}

// away is how long a unit rests whose worker found that the database was away.
const away = time.Second

// reasonOf says what a person may read of an error.
func reasonOf(err error) (r job.Reason, permanent bool) {
	if f := (*job.Failure)(nil); errors.As(err, &f) {
		return f.Reason, f.Permanent
	}
	if errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) {
		return job.Reason{Code: "no-store", Message: "the server's disk is full; free space, then start the job again"}, false
	}
	return job.Reason{Code: "exception", Message: "internal error; the server's log has the cause"}, false
}

// rest is how long a unit rests that read what is being erased.
const rest = time.Second

// end ends the attempt, trying again while the store cannot, and gives the end
// as the store has it: that of an attempt whose parts are being erased is that
// it was put back, and of one that it cannot end its State is "". Drop is then
// what the attempt wrote.
func (e *Engine) end(ctx context.Context, u job.Unit, f store.Fence, end job.UnitEnd) job.UnitEnd {
	wrote := end.Parts
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := e.cfg.Store.End(ctx, f, end)
		switch {
		case err == nil && end.State == job.Succeeded:
			return end
		case err == nil:
			end.Drop = wrote
			return end
		case errors.Is(err, store.ErrErased):
			// It is no error: the unit reads what is left.
			end = job.UnitEnd{State: job.Queued, RunAt: e.cfg.Now().Add(rest)}
			continue
		case errors.Is(err, store.ErrFenced):
			return job.UnitEnd{Drop: wrote}
		case errors.Is(err, store.ErrClosed):
			return job.UnitEnd{}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			// The lease will run out, and the unit is done again.
			e.cfg.Log.Error("end a unit", "job", u.Job, "unit", u.ID, "error", err)
			return job.UnitEnd{}
		}
	}
}
