package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"firebreak/operations/job"
	"firebreak/store"
)

func retryLimitCases() []testCase {
	return []testCase{
		{"Retry counts what Create counts", retryLimit},
		{"a job that is tried again takes no place from itself", retryAlone},
		{"a retry over the limit changes nothing", retryOverLimit},
		{"that a job cannot be tried again is said before that there is no room", retryRefusedFirst},
	}
}

func retryLimitRaces() []testCase {
	return []testCase{
		{"of retries of many jobs as many as the limit go through", raceRetryLimit},
		{"of a retry and a new job one gets the last place", raceRetryCreate},
		{"who finds no room finds the job that has it", raceRetryNamed},
	}
}

// failedOf creates a job that has failed, with one unit.
func (e *env) failedOf(j job.Job) job.Job {
	e.Helper()
	return e.update(e.admit(j, store.Limit{}), e.failsBecause)
}

// tryRetry tries a job again, from a goroutine: it tells whether there was room.
func (e *env) tryRetry(j job.Job, l store.Limit) (bool, error) {
	_, err := e.Retry(e.ctx, store.Tenant(j.Tenant), j.ID, e.clock.Now(), l)
	if errors.Is(err, store.ErrLimit) {
		return false, nil
	}
	return err == nil, err
}

// room asserts whether a job of ann's can be tried again beside another.
func (e *env) room(what string, beside job.Job, l store.Limit, want bool) {
	e.Helper()
	other := e.admit(beside, store.Limit{})
	j := e.failedOf(e.newFor(north, ann(), "export"))
	got, err := e.tryRetry(j, l)
	e.ok("Retry beside "+what, err)
	e.same("room beside "+what, got, want)
	e.update(e.peek(j), e.dismissed)
	e.update(other, e.dismissed)
}

func retryLimit(e *env) {
	own, all := store.Limit{PerOwner: 1}, store.Limit{All: 1}
	e.room("another of hers", e.newFor(north, ann(), "export"), own, false)
	e.room("another of hers", e.newFor(north, ann(), "export"), store.Limit{PerOwner: 2}, true)
	e.room("another of hers", e.newFor(north, ann(), "export"), store.Limit{}, true)
	e.room("another of hers", e.newFor(north, ann(), "export"), store.Limit{PerOwner: 9, All: 1}, false)
	e.room("one of her client's others", e.newFor(north, bob(), "export"), own, true)
	e.room("one of her client's others", e.newFor(north, bob(), "export"), all, false)
	e.room("one of another tenant", e.newFor(south, ann(), "export"), own, true)
	e.room("one of another tenant", e.newFor(south, ann(), "export"), all, false)
	e.room("one of another kind", e.newFor(north, ann(), "purge"), store.Limit{PerOwner: 1, All: 1}, true)
	j := e.failedOf(e.newFor(north, ann(), "export"))
	for _, steps := range [][]func(job.Job) (job.Job, error){{e.requestStop}, {e.start, e.failsBecause}, {e.start, e.succeedsJob}} {
		other := e.admit(e.newFor(north, ann(), "export"), store.Limit{})
		for _, step := range steps {
			e.update(other, step)
		}
	}
	ok, err := e.tryRetry(j, store.Limit{PerOwner: 1, All: 1})
	e.ok("Retry beside those that are not under way", err)
	e.same("room", ok, true)
}

func retryAlone(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	j := e.failedOf(e.newFor(north, ann(), "export"))
	for range 2 {
		ok, err := e.tryRetry(j, one)
		e.ok("Retry", err)
		e.same("room", ok, true)
		e.overLimit(e.newFor(north, ann(), "export"), one)
		e.update(j, e.failsBecause)
	}
}

func retryOverLimit(e *env) {
	one := store.Limit{PerOwner: 1}
	j := e.failedOf(e.newFor(north, ann(), "export"))
	_, f := e.claim(e.admit(e.newFor(north, ann(), "export"), one).Kind)
	before := e.tally(j)
	got, err := e.Retry(e.ctx, north, j.ID, e.clock.Now(), one)
	e.is("Retry over the limit", err, store.ErrLimit)
	e.same("what it returns", got, job.Job{})
	e.same("the job", e.read(j), j)
	e.same("its units", e.tally(j), before)
	e.noClaim("export")
	e.succeed(f)
}

func retryRefusedFirst(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	j := e.admit(e.newFor(north, ann(), "export"), one)
	_, err := e.Retry(e.ctx, north, j.ID, e.clock.Now(), one)
	e.is("Retry of what is under way", err, job.ErrTransition)
	_, err = e.Retry(e.ctx, north, "unknown", e.clock.Now(), one)
	e.is("Retry of what is not there", err, store.ErrNotFound)
}

// raceRetryLimit begins with a kind of which nothing was ever limited.
func raceRetryLimit(e *env) {
	for _, limit := range []int64{1, 3} {
		kind := e.newJob(north, "").ID
		var js [racers]job.Job
		for i := range js {
			js[i] = e.failedOf(e.newFor(north, ann(), kind))
		}
		var won atomic.Int64
		e.together(func(i int) error {
			ok, err := e.tryRetry(js[i], store.Limit{PerOwner: int(limit)})
			if ok {
				won.Add(1)
			}
			return err
		})
		e.same("retries", won.Load(), limit)
		ids, _ := e.claimAll(kind)
		e.same("units", len(ids), int(limit))
	}
}

func raceRetryCreate(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	for range rounds {
		kind := e.newJob(north, "").ID
		j, fresh := e.failedOf(e.newFor(north, ann(), kind)), e.newFor(north, ann(), kind)
		var won atomic.Int64
		e.together(func(i int) (err error) {
			var ok bool
			switch i {
			case 0:
				ok, err = e.tryRetry(j, one)
			case 1:
				ok, err = e.tryCreate(fresh, one)
			}
			if ok {
				won.Add(1)
			}
			return err
		})
		e.same("places", won.Load(), int64(1))
	}
}

// raceRetryNamed has each that is refused look at once for who was faster.
func raceRetryNamed(e *env) {
	for range rounds {
		kind := e.newJob(north, "").ID
		var js [racers]job.Job
		for i := range js {
			js[i] = e.failedOf(e.newFor(north, ann(), kind))
		}
		e.together(func(i int) error {
			ok, err := e.tryRetry(js[i], store.Limit{PerOwner: 1})
			if err != nil || ok {
				return err
			}
			page, err := e.List(e.ctx, north, ann(), "", racers)
			if err == nil && !slices.ContainsFunc(page, func(j job.Job) bool { return j.Kind == kind && !j.State.Final() }) {
				err = fmt.Errorf("%s was refused, and no job is under way", js[i].ID)
			}
			return err
		})
	}
}
