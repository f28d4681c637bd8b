package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"firebreak/store"
)

func scanCases() []testCase {
	return []testCase{
		{"a scan goes on after each key with exactly the rest", scanResumes},
		{"a scan keeps to its range", scanRange},
		{"a scan ends with the error that yield returns", scanYieldError},
		{"a scan ends with its context", scanCancelled},
		{"a scan's yield may write, and the scan does not see it", scanWrites},
		{"a scan gives whole versions", scanWhole},
		{"a scan of many goes on across its chunks", scanMany},
	}
}

// wholeType is one range with all of a type.
func (e *env) wholeType(s store.Selection) store.Range {
	e.Helper()
	rs := e.ranges(north, s, 1<<40)
	e.that(len(rs) == 1, "ranges are %+v, want one", rs)
	return rs[0]
}

func scanResumes(e *env) {
	at, _, _ := e.world()
	cohort := e.cohort("2", "3", "4")
	for _, s := range []store.Selection{{}, {Compartments: true}, {Cohort: cohort}, {IDs: []string{"o2", "o3", "o5"}}} {
		s.At, s.Types = at, []string{"Observation"}
		r := e.wholeType(s)
		all := e.walk(north, s, r, "")
		e.that(len(all) > 1, "too few to go on: %v", labels(all))
		for i, v := range all {
			e.same(fmt.Sprintf("the rest after %d of %+v", i+1, s), e.walk(north, s, r, v.Key), all[i+1:])
		}
	}
}

func scanRange(e *env) {
	for i := range 6 {
		e.commit(write(fmt.Sprint("Patient/", i), "a"))
	}
	s := store.Selection{At: e.barrier()}
	r := e.wholeType(s)
	all := e.walk(north, s, r, "")
	cut := store.Range{Type: "Patient", From: all[1].Key, To: all[4].Key}
	e.same("from included, to not", labels(e.walk(north, s, cut, "")), labels(all[1:4]))
	e.same("after a key before the range", labels(e.walk(north, s, cut, all[0].Key)), labels(all[1:4]))
	e.same("after a key within", labels(e.walk(north, s, cut, all[2].Key)), labels(all[3:4]))
	e.same("after the last key", e.walk(north, s, cut, all[3].Key), nil)
}

func scanYieldError(e *env) {
	e.loadCrowd(60)
	s := store.Selection{At: e.barrier()}
	stop, calls := errors.New("stop"), 0
	err := e.Scan(e.ctx, north, s, e.wholeType(s), "", func(*store.Version) error {
		if calls++; calls == 7 {
			return stop
		}
		return nil
	})
	e.is("Scan", err, stop)
	e.same("calls", calls, 7)
	e.commit(write("Patient/1", "the store goes on"))
}

func scanCancelled(e *env) {
	e.loadCrowd(400)
	s := store.Selection{At: e.barrier()}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	err := e.Scan(ctx, north, s, e.wholeType(s), "", func(*store.Version) error { cancel(); return nil })
	e.is("Scan", err, context.Canceled)
	e.commit(write("Patient/1", "the store goes on"))
}

// scanWrites would hang if a scan held what a commit or a barrier needs.
func scanWrites(e *env) {
	for i := range 12 {
		e.commit(write(fmt.Sprint("Patient/", i), "a"))
	}
	s := store.Selection{At: e.barrier()}
	var seen []string
	err := e.Scan(e.ctx, north, s, e.wholeType(s), "", func(v *store.Version) error {
		i := len(seen)
		seen = append(seen, label(*v))
		e.commit(write(fmt.Sprint("Patient/", 11-i), fmt.Sprint("during ", i)), write(fmt.Sprint("Patient/new", i), "a"))
		e.that(e.get(fmt.Sprint("Patient/new", i)).N == 1, "a write during a scan is not there")
		e.barrier()
		return nil
	})
	e.ok("Scan", err)
	slices.Sort(seen)
	want := labels(e.model(north).selected(s, nil))
	slices.Sort(want)
	e.same("what was seen", seen, want)
}

func scanWhole(e *env) {
	e.commit(write("Appointment/1", "a", "p1", "p2"))
	e.commit(write("Appointment/1", "b", "p3", "p2"))
	s := store.Selection{At: e.barrier()}
	found := e.scan(s)
	e.same("the scanned version", lines(found), lines(e.model(north).selected(s, nil)))
	e.same("it and Get's", lines(found), lines([]store.Version{e.get("Appointment/1")}))
}

func scanMany(e *env) {
	s := store.Selection{At: e.loadCrowd(1200)}
	e.same("versions", len(e.walk(north, s, e.wholeType(s), "")), 1200)
	e.agrees(s)
}
