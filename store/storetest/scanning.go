package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"firebreak/store"
)

// smallRange makes Split cut the few resources of a case into several ranges.
const smallRange = 300

// ranges splits a selection and checks what holds for every split. A range is
// kept as JSON by those who work on it, so it takes that way here too.
func (e *env) ranges(t store.Tenant, s store.Selection, bytesEach int64) []store.Range {
	e.Helper()
	rs, err := e.Split(e.ctx, t, s, bytesEach)
	e.ok("Split", err)
	kept, err := json.Marshal(rs)
	e.ok("ranges as JSON", err)
	var again []store.Range
	e.ok("ranges from JSON", json.Unmarshal(kept, &again))
	e.same("ranges by way of JSON", again, rs)
	done, last := make(map[string]bool), store.Range{}
	for _, r := range again {
		e.that(r.From < r.To, "an empty range: %+v", r)
		e.that(r.Type != last.Type || last.To <= r.From, "ranges %+v and %+v are not in order", last, r)
		if r.Type != last.Type {
			e.that(!done[r.Type], "ranges of %s are in two places", r.Type)
			done[r.Type] = true
		}
		last = r
	}
	e.disjoint(again)
	return again
}

func (e *env) disjoint(rs []store.Range) {
	e.Helper()
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b store.Range) int { return strings.Compare(string(a.From), string(b.From)) })
	for i := 1; i < len(rs); i++ {
		e.that(rs[i-1].To <= rs[i].From, "ranges %+v and %+v overlap", rs[i-1], rs[i])
	}
}

// walk scans one range from after a key, and checks what holds for every scan.
func (e *env) walk(t store.Tenant, s store.Selection, r store.Range, after store.Key) []store.Version {
	e.Helper()
	var vs []store.Version
	last := after
	err := e.Scan(e.ctx, t, s, r, after, func(v *store.Version) error {
		meant := v.AsOf(s.At) && v.Deleted == s.Deleted || s.Every && v.From <= s.At
		if v.Key <= last || v.Key < r.From || v.Key >= r.To || v.ID.Type != r.Type || !meant {
			return fmt.Errorf("%s at %q after %q does not belong in %+v as of %d", label(*v), v.Key, last, r, s.At)
		}
		last = v.Key
		vs = append(vs, copyOf(v))
		return nil
	})
	e.ok("Scan", err)
	return vs
}

// copyOf takes what is valid only until yield returns.
func copyOf(v *store.Version) store.Version {
	c := *v
	c.Body, c.Patients = slices.Clone(v.Body), slices.Clone(v.Patients)
	return c
}

// scan returns all of a selection, in order of type and then of key: in which
// order types come is the store's to choose.
func (e *env) scan(s store.Selection) []store.Version {
	e.Helper()
	return e.scanIn(e.tenant, s, smallRange)
}

func (e *env) scanIn(t store.Tenant, s store.Selection, bytesEach int64) []store.Version {
	e.Helper()
	var all []store.Version
	for _, r := range e.ranges(t, s, bytesEach) {
		all = append(all, e.walk(t, s, r, "")...)
	}
	slices.SortFunc(all, byKey)
	return all
}

// yields asserts which versions a selection means, in any order of naming
// them: "Patient/1 v2".
func (e *env) yields(s store.Selection, want ...string) {
	e.Helper()
	e.yieldsIn(e.tenant, s, want...)
}

func (e *env) yieldsIn(t store.Tenant, s store.Selection, want ...string) {
	e.Helper()
	got := labels(e.scanIn(t, s, smallRange))
	slices.Sort(got)
	slices.Sort(want)
	e.same(fmt.Sprintf("versions of %+v", s), got, want)
}

// agrees asserts that a selection yields what the model says.
func (e *env) agrees(s store.Selection, members ...string) {
	e.Helper()
	e.same(fmt.Sprintf("Scan of %+v", s), lines(e.scan(s)), lines(e.model(e.tenant).selected(s, members)))
}

// lines says in a line all that a version of a snapshot is: until when it is
// current is not part of it.
func lines(vs []store.Version) []string {
	all := make([]string, len(vs))
	for i, v := range vs {
		all[i] = fmt.Sprintf("%s %s from %d, of %v, in %v, at %d of %s", v.Key, label(v), v.From, v.Owner, sorted(v.Patients), v.MetaAt, v.Body)
	}
	return all
}

func label(v store.Version) string { return fmt.Sprintf("%s v%d", v.ID, v.N) }

func labels(vs []store.Version) []string {
	ls := make([]string, len(vs))
	for i, v := range vs {
		ls[i] = label(v)
	}
	return ls
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
