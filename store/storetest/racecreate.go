package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"firebreak/operations/job"
	"firebreak/store"
)

func createRaces() []testCase {
	return []testCase{
		{"of many that create jobs exactly as many as the limit go through", raceLimit},
		{"a place that a cancel frees is taken once", raceFreed},
		{"jobs that come and go are never more than the limit", raceComeAndGo},
		{"of many that create under one key and digest one writes, and all get its job", raceKey},
		{"of many that create under one key with digests of their own one goes through", raceDigests},
	}
}

// tryCreate creates from a goroutine: it tells whether there was room.
func (e *env) tryCreate(j job.Job, l store.Limit) (bool, error) {
	_, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), l)
	if errors.Is(err, store.ErrLimit) {
		return false, nil
	}
	return err == nil, err
}

// admitted has every racer create jobs, and counts those that there was room for.
func (e *env) admitted(each int, l store.Limit, next func(i int) job.Job) int64 {
	e.Helper()
	var n atomic.Int64
	e.together(func(i int) error {
		for range each {
			ok, err := e.tryCreate(next(i), l)
			if err != nil {
				return err
			}
			if ok {
				n.Add(1)
			}
		}
		return nil
	})
	return n.Load()
}

func raceLimit(e *env) {
	one := func(int) job.Job { return e.newFor(north, ann(), "of one") }
	e.same("jobs of one owner", e.admitted(3, store.Limit{PerOwner: 5}, one), int64(5))
	e.same("listed", len(e.listed(north, ann(), 9)), 5)
	each := func(i int) job.Job { return e.newFor(north, job.Owner{Client: fmt.Sprint(i)}, "of each") }
	e.same("jobs of each of many owners", e.admitted(3, store.Limit{PerOwner: 2}, each), int64(2*racers))
	all := func(i int) job.Job {
		return e.newFor(store.Tenant(fmt.Sprint("tenant-", i%3)), job.Owner{Client: fmt.Sprint(i)}, "of all")
	}
	e.same("jobs of all", e.admitted(3, store.Limit{PerOwner: 2, All: 7}, all), int64(7))
	ids, _ := e.claimAll("of one", "of each", "of all")
	e.same("units", len(ids), 5+2*racers+7)
}

func raceFreed(e *env) {
	one := store.Limit{PerOwner: 1}
	there := e.admit(e.newFor(north, ann(), "export"), one)
	for range rounds {
		e.update(there, e.requestStop)
		won := e.admitted(1, one, func(int) job.Job { return e.newFor(north, ann(), "export") })
		e.same("jobs in the place of one", won, int64(1))
		page, err := e.List(e.ctx, north, ann(), "", racers)
		e.ok("List", err)
		for _, j := range page {
			if j.CancelRequested.IsZero() {
				there = j
			}
		}
	}
}

// raceComeAndGo counts a job from after it was created to before its cancel is
// requested, so that the count is never above what is under way.
func raceComeAndGo(e *env) {
	var under, done atomic.Int64
	const limit = 3
	e.together(func(int) error {
		for range rounds {
			j := e.newFor(north, ann(), "export")
			ok, err := e.tryCreate(j, store.Limit{PerOwner: limit})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			n := under.Add(1)
			under.Add(-1)
			done.Add(1)
			if n > limit {
				return fmt.Errorf("%d jobs are under way", n)
			}
			if _, err := e.Update(e.ctx, north, j.ID, e.requestStop); err != nil {
				return err
			}
		}
		return nil
	})
	e.that(done.Load() >= limit, "%d jobs in all", done.Load())
}

func raceKey(e *env) {
	for n := range rounds {
		key := fmt.Sprint("key ", n)
		var got [racers]job.Job
		e.together(func(i int) (err error) {
			j := e.keyed(ann(), "export", key, "d")
			got[i], err = e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), store.Limit{PerOwner: rounds})
			return err
		})
		for _, j := range got {
			e.same("the answer", j, got[0])
		}
		e.same("the job", e.read(got[0]), got[0])
	}
	e.same("jobs", len(e.listed(north, ann(), 9)), rounds)
	ids, _ := e.claimAll("export")
	e.same("units", len(ids), rounds)
}

func raceDigests(e *env) {
	for n := range rounds {
		key := fmt.Sprint("key ", n)
		won := e.wins(func(i int) error {
			j := e.keyed(ann(), "export", key, fmt.Sprint("of ", i))
			_, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), store.Limit{})
			if errors.Is(err, store.ErrKeyReused) {
				return store.ErrConflict
			}
			return err
		})
		e.same("jobs of a key", won, int64(1))
	}
	ids, _ := e.claimAll("export")
	e.same("units", len(ids), rounds)
}
