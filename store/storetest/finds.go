package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

func findCases() []testCase {
	return []testCase{
		{"finds are listed in order of type, in pages, each after the one given", findsPages},
		{"finds of every form of id are listed once", findsForms},
		{"adding a find again changes nothing", findsAgain},
		{"two jobs' finds are apart", findsApart},
		{"finds stay when their unit has ended and when it is tried again", findsStay},
		{"a find need not be there, and is no member of the cohort", findsOwn},
		{"finds go with their job", findsRemoved},
		{"finds are there after the store was opened again", findsDurable},
		{"finds of many are listed across pages", findsMany},
	}
}

// found lists the finds of a job, in pages of n.
func (e *env) found(j job.Job, n int) []string {
	e.Helper()
	return e.foundIn(store.Tenant(j.Tenant), j.ID, n)
}

func (e *env) foundIn(t store.Tenant, jobID string, n int) []string {
	e.Helper()
	var all []string
	for after := (fhir.ID{}); ; {
		page, err := e.Finds(e.ctx, t, jobID, after, n)
		e.ok("Finds", err)
		e.that(len(page) <= n, "%d finds in a page of %d", len(page), n)
		if len(page) == 0 {
			return all
		}
		all, after = append(all, refsOf(page)...), page[len(page)-1]
	}
}

func (e *env) find(f store.Fence, refs ...string) {
	e.Helper()
	e.ok("AddFinds", e.AddFinds(e.ctx, f, idsOf(refs...)))
}

// findsPages knows no order within a type but that of one page of all.
func findsPages(e *env) {
	j, f := e.planner(north)
	e.find(f, "Patient/1", "Observation/z", "Observation/1", "Provenance/1", "Medication/m", "Patient/0", "Device/1")
	all := e.found(j, 100)
	e.same("finds", sorted(all), []string{"Device/1", "Medication/m", "Observation/1", "Observation/z", "Patient/0", "Patient/1", "Provenance/1"})
	e.that(slices.IsSortedFunc(all, func(a, b string) int { return cmpType(a, b) }), "not in order of type: %v", all)
	for _, n := range []int{1, 2, 3, 7} {
		e.same(fmt.Sprintf("finds in pages of %d", n), e.found(j, n), all)
	}
	for i, after := range all {
		page, err := e.Finds(e.ctx, north, j.ID, idOf(after), 2)
		e.ok("Finds", err)
		e.same("two after "+after, refsOf(page), all[i+1:min(i+3, len(all))])
	}
}

func cmpType(a, b string) int {
	return slices.Compare([]string{idOf(a).Type}, []string{idOf(b).Type})
}

func findsForms(e *env) {
	j, f := e.planner(north)
	var want []string
	for _, id := range likeIDs() {
		want = append(want, "Patient/"+id, "Observation/"+id)
	}
	e.find(f, want...)
	for _, n := range []int{1, 4, 100} {
		e.same(fmt.Sprintf("finds in pages of %d", n), sorted(e.found(j, n)), sorted(want))
	}
}

func findsAgain(e *env) {
	j, f := e.planner(north)
	e.find(f, "Patient/b", "Patient/a")
	e.find(f, "Patient/a")
	e.find(f, "Patient/c", "Observation/a", "Patient/a", "Patient/c")
	e.find(f)
	e.same("finds", sorted(e.found(j, 2)), []string{"Observation/a", "Patient/a", "Patient/b", "Patient/c"})
}

func findsApart(e *env) {
	a, fa := e.planner(north)
	b, fb := e.planner(north)
	elsewhere, fs := e.planner(south)
	e.find(fa, "Patient/1", "Patient/2")
	e.find(fb, "Patient/2", "Patient/3")
	e.find(fs, "Patient/4")
	e.same("finds of the first", e.found(a, 9), []string{"Patient/1", "Patient/2"})
	e.same("finds of the second", e.found(b, 9), []string{"Patient/2", "Patient/3"})
	e.same("finds of another tenant's", e.found(elsewhere, 9), []string{"Patient/4"})
	e.same("they, asked by this tenant", e.foundIn(north, elsewhere.ID, 9), nil)
	e.same("in an unknown tenant", e.foundIn("nowhere", a.ID, 9), nil)
	e.same("finds of no job", e.foundIn(north, "unknown", 9), nil)
}

// findsStay adds as an attempt that is lost, as one that is put back, and as
// one that succeeds: a set only grows.
func findsStay(e *env) {
	e.clock.stop()
	j := e.create("export", unit("a", 0), unit("b", 1))
	_, f := e.claim("export")
	e.find(f, "Patient/1")
	e.clock.advance(lease + time.Millisecond)
	e.find(f, "Patient/2") // its lease has run out, and nobody else has claimed
	_, second := e.claim("export")
	e.is("AddFinds", e.AddFinds(e.ctx, f, idsOf("Patient/stale")), store.ErrFenced)
	e.find(second, "Patient/3")
	e.end(second, job.UnitEnd{State: job.Queued, Erred: true})
	_, third := e.claim("export")
	e.succeed(third)
	e.is("AddFinds", e.AddFinds(e.ctx, third, idsOf("Patient/late")), store.ErrFenced)
	_, f = e.claim("export")
	e.find(f, "Patient/4")
	e.update(j, e.start)
	e.update(j, e.failsBecause)
	e.is("AddFinds of an ended job", e.AddFinds(e.ctx, f, idsOf("Patient/late")), store.ErrFenced)
	e.same("finds", e.found(j, 9), []string{"Patient/1", "Patient/2", "Patient/3", "Patient/4"})
}

func findsOwn(e *env) {
	j, f := e.planner(north)
	e.commit(write("Patient/1", "a"))
	e.find(f, "Patient/1", "Patient/not-there")
	e.same("finds", e.found(j, 9), []string{"Patient/1", "Patient/not-there"})
	e.same("members", e.membersIn(north, j.ID), nil)
	e.yields(store.Selection{At: e.barrier(), Cohort: store.CohortID(j.ID)})
}

func findsRemoved(e *env) {
	a, fa := e.planner(north)
	b, fb := e.planner(north)
	e.find(fa, "Patient/1", "Observation/1")
	e.find(fb, "Patient/1")
	e.ok("Remove", e.Remove(e.ctx, north, a.ID))
	e.same("finds of the removed", e.found(a, 9), nil)
	e.is("AddFinds", e.AddFinds(e.ctx, fa, idsOf("Patient/2")), store.ErrFenced)
	e.same("finds of the other", e.found(b, 9), []string{"Patient/1"})
	e.ok("Create", drop(e.Create(e.ctx, a, nil, store.Limit{})))
	e.same("finds of a new job of that id", e.found(a, 9), nil)
}

func findsDurable(e *env) {
	e.needReopen()
	j, f := e.planner(north)
	e.find(f, "Patient/1", "Observation/1")
	was := e.admit(e.keyed(ann(), "export", "k", "d"), store.Limit{PerOwner: 1})
	e.reopen()
	e.same("finds", e.found(j, 1), []string{"Observation/1", "Patient/1"})
	e.same("jobs", e.listed(north, ann(), 9), []string{was.ID})
	e.again(e.keyed(ann(), "export", "k", "d"), was, store.Limit{PerOwner: 1})
	e.overLimit(e.newFor(north, ann(), "export"), store.Limit{PerOwner: 1})
}

func findsMany(e *env) {
	j, f := e.planner(north)
	var refs []string
	for i := range 2500 {
		refs = append(refs, fmt.Sprintf("%s/%d", []string{"Observation", "Patient", "Provenance"}[i%3], i))
	}
	for page := range slices.Chunk(refs, 700) {
		e.find(f, page...)
	}
	for _, n := range []int{333, 1000, 5000} {
		e.same(fmt.Sprintf("finds in pages of %d", n), sorted(e.found(j, n)), sorted(refs))
	}
}
