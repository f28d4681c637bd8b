package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// lease is what units are claimed for, unless a case says otherwise.
const lease = 10 * time.Second

func claimCases() []testCase {
	return []testCase{
		{"a claim gives the unit as it was created, running, and its fence", claimGives},
		{"a unit is claimed once", claimOnce},
		{"a claim gives units of the kinds asked for only", claimKinds},
		{"a unit is claimed only when its RunAt has come", claimRunAt},
		{"a unit is claimed only after all of lower phases have succeeded", claimPhases},
		{"a unit that failed keeps later phases from being claimed", claimFailedPhase},
		{"jobs do not wait for each other's phases", claimJobsApart},
	}
}

func leaseCases() []testCase {
	return []testCase{
		{"a unit whose lease has ended is claimed again and counts as lost", leaseEnds},
		{"Renew prolongs a lease", leaseRenewed},
		{"a lease that ended is still good while nobody else has claimed", leaseLapsed},
		{"a lease is its claim's own length", leaseLength},
	}
}

// claim claims a unit of one of the kinds.
func (e *env) claim(kinds ...string) (job.Unit, store.Fence) {
	e.Helper()
	u, f, err := e.Claim(e.ctx, kinds, lease)
	e.ok("Claim", err)
	return u, f
}

// noClaim asserts that there is nothing to claim.
func (e *env) noClaim(kinds ...string) {
	e.Helper()
	u, _, err := e.Claim(e.ctx, kinds, lease)
	e.that(err != nil, "Claim gives %+v", u)
	e.is("Claim", err, store.ErrNotFound)
}

func (e *env) end(f store.Fence, u job.UnitEnd) {
	e.Helper()
	e.ok("End", e.End(e.ctx, f, u))
}

func (e *env) succeed(f store.Fence) { e.Helper(); e.end(f, job.UnitEnd{State: job.Succeeded}) }

// claimAll claims what there is, and names it in order.
func (e *env) claimAll(kinds ...string) (ids []string, fences []store.Fence) {
	e.Helper()
	for {
		u, f, err := e.Claim(e.ctx, kinds, lease)
		if err != nil {
			e.is("Claim", err, store.ErrNotFound)
			slices.Sort(ids)
			return ids, fences
		}
		ids, fences = append(ids, u.ID), append(fences, f)
	}
}

func claimGives(e *env) {
	e.clock.stop()
	want := unit("only", 3)
	want.RunAt = e.clock.Now().Add(-time.Hour)
	j := e.create("export", want)
	want = unitsOf(j, want)[0]
	want.State, want.Attempt, want.Updated = job.Running, 1, e.clock.Now()
	got, f := e.claim("export")
	e.same("the unit", got, want)
	e.same("the fence", f, store.Fence{Tenant: north, Job: j.ID, Unit: "only", Attempt: 1})
}

func claimOnce(e *env) {
	e.noClaim("export")
	e.create("export", unit("a", 0), unit("b", 0))
	e.create("export", unit("a", 0))
	ids, _ := e.claimAll("export")
	e.same("claimed", ids, []string{"a", "a", "b"})
	e.noClaim("export")
}

func claimKinds(e *env) {
	e.create("export", unit("a", 0))
	e.create("purge", unit("b", 0))
	e.create("import", unit("c", 0))
	e.noClaim("exp", "EXPORT", "retention")
	u, _ := e.claim("purge")
	e.same("the unit", u.ID, "b")
	e.noClaim("purge")
	ids, _ := e.claimAll("purge", "import", "export")
	e.same("the rest", ids, []string{"a", "c"})
}

func claimRunAt(e *env) {
	e.clock.stop()
	later := unit("later", 0)
	later.RunAt = e.clock.Now().Add(time.Minute)
	e.create("export", later)
	e.noClaim("export")
	e.clock.advance(time.Minute - time.Millisecond)
	e.noClaim("export")
	e.clock.advance(time.Millisecond)
	u, _ := e.claim("export")
	e.same("the unit", u.ID, "later")
}

func claimPhases(e *env) {
	e.create("export", unit("c1", 5), unit("a1", 0), unit("b1", 2), unit("a2", 0))
	for _, want := range [][]string{{"a1", "a2"}, {"b1"}, {"c1"}} {
		ids, fences := e.claimAll("export")
		e.same("claimed", ids, want)
		for i, f := range fences {
			e.noClaim("export")
			if i == 0 { // back and again, before it succeeds
				e.end(f, job.UnitEnd{State: job.Queued})
				_, f = e.claim("export")
			}
			e.succeed(f)
		}
	}
	e.noClaim("export")
}

func claimFailedPhase(e *env) {
	e.create("export", unit("a", 0), unit("b", 0), unit("c", 1))
	_, fences := e.claimAll("export")
	e.end(fences[0], job.UnitEnd{State: job.Failed, Reason: &job.Reason{Code: "exception", Message: "m"}})
	e.succeed(fences[1])
	e.noClaim("export")
}

func claimJobsApart(e *env) {
	e.create("export", unit("a", 0), unit("z", 1))
	_, f := e.claim("export")
	e.create("export", unit("b", 0), unit("y", 1))
	ids, _ := e.claimAll("export")
	e.same("of the second job", ids, []string{"b"})
	e.succeed(f)
	ids, _ = e.claimAll("export")
	e.same("of the first job", ids, []string{"z"})
}

func leaseEnds(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, first := e.claim("export")
	for lost := 1; lost <= 3; lost++ {
		e.clock.advance(lease - time.Millisecond)
		e.noClaim("export")
		e.clock.advance(2 * time.Millisecond)
		u, f := e.claim("export")
		e.that(u.Lost == lost && u.Errors == 0 && u.Attempt == lost+1 && f.Attempt == lost+1, "attempt after %d lost: %+v", lost, u)
		e.fenced(first)
		first = f
	}
	e.succeed(first)
}

func leaseRenewed(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, f := e.claim("export")
	for range 3 {
		e.clock.advance(lease - time.Second)
		e.ok("Renew", e.Renew(e.ctx, f, lease))
	}
	e.clock.advance(lease - time.Millisecond)
	e.noClaim("export")
	e.clock.advance(2 * time.Millisecond)
	u, _ := e.claim("export")
	e.same("lost", u.Lost, 1)
}

func leaseLapsed(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 1))
	_, f := e.claim("export")
	e.clock.advance(lease * 2)
	e.ok("Add", e.Add(e.ctx, f, unitsOf(j, unit("c", 1))))
	e.ok("AddMembers", e.AddMembers(e.ctx, f, []string{"1"}))
	e.ok("Renew", e.Renew(e.ctx, f, lease))
	e.noClaim("export")
	e.clock.advance(lease * 2)
	e.succeed(f)
	ids, _ := e.claimAll("export")
	e.same("the next phase", ids, []string{"b", "c"})
}

func leaseLength(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0), unit("b", 0))
	first, _, err := e.Claim(e.ctx, []string{"export"}, time.Minute)
	e.ok("Claim", err)
	second, _, err := e.Claim(e.ctx, []string{"export"}, time.Second)
	e.ok("Claim", err)
	e.clock.advance(2 * time.Second)
	ids, _ := e.claimAll("export")
	e.same("claimed after two seconds", ids, []string{second.ID})
	e.clock.advance(time.Hour)
	ids, _ = e.claimAll("export")
	e.same(fmt.Sprintf("claimed after an hour, %s among them", first.ID), ids, []string{"a", "b"})
}
