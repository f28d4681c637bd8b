package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
)

// The engines of these tests do not poll: that they stop shows that they are
// woken.

func TestCancelBreaksOffTheWork(t *testing.T) {
	b := newBench(t)
	g := newGate()
	var discards atomic.Int64
	h := run(g.pass)
	h.discard = func(job.Job) error { discards.Add(1); return nil }
	b.start(h)
	id := b.create(units("0a", "0b", "0c", "1a")...)
	b.recv("a unit at work", g.entered)
	b.recv("a unit at work", g.entered)
	b.cancel(id)
	j := b.awaitState(id, job.Cancelled)
	if j.Poll(b.clock.Now()) != job.WasStopped || j.Error != nil {
		t.Errorf("%+v", j)
	}
	if got := b.tally(id); got.Cancelled != 2 || got.Queued != 2 || got.Running != 0 {
		t.Errorf("%+v", got)
	}
	if discards.Load() != 0 {
		t.Error("a cancelled job was discarded before it expired")
	}
}

func TestDismissStopsTheWorkAndThenRemovesTheJob(t *testing.T) {
	b := newBench(t)
	g := newGate()
	var returned, discards atomic.Int64
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		defer returned.Add(1)
		return g.pass(ctx, u)
	})
	h.discard = func(j job.Job) error {
		if returned.Load() != 2 || j.ID != "job-0001" || j.Tenant != string(north) {
			t.Errorf("%s is discarded with %d units ended", j.ID, returned.Load())
		}
		if !b.has(j.ID) {
			t.Error("the record went before what it leads to")
		}
		discards.Add(1)
		return nil
	}
	b.start(h)
	id := b.create(units("0a", "0b", "1a")...)
	b.recv("a unit at work", g.entered)
	b.recv("a unit at work", g.entered)
	b.dismiss(id)
	b.awaitGone(id)
	if discards.Load() != 1 {
		t.Errorf("discarded %d times", discards.Load())
	}
}

func TestAJobThatWaitsIsCancelledAndDismissedToo(t *testing.T) {
	b := newBench(t)
	b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) {
		t.Error("a unit ran before its time")
		return succeeded, nil
	}))
	later := unit("0a")
	later.RunAt = b.clock.Now().Add(time.Hour)
	cancelled, dismissed := b.create(later), b.create(later)
	b.cancel(cancelled)
	b.dismiss(dismissed)
	b.awaitState(cancelled, job.Cancelled)
	b.awaitGone(dismissed)
}

func TestAJobThatEndedIsDismissed(t *testing.T) {
	b := newBench(t)
	b.start(handler{})
	id := b.create(unit("0a"))
	b.awaitState(id, job.Succeeded)
	b.dismiss(id)
	b.awaitGone(id)
}

func TestCancelOfOneJobDoesNotStopAnother(t *testing.T) {
	b := newBench(t)
	g := newGate()
	b.start(run(g.pass))
	one, other := b.create(unit("0a")), b.create(unit("0a"))
	b.recv("a unit at work", g.entered)
	b.recv("a unit at work", g.entered)
	b.cancel(one)
	b.awaitState(one, job.Cancelled)
	close(g.open)
	b.awaitState(other, job.Succeeded)
}

// A handler that had done its work when the cancel came has done it.
func TestWorkThatWasDoneWhenTheCancelCameIsCounted(t *testing.T) {
	b := newBench(t)
	entered := make(chan job.Unit, 1)
	b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		entered <- u
		<-ctx.Done()
		return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7}}, nil
	}))
	id := b.create(unit("0a"))
	b.recv("the unit", entered)
	b.cancel(id)
	b.awaitState(id, job.Cancelled)
	if got := b.tally(id); got.Succeeded != 1 || got.Done.Resources != 7 {
		t.Errorf("%+v", got)
	}
}

func TestShutdownPutsAUnitBackAndANewEngineGoesOn(t *testing.T) {
	b := newBench(t)
	g := newGate()
	stop := b.start(run(g.pass))
	id := b.create(units("0a", "1a")...)
	b.recv("the unit", g.entered)
	stop()
	if got := b.tally(id); got.Queued != 2 || got.Running != 0 {
		t.Errorf("after the shutdown: %+v", got)
	}
	if j := b.job(id); j.State != job.Running || j.Error != nil {
		t.Errorf("after the shutdown: %+v", j)
	}
	b.reopen()
	again := make(chan job.Unit, 2)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) { again <- u; return succeeded, nil }))
	b.awaitState(id, job.Succeeded)
	if u := b.recv("the unit again", again); u.ID != "0a" || (tried{u.Attempt, u.Errors, u.Lost}) != (tried{2, 0, 0}) {
		t.Errorf("%+v", u)
	}
}

func TestWhatIsDoneAtShutdownIsCommitted(t *testing.T) {
	b := newBench(t)
	entered := make(chan job.Unit, 1)
	stop := b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		entered <- u
		<-ctx.Done()
		return succeeded, nil
	}))
	id := b.create(unit("0a"))
	b.recv("the unit", entered)
	stop()
	if s := b.job(id).State; s != job.Succeeded {
		t.Errorf("the job is %s", s)
	}
}

func TestACrashCostsTheUnitThatWasAtWork(t *testing.T) {
	b := newBench(t)
	id := b.create(units("0a", "0b", "1a")...)
	b.update(id, func(j job.Job) (job.Job, error) { return j.Start(b.clock.Now()) })
	_, done := b.claim()
	b.ok(b.store.End(t.Context(), done, succeeded))
	b.claim() // and nothing more is heard of that worker
	b.reopen()
	got := make(chan job.Unit, 10)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) { got <- u; return succeeded, nil }), workers(1))
	b.awaitState(id, job.Succeeded)
	type ran struct {
		ID string
		tried
	}
	var all []ran
	for range len(got) {
		u := <-got
		all = append(all, ran{u.ID, tried{u.Attempt, u.Errors, u.Lost}})
	}
	if diff := cmp.Diff([]ran{{"0b", tried{2, 0, 1}}, {"1a", tried{1, 0, 0}}}, all, cmp.AllowUnexported(ran{})); diff != "" {
		t.Error(diff)
	}
}

func TestAnEngineThatIsStoppedAtOnceHasDoneNothing(t *testing.T) {
	b := newBench(t)
	id := b.create(unit("0a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	engine.New(engine.Config{
		Store: b.store, Now: b.clock.Now,
		Handlers: map[string]engine.Handler{kind: run(func(context.Context, job.Unit) (job.UnitEnd, error) {
			return job.UnitEnd{}, errors.New("it ran")
		})},
	}).Run(ctx)
	if got := b.tally(id); got.Queued != 1 {
		t.Errorf("%+v", got)
	}
}
