package storetest

import (
	"context"
	"fmt"
	"time"

	"firebreak/store"
)

func barrierCases() []testCase {
	return []testCase{
		{"a barrier is a multiple of its round", barrierRounds},
		{"a barrier covers every commit acknowledged before it", barrierCovers},
		{"barriers with no commit between them share T", barrierShared},
		{"a barrier after a commit is later than the one before", barrierLater},
		{"a barrier waits rather than run ahead of the clock", barrierWaits},
		{"a barrier comes soon after the clock was set back", barrierSetBack},
		{"a waiting barrier ends with its context and leaves nothing behind", barrierCancelled},
		{"a tenant's barrier does not wait for another's", barrierTenants},
	}
}

func barrierRounds(e *env) {
	for _, round := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, time.Second, time.Minute} {
		t := store.Tenant("round-" + round.String())
		at := e.commitIn(t, write("Patient/1", "a"))[0].At
		b, err := e.Barrier(e.ctx, t, round)
		e.ok("Barrier", err)
		unit := store.Tick(max(round, time.Millisecond).Milliseconds())
		e.that(b%unit == 0 && b >= at, "barrier %d of %v after a commit at %d", b, round, at)
		e.that(b <= store.TickOf(e.clock.Now())+unit, "barrier %d of %v at %d", b, round, store.TickOf(e.clock.Now()))
	}
}

func barrierCovers(e *env) {
	for i := range 10 {
		c := write(fmt.Sprint("Patient/", i), "a")
		at := e.commit(c)[0].At
		t := e.barrier()
		e.that(at <= t, "a commit at %d, then the barrier %d", at, t)
		e.that(len(e.scan(store.Selection{At: t})) == i+1, "not all commits are visible at %d", t)
	}
}

func barrierShared(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	t := e.barrierOf(time.Second)
	for range 3 {
		e.same("barrier", e.barrierOf(time.Second), t)
	}
	e.clock.advance(100 * time.Millisecond)
	e.same("barrier within the second", e.barrierOf(time.Second), t)
}

func barrierLater(e *env) {
	last := store.Tick(0)
	for i := range 10 {
		e.commit(write("Patient/1", fmt.Sprint(i)))
		t := e.barrier()
		e.that(t > last, "barrier %d after %d, with a commit between", t, last)
		last = t
	}
}

func barrierWaits(e *env) {
	last := store.Tick(0)
	for i := range 3 {
		at := e.commit(write("Patient/1", fmt.Sprint(i)))[0].At
		t := e.barrierOf(time.Second)
		now := store.TickOf(e.clock.Now())
		e.that(t > last && t >= at && t%1000 == 0, "barrier %d after %d and a commit at %d", t, last, at)
		e.that(t <= now+1000, "barrier %d is more than a second ahead of %d", t, now)
		last = t
	}
}

func barrierSetBack(e *env) {
	e.commit(write("Patient/1", "a"))
	last := e.barrierOf(time.Second)
	e.clock.advance(-3 * time.Hour)
	ctx, cancel := context.WithTimeout(e.ctx, soon)
	defer cancel()
	for i := range 2 {
		at := e.commit(write("Patient/1", fmt.Sprint(i)))[0].At
		t, err := e.Barrier(ctx, north, time.Second)
		e.ok("Barrier", err)
		e.that(t > last && t >= at && t%1000 == 0, "barrier %d after %d and a commit at %d", t, last, at)
		last = t
	}
}

// barrierCancelled stops the clock in the middle of a second, so that the
// second barrier could only come more than a second ahead.
func barrierCancelled(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	first := e.barrierOf(time.Second)
	at := e.commit(write("Patient/1", "b"))[0].At
	ctx, cancel := context.WithTimeout(e.ctx, 50*time.Millisecond)
	defer cancel()
	t, err := e.Barrier(ctx, north, time.Second)
	e.that(err != nil, "barrier %d at %d", t, store.TickOf(e.clock.Now()))
	e.is("Barrier", err, context.DeadlineExceeded)
	e.commit(write("Patient/1", "c"))
	e.clock.advance(2 * time.Second)
	t = e.barrierOf(time.Second)
	e.that(t > first && t >= at, "barrier %d after %d and a commit at %d", t, first, at)
}

func barrierTenants(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	e.barrierOf(time.Second)
	e.commit(write("Patient/1", "b"))
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	held := make(chan error, 1)
	go func() { _, err := e.Barrier(ctx, north, time.Second); held <- err }()
	at := e.commitIn(south, write("Patient/1", "a"))[0].At
	t, err := e.Barrier(e.ctx, south, time.Second)
	e.ok("Barrier", err)
	e.that(t >= at, "barrier %d after a commit at %d", t, at)
	cancel()
	e.is("the barrier that waits", <-held, context.Canceled)
}
