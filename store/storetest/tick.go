package storetest

import (
	"fmt"
	"time"

	"firebreak/store"
)

func tickCases() []testCase {
	return []testCase{
		{"a version's tick is greater than that of the one it replaces", tickGrows},
		{"versions follow each other without a gap", tickChain},
		{"a commit is later than every barrier before it", tickAfterBarrier},
		{"a new resource is later than a barrier ahead of the clock", tickAfterBarrierAhead},
		{"a tick is about the clock's time", tickIsTime},
		{"ticks go on when the clock is set back by hours", tickSetBack},
		{"ticks go on when the clock jumps ahead and back", tickJump},
		{"Clock is not before any version or barrier", tickClock},
	}
}

func tickGrows(e *env) {
	e.clock.stop()
	last := store.Tick(0)
	for i := range 20 {
		at := e.commit(write("Patient/1", fmt.Sprint(i)))[0].At
		e.that(at > last, "tick %d after %d", at, last)
		last = at
	}
}

func tickChain(e *env) {
	for i := range 3 {
		e.commit(write("Patient/1", fmt.Sprint(i)))
	}
	e.commit(remove("Patient/1"))
	e.commit(write("Patient/1", "again"))
	next := store.Forever
	for _, v := range e.history("Patient/1") {
		e.that(v.To == next && v.From < v.To, "version %d is current over [%d, %d), the next from %d", v.N, v.From, v.To, next)
		one := e.version("Patient/1", v.N)
		e.that(one.From == v.From && one.To == v.To, "Version and History differ on version %d", v.N)
		next = v.From
	}
}

func tickAfterBarrier(e *env) {
	for i := range 20 {
		t := e.barrier()
		a := e.commit(write("Patient/1", fmt.Sprint(i)), write(fmt.Sprint("Patient/new", i), "a"))
		e.that(a[0].At > t && a[1].At > t, "a commit at %d after the barrier %d", a[0].At, t)
	}
}

func tickAfterBarrierAhead(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	t := e.barrierOf(time.Second)
	a := e.commit(write("Patient/2", "a"))[0]
	e.that(a.At > t, "a commit at %d after the barrier %d", a.At, t)
}

func tickIsTime(e *env) {
	before := store.TickOf(e.clock.Now())
	at := e.commit(write("Patient/1", "a"))[0].At
	after := store.TickOf(e.clock.Now())
	e.that(before-1 <= at && at <= after+1000, "the first tick is %d, the clock went from %d to %d", at, before, after)
}

func tickSetBack(e *env) {
	a := e.commit(write("Patient/1", "a"))[0]
	t := e.barrier()
	e.clock.advance(-3 * time.Hour)
	b := e.commit(write("Patient/1", "b"), write("Patient/2", "b"))
	e.that(b[0].At > a.At && b[0].At > t, "tick %d after %d and the barrier %d", b[0].At, a.At, t)
	u := e.barrier()
	e.that(u >= b[0].At, "barrier %d after a commit at %d", u, b[0].At)
	e.yields(store.Selection{At: t}, "Patient/1 v1")
	e.yields(store.Selection{At: u}, "Patient/2 v1", "Patient/1 v2")
}

func tickJump(e *env) {
	a := e.commit(write("Patient/1", "a"))[0]
	e.clock.advance(5 * time.Hour)
	b := e.commit(write("Patient/1", "b"))[0]
	t := e.barrier()
	e.clock.advance(-5 * time.Hour)
	c := e.commit(write("Patient/1", "c"))[0]
	e.that(a.At < b.At && b.At <= t && t < c.At, "ticks are %d, %d, barrier %d, %d", a.At, b.At, t, c.At)
	e.same("history", numbers(e.history("Patient/1")), []int64{3, 2, 1})
}

func tickClock(e *env) {
	for i := range 5 {
		at := e.commit(write("Patient/1", fmt.Sprint(i)))[0].At
		e.clockIsNotBefore(at)
		e.clockIsNotBefore(e.barrier())
	}
	e.clockIsNotBefore(e.barrierOf(time.Second))
	e.clock.advance(-time.Hour)
	e.clockIsNotBefore(e.commit(write("Patient/1", "set back"))[0].At)
}

func (e *env) clockIsNotBefore(at store.Tick) {
	e.Helper()
	now, err := e.Clock(e.ctx, north)
	e.ok("Clock", err)
	e.that(now >= at, "Clock is %d after %d", now, at)
}
