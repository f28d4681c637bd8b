package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func fenceCases() []testCase {
	return []testCase{
		{"an attempt that is not the unit's current one is refused everywhere", fenceStale},
		{"an attempt that has ended is refused everywhere", fenceEnded},
		{"what was refused has written nothing", fenceWritesNothing},
		{"a fence of what is not there is refused everywhere", fenceUnknown},
	}
}

func endCases() []testCase {
	return []testCase{
		{"a unit put back is claimed again without an error", endQueued},
		{"a unit put back after an error counts it", endErred},
		{"a unit put back waits for its RunAt", endRunAt},
		{"a unit that succeeded or failed is not claimed again", endFinal},
	}
}

// fenced asserts that every write under a fence is refused.
func (e *env) fenced(f store.Fence) {
	e.Helper()
	extra := job.Unit{Job: f.Job, Tenant: string(f.Tenant), Kind: "refused", ID: "refused", Phase: 9, State: job.Queued}
	e.is("Renew", e.Renew(e.ctx, f, time.Hour), store.ErrFenced)
	e.is("Add", e.Add(e.ctx, f, []job.Unit{extra}), store.ErrFenced)
	e.is("AddMembers", e.AddMembers(e.ctx, f, []string{"refused"}), store.ErrFenced)
	e.is("AddFinds", e.AddFinds(e.ctx, f, idsOf("Patient/refused")), store.ErrFenced)
	e.is("Erase", drop(e.Erase(e.ctx, f, nil)), store.ErrFenced)
	e.is("Announce", e.Announce(e.ctx, f, []string{"refused"}), store.ErrFenced)
	e.is("Void", drop(e.Void(e.ctx, f, []string{"1"})), store.ErrFenced)
	e.is("Strike", e.Strike(e.ctx, f, store.Gone{IDs: idsOf("Observation/1"), Patients: []string{"1"}}), store.ErrFenced)
	e.is("Note", e.Note(e.ctx, f, job.Erased{Versions: 1}, json.RawMessage(`{}`)), store.ErrFenced)
	for _, s := range []job.State{job.Succeeded, job.Failed, job.Queued} {
		e.is("End", e.End(e.ctx, f, job.UnitEnd{State: s, Erred: true}), store.ErrFenced)
	}
}

func fenceStale(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, first := e.claim("export")
	e.clock.advance(lease + time.Millisecond)
	_, second := e.claim("export")
	e.fenced(first)
	ahead := second
	ahead.Attempt++
	e.fenced(ahead)
	e.end(second, job.UnitEnd{State: job.Queued})
	_, third := e.claim("export")
	e.fenced(first)
	e.fenced(second)
	e.succeed(third)
}

func fenceEnded(e *env) {
	for _, s := range []job.State{job.Succeeded, job.Failed, job.Queued} {
		kind := "end-" + string(s)
		j := e.create(kind, unit("a", 0))
		_, f := e.claim(kind)
		e.end(f, job.UnitEnd{State: s})
		before := e.tally(j)
		e.fenced(f)
		e.same("the tally", e.tally(j), before)
	}
}

func fenceWritesNothing(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0))
	_, f := e.claim("export")
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, "kept", 0, "1")}})
	_, old := e.claim("export")
	e.clock.advance(lease + time.Millisecond)
	_, f = e.claim("export")
	before := e.tally(j)
	err := e.End(e.ctx, old, job.UnitEnd{
		State: job.Succeeded, Counts: job.Counts{Resources: 1}, Drop: []job.Part{{ID: "kept"}},
		Parts: []job.Part{part(old, "stale", 0, "1")}, Numbers: map[string]int{"kept": 1},
	})
	e.is("End", err, store.ErrFenced)
	e.fenced(old)
	e.same("the tally", e.tally(j), before)
	e.same("members", e.members(store.CohortID(j.ID), 9), nil)
	e.same("finds", e.found(j, 9), nil)
	e.same("parts", partIDs(e.parts(j)), []string{"kept"})
	e.same("parts of patient 1", e.holding("1"), []string{j.ID + "/kept"})
	_, err = e.Part(e.ctx, north, j.ID, job.PartName{Category: job.Output, Type: "Patient", N: 1})
	e.is("Part", err, store.ErrNotFound)
	e.succeed(f)
	e.noClaim("export", "refused")
}

func fenceUnknown(e *env) {
	e.create("export", unit("a", 0), unit("b", 0))
	_, f := e.claim("export")
	for _, change := range []func(*store.Fence){
		func(f *store.Fence) { f.Tenant = south },
		func(f *store.Fence) { f.Job = "unknown" },
		func(f *store.Fence) { f.Unit = "unknown" },
		func(f *store.Fence) { f.Attempt = 0 },
		func(f *store.Fence) { *f = store.Fence{} },
	} {
		wrong := f
		change(&wrong)
		e.fenced(wrong)
	}
	e.succeed(f)
}

func endQueued(e *env) {
	e.create("export", unit("a", 0))
	for n := 1; n <= 3; n++ {
		u, f := e.claim("export")
		e.that(u.Attempt == n && u.Errors == 0 && u.Lost == 0, "attempt %d is %+v", n, u)
		e.end(f, job.UnitEnd{State: job.Queued})
	}
}

func endErred(e *env) {
	e.create("export", unit("a", 0))
	for n := range 3 {
		u, f := e.claim("export")
		e.that(u.Errors == n && u.Lost == 0 && u.Attempt == n+1, "after %d errors: %+v", n, u)
		e.end(f, job.UnitEnd{State: job.Queued, Erred: true, Reason: &job.Reason{Code: "exception", Message: fmt.Sprint(n)}})
	}
}

func endRunAt(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, f := e.claim("export")
	at := e.clock.Now().Add(time.Minute)
	e.end(f, job.UnitEnd{State: job.Queued, Erred: true, RunAt: at})
	e.clock.advance(lease + time.Second)
	e.noClaim("export")
	e.clock.advance(time.Minute - lease)
	u, _ := e.claim("export")
	e.that(u.Errors == 1 && u.Lost == 0, "the unit is %+v", u)
}

func endFinal(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0), unit("b", 0))
	_, fences := e.claimAll("export")
	e.succeed(fences[0])
	e.end(fences[1], job.UnitEnd{State: job.Failed, Erred: true, Reason: &job.Reason{Code: "exception", Message: "m"}})
	e.clock.advance(48 * time.Hour)
	e.noClaim("export")
}

func nextRunCases() []testCase {
	return []testCase{
		{"NextRun is zero where nothing waits for time alone", nextRunNone},
		{"NextRun is the earliest RunAt or end of a lease", nextRunEarliest},
	}
}

func watchCases() []testCase {
	return []testCase{
		{"Watch wakes on a new job", watchCreate},
		{"Watch wakes on the end of a unit", watchEnd},
		{"Watch wakes on a cancel", watchCancel},
		{"a watcher that does not read holds nobody up", watchIdle},
	}
}

func (e *env) nextRun(kinds ...string) time.Time {
	e.Helper()
	at, err := e.NextRun(e.ctx, kinds)
	e.ok("NextRun", err)
	return at
}

func nextRunNone(e *env) {
	e.clock.stop()
	e.that(e.nextRun("export").IsZero(), "NextRun of nothing is %v", e.nextRun("export"))
	waits := unit("waits", 1)
	waits.RunAt = e.clock.Now().Add(time.Minute)
	e.create("export", unit("now", 0), waits, unit("then", 1))
	e.that(e.nextRun("export").IsZero(), "NextRun of what can be claimed, or waits for a phase, is %v", e.nextRun("export"))
	_, f := e.claim("export")
	e.end(f, job.UnitEnd{State: job.Failed})
	e.that(e.nextRun("export").IsZero(), "NextRun behind a failed unit is %v", e.nextRun("export"))
	later := unit("later", 0)
	later.RunAt = e.clock.Now().Add(time.Minute)
	j := e.create("export", later)
	e.that(e.nextRun("purge").IsZero(), "NextRun of another kind is %v", e.nextRun("purge"))
	e.cancel(j)
	e.that(e.nextRun("export").IsZero(), "NextRun of a job to be cancelled is %v", e.nextRun("export"))
}

func nextRunEarliest(e *env) {
	e.clock.stop()
	now := e.clock.Now()
	later := unit("later", 0)
	later.RunAt = now.Add(time.Minute)
	e.create("export", later, unit("now", 0))
	at := func(d time.Duration, kinds ...string) {
		e.Helper()
		e.that(e.nextRun(kinds...).Equal(now.Add(d)), "NextRun is %v on, want %v", e.nextRun(kinds...).Sub(now), d)
	}
	at(time.Minute, "export")
	_, f := e.claim("export")
	at(lease, "export", "purge")
	e.ok("Renew", e.Renew(e.ctx, f, 2*time.Hour))
	at(time.Minute, "export")
	e.clock.advance(2 * time.Minute)
	at(2*time.Hour, "export")
	sooner := unit("sooner", 0)
	sooner.RunAt = now.Add(time.Hour)
	e.create("purge", sooner)
	at(time.Hour, "export", "purge")
	at(2*time.Hour, "export")
	e.succeed(f)
	at(time.Hour, "export", "purge")
}

// watch returns a channel on which no earlier event waits.
func (e *env) watch(ctx context.Context) <-chan struct{} {
	ch := e.Watch(ctx)
	select {
	case <-ch:
	default:
	}
	return ch
}

func (e *env) wakes(ch <-chan struct{}) {
	e.Helper()
	select {
	case <-ch:
	case <-time.After(soon):
		e.Fatalf("Watch did not wake")
	}
}

func watchCreate(e *env) {
	a, b := e.watch(e.ctx), e.watch(e.ctx)
	e.create("export", unit("a", 0))
	e.wakes(a)
	e.wakes(b)
}

func watchEnd(e *env) {
	e.create("export", unit("a", 0), unit("b", 1))
	_, f := e.claim("export")
	ch := e.watch(e.ctx)
	e.succeed(f)
	e.wakes(ch)
}

func watchCancel(e *env) {
	j := e.create("export", unit("a", 0))
	e.claim("export")
	ch := e.watch(e.ctx)
	e.cancel(j)
	e.wakes(ch)
}

func watchIdle(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	e.Watch(ctx)
	gone, end := context.WithCancel(e.ctx)
	e.Watch(gone)
	end()
	for range 20 {
		e.create("export", unit("a", 0))
		_, f := e.claim("export")
		e.succeed(f)
	}
	cancel()
	ch := e.watch(e.ctx)
	e.create("export", unit("a", 0))
	e.wakes(ch)
}
