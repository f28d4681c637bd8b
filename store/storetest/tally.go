package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func tallyCases() []testCase {
	return []testCase{
		{"Tally counts the units in each state", tallyStates},
		{"Tally adds up what succeeded units did and what all expected", tallyCounts},
		{"Tally has a failed unit's reason", tallyReason},
		{"Tally has the time of the last end", tallyLastEnd},
		{"Tally adds up attempts, errors and losses of all units", tallyAttempts},
		{"Tally counts a unit whose lease has run out as queued", tallyLapsed},
		{"Tally has the reasons of failed units first, then of those that erred, by unit", tallyReasons},
		{"Tally has the reason of a unit's last attempt", tallyLastReason},
		{"Tally has a bounded number of reasons", tallyManyReasons},
		{"Tally is the job's own", tallyApart},
	}
}

func tallyStates(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 0), unit("e", 1))
	e.create("export", unit("a", 1), unit("f", 1))
	e.same("queued", e.tally(j), job.Tally{Queued: 5})
	_, fences := e.claimAll("export")
	fences = slices.DeleteFunc(fences, func(f store.Fence) bool { return f.Job != j.ID })
	e.same("claimed", e.tally(j), job.Tally{Queued: 1, Running: 4, Attempts: 4})
	e.succeed(fences[0])
	e.end(fences[1], job.UnitEnd{State: job.Failed})
	e.end(fences[2], job.UnitEnd{State: job.Queued, RunAt: e.clock.Now().Add(time.Hour)})
	got := e.tally(j)
	e.same("ended", []int{got.Queued, got.Running, got.Succeeded, got.Failed, got.Cancelled}, []int{2, 1, 1, 1, 0})
}

func tallyCounts(e *env) {
	planned := func(id string, bytes int64) job.Unit {
		u := unit(id, 0)
		u.Counts.Planned = bytes
		return u
	}
	j := e.create("export", planned("a", 100), planned("b", 30), planned("c", 7), planned("d", 1000))
	e.same("planned", e.tally(j).Planned, int64(1137))
	_, fences := e.claimAll("export")
	for _, f := range fences {
		u := job.UnitEnd{State: job.Succeeded, Counts: map[string]job.Counts{
			"a": {Resources: 10, Bytes: 90, Planned: 100}, "b": {Resources: 3, Bytes: 33, Planned: 30},
			"c": {Resources: 500, Bytes: 500, Planned: 7}, "d": {},
		}[f.Unit]}
		switch f.Unit {
		case "c":
			u.State = job.Failed
		case "d":
			continue
		}
		e.end(f, u)
	}
	got := e.tally(j)
	e.same("done", got.Done, job.Counts{Resources: 13, Bytes: 123, Planned: 130})
	e.same("planned", got.Planned, int64(1137))
}

func tallyReason(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0))
	_, fences := e.claimAll("export")
	e.end(fences[0], job.UnitEnd{State: job.Queued, Erred: true, Reason: &job.Reason{Code: "transient", Message: "again"}})
	e.that(e.tally(j).Reason == nil, "a unit that was put back gives the tally a reason")
	why := job.Reason{Code: "no-store", Message: "the disk is “full”"}
	e.end(fences[1], job.UnitEnd{State: job.Failed, Erred: true, Reason: &why})
	e.same("reason", e.tally(j).Reason, &why)
}

func tallyLastEnd(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0))
	e.that(e.tally(j).LastEnd.IsZero(), "LastEnd is set before any end")
	for range 2 {
		_, f := e.claim("export")
		e.clock.advance(time.Second)
		e.succeed(f)
		e.that(e.tally(j).LastEnd.Equal(e.clock.Now()), "LastEnd is %v at %v", e.tally(j).LastEnd, e.clock.Now())
	}
	e.clock.advance(time.Hour)
	e.that(e.tally(j).LastEnd.Equal(e.clock.Now().Add(-time.Hour)), "LastEnd is %v at %v", e.tally(j).LastEnd, e.clock.Now())
}

// claimed is the fences of all that can be claimed, by unit.
func (e *env) claimed() map[string]store.Fence {
	e.Helper()
	_, fences := e.claimAll("export")
	by := make(map[string]store.Fence)
	for _, f := range fences {
		by[f.Unit] = f
	}
	return by
}

// errs puts a unit back with an error.
func (e *env) errs(f store.Fence, message string) {
	e.Helper()
	r := why(message)
	e.end(f, job.UnitEnd{State: job.Queued, Erred: true, Reason: &r})
}

// fails gives a unit up.
func (e *env) fails(f store.Fence, message string) {
	e.Helper()
	r := why(message)
	e.end(f, job.UnitEnd{State: job.Failed, Erred: true, Reason: &r})
}

func tallyAttempts(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 1))
	sums := func(attempts, errs, lost int) {
		e.Helper()
		got := e.tally(j)
		e.same("attempts, errors, lost", []int{got.Attempts, got.Errors, got.Lost}, []int{attempts, errs, lost})
	}
	sums(0, 0, 0)
	by := e.claimed()
	sums(3, 0, 0)
	e.errs(by["a"], "once")
	e.end(by["b"], job.UnitEnd{State: job.Queued})
	sums(3, 1, 0)
	e.clock.advance(lease + time.Millisecond)
	by = e.claimed() // c is lost
	sums(6, 1, 1)
	e.errs(by["a"], "twice")
	e.succeed(by["b"])
	e.fails(by["c"], "for good")
	sums(6, 3, 1)
	by = e.claimed()
	e.succeed(by["a"])
	sums(7, 3, 1)
}

func tallyLapsed(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 1))
	by := e.claimed()
	states := func(queued, running, succeeded int) {
		e.Helper()
		got := e.tally(j)
		e.same("queued, running, succeeded", []int{got.Queued, got.Running, got.Succeeded}, []int{queued, running, succeeded})
	}
	states(1, 2, 0)
	e.clock.advance(lease - time.Millisecond)
	states(1, 2, 0)
	e.ok("Renew", e.Renew(e.ctx, by["a"], lease))
	e.clock.advance(2 * time.Millisecond)
	states(2, 1, 0)
	e.clock.advance(lease)
	states(3, 0, 0)
	e.ok("Renew", e.Renew(e.ctx, by["a"], lease)) // nobody else has claimed it
	states(2, 1, 0)
	e.succeed(by["b"])
	states(1, 1, 1)
	e.clock.advance(lease + time.Millisecond)
	states(2, 0, 1)
	e.claim("export")
	states(1, 1, 1)
}

func tallyReasons(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 0), unit("e", 0), unit("f", 0))
	e.same("reasons", e.tally(j).Reasons, nil)
	by := e.claimed()
	e.errs(by["f"], "of f")
	e.fails(by["e"], "of e")
	e.errs(by["a"], "of a")
	e.succeed(by["b"])
	e.fails(by["c"], "of c")
	e.end(by["d"], job.UnitEnd{State: job.Queued})
	got := e.tally(j)
	e.same("reasons", got.Reasons, []job.UnitReason{
		{Unit: "c", Attempt: 1, Reason: why("of c")},
		{Unit: "e", Attempt: 1, Reason: why("of e")},
		{Unit: "a", Attempt: 1, Reason: why("of a")},
		{Unit: "f", Attempt: 1, Reason: why("of f")},
	})
	first := why("of c")
	e.same("the reason", got.Reason, &first)
}

// tallyLastReason has a unit err twice, and then succeed.
func tallyLastReason(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0))
	by := e.claimed()
	e.errs(by["a"], "the first")
	e.succeed(by["b"])
	_, f := e.claim("export")
	e.errs(f, "the second")
	e.same("reasons", e.tally(j).Reasons, []job.UnitReason{{Unit: "a", Attempt: 2, Reason: why("the second")}})
	_, f = e.claim("export")
	e.succeed(f)
	got := e.tally(j)
	e.same("reasons after all succeeded", got.Reasons, nil)
	e.that(got.Reason == nil && got.Errors == 2 && got.Attempts == 4, "the tally is %+v", got)
}

func tallyManyReasons(e *env) {
	const erred = job.MaxReasons + 5
	j := e.create("export", manyUnits(erred, 0)...)
	by := e.claimed()
	e.same("claimed", len(by), erred)
	var want []string
	for i, u := range manyUnits(erred, 0) {
		if i >= erred-2 {
			e.fails(by[u.ID], u.ID)
			want = append(want, u.ID)
			continue
		}
		e.errs(by[u.ID], u.ID)
	}
	for _, u := range manyUnits(job.MaxReasons-2, 0) {
		want = append(want, u.ID)
	}
	var got []string
	for _, r := range e.tally(j).Reasons {
		e.same("message", r.Message, r.Unit)
		got = append(got, r.Unit)
	}
	e.same("units with reasons", got, want)
	e.same("errors", e.tally(j).Errors, erred)
}

func tallyApart(e *env) {
	j, other := e.create("export", unit("a", 0)), e.createIn(south, "export", unit("a", 0))
	for _, f := range []int{1, 2} {
		_, fence := e.claim("export")
		if fence.Tenant == south {
			e.fails(fence, fmt.Sprint("south's ", f))
		} else {
			e.succeed(fence)
		}
	}
	got := e.tally(j)
	e.that(got.Succeeded == 1 && got.Attempts == 1 && got.Errors == 0 && got.Reasons == nil, "the tally is %+v", got)
	got = e.tally(other)
	e.that(got.Failed == 1 && got.Attempts == 1 && got.Errors == 1 && len(got.Reasons) == 1, "the other's is %+v", got)
	got, err := e.Tally(e.ctx, south, j.ID)
	e.that(err != nil || got.Attempts+got.Queued+got.Succeeded+len(got.Reasons) == 0, "another tenant's is %+v", got)
}
