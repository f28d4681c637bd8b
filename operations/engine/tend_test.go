package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/store"
)

func TestACrashBeforeTheEndOfTheJobIsHealedAtStart(t *testing.T) {
	for want, end := range map[job.State]job.UnitEnd{
		job.Succeeded: succeeded,
		job.Failed:    {State: job.Failed, Reason: &job.Reason{Code: "exception", Message: "m"}, Erred: true},
	} {
		b := newBench(t)
		id := b.create(unit("0a"))
		b.update(id, func(j job.Job) (job.Job, error) { return j.Start(b.clock.Now()) })
		_, f := b.claim()
		b.ok(b.store.End(t.Context(), f, end))
		if s := b.job(id).State; s != job.Running {
			t.Fatalf("the job is %s", s)
		}
		b.reopen()
		b.start(handler{})
		b.awaitState(id, want)
	}
}

func TestACancelBeforeACrashIsDoneAtStart(t *testing.T) {
	b := newBench(t)
	cancelled, dismissed := b.create(unit("0a")), b.create(unit("0a"))
	b.cancel(cancelled)
	b.dismiss(dismissed)
	b.reopen()
	b.start(handler{})
	b.awaitState(cancelled, job.Cancelled)
	b.awaitGone(dismissed)
}

// The end of a job that could not be written is not forgotten.
func TestAJobThatCouldNotBeEndedIsEndedLater(t *testing.T) {
	for _, call := range []string{"tally", "update"} {
		b := newBench(t)
		failed := make(chan job.Unit, 1)
		var ended atomic.Bool
		b.onCall(func(c string) error {
			ended.CompareAndSwap(false, c == "end done")
			if c == call && ended.Load() {
				select {
				case failed <- job.Unit{}:
					return errors.New("the disk is away")
				default:
				}
			}
			return nil
		})
		b.start(handler{}, polls)
		b.awaitState(b.create(unit("0a")), job.Succeeded)
		b.recv("a "+call+" that failed", failed)
	}
}

func TestAnExpiredJobIsDiscardedAndNotBefore(t *testing.T) {
	b := newBench(t)
	var discards atomic.Int64
	expires := b.clock.Now().Add(lifetime)
	b.start(handler{discard: func(job.Job) error {
		discards.Add(1)
		if now := b.clock.Now(); now.Before(expires) {
			t.Errorf("discarded at %v, and it expires at %v", now, expires)
		}
		return nil
	}}, polls)
	id := b.create(unit("0a"))
	b.awaitState(id, job.Succeeded)
	b.clock.advance(lifetime - time.Millisecond)
	b.awaitRounds()
	if !b.has(id) {
		t.Fatal("it is gone before it expired")
	}
	b.clock.advance(time.Millisecond)
	b.awaitGone(id)
	if discards.Load() != 1 {
		t.Errorf("discarded %d times", discards.Load())
	}
}

func TestAJobWhoseFilesCannotBeRemovedStaysAndIsTriedAgain(t *testing.T) {
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("the disk is away") },
		"a panic":  func() error { panic("the disk is away") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var tries atomic.Int64
			b.start(handler{discard: func(j job.Job) error {
				if !b.has(j.ID) {
					t.Error("the record is gone, and the files are there")
				}
				if tries.Add(1) < 3 {
					return fail()
				}
				return nil
			}}, polls)
			id, other := b.create(unit("0a")), b.create(unit("0a"))
			b.awaitState(id, job.Succeeded)
			b.dismiss(id)
			b.awaitGone(id)
			if tries.Load() != 3 {
				t.Errorf("tried %d times", tries.Load())
			}
			b.awaitState(other, job.Succeeded)
		})
	}
}

func TestMoreJobsThanOnePageAreLookedAfter(t *testing.T) {
	b := newBench(t)
	for range 210 {
		b.create() // they stay
	}
	last := b.create()
	b.dismiss(last)
	b.start(handler{})
	b.awaitGone(last)
}

// Between the count of a job's units and what is made of it another engine may
// claim one, and a cancel may come: the job is stopped when that unit has ended.
func TestAJobIsNotStoppedByACountFromBeforeTheCancel(t *testing.T) {
	for name, first := range map[string]func() (job.UnitEnd, error){
		"after a success": func() (job.UnitEnd, error) { return succeeded, nil },
		"after a failure": func() (job.UnitEnd, error) { return job.UnitEnd{State: job.Failed}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			later := unit("0b")
			later.RunAt = b.clock.Now().Add(time.Minute)
			var (
				counted atomic.Bool
				other   = make(chan store.Fence, 1)
			)
			b.onCall(func(call string) error {
				if call == "tally done" && b.store.count("end done") == 1 && counted.CompareAndSwap(false, true) {
					b.clock.advance(time.Minute)
					_, f := b.claim()
					b.cancel("job-0001")
					other <- f
				}
				return nil
			})
			b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) { return first() }), workers(1))
			id := b.create(unit("0a"), later)
			f := <-other
			b.awaitRoundsOf(3)
			if s := b.job(id).State; s != job.Running {
				t.Errorf("it is %s while a unit is at work", s)
			}
			b.ok(b.store.End(t.Context(), f, job.UnitEnd{State: job.Cancelled}))
			b.awaitState(id, job.Cancelled)
		})
	}
}

// awaitRoundsOf has an engine that does not poll look after all jobs so often.
func (b *bench) awaitRoundsOf(n int) {
	b.Helper()
	for range n {
		before := b.store.count("attend done")
		b.update("job-0001", func(j job.Job) (job.Job, error) { return j, nil }) // a hint
		b.await("a round", func() bool { return b.store.count("attend done") > before })
	}
}

// A job can be final while a unit of it is at work: it was claimed when the
// last of the others was just failing. What it writes must not outlive the job.
func TestWhatADismissedJobHasAtWorkIsBrokenOffBeforeItIsDiscarded(t *testing.T) {
	b := newBench(t)
	later := unit("0b")
	later.RunAt = b.clock.Now().Add(time.Minute)
	var (
		g        = newGate()
		counted  atomic.Bool
		returned atomic.Bool
		atWork   = make(chan job.Unit, 1)
	)
	b.onCall(func(call string) error {
		if call == "tally done" && b.store.count("end done") == 1 && counted.CompareAndSwap(false, true) {
			b.clock.advance(time.Minute)
			atWork <- <-g.entered
		}
		return nil
	})
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.ID == "0a" {
			return job.UnitEnd{State: job.Failed}, nil
		}
		defer returned.Store(true)
		return g.pass(ctx, u)
	})
	h.discard = func(job.Job) error {
		if !returned.Load() {
			t.Error("discarded while a unit is at work")
		}
		return nil
	}
	b.start(h, polls)
	id := b.create(unit("0a"), later)
	b.awaitState(id, job.Failed)
	b.recv("the other unit", atWork)
	b.dismiss(id)
	b.awaitGone(id)
}

func TestAnEngineOutlivesAStoreThatAnswersNothing(t *testing.T) {
	b := newBench(t)
	var down atomic.Bool
	down.Store(true)
	b.onCall(func(call string) error {
		if down.Load() && call == "attend" {
			return errors.New("away")
		}
		return nil
	})
	b.start(handler{}, polls, func(c *engine.Config) { c.Workers = 0 })
	id := b.create()
	b.dismiss(id)
	b.awaitRounds()
	if !b.has(id) {
		t.Error("it is gone")
	}
	down.Store(false)
	b.awaitGone(id)
}

// Cancel was asked for while a unit was at work, and then its worker died: no
// unit of a job that is to stop is claimed again, so nobody ends that one.
func TestACancelledJobWhoseWorkerIsGoneEnds(t *testing.T) {
	b := newBench(t)
	cancelled, dismissed := b.create(unit("0a")), b.create(unit("0a"))
	b.claim()
	b.claim()
	b.cancel(cancelled)
	b.dismiss(dismissed)
	b.reopen()
	b.start(handler{}, polls)
	b.awaitState(cancelled, job.Cancelled)
	b.awaitGone(dismissed)
}
