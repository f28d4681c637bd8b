package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/store"
)

// short has leases renewed every few milliseconds.
func short(c *engine.Config) { c.Lease = 15 * time.Millisecond }

func TestAWorkerThatLostItsLeaseCanFinishNothing(t *testing.T) {
	b := newBench(t)
	g := newGate()
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		_, err := g.pass(ctx, u)
		return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 1}}, err
	})
	h.ended = func(job.UnitEnd) error { t.Error("Ended, though nothing was committed"); return nil }
	stop := b.start(h, workers(1))
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.clock.advance(2 * time.Hour)
	u, successor := b.claim()
	if u.Attempt != 2 || u.Lost != 1 {
		t.Errorf("%+v", u)
	}
	close(g.open)
	b.await("the first worker tries to end", func() bool { return b.store.count("end done") == 1 })
	stop()
	if got := b.tally(id); got.Running != 1 || got.Done.Resources != 0 {
		t.Errorf("the successor's attempt was ended: %+v", got)
	}
	b.ok(b.store.End(t.Context(), successor, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 2}}))
	b.start(handler{})
	b.awaitState(id, job.Succeeded)
	if got := b.tally(id); got.Done.Resources != 2 {
		t.Errorf("%+v", got)
	}
}

func TestALostLeaseBreaksOffTheWork(t *testing.T) {
	b := newBench(t)
	g := newGate()
	brokenOff := make(chan job.Unit, 1)
	stop := b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		end, err := g.pass(ctx, u)
		brokenOff <- u
		return end, err
	}), workers(1), short)
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	var successor store.Fence
	for err := store.ErrNotFound; errors.Is(err, store.ErrNotFound); { // it may be renewed in between
		b.clock.advance(time.Hour)
		_, successor, err = b.store.Claim(t.Context(), []string{kind}, 1000*time.Hour)
	}
	b.recv("the first worker is broken off", brokenOff)
	stop()
	if got := b.tally(id); got.Running != 1 || got.Cancelled != 0 || got.Queued != 0 {
		t.Errorf("%+v", got)
	}
	b.ok(b.store.End(t.Context(), successor, succeeded))
}

func TestALeaseIsRenewedForAsLongAsTheWorkTakes(t *testing.T) {
	b := newBench(t)
	g := newGate()
	var renewals atomic.Int64
	b.onCall(func(call string) error {
		if call == "renew" && renewals.Add(1) == 2 {
			return errors.New("the store is busy")
		}
		return nil
	})
	b.start(run(g.pass), workers(1), short)
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.await("renewals", func() bool { return renewals.Load() > 4 })
	close(g.open)
	b.awaitState(id, job.Succeeded)
	if n := b.store.count("end done"); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestAUnitThatTookTooManyWorkersWithItIsGivenUp(t *testing.T) {
	for lost, want := range map[int]job.State{job.MaxLost: job.Succeeded, job.MaxLost + 1: job.Failed} {
		b := newBench(t)
		id := b.create(unit("0a"))
		for range lost {
			b.claim()
			b.clock.advance(time.Hour)
		}
		var runs atomic.Int64
		b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
			if runs.Add(1); u.Lost != lost {
				t.Errorf("%d lost, want %d", u.Lost, lost)
			}
			return succeeded, nil
		}))
		b.await("the end", func() bool { return b.job(id).State.Final() })
		j := b.job(id)
		if j.State != want || runs.Load() == 1 != (want == job.Succeeded) {
			t.Errorf("with %d lost: %s after %d runs", lost, j.State, runs.Load())
		}
		if want == job.Failed && (j.Error.Code != "exception" || !strings.Contains(j.Error.Message, "0a was given up")) {
			t.Errorf("%+v", j.Error)
		}
	}
}
