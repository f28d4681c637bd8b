package storetest

import (
	"fmt"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func durableCases() []testCase {
	return []testCase{
		{"what was committed is there after the store was opened again", durableResources},
		{"ticks and barriers go on after the store was opened again", durableTicks},
		{"keys go on after the store was opened again", durableKeys},
		{"jobs, units, cohorts and parts are there after the store was opened again", durableJobs},
		{"opening a storage that one process owns ends all leases", durableLeases},
		{"a lease outlives a store that does not own its storage", durableForeignLeases},
	}
}

func durableResources(e *env) {
	first, second, _ := e.world()
	cohort := e.cohort("1", "3")
	history := e.history("Patient/1")
	for range 2 {
		e.reopen()
		e.same("history", e.history("Patient/1"), history)
		e.that(e.get("Observation/o3").N == 3, "a later version is not there")
		for _, at := range []store.Tick{first, second} {
			e.agrees(store.Selection{At: at})
			e.agrees(store.Selection{At: at, Cohort: cohort}, "1", "3")
		}
		e.commit(write("Patient/1", fmt.Sprint("after ", len(history))))
		history = e.history("Patient/1")
	}
}

func durableTicks(e *env) {
	e.needReopen()
	last := e.commit(write("Patient/1", "a"))[0].At
	for i, back := range []time.Duration{0, -2 * time.Hour} {
		t := e.barrierOf(time.Second)
		e.clock.advance(back)
		e.reopen()
		e.clockIsNotBefore(t)
		a := e.commit(write("Patient/1", fmt.Sprint(i)), write(fmt.Sprint("Patient/new", i), "a"))
		e.that(a[0].At > t && a[1].At > t && a[0].At > last, "ticks are %+v after the barrier %d", a, t)
		last = a[0].At
		e.that(e.barrier() >= last, "a barrier before the commit")
	}
}

func durableKeys(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	last := e.commit(remove("Patient/2"))[0].Key
	e.reopen()
	for _, c := range []change{write("Patient/2", "a"), write("Patient/3", "a"), write("Patient/1", "b")} {
		key := e.commit(c)[0].Key
		e.that(key > last, "key %q after %q", key, last)
		last = key
	}
}

func durableJobs(e *env) {
	e.needReopen()
	j, _ := e.filled(north, "export")
	j = e.update(j, func(j job.Job) (job.Job, error) { return j.Start(e.clock.Now()) })
	later := unit("later", 0)
	later.RunAt = e.clock.Now().Add(time.Hour)
	other := e.create("purge", later)
	parts := e.parts(j)
	e.reopen()
	e.same("the job", e.read(j), j)
	e.same("jobs", e.attended(e.clock.Now()), []string{j.ID, other.ID})
	e.same("members", sorted(e.members(store.CohortID(j.ID), 9)), []string{"1", "2"})
	e.same("parts", e.parts(j), parts)
	e.same("public part", e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: 1}), "p1")
	e.same("parts that hold a patient", e.holding("2"), []string{j.ID + "/p1"})
	got := e.tally(j)
	e.that(got.Succeeded == 1 && got.Unfinished() == 2, "the tally is %+v", got)
	e.noClaim("purge")
	e.that(e.nextRun("purge").Equal(later.RunAt), "NextRun is %v, want %v", e.nextRun("purge"), later.RunAt)
}

func durableLeases(e *env) {
	if !e.cfg.OwnsStorage {
		e.test.Skip("the store under test shares its storage")
	}
	e.needReopen()
	e.clock.stop()
	e.create("export", unit("a", 0), unit("b", 1))
	_, f := e.claim("export")
	e.reopen()
	u, again := e.claim("export")
	e.that(u.ID == "a" && u.Attempt == 2, "claimed %+v", u)
	e.fenced(f)
	e.succeed(again)
}

func durableForeignLeases(e *env) {
	if e.cfg.OwnsStorage {
		e.test.Skip("the store under test owns its storage")
	}
	e.needReopen()
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, f := e.claim("export")
	e.reopen()
	e.noClaim("export")
	e.ok("Renew", e.Renew(e.ctx, f, lease))
	e.succeed(f)
}
