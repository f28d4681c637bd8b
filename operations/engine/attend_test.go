package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/store"
)

// deaf is a store whose changes nobody is told of, as those of another process
// may be.
type deaf struct{ engine.Store }

func (deaf) Watch(context.Context) <-chan struct{} { return nil }

func (b *bench) deaf(c *engine.Config) { c.Store = deaf{b.store} }

func TestAHintListsOnlyJobsThatNeedTheEngine(t *testing.T) {
	b := newBench(t)
	const waiting, units = 30, 20
	for range waiting {
		b.create() // they stay under way
	}
	var us []job.Unit
	for i := range units {
		us = append(us, unit(fmt.Sprintf("0-%02d", i)))
	}
	id := b.create(us...)
	stop := b.start(handler{})
	b.awaitState(id, job.Succeeded)
	b.cancel("job-0001")
	b.awaitState("job-0001", job.Cancelled)
	stop()
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if all := b.store.listed[true]; all != waiting+1 {
		t.Errorf("%d jobs were listed, want each of %d once, at the start", all, waiting+1)
	}
	if few := b.store.listed[false]; few < 1 || few > 10 {
		t.Errorf("one job needed the engine, and %d were listed", few)
	}
}

// A cancel, a dismissal and the end of a lifetime that the engine is not told
// of are seen when it looks by itself.
func TestWhatNobodyHintsAtIsSeenByLooking(t *testing.T) {
	b := newBench(t)
	g := newGate()
	b.start(run(g.pass), b.deaf, polls)
	atWork := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	queued, dismissed := b.create(), b.create()
	b.cancel(atWork)
	b.cancel(queued)
	b.dismiss(dismissed)
	b.awaitState(atWork, job.Cancelled)
	b.awaitState(queued, job.Cancelled)
	b.awaitGone(dismissed)
	b.clock.advance(lifetime)
	b.awaitGone(atWork)
}

// Another engine ended the last unit of a job and was gone before it settled
// that: this one does, once a lease.
func TestAJobThatAnotherEngineLeftUnsettledIsSettledWithinALease(t *testing.T) {
	b := newBench(t)
	b.start(handler{}, polls, workers(1), func(c *engine.Config) {
		c.Lease, c.Handlers = time.Minute, map[string]engine.Handler{"other": handler{}}
	})
	b.awaitRounds()
	id := b.create(unit("0a"))
	b.update(id, func(j job.Job) (job.Job, error) { return j.Start(b.clock.Now()) })
	_, f := b.claim()
	b.ok(b.store.End(t.Context(), f, succeeded))
	b.awaitRounds()
	if s := b.job(id).State; s != job.Running {
		t.Fatalf("the job is %s at once", s)
	}
	b.clock.advance(time.Minute)
	b.awaitState(id, job.Succeeded)
}

// What was counted before a job began anew does not end it.
func TestAJobThatBeginsAnewWhileItIsSettledIsDoneAgain(t *testing.T) {
	b := newBench(t)
	b.createOf("purge", unit("0a"))
	_, purge, err := b.store.Claim(t.Context(), []string{"purge"}, time.Hour)
	b.ok(err)
	id := b.create(units("0a", "1a")...)
	var once sync.Once
	b.onCall(func(call string) (err error) {
		if all, _ := b.sqlite.Tally(t.Context(), north, id); call == "update" && all.Succeeded == 2 {
			once.Do(func() { _, err = b.sqlite.Void(t.Context(), purge, []string{"p"}) })
		}
		return err
	})
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		end := succeeded
		if u.ID == "1a" && u.Attempt == 1 {
			end.Parts = []job.Part{{ID: "x", Category: job.Output, Type: "Patient", Name: "x", Patients: []string{"p"}}}
		}
		return end, nil
	}), polls)
	b.await("it begins anew", func() bool { return b.job(id).Restarts == 1 })
	b.awaitRounds()
	if got := b.tally(id); b.job(id).State != job.Running || got.Queued != 1 {
		t.Fatalf("the job is %s, its tally %+v", b.job(id).State, got)
	}
	b.clock.advance(store.AnewAfter)
	b.awaitState(id, job.Succeeded)
	if got := b.tally(id); got.Attempts != 3 {
		t.Errorf("the tally is %+v", got)
	}
}
