package storetest

import (
	"errors"
	"fmt"
	"sync"

	"firebreak/store"
)

func holdRaces() []testCase {
	return []testCase{
		{"nothing is erased once a hold was acknowledged, on a patient", func(e *env) { raceHold(e, on(store.OnPatient, "p")) }},
		{"nothing is erased once a hold was acknowledged, on a Group", func(e *env) { raceHold(e, on(store.OnGroup, "g"), "p") }},
		{"nothing is erased once a hold was acknowledged, on the tenant", func(e *env) { raceHold(e, on(store.OnTenant, "")) }},
	}
}

// raceHold sets a hold beside erasures of many units, of one job and of others.
// What is there when the hold is acknowledged stays.
func raceHold(e *env, what func(*store.Hold), patients ...string) {
	for n := range rounds / 2 {
		crowds, by := e.doomed(n)
		var stop sync.Once
		began, left := make(chan struct{}), []string(nil)
		e.together(func(i int) (err error) {
			if i > 0 {
				return e.erasesUntilHeld(by[i-1], crowds[i-1], func() { stop.Do(func() { close(began) }) })
			}
			<-began
			h := store.Hold{ID: fmt.Sprint("h", n), On: store.OnPatient, By: "Ann", Set: e.clock.Now()}
			what(&h)
			if err := e.SetHold(e.ctx, north, h, patients...); err != nil {
				return err
			}
			left, err = e.there(crowds)
			return err
		})
		now, err := e.there(crowds)
		e.ok("look", err)
		e.same("what is there at the end", now, left)
		_, err = e.LiftHold(e.ctx, north, fmt.Sprint("h", n), "Bob", e.clock.Now())
		e.ok("LiftHold", err)
	}
}

// doomed writes resources for each eraser, and makes the erasers: the first
// half are units of one job.
func (e *env) doomed(round int) (crowds [][]store.VersionRef, by []store.Fence) {
	e.Helper()
	kind := fmt.Sprint("purge-", round)
	us := manyUnits(racers/2, 0)
	e.create(kind, us...)
	fences := e.claimedOf(kind)
	for i := range racers - 1 {
		var f store.Fence
		if i < len(us) {
			f = fences[us[i].ID]
		} else {
			_, f = e.eraser()
		}
		var crowd []store.VersionRef
		for n := range rounds {
			ref := fmt.Sprintf("Observation/%d-%d-%d", round, i, n)
			e.commit(write(ref, "a", "p"))
			crowd = append(crowd, e.refsTo(ref)...)
		}
		crowds, by = append(crowds, crowd), append(by, f)
	}
	return crowds, by
}

// erasesUntilHeld erases one after the other until that is refused, and says
// when the first is gone.
func (e *env) erasesUntilHeld(f store.Fence, vs []store.VersionRef, began func()) error {
	defer began()
	for i := range vs {
		_, err := e.Erase(e.ctx, f, vs[i:i+1], "p")
		if errors.Is(err, store.ErrOnHold) {
			return nil
		}
		if err != nil {
			return err
		}
		began()
	}
	return nil
}

// there names the resources that are there.
func (e *env) there(crowds [][]store.VersionRef) (out []string, err error) {
	for _, vs := range crowds {
		for _, v := range vs {
			got, err := e.Get(e.ctx, north, v.ID)
			if err != nil {
				return nil, err
			}
			if got[0].N > 0 {
				out = append(out, v.ID.String())
			}
		}
	}
	return out, nil
}
