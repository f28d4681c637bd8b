package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func jobRaces() []testCase {
	return []testCase{
		{"of workers that claim a unit one wins", raceClaim},
		{"of workers that claim a lost unit one wins", raceLost},
		{"phases hold against workers", racePhases},
		{"updates of one job are all made, one on the other", raceUpdate},
		{"of updates to a final state one wins", raceTransition},
		{"a cancel holds against workers", raceCancel},
	}
}

func closeRaces() []testCase {
	return []testCase{
		{"Close waits for commits under way, and later ones are ErrClosed", raceClose},
		{"what was acknowledged before a restart is there after it", raceReopen},
	}
}

// tally counts claims by unit.
type claims struct {
	mu sync.Mutex
	of map[string]int
}

func (c *claims) note(f store.Fence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]int)
	}
	c.of[f.Unit]++
}

// work claims until there is nothing, and hands each fence to f.
func (e *env) work(c *claims, f func(job.Unit, store.Fence) error) error {
	for {
		u, fence, err := e.Claim(e.ctx, []string{"export"}, time.Hour)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		c.note(fence)
		if err := f(u, fence); err != nil {
			return err
		}
	}
}

func manyUnits(n, phase int) []job.Unit {
	us := make([]job.Unit, n)
	for i := range us {
		us[i] = unit(fmt.Sprintf("%d-%03d", phase, i), phase)
	}
	return us
}

func (e *env) succeeds(_ job.Unit, f store.Fence) error {
	return e.End(e.ctx, f, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 1}})
}

func raceClaim(e *env) {
	j, c := e.create("export", manyUnits(5*racers, 0)...), &claims{}
	e.together(func(int) error { return e.work(c, e.succeeds) })
	e.same("units that were claimed", len(c.of), 5*racers)
	for id, n := range c.of {
		e.that(n == 1, "%s was claimed %d times", id, n)
	}
	got := e.tally(j)
	e.that(got.Succeeded == 5*racers && got.Done.Resources == 5*racers, "the tally is %+v", got)
}

func raceLost(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0))
	_, first := e.claim("export")
	for lost := 1; lost <= rounds/2; lost++ {
		e.clock.advance(2 * time.Hour)
		c := &claims{}
		e.together(func(int) error {
			return e.work(c, func(u job.Unit, f store.Fence) error {
				if u.Lost != lost || f.Attempt != lost+1 {
					return fmt.Errorf("claimed %+v, want %d lost", u, lost)
				}
				return nil
			})
		})
		e.same("claims", c.of, map[string]int{"a": 1})
	}
	e.fenced(first)
}

// racePhases has workers that plan, work and join as fast as they can.
func racePhases(e *env) {
	j, c := e.create("export", append(manyUnits(racers, 0), manyUnits(racers, 2)...)...), &claims{}
	work := func(u job.Unit, f store.Fence) error {
		if u.Phase == 0 {
			if err := e.Add(e.ctx, f, unitsOf(j, unit("1-"+u.ID, 1))); err != nil {
				return err
			}
		}
		got, err := e.Tally(e.ctx, north, j.ID)
		if err != nil {
			return err
		}
		if below := u.Phase * racers; got.Succeeded < below {
			return fmt.Errorf("%s of phase %d was claimed when %d of %d had succeeded", u.ID, u.Phase, got.Succeeded, below)
		}
		return e.succeeds(u, f)
	}
	for got := e.tally(j); got.Unfinished() > 0; got = e.tally(j) {
		e.together(func(int) error { return e.work(c, work) })
	}
	e.same("units", len(c.of), 3*racers)
	e.same("succeeded", e.tally(j).Succeeded, 3*racers)
}

func raceUpdate(e *env) {
	j := e.create("export")
	e.together(func(int) error {
		for range rounds {
			_, err := e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) {
				j.Retries++
				return j, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	e.same("updates", e.read(j).Retries, racers*rounds)
}

func raceTransition(e *env) {
	now := e.clock.Now()
	for range rounds {
		j := e.create("export")
		e.update(j, func(j job.Job) (job.Job, error) { return j.Start(now) })
		won := e.wins(func(i int) error {
			_, err := e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) {
				if i%2 == 0 {
					return j.Succeed(now)
				}
				return j.Fail(now, job.Reason{Code: "exception", Message: "m"})
			})
			if errors.Is(err, job.ErrTransition) {
				return store.ErrConflict
			}
			return err
		})
		e.same("winners", won, int64(1))
	}
}

func raceCancel(e *env) {
	j, c := e.create("export", manyUnits(20*racers, 0)...), &claims{}
	var after claims
	e.together(func(i int) error {
		if i > 0 {
			return e.work(c, func(_ job.Unit, f store.Fence) error { return e.succeeds(job.Unit{}, f) })
		}
		_, err := e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) { return j.RequestCancel(e.clock.Now()) })
		if err != nil {
			return err
		}
		return e.work(&after, e.succeeds)
	})
	e.same("claims after the cancel", len(after.of), 0)
	got := e.tally(j)
	e.that(got.Succeeded == len(c.of) && got.Queued == 20*racers-len(c.of) && got.Running == 0, "the tally is %+v after %d claims", got, len(c.of))
	e.noClaim("export")
}

// outcome is how a commit under a closing store ended.
type outcome struct {
	ref string
	err error
}

// until commits until the store refuses, and tells of every commit. The first
// is reported on started.
func (e *env) until(s store.Store, i int, started chan<- struct{}) []outcome {
	var out []outcome
	for n := 0; ; n++ {
		o := outcome{ref: fmt.Sprintf("Patient/%d-%d", i, n)}
		_, o.err = s.Commit(e.ctx, north, batchOf([]change{write(o.ref, "a")}))
		out = append(out, o)
		if n == 0 {
			started <- struct{}{}
		}
		if o.err != nil {
			return out
		}
	}
}

// under runs f once all writers have committed, and returns their outcomes.
func (e *env) under(f func()) []outcome {
	started, outs := make(chan struct{}, racers), make([][]outcome, racers)
	var all sync.WaitGroup
	s := e.Store
	for i := range racers {
		all.Go(func() { outs[i] = e.until(s, i, started) })
	}
	for range racers {
		<-started
	}
	f()
	all.Wait()
	var out []outcome
	for _, o := range outs {
		out = append(out, o...)
	}
	return out
}

func raceClose(e *env) {
	for _, o := range e.under(e.close) {
		if o.err != nil {
			e.is("Commit", o.err, store.ErrClosed)
		}
	}
}

func raceReopen(e *env) {
	e.needReopen()
	for _, o := range e.under(e.reopen) {
		n := e.get(o.ref).N
		e.that(o.err != nil || n == 1, "%s was acknowledged and is lost", o.ref)
		e.that(!errors.Is(o.err, store.ErrClosed) || n == 0, "%s was refused and is there", o.ref)
	}
}
