package engine_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/store"

	"firebreak/operations/engine"
	"firebreak/operations/job"
)

func (b *bench) retry(id string) {
	b.Helper()
	j, err := b.store.Retry(b.Context(), north, id, b.clock.Now(), store.Limit{})
	b.ok(err)
	if j.State != job.Queued || j.Retries == 0 {
		b.Fatalf("after the retry: %+v", j)
	}
}

// ran notes the units that a handler works on.
type ran struct {
	mu  sync.Mutex
	ids []string
}

func (r *ran) note(u job.Unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, u.ID)
}

func (r *ran) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := r.ids
	r.ids = nil
	slices.Sort(ids)
	return ids
}

func TestARetryOfAFailedJobRunsWhatHasNotSucceeded(t *testing.T) {
	b, r := newBench(t), new(ran)
	var healed atomic.Bool
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		r.note(u)
		if u.ID == "0b" && !healed.Load() {
			return job.UnitEnd{State: job.Failed, Reason: &job.Reason{Code: "no-store", Message: "full"}, Erred: true}, nil
		}
		return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 1}}, nil
	}), workers(1))
	id := b.create(units("0a", "0b", "1a")...)
	b.awaitState(id, job.Failed)
	if got := r.take(); !slices.Equal(got, []string{"0a", "0b"}) {
		t.Errorf("first %v ran", got)
	}
	healed.Store(true)
	b.retry(id)
	if j := b.awaitState(id, job.Succeeded); j.Error != nil || j.Retries != 1 {
		t.Errorf("%+v", j)
	}
	if got := r.take(); !slices.Equal(got, []string{"0b", "1a"}) {
		t.Errorf("then %v ran", got)
	}
	if got := b.tally(id); got.Done.Resources != 3 || got.Attempts != 4 {
		t.Errorf("%+v", got)
	}
}

func TestARetryOfACancelledJobGoesOn(t *testing.T) {
	b, g := newBench(t), newGate()
	b.start(run(g.pass), workers(1))
	id := b.create(units("0a", "0b", "1a")...)
	b.recv("a unit at work", g.entered)
	b.cancel(id)
	b.awaitState(id, job.Cancelled)
	close(g.open)
	b.retry(id)
	b.awaitState(id, job.Succeeded)
	if got := b.tally(id); got.Succeeded != 3 || got.Cancelled != 0 || got.Lost != 0 {
		t.Errorf("%+v", got)
	}
}

// A job that was cancelled just when all its units had succeeded has nothing
// left to claim: it succeeds when all jobs are settled the next time.
func TestARetryOfAJobThatHadDoneAllItsWorkSucceeds(t *testing.T) {
	b := newBench(t)
	id := b.create(unit("0a"))
	_, f := b.claim()
	b.cancel(id)
	b.ok(b.store.End(t.Context(), f, succeeded))
	b.start(handler{}, polls, func(c *engine.Config) { c.Lease = time.Minute })
	b.awaitState(id, job.Cancelled)
	b.retry(id)
	b.awaitRounds()
	b.clock.advance(time.Minute)
	b.awaitState(id, job.Succeeded)
}
