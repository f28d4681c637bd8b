package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// holding is a part of an attempt that holds a patient.
func holding(u job.Unit, patient string) job.Part {
	return job.Part{ID: u.ID, Job: u.Job, Unit: u.ID, Category: job.Output, Type: "Patient", Name: "name-" + string(rune('0'+u.Attempt)), Patients: []string{patient}}
}

// wrote ends a unit with a part that holds the patient p.
func wrote(u job.Unit) job.UnitEnd {
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 1}, Parts: []job.Part{holding(u, "p")}}
}

// eraser claims the unit of a job that erases.
func (b *bench) eraser() store.Fence {
	b.Helper()
	b.createOf("erasing", unit("0"))
	_, f, err := b.store.Claim(b.Context(), []string{"erasing"}, time.Hour)
	b.ok(err)
	return f
}

// told are the ends that a handler was told of.
type told struct {
	mu   sync.Mutex
	ends []job.UnitEnd
}

func (t *told) note(end job.UnitEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = append(t.ends, end)
}

// dropped are the states of the ends, with the names of what is to go.
func (t *told) dropped() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.ends {
		line := string(e.State)
		for _, p := range e.Drop {
			line += " " + p.Name
		}
		out = append(out, line)
	}
	return out
}

func (b *bench) parts(id string) (names []string) {
	b.Helper()
	parts, err := b.sqlite.PartsOf(b.Context(), north, id, "", 100)
	b.ok(err)
	for _, p := range parts {
		names = append(names, p.Name)
	}
	return names
}

// loud notes what the engine logs.
func loud(into *bytes.Buffer) func(*engine.Config) {
	return func(c *engine.Config) {
		c.Log = slog.New(slog.NewTextHandler(into, &slog.HandlerOptions{Level: slog.LevelError}))
	}
}

func TestAnAttemptThatReadWhatIsBeingErasedIsPutBackAndReadsAnew(t *testing.T) {
	b, w := newBench(t), new(witness)
	var (
		ends     told
		attempts []tried
		errs     bytes.Buffer
	)
	g := newGate()
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		attempts = append(attempts, tried{u.Attempt, u.Errors, u.Lost})
		if u.Attempt == 1 {
			if _, err := g.pass(ctx, u); err != nil {
				return job.UnitEnd{}, err
			}
		}
		return wrote(u), nil
	})
	h.ended = func(end job.UnitEnd) error {
		ends.note(end)
		if tally := b.tally("job-0001"); end.State == job.Queued && (tally.Queued != 1 || b.parts("job-0001") != nil) {
			t.Errorf("told of what goes before the unit was put back: %+v", tally)
		}
		return nil
	}
	stop := b.start(h, workers(1), polls, w.sees, loud(&errs))
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.ok(b.sqlite.Announce(t.Context(), b.eraser(), []string{"p"}))
	close(g.open)
	if off := b.nextTry(); off != time.Second {
		t.Errorf("it was put off for %v", off)
	}
	j := b.awaitState(id, job.Succeeded)
	stop()
	if d := cmp.Diff([]tried{{1, 0, 0}, {2, 0, 0}}, attempts); d != "" || j.Error != nil {
		t.Errorf("attempts %s, %+v", d, j.Error)
	}
	if d := cmp.Diff([]string{"queued name-1", "succeeded"}, ends.dropped()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]job.State{job.Queued, job.Succeeded}, w.states()); d != "" {
		t.Error(d)
	}
	if got := b.parts(id); !slices.Equal(got, []string{"name-2"}) || b.tally(id).Done.Resources != 1 {
		t.Errorf("parts %v, %+v", got, b.tally(id))
	}
	if errs.Len() > 0 {
		t.Errorf("logged %s", errs.String())
	}
}

// A process that ends before its handler was told leaves bytes, and a unit
// that any engine can claim.
func TestAUnitIsPutBackThoughWhatItWroteCannotBeRemoved(t *testing.T) {
	b := newBench(t)
	g := newGate()
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.Attempt == 1 {
			if _, err := g.pass(ctx, u); err != nil {
				return job.UnitEnd{}, err
			}
		}
		return wrote(u), nil
	})
	h.ended = func(job.UnitEnd) error { panic("the disk is away") }
	b.start(h, workers(1), polls)
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.ok(b.sqlite.Announce(t.Context(), b.eraser(), []string{"p"}))
	close(g.open)
	b.nextTry()
	b.awaitState(id, job.Succeeded)
}

func TestAnAttemptThatWasFencedIsToldOfWhatItWrote(t *testing.T) {
	b := newBench(t)
	var ends told
	g := newGate()
	h := run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		_, err := g.pass(ctx, u)
		return wrote(u), err
	})
	h.ended = func(end job.UnitEnd) error { ends.note(end); return nil }
	stop := b.start(h, workers(1))
	b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.clock.advance(2 * time.Hour)
	b.claim()
	close(g.open)
	b.await("the first worker tries to end", func() bool { return b.store.count("end done") == 1 })
	stop()
	if d := cmp.Diff([]string{" name-1"}, ends.dropped()); d != "" {
		t.Error(d)
	}
}

// Whoever finds that its unit is another's need not be heard as if it erred.
func TestAHandlerThatIsFencedDoesNotErr(t *testing.T) {
	b := newBench(t)
	var errs bytes.Buffer
	g := newGate()
	stop := b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if _, err := g.pass(ctx, u); err != nil {
			return job.UnitEnd{}, err
		}
		return job.UnitEnd{}, store.ErrFenced
	}), workers(1), loud(&errs))
	id := b.create(unit("0a"))
	b.recv("the unit", g.entered)
	b.clock.advance(2 * time.Hour)
	b.claim()
	close(g.open)
	b.await("it tries to end", func() bool { return b.store.count("end done") == 1 })
	stop()
	if got := b.tally(id); got.Running != 1 || got.Errors != 0 || errs.Len() > 0 {
		t.Errorf("%+v, logged %s", got, errs.String())
	}
}

// The last unit has ended, its job was counted, and before that is written the
// job begins anew.
func TestAJobThatBeganAnewIsNotSettledByACountFromBefore(t *testing.T) {
	b, r := newBench(t), new(ran)
	voided := false
	b.onCall(func(call string) error {
		if call == "tally done" && b.store.count("end done") == 2 && !voided {
			voided = true
			_, err := b.sqlite.Void(t.Context(), b.eraser(), []string{"p"})
			b.ok(err)
		}
		return nil
	})
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		r.note(u)
		if u.Phase == 0 {
			return succeeded, nil
		}
		return wrote(u), nil
	}), workers(1), polls)
	id := b.create(units("0a", "1a")...)
	b.nextTry()
	j := b.awaitState(id, job.Succeeded)
	if got := r.take(); !slices.Equal(got, []string{"0a", "1a", "1a"}) || j.Restarts != 1 {
		t.Errorf("%v ran, %d restarts", got, j.Restarts)
	}
	if got := b.parts(id); !slices.Equal(got, []string{"name-2"}) {
		t.Errorf("parts %v", got)
	}
}
