package storetest

import (
	"encoding/json"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func planCases() []testCase {
	return []testCase{
		{"units added by a planning unit are claimed after it succeeded", planAdds},
		{"adding a unit again in the same attempt changes nothing", planAgain},
		{"a later attempt's plan takes the place of an earlier one's", planReplaced},
		{"a later attempt's plan takes the place after the unit was put back", planPutBack},
		{"a plan that adds nothing leaves nothing of an earlier attempt's", planEmpty},
		{"a plan that is replaced leaves the job's first units alone", planKeepsFirst},
		{"a plan is added in pages", planPages},
	}
}

func cancelCases() []testCase {
	return []testCase{
		{"nothing is claimed of a job whose cancel was requested", cancelStopsClaims},
		{"Renew of a job whose cancel was requested is ErrFenced", cancelRenew},
		{"an attempt at a job whose cancel was requested can still end", cancelEnds},
		{"a cancelled job whose worker is lost can stop, and its fence is void then", cancelFinal},
		{"a job whose cancel was taken back by a retry goes on", cancelRetry},
	}
}

func (e *env) add(f store.Fence, j job.Job, units ...job.Unit) {
	e.Helper()
	e.ok("Add", e.Add(e.ctx, f, unitsOf(j, units...)))
}

func planAdds(e *env) {
	e.clock.stop()
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	work := unit("work", 1)
	work.Counts.Planned = 40
	e.add(f, j, work, unit("join", 2))
	e.noClaim("export")
	got := e.tally(j)
	e.that(got.Queued == 2 && got.Running == 1 && got.Planned == 40, "the tally is %+v", got)
	e.succeed(f)
	u, f := e.claim("export")
	want := unitsOf(j, work)[0]
	want.State, want.Attempt, want.Updated = job.Running, 1, e.clock.Now()
	want.Counts, u.Counts = job.Counts{}, job.Counts{}
	e.same("the added unit", u, want)
	e.noClaim("export")
	e.succeed(f)
	ids, _ := e.claimAll("export")
	e.same("the last phase", ids, []string{"join"})
}

func planAgain(e *env) {
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	e.add(f, j, unit("a", 1), unit("b", 1))
	again := unit("a", 1)
	again.Args = json.RawMessage(`{"other":true}`)
	e.add(f, j, again, unit("c", 1))
	e.add(f, j, again)
	e.same("queued", e.tally(j).Queued, 3)
	e.succeed(f)
	for range 3 {
		u, _ := e.claim("export")
		e.same("arguments of "+u.ID, string(u.Args), `{"of":"`+u.ID+`"}`)
	}
	e.noClaim("export")
}

func planReplaced(e *env) {
	e.clock.stop()
	j := e.create("export", unit("plan", 0))
	_, old := e.claim("export")
	e.add(old, j, unit("a", 1), unit("b", 1))
	e.clock.advance(lease + time.Millisecond)
	_, f := e.claim("export")
	e.is("Add", e.Add(e.ctx, old, unitsOf(j, unit("late", 1))), store.ErrFenced)
	changed := unit("b", 1)
	changed.Args = json.RawMessage(`{"of":"the second"}`)
	e.add(f, j, changed, unit("c", 1))
	e.add(f, j, unit("d", 1))
	e.succeed(f)
	e.same("queued", e.tally(j).Queued, 3)
	args := make(map[string]string)
	for range 3 {
		u, _ := e.claim("export")
		args[u.ID] = string(u.Args)
	}
	e.same("the plan", args, map[string]string{"b": `{"of":"the second"}`, "c": `{"of":"c"}`, "d": `{"of":"d"}`})
	e.noClaim("export")
}

func planPutBack(e *env) {
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	e.add(f, j, unit("a", 1))
	e.end(f, job.UnitEnd{State: job.Queued, Erred: true})
	_, f = e.claim("export")
	e.add(f, j, unit("b", 1))
	e.succeed(f)
	ids, _ := e.claimAll("export")
	e.same("the plan", ids, []string{"b"})
}

func planKeepsFirst(e *env) {
	e.clock.stop()
	j := e.create("export", unit("plan", 0), unit("join", 2))
	other := e.create("purge", unit("plan", 0))
	_, otherFence := e.claim("purge")
	e.add(otherFence, other, unit("a", 1))
	_, f := e.claim("export")
	e.add(f, j, unit("a", 1))
	e.clock.advance(lease + time.Millisecond)
	_, f = e.claim("export")
	e.add(f, j, unit("b", 1))
	e.same("queued", e.tally(j).Queued, 2)
	// Its planner's lease has run out, so that it counts as queued too.
	e.same("queued of the other job", e.tally(other).Queued, 2)
}

func planEmpty(e *env) {
	e.clock.stop()
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	e.add(f, j, unit("a", 1))
	e.clock.advance(lease + time.Millisecond)
	_, f = e.claim("export")
	e.succeed(f)
	e.noClaim("export")
	e.same("queued", e.tally(j).Queued, 0)
}

func cancelFinal(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0))
	_, f := e.claim("export")
	e.clock.advance(lease + time.Millisecond)
	e.update(j, func(j job.Job) (job.Job, error) { return j.RequestCancel(e.clock.Now()) })
	got := e.tally(j)
	e.same("at work", got.Running, 0)
	j = e.update(j, func(j job.Job) (job.Job, error) { return j.Settle(got, e.clock.Now()) })
	e.same("the job", j.State, job.Cancelled)
	e.fenced(f)
	e.noClaim("export")
}

func planPages(e *env) {
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	for _, page := range [][]job.Unit{{unit("a", 1), unit("b", 1)}, {unit("c", 1)}, nil, {unit("d", 2)}} {
		e.add(f, j, page...)
	}
	e.same("queued", e.tally(j).Queued, 4)
}

func (e *env) cancel(j job.Job) {
	e.Helper()
	e.update(j, func(j job.Job) (job.Job, error) { return j.RequestCancel(e.clock.Now()) })
}

func cancelStopsClaims(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0))
	e.create("export", unit("c", 0))
	for {
		if u, _ := e.claim("export"); u.ID == "a" || u.ID == "b" {
			break
		}
	}
	e.cancel(j)
	ids, _ := e.claimAll("export")
	e.that(len(ids) == 0 || ids[0] == "c", "claimed %v", ids)
	e.clock.advance(lease * 2)
	ids, _ = e.claimAll("export")
	e.same("claimed after leases ended", ids, []string{"c"})
}

func cancelRenew(e *env) {
	j := e.create("export", unit("a", 0))
	_, f := e.claim("export")
	e.create("purge", unit("b", 0))
	_, other := e.claim("purge")
	e.ok("Renew", e.Renew(e.ctx, f, lease))
	e.cancel(j)
	e.is("Renew", e.Renew(e.ctx, f, lease), store.ErrFenced)
	e.ok("Renew of another job's", e.Renew(e.ctx, other, lease))
}

func cancelEnds(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0))
	_, fences := e.claimAll("export")
	e.cancel(j)
	e.end(fences[0], job.UnitEnd{State: job.Queued})
	e.end(fences[1], job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 4}})
	got := e.tally(j)
	e.that(got.Queued == 1 && got.Running == 0 && got.Succeeded == 1 && got.Done.Resources == 4, "the tally is %+v", got)
	e.noClaim("export")
}

func cancelRetry(e *env) {
	j := e.create("export", unit("a", 0))
	e.cancel(j)
	e.noClaim("export")
	e.update(j, func(j job.Job) (job.Job, error) { return j.Stop(e.clock.Now()) })
	e.update(j, func(j job.Job) (job.Job, error) { return j.Retry(e.clock.Now()) })
	u, _ := e.claim("export")
	e.same("the unit", u.ID, "a")
}
