package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"firebreak/operations/engine"
	"firebreak/operations/job"
)

// witness keeps what an engine tells.
type witness struct {
	mu     sync.Mutex
	begun  []job.Unit
	ended  []job.UnitEnd
	events []job.Event
	fails  error // of the next record
}

func (w *witness) sees(c *engine.Config) {
	c.Observe = func(ctx context.Context, u job.Unit) (context.Context, func(job.UnitEnd)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.begun = append(w.begun, u)
		return context.WithValue(ctx, witnessKey{}, u.ID), func(end job.UnitEnd) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, end)
		}
	}
	c.Record = func(_ context.Context, e job.Event) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := w.fails; err != nil {
			w.fails = nil
			return err
		}
		w.events = append(w.events, e)
		return nil
	}
}

type witnessKey struct{}

// states are those in which attempts ended.
func (w *witness) states() []job.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []job.State
	for _, e := range w.ended {
		out = append(out, e.State)
	}
	return out
}

func (w *witness) recorded() []job.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]job.Event(nil), w.events...)
}

func TestEachAttemptIsSeenFromItsBeginningToItsEnd(t *testing.T) {
	b, w := newBench(t), new(witness)
	id := b.create(unit("0"))
	b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if ctx.Value(witnessKey{}) != "0" {
			t.Error("the handler has another context")
		}
		if u.Attempt == 1 {
			return job.UnitEnd{}, errors.New("once")
		}
		return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7, Bytes: 70}}, nil
	}), polls, w.sees)
	b.nextTry()
	b.await("the job has ended", func() bool { return b.job(id).State == job.Succeeded })
	if got := w.states(); len(got) != 2 || got[0] != job.Queued || got[1] != job.Succeeded {
		t.Errorf("attempts ended in %v", got)
	}
	if w.begun[0].Attempt != 1 || w.begun[1].Attempt != 2 || !w.ended[0].Erred || w.ended[1].Counts.Resources != 7 {
		t.Errorf("begun %+v, ended %+v", w.begun, w.ended)
	}
}

func TestAnAttemptThatLostItsUnitIsSeenToEndNothing(t *testing.T) {
	b, w, g := newBench(t), new(witness), newGate()
	b.create(unit("0"))
	b.start(run(g.pass), workers(1), w.sees, polls)
	b.recv("the unit is at work", g.entered)
	b.clock.advance(2 * lifetime) // the lease runs out
	b.claim()
	close(g.open)
	b.await("the attempt has ended", func() bool { return len(w.states()) == 1 })
	if got := w.states()[0]; got != "" {
		t.Errorf("it ended as %q", got)
	}
}

func TestAnExpiryIsRecordedBeforeAnythingGoes(t *testing.T) {
	b, w := newBench(t), &witness{fails: errors.New("disk full")}
	id := b.create(unit("0"))
	h := run(func(context.Context, job.Unit) (job.UnitEnd, error) { return succeeded, nil })
	h.discard = func(j job.Job) error {
		if len(w.recorded()) == 0 {
			t.Error("files go before it is recorded")
		}
		return nil
	}
	b.start(h, polls, w.sees)
	b.await("the job has ended", func() bool { return b.job(id).State == job.Succeeded })
	b.clock.advance(2 * lifetime)
	b.await("the job is removed", func() bool { return b.store.count("remove done") > 0 })
	got := w.recorded()
	if len(got) != 1 || got[0] != (job.Event{Act: job.Expiry, Tenant: string(north), Job: id, Kind: kind}) {
		t.Errorf("recorded %+v", got)
	}
}

func TestADismissedJobIsRecordedByWhoDismissedIt(t *testing.T) {
	b, w := newBench(t), new(witness)
	id := b.create(unit("0"))
	b.dismiss(id)
	b.start(handler{}, polls, w.sees)
	b.await("the job is removed", func() bool { return b.store.count("remove done") > 0 })
	if got := w.recorded(); got != nil {
		t.Errorf("recorded %+v", got)
	}
}
