package storetest

import (
	"fmt"
	"slices"
	"strings"

	"firebreak/store"
)

func splitCases() []testCase {
	return []testCase{
		{"the ranges of each kind of selection cover exactly what it means", splitEachKind},
		{"a scan keeps to its selection in the ranges of a wider one", splitWider},
		{"ranges cover a selection whatever their size", splitSizes},
		{"ranges are of about the bytes asked for", splitBytes},
		{"ranges of a cohort follow the cohort", splitCohortBytes},
		{"a type that the tenant has nothing of, or that is not selected, has no range", splitEmptyTypes},
		{"an empty tenant has no range", splitEmpty},
	}
}

// world is a tenant with changes before and after each of two barriers, and a
// third one after which nothing was written.
func (e *env) world() (first, second, last store.Tick) {
	e.Helper()
	e.crowd("old")
	e.commit(remove("Patient/4"), remove("Observation/o1"))
	first = e.barrier()
	e.commit(write("Appointment/a1", "moved", "3"), write("Observation/o2", "moved", "1"), remove("Observation/o3"))
	e.commit(write("Patient/1", "new", "2"), write("Organization/g1", "new"), write("Observation/o1", "back", "5"))
	second = e.barrier()
	e.crowd("later")
	e.commit(remove("Patient/2"), write("Observation/o9", "later", "1"), write("Patient/5", "linked", "1"))
	return first, second, e.barrier()
}

func (e *env) crowd(text string) {
	e.Helper()
	for i := 1; i <= 5; i++ {
		p := fmt.Sprint(i)
		e.commit(write("Patient/"+p, text), write("Observation/o"+p, text, p),
			write("Appointment/a"+p, text, p, fmt.Sprint(i%5+1)), write("Organization/g"+p, text))
	}
}

func splitEachKind(e *env) {
	first, second, last := e.world()
	members := []string{"1", "3", "not-there"}
	cohort := e.cohort(members...)
	for _, s := range kinds(first, cohort) {
		for _, at := range []store.Tick{first, second, last} {
			s.At = at
			if s.Cohort == cohort {
				e.agrees(s, members...)
			} else {
				e.agrees(s)
			}
		}
	}
}

// kinds are selections of every kind, and some narrowed by more than one
// member, then all of them of tombstones. after is an earlier barrier.
func kinds(after store.Tick, cohort store.CohortID) []store.Selection {
	all := []store.Selection{
		{},
		{After: after},
		{Types: []string{"Observation"}},
		{Types: []string{"Patient", "Appointment", "Medication"}},
		{IDs: []string{"1", "o2", "a1", "not-there"}},
		{IDs: []string{"not-there"}},
		{Compartments: true},
		{Cohort: cohort},
		{Cohort: "unknown"},
		{Compartments: true, After: after, Types: []string{"Patient", "Observation", "Organization"}},
		{Compartments: true, IDs: []string{"g1", "o1", "o2"}},
		{Cohort: cohort, After: after},
		{Cohort: cohort, Compartments: true, Types: []string{"Patient"}},
		{Cohort: cohort, Types: []string{"Organization"}},
		{Cohort: cohort, IDs: []string{"1", "2", "5", "o1", "o2", "o3", "a2", "a3", "a4"}},
		{After: after, Types: []string{"Appointment"}, IDs: []string{"a1", "a2"}},
	}
	for _, s := range all {
		s.Deleted = true
		all = append(all, s)
	}
	return all
}

func splitWider(e *env) {
	_, second, last := e.world()
	after := e.version("Patient/1", 2).From
	members := []string{"1", "3"}
	cohort := e.cohort(members...)
	for _, at := range []store.Tick{second, last} {
		wide := map[bool][]store.Range{
			false: e.ranges(north, store.Selection{At: at}, smallRange),
			true:  e.ranges(north, deleted(at), smallRange),
		}
		for _, s := range kinds(after, cohort) {
			s.At = at
			var got []store.Version
			for _, r := range wide[s.Deleted] {
				got = append(got, e.walk(north, s, r, "")...)
			}
			slices.SortFunc(got, byKey)
			want := slices.DeleteFunc(e.model(north).selected(s, members), func(store.Version) bool { return s.Cohort == "unknown" })
			e.same(fmt.Sprintf("Scan of %+v in wider ranges", s), lines(got), lines(want))
		}
	}
}

func splitSizes(e *env) {
	at, _, _ := e.world()
	want := lines(e.model(north).selected(store.Selection{At: at}, nil))
	for _, bytesEach := range []int64{1, 100, 1000, 1 << 20, 1 << 40} {
		got := lines(e.scanIn(north, store.Selection{At: at}, bytesEach))
		e.same(fmt.Sprintf("Scan of ranges of %d bytes", bytesEach), got, want)
	}
}

// crowdBytes is about how many bytes each of the resources of loadCrowd has.
const crowdBytes = 1000

func (e *env) loadCrowd(n int) store.Tick {
	e.Helper()
	text := strings.Repeat("x", crowdBytes-200)
	for i := 0; i < n; i += 50 {
		var changes []change
		for j := i; j < min(n, i+50); j++ {
			changes = append(changes, write(fmt.Sprint("Observation/", j), text, fmt.Sprint("p", j%100)))
		}
		e.commit(changes...)
	}
	return e.barrier()
}

// splitBytes allows for a factor of three, as a range's size is a guess.
func splitBytes(e *env) {
	s := store.Selection{At: e.loadCrowd(400)}
	const each = 40 * crowdBytes
	rs := e.ranges(north, s, each)
	e.that(4 <= len(rs) && len(rs) <= 30, "400 resources in ranges of about 40: %d ranges", len(rs))
	guessed, real := int64(0), int64(0)
	for _, r := range rs {
		size := int64(0)
		for _, v := range e.walk(north, s, r, "") {
			size += int64(len(v.Body))
		}
		e.that(size <= 3*each, "%d bytes in a range of about %d", size, each)
		guessed, real = guessed+r.Bytes, real+size
	}
	e.that(real/3 <= guessed && guessed <= real*3, "ranges guess at %d bytes and have %d", guessed, real)
	e.same("one range for all", len(e.ranges(north, s, 1<<30)), 1)
}

func splitCohortBytes(e *env) {
	s := store.Selection{At: e.loadCrowd(400), Cohort: e.cohort("p3", "p50")}
	rs := e.ranges(north, s, 40*crowdBytes)
	e.that(1 <= len(rs) && len(rs) <= 3, "8 of 400 resources, in ranges of about 40: %d ranges", len(rs))
	e.same("versions", len(e.scan(s)), 8)
}

func splitEmptyTypes(e *env) {
	e.commit(write("Patient/1", "a"), write("Observation/1", "a", "1"), write("Organization/1", "a"))
	e.commitIn(south, write("Medication/1", "a"))
	s := store.Selection{At: e.barrier()}
	e.same("types with ranges", e.rangeTypes(s), []string{"Observation", "Organization", "Patient"})
	s.Types = []string{"Patient", "Medication", "Observation", "Appointment"}
	e.same("types with ranges, of those selected", e.rangeTypes(s), []string{"Observation", "Patient"})
	s.Types = []string{"Medication"}
	e.same("types with ranges, of another tenant's", e.rangeTypes(s), nil)
}

func (e *env) rangeTypes(s store.Selection) []string {
	e.Helper()
	var types []string
	for _, r := range e.ranges(north, s, 1<<20) {
		types = append(types, r.Type)
	}
	slices.Sort(types)
	return types
}

func splitEmpty(e *env) {
	e.same("ranges of an empty tenant", e.ranges(north, store.Selection{At: e.barrier()}, 1), nil)
	e.commitIn(south, write("Patient/1", "a"))
	e.same("ranges beside another tenant", e.ranges(north, store.Selection{At: e.barrier()}, 1), nil)
}
