package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func retryCases() []testCase {
	return []testCase{
		{"Retry returns and keeps the job as Job.Retry makes it", retryJob},
		{"Retry puts back what has not succeeded, and leaves what has", retryUnits},
		{"no fence from before a retry holds", retryFences},
		{"units that were queued when the job was cancelled are claimed after a retry", retryQueued},
		{"a unit that was never claimed keeps its RunAt through a retry", retryRunAt},
		{"phases hold after a retry", retryPhases},
		{"a plan that is tried again takes the place of the one before", retryPlan},
		{"a unit may be lost and err as often after a retry as before", retryCounts},
		{"Retry of a job that cannot be tried again is ErrTransition and changes nothing", retryRefused},
		{"Retry of what is not there, or is another tenant's, is ErrNotFound", retryAbsent},
		{"Retry leaves other jobs alone", retryApart},
		{"a job that is tried again is under way, and keeps its key", retryUnderWay},
		{"Watch wakes on a retry", retryWakes},
		{"a retry is there after the store was opened again", retryDurable},
	}
}

func retryRaces() []testCase {
	return []testCase{
		{"of retries of one job one wins, and each unit is claimed once", raceRetry},
		{"no end from before a retry comes after it", raceRetryEnd},
	}
}

func (e *env) retry(j job.Job) job.Job {
	e.Helper()
	got, err := e.Retry(e.ctx, store.Tenant(j.Tenant), j.ID, e.clock.Now(), store.Limit{})
	e.ok("Retry", err)
	return got
}

// states are how many units are queued, running, succeeded, failed, cancelled.
func (e *env) states(j job.Job) []int {
	e.Helper()
	t := e.tally(j)
	return []int{t.Queued, t.Running, t.Succeeded, t.Failed, t.Cancelled}
}

func retryJob(e *env) {
	for _, steps := range [][]func(job.Job) (job.Job, error){
		{e.failsBecause}, {e.start, e.failsBecause}, {e.requestStop, e.stopped}, {e.start, e.requestStop, e.stopped},
	} {
		j := e.create("export", unit("a", 0))
		for _, step := range steps {
			j = e.update(j, step)
		}
		want, err := j.Retry(e.clock.Now())
		e.ok("Job.Retry", err)
		e.same("what Retry returns", e.retry(j), want)
		e.same("the job", e.read(j), want)
	}
}

// retryUnits has a unit in each state: succeeded after an error, failed,
// cancelled, put back, lost, at work, and of a later phase.
func retryUnits(e *env) {
	e.clock.stop()
	j := e.create("export", unit("at-work", 0), unit("cancelled", 0), unit("erred", 0), unit("failed", 0), unit("later", 1), unit("lost", 0), unit("succeeded", 0))
	by := e.claimed()
	e.errs(by["succeeded"], "once")
	_, f := e.claim("export")
	e.end(f, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7}, Parts: []job.Part{part(f, "p", 1, "1")}})
	e.fails(by["failed"], "for good")
	e.end(by["cancelled"], job.UnitEnd{State: job.Cancelled})
	e.end(by["erred"], job.UnitEnd{State: job.Queued, Erred: true, Reason: &job.Reason{Code: "exception", Message: "m"}, RunAt: e.clock.Now().Add(time.Hour)})
	e.clock.advance(lease + time.Millisecond)
	e.ok("Renew", e.Renew(e.ctx, by["at-work"], lease))
	e.update(j, e.failsBecause)
	e.same("before", e.states(j), []int{3, 1, 1, 1, 1})
	j = e.retry(j)
	e.same("after", e.states(j), []int{6, 0, 1, 0, 0})
	got := e.tally(j)
	e.that(got.Errors == 1 && got.Lost == 0 && got.Attempts == 7 && got.Done.Resources == 7, "the tally is %+v", got)
	e.same("reasons", got.Reasons, nil)
	e.same("parts", partIDs(e.parts(j)), []string{"p"})
	ids := []string{}
	for range 5 {
		u, f := e.claim("export")
		e.that(u.Attempt == 2 && u.Errors == 0 && u.Lost == 0 && u.Reason == nil && u.RunAt.IsZero(), "claimed %+v", u)
		ids = append(ids, u.ID)
		e.succeed(f)
	}
	e.same("claimed", sorted(ids), []string{"at-work", "cancelled", "erred", "failed", "lost"})
	u, _ := e.claim("export")
	e.that(u.ID == "later" && u.Attempt == 1, "claimed %+v", u)
	e.noClaim("export")
}

func retryFences(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 0), unit("e", 0))
	by := e.claimed()
	e.succeed(by["a"])
	e.fails(by["b"], "for good")
	e.end(by["c"], job.UnitEnd{State: job.Cancelled})
	e.clock.advance(lease + time.Millisecond)
	e.ok("Renew", e.Renew(e.ctx, by["e"], lease)) // d is lost
	e.update(j, e.failsBecause)
	j = e.retry(j)
	for _, f := range by {
		e.fenced(f)
	}
	again := e.claimed()
	e.same("claimed", len(again), 4)
	for _, f := range by {
		e.fenced(f)
	}
	e.same("after", e.states(j), []int{0, 4, 1, 0, 0})
	for _, f := range again {
		e.succeed(f)
	}
	e.same("in the end", e.states(j), []int{0, 0, 5, 0, 0})
}

func retryQueued(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 1))
	_, f := e.claim("export")
	e.cancel(j)
	e.end(f, job.UnitEnd{State: job.Cancelled})
	e.update(j, e.stopped)
	e.noClaim("export")
	e.retry(j)
	for _, want := range [][]string{{"a", "b"}, {"c"}} {
		ids, fences := e.claimAll("export")
		e.same("claimed", ids, want)
		for _, f := range fences {
			e.succeed(f)
		}
	}
}

func retryRunAt(e *env) {
	e.clock.stop()
	later := unit("later", 0)
	later.RunAt = e.clock.Now().Add(time.Minute)
	j := e.create("export", later)
	e.update(j, e.failsBecause)
	e.retry(j)
	e.noClaim("export")
	e.that(e.nextRun("export").Equal(later.RunAt), "NextRun is %v, want %v", e.nextRun("export"), later.RunAt)
	e.clock.advance(time.Minute)
	u, _ := e.claim("export")
	e.that(u.ID == "later" && u.RunAt.Equal(later.RunAt), "claimed %+v", u)
}

func retryPhases(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0), unit("c", 1))
	by := e.claimed()
	e.succeed(by["a"])
	e.fails(by["b"], "for good")
	e.update(j, e.failsBecause)
	e.retry(j)
	u, f := e.claim("export")
	e.same("the unit that failed", u.ID, "b")
	e.noClaim("export")
	e.succeed(f)
	u, _ = e.claim("export")
	e.same("the next phase", u.ID, "c")
}

func retryPlan(e *env) {
	j := e.create("export", unit("plan", 0))
	_, f := e.claim("export")
	e.add(f, j, unit("old", 1))
	e.fails(f, "after it planned")
	e.update(j, e.failsBecause)
	e.retry(j)
	_, f = e.claim("export")
	e.add(f, j, unit("new", 1))
	e.succeed(f)
	ids, _ := e.claimAll("export")
	e.same("of the plan", ids, []string{"new"})
}

func retryCounts(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0))
	attempt := 0
	for range 3 {
		for n := range 2 {
			u, f := e.claim("export")
			attempt++
			e.that(u.Attempt == attempt && u.Errors == n, "attempt %d after %d errors: %+v", attempt, n, u)
			e.errs(f, "again")
		}
		u, f := e.claim("export")
		e.clock.advance(lease + time.Millisecond)
		u2, f2 := e.claim("export")
		attempt += 2
		e.that(u.Lost == 0 && u2.Lost == 1 && u2.Attempt == attempt, "attempt %d: %+v, %+v", attempt, u, u2)
		e.fenced(f)
		e.fails(f2, "for good")
		e.update(j, e.failsBecause)
		e.retry(j)
	}
}

func retryRefused(e *env) {
	e.clock.stop()
	for name, steps := range map[string][]func(job.Job) (job.Job, error){
		"queued": {}, "running": {e.start}, "to be stopped": {e.start, e.requestStop}, "succeeded": {e.start, e.succeedsJob},
		"dismissed": {e.failsBecause, e.dismissed}, "stopped and dismissed": {e.dismissed, e.stopped}, "tried again already": {e.failsBecause, e.triedAgain},
	} {
		e.refusesRetry(name, steps...)
	}
	j := e.create("expired", unit("a", 0))
	j = e.update(j, e.failsBecause)
	e.clock.advance(j.Lifetime)
	_, err := e.Retry(e.ctx, north, j.ID, e.clock.Now(), store.Limit{})
	e.is("Retry of an expired job", err, job.ErrTransition)
	e.same("the expired job", e.read(j), j)
}

// refusesRetry asserts that a job after some steps is not tried again. One of
// its units has failed, and one is at work.
func (e *env) refusesRetry(name string, steps ...func(job.Job) (job.Job, error)) {
	e.Helper()
	j := e.create(name, unit("a", 0), unit("b", 0))
	_, f := e.claim(name)
	e.fails(f, "for good")
	_, f = e.claim(name)
	for _, step := range steps {
		j = e.update(j, step)
	}
	before := e.tally(j)
	got, err := e.Retry(e.ctx, north, j.ID, e.clock.Now(), store.Limit{})
	e.is("Retry of a job that is "+name, err, job.ErrTransition)
	e.same("what a refused Retry returns", got, job.Job{})
	e.same("the job", e.peek(j), j)
	e.same("its units", e.tally(j), before)
	if !j.State.Final() {
		e.succeed(f)
	}
}

func retryAbsent(e *env) {
	j := e.createIn(south, "export", unit("a", 0))
	j = e.update(j, e.failsBecause)
	for _, t := range []store.Tenant{north, "nowhere"} {
		_, err := e.Retry(e.ctx, t, j.ID, e.clock.Now(), store.Limit{})
		e.is("Retry in another tenant", err, store.ErrNotFound)
	}
	_, err := e.Retry(e.ctx, south, "unknown", e.clock.Now(), store.Limit{})
	e.is("Retry of what is not there", err, store.ErrNotFound)
	e.same("the job", e.read(j), j)
	e.noClaim("export")
}

func retryApart(e *env) {
	j, other := e.create("export", unit("a", 0)), e.create("export", unit("a", 0), unit("b", 0))
	_, fences := e.claimAll("export")
	for _, f := range fences {
		e.fails(f, "for good")
	}
	j, other = e.update(j, e.failsBecause), e.update(other, e.failsBecause)
	before := e.tally(other)
	e.retry(j)
	e.same("the other job", e.read(other), other)
	e.same("its units", e.tally(other), before)
	_, fences = e.claimAll("export")
	e.that(len(fences) == 1 && fences[0].Job == j.ID, "claimed %+v", fences)
}

func retryUnderWay(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	for i, steps := range [][]func(job.Job) (job.Job, error){{e.failsBecause}, {e.requestStop, e.stopped}} {
		was := e.admit(e.keyed(ann(), "export", fmt.Sprint("k", i), "d"), one)
		for _, step := range steps {
			was = e.update(was, step)
		}
		was = e.retry(was)
		e.overLimit(e.newFor(north, ann(), "export"), store.Limit{PerOwner: 1})
		e.overLimit(e.newFor(south, bob(), "export"), store.Limit{All: 1})
		e.again(e.keyed(ann(), "export", was.Key, "d"), was, one)
		e.reused(e.keyed(ann(), "export", was.Key, "another"), one)
		e.that(!slices.Contains(e.attendedOf(e.clock.Now(), false), was.ID), "it is listed as one to be stopped or discarded")
		e.update(was, e.requestStop)
	}
}

func retryWakes(e *env) {
	j := e.create("export", unit("a", 0))
	e.update(j, e.failsBecause)
	ch := e.watch(e.ctx)
	e.retry(j)
	e.wakes(ch)
}

func retryDurable(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 0))
	by := e.claimed()
	e.succeed(by["a"])
	e.fails(by["b"], "for good")
	e.update(j, e.failsBecause)
	j = e.retry(j)
	e.reopen()
	e.same("the job", e.read(j), j)
	e.fenced(by["b"])
	u, _ := e.claim("export")
	e.that(u.ID == "b" && u.Attempt == 2 && u.Lost == 0, "claimed %+v", u)
}

func raceRetry(e *env) {
	j := e.create("export", manyUnits(racers, 0)...)
	e.update(j, e.failsBecause)
	for round := 1; round <= rounds/2; round++ {
		c, won := &claims{}, atomic.Int64{}
		e.together(func(int) error {
			_, err := e.Retry(e.ctx, north, j.ID, e.clock.Now(), store.Limit{})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, job.ErrTransition):
				return err
			}
			return e.work(c, func(_ job.Unit, f store.Fence) error {
				return e.End(e.ctx, f, job.UnitEnd{State: job.Failed, Erred: true})
			})
		})
		e.same("winners", won.Load(), int64(1))
		e.same("units that were claimed", len(c.of), racers)
		for id, n := range c.of {
			e.that(n == 1, "%s was claimed %d times", id, n)
		}
		got := e.tally(j)
		e.that(got.Attempts == round*racers && got.Errors == racers, "after round %d the tally is %+v", round, got)
		e.update(j, e.failsBecause)
	}
}

// raceRetryEnd has a worker end its unit while the job fails and is tried
// again: the end comes before that and stays, or not at all.
func raceRetryEnd(e *env) {
	for i := range rounds {
		kind := fmt.Sprint("kind-", i)
		j := e.create(kind, unit("a", 0))
		_, f := e.claim(kind)
		var ended error
		e.together(func(i int) error {
			switch i {
			case 0:
				ended = e.End(e.ctx, f, job.UnitEnd{State: job.Succeeded})
			case 1:
				if _, err := e.Update(e.ctx, north, j.ID, e.failsBecause); err != nil {
					return err
				}
				return drop(e.Retry(e.ctx, north, j.ID, e.clock.Now(), store.Limit{}))
			}
			return nil
		})
		if ended == nil {
			e.same("ended before", e.states(j), []int{0, 0, 1, 0, 0})
			continue
		}
		e.is("End", ended, store.ErrFenced)
		u, _ := e.claim(kind)
		e.that(u.Attempt == 2, "claimed %+v", u)
	}
}
