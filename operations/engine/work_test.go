package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

func TestAUnitBeginsOnlyWhenAllOfLowerPhasesHaveEnded(t *testing.T) {
	b := newBench(t)
	var (
		mu    sync.Mutex
		ended []int
	)
	all := units("0a", "0b", "1a", "1b", "1c", "2a")
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, other := range all {
			if other.Phase < u.Phase && !slices.Contains(ended, other.Phase) {
				t.Errorf("%s began before %s ended", u.ID, other.ID)
			}
		}
		ended = append(ended, u.Phase)
		return succeeded, nil
	}), workers(3))
	id := b.create(all...)
	b.awaitState(id, job.Succeeded)
	if want := []int{0, 0, 1, 1, 1, 2}; !slices.Equal(ended, want) {
		t.Errorf("the phases came as %v", ended)
	}
}

func TestAsManyUnitsAsWorkersRunAtOnce(t *testing.T) {
	b := newBench(t)
	var now, most atomic.Int64
	g := newGate()
	b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		return g.pass(ctx, u)
	}), workers(3))
	id := b.create(units("0a", "0b", "0c", "0d", "0e", "0f", "0g")...)
	for range 3 {
		b.recv("three units at once", g.entered)
	}
	close(g.open)
	b.awaitState(id, job.Succeeded)
	if most.Load() != 3 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestWhatAPlanAddsIsDoneAfterIt(t *testing.T) {
	b := newBench(t)
	var h handler
	h.run = func(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
		if j.State != job.Running || j.Started.IsZero() {
			t.Errorf("at work, the job is %s", j.State)
		}
		end := job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 10}}
		if u.Phase > 0 {
			return end, nil
		}
		return succeeded, b.store.Add(ctx, f, of(j.ID, kind, units("1a", "1b", "2a")))
	}
	b.start(h)
	id := b.create(unit("0"))
	j := b.awaitState(id, job.Succeeded)
	if got := b.tally(id); got.Succeeded != 4 || got.Done.Resources != 30 {
		t.Errorf("%+v", got)
	}
	if j.Poll(b.clock.Now()) != job.Ready || !j.Expires.Equal(b.clock.Now().Add(lifetime)) {
		t.Errorf("%+v", j)
	}
}

func TestAPlanThatFindsNothingToDoSucceeds(t *testing.T) {
	b := newBench(t)
	b.start(handler{})
	b.awaitState(b.create(unit("0")), job.Succeeded)
}

// tried is what an attempt was told of those before it.
type tried struct{ Attempt, Errors, Lost int }

func TestAnErrorIsTriedAgainLaterAndTheFifthFailsTheJob(t *testing.T) {
	b := newBench(t)
	var attempts []tried
	reason := job.Reason{Code: "transient", Message: "the hill was too steep"}
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		attempts = append(attempts, tried{u.Attempt, u.Errors, u.Lost})
		return job.UnitEnd{}, fmt.Errorf("dig: %w", &job.Failure{Reason: reason, Err: errors.New("tired")})
	}), polls)
	id := b.create(unit("0a"), unit("1a"))
	var pauses []time.Duration
	for range 4 {
		pauses = append(pauses, b.nextTry())
	}
	j := b.awaitState(id, job.Failed)
	if want := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(pauses, want) {
		t.Errorf("it was put off for %v", pauses)
	}
	if diff := cmp.Diff([]tried{{1, 0, 0}, {2, 1, 0}, {3, 2, 0}, {4, 3, 0}, {5, 4, 0}}, attempts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&reason, j.Error); diff != "" {
		t.Error(diff)
	}
	if got := b.tally(id); got.Failed != 1 || got.Queued != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAnErrorThatPassesDoesNotFailTheJob(t *testing.T) {
	b := newBench(t)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.Errors < job.MaxErrors-1 {
			return job.UnitEnd{}, errors.New("passing")
		}
		return succeeded, nil
	}), polls)
	id := b.create(unit("0a"))
	for range job.MaxErrors - 1 {
		b.nextTry()
	}
	if j := b.awaitState(id, job.Succeeded); j.Error != nil {
		t.Errorf("%+v", j.Error)
	}
}

func TestAPermanentFailureFailsAtOnce(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int64
	reason := job.Reason{Code: "not-found", Message: "there is no such hill"}
	b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) {
		runs.Add(1)
		return job.UnitEnd{}, &job.Failure{Reason: reason, Permanent: true}
	}))
	j := b.awaitState(b.create(unit("0a")), job.Failed)
	if runs.Load() != 1 || *j.Error != reason {
		t.Errorf("after %d runs: %+v", runs.Load(), j.Error)
	}
}

func TestAUnitMayEndAsFailedByItself(t *testing.T) {
	b := newBench(t)
	reason := job.Reason{Code: "processing", Message: "given up"}
	b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) {
		return job.UnitEnd{State: job.Failed, Reason: &reason}, nil
	}))
	if j := b.awaitState(b.create(unit("0a")), job.Failed); *j.Error != reason {
		t.Errorf("%+v", j.Error)
	}
}

func TestAUnitMayPutItselfBackWithoutAnError(t *testing.T) {
	b := newBench(t)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.Errors != 0 || u.Attempt > 10 {
			return succeeded, nil
		}
		return job.UnitEnd{State: job.Queued}, nil
	}))
	b.awaitState(b.create(unit("0a")), job.Succeeded)
	if n := b.store.count("end done"); n != 11 {
		t.Errorf("%d attempts", n)
	}
}

// An end without a state would leave the unit where nobody finds it.
func TestAnEndWithoutAStateIsAnError(t *testing.T) {
	for _, end := range []job.UnitEnd{{}, {State: job.Running}, {State: job.Cancelled}, {State: "done"}} {
		b := newBench(t)
		b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
			if u.Errors == 1 {
				return succeeded, nil
			}
			return end, nil
		}), polls)
		id := b.create(unit("0a"))
		b.nextTry()
		b.awaitState(id, job.Succeeded)
	}
}

func TestAPanicIsAnErrorAndTheEngineGoesOn(t *testing.T) {
	b := newBench(t)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.ID == "0bad" && u.Errors == 0 {
			panic("the spade broke")
		}
		return succeeded, nil
	}), polls, workers(1))
	bad := b.create(unit("0bad"))
	b.nextTry()
	b.awaitState(bad, job.Succeeded)
	b.awaitState(b.create(unit("0good")), job.Succeeded)
}

func TestAReasonNeverShowsTheTextOfAnErrorThatNobodyWorded(t *testing.T) {
	const secret = "Ada Lovelace, born 1815"
	known := job.Reason{Code: "too-costly", Message: "known"}
	for name, c := range map[string]struct {
		run  func() error
		want string // code and a part of the message
	}{
		"a plain error":           {func() error { return errors.New(secret) }, "exception internal error"},
		"a wrapped error":         {func() error { return fmt.Errorf("%s: %w", secret, context.DeadlineExceeded) }, "exception internal error"},
		"a panic":                 {func() error { panic(secret) }, "exception internal error"},
		"a panic with an error":   {func() error { panic(errors.New(secret)) }, "exception internal error"},
		"a full disk":             {func() error { return fmt.Errorf("%s: %w", secret, syscall.ENOSPC) }, "no-store disk is full"},
		"a full store":            {func() error { return fmt.Errorf("%s: %w", secret, store.ErrFull) }, "no-store disk is full"},
		"the cause of a failure":  {func() error { return &job.Failure{Reason: known, Err: errors.New(secret)} }, "too-costly known"},
		"what wraps a failure":    {func() error { return fmt.Errorf("%s: %w", secret, &job.Failure{Reason: known}) }, "too-costly known"},
		"one error among several": {func() error { return errors.Join(errors.New(secret), &job.Failure{Reason: known}) }, "too-costly known"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) { return job.UnitEnd{}, c.run() }), polls)
			id := b.create(unit("0a"))
			for range job.MaxErrors - 1 {
				b.nextTry()
			}
			j := b.awaitState(id, job.Failed)
			code, message, _ := strings.Cut(c.want, " ")
			if j.Error.Code != code || !strings.Contains(j.Error.Message, message) || strings.Contains(j.Error.Message, "Ada") {
				t.Errorf("%+v", j.Error)
			}
		})
	}
}

func TestAJobFailsOnlyWhenNoUnitOfItIsAtWork(t *testing.T) {
	b := newBench(t)
	g, atWork := newGate(), make(chan struct{})
	b.start(run(func(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.ID == "0long" {
			close(atWork)
			return g.pass(ctx, u)
		}
		<-atWork
		return job.UnitEnd{}, &job.Failure{Permanent: true, Reason: job.Reason{Code: "exception", Message: "m"}}
	}))
	id := b.create(unit("0long"), unit("0short"))
	b.await("the short one has failed", func() bool { return b.store.count("end done") == 1 && b.store.count("tally done") > 0 })
	if s := b.job(id).State; s != job.Running {
		t.Errorf("the job is %s", s)
	}
	close(g.open)
	b.awaitState(id, job.Failed)
	if got := b.tally(id); got.Succeeded != 1 || got.Failed != 1 || got.Running != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOneJobThatFailsDoesNotTouchAnother(t *testing.T) {
	b := newBench(t)
	b.start(run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		if u.Job == "job-0001" {
			return job.UnitEnd{}, &job.Failure{Permanent: true, Reason: job.Reason{Code: "exception", Message: "m"}}
		}
		return succeeded, nil
	}))
	bad, good := b.create(units("0a", "1a")...), b.create(units("0a", "1a")...)
	b.awaitState(bad, job.Failed)
	b.awaitState(good, job.Succeeded)
}

func TestEndedIsToldOnceOfEachSuccessThatWasCommitted(t *testing.T) {
	b := newBench(t)
	var (
		mu   sync.Mutex
		told []string
	)
	named := func(id string) job.UnitEnd {
		return job.UnitEnd{State: job.Succeeded, Drop: []job.Part{{ID: id}}}
	}
	h := run(func(_ context.Context, u job.Unit) (job.UnitEnd, error) {
		switch {
		case u.ID == "0erring" && u.Errors == 0:
			return job.UnitEnd{}, errors.New("once")
		case u.ID == "1failing":
			return job.UnitEnd{State: job.Failed, Drop: named(u.ID).Drop}, nil
		}
		return named(u.ID), nil
	})
	h.ended = func(end job.UnitEnd) error {
		mu.Lock()
		defer mu.Unlock()
		if got := b.tally("job-0001"); got.Succeeded < len(told)+1 {
			t.Errorf("told of %s, and only %d are committed", end.Drop[0].ID, got.Succeeded)
		}
		told = append(told, end.Drop[0].ID)
		return errors.New("what it replaced could not be removed")
	}
	stop := b.start(h, polls, workers(1))
	id := b.create(unit("0a"), unit("0erring"), unit("1failing"))
	b.nextTry()
	b.awaitState(id, job.Failed)
	stop()
	slices.Sort(told)
	if diff := cmp.Diff([]string{"0a", "0erring"}, told); diff != "" {
		t.Error(diff)
	}
}

func TestAPanicInEndedDoesNotEndTheEngine(t *testing.T) {
	b := newBench(t)
	b.start(handler{ended: func(job.UnitEnd) error { panic("no") }})
	b.awaitState(b.create(units("0a", "1a")...), job.Succeeded)
	b.awaitState(b.create(unit("0a")), job.Succeeded)
}

func TestAnEndThatTheStoreCannotTakeIsTriedAgain(t *testing.T) {
	b := newBench(t)
	var runs, ends atomic.Int64
	b.onCall(func(call string) error {
		if call == "end" && ends.Add(1) <= 2 {
			return store.ErrFull
		}
		return nil
	})
	b.start(run(func(context.Context, job.Unit) (job.UnitEnd, error) { runs.Add(1); return succeeded, nil }))
	b.awaitState(b.create(unit("0a")), job.Succeeded)
	if runs.Load() != 1 || ends.Load() != 3 {
		t.Errorf("%d runs, %d ends", runs.Load(), ends.Load())
	}
}

func TestAnEngineLeavesOtherKindsAlone(t *testing.T) {
	b := newBench(t)
	b.start(handler{}, polls)
	other := b.createOf("sailing", unit("0a"))
	b.awaitState(b.create(unit("0a")), job.Succeeded)
	if got := b.tally(other); got.Queued != 1 || b.job(other).State != job.Queued {
		t.Errorf("%+v", got)
	}
	b.dismiss(other)
	b.awaitState(other, job.Cancelled)
	b.awaitRounds()
	if !b.has(other) {
		t.Error("a job was removed whose files nobody here knows")
	}
}
