package storetest

import (
	"fmt"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

func cohortScanCases() []testCase {
	return []testCase{
		{"a cohort's scan has its patients and what is in their compartments", cohortScan},
		{"a resource of two patients of a cohort is there once", cohortShared},
		{"a Patient that is only linked to a cohort's is not in it", cohortLinked},
		{"a patient of a cohort need not be there", cohortGhost},
		{"what left a cohort's patient after T is there, what joined is not", cohortMoves},
		{"a cohort without members selects nothing", cohortEmpty},
		{"a large cohort's scan goes on across its chunks", cohortLarge},
	}
}

func memberCases() []testCase {
	return []testCase{
		{"members are listed in pages, each after the one given", membersPages},
		{"members of every form of id are listed once", membersForms},
		{"adding a member again changes nothing", membersAgain},
		{"two jobs' cohorts are apart", membersApart},
	}
}

// cohort makes a job that keeps the patients as a cohort.
func (e *env) cohort(patients ...string) store.CohortID {
	e.Helper()
	return e.cohortIn(e.tenant, patients...)
}

func (e *env) cohortIn(t store.Tenant, patients ...string) store.CohortID {
	e.Helper()
	j, f := e.planner(t)
	e.ok("AddMembers", e.AddMembers(e.ctx, f, patients))
	return store.CohortID(j.ID)
}

// planner makes a job of a kind of its own, with one unit that is running.
func (e *env) planner(t store.Tenant) (job.Job, store.Fence) {
	e.Helper()
	kind := "planner-" + ulid.Make().String()
	j := e.createIn(t, kind, unit("plan", 0))
	_, f := e.claim(kind)
	return j, f
}

func cohortScan(e *env) {
	for i := range 6 {
		p := fmt.Sprint(i)
		e.commit(write("Patient/"+p, "a"), write("Observation/"+p, "a", p), write("Organization/"+p, "a"))
	}
	s := store.Selection{At: e.barrier(), Cohort: e.cohort("1", "4")}
	e.yields(s, "Patient/1 v1", "Patient/4 v1", "Observation/1 v1", "Observation/4 v1")
	s.Types = []string{"Patient", "Organization"}
	e.yields(s, "Patient/1 v1", "Patient/4 v1")
}

func cohortShared(e *env) {
	e.commit(write("Appointment/1", "a", "2", "1", "3"), write("Appointment/2", "a", "3", "4"), write("Appointment/3", "a", "4"))
	at := e.barrier()
	e.yields(store.Selection{At: at, Cohort: e.cohort("1", "2", "3")}, "Appointment/1 v1", "Appointment/2 v1")
	e.commit(write("Appointment/1", "b", "4"))
	e.yields(store.Selection{At: at, Cohort: e.cohort("1", "2", "3", "4")}, "Appointment/1 v1", "Appointment/2 v1", "Appointment/3 v1")
}

func cohortLinked(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "linked to 1", "1"), write("Patient/3", "a", "2"))
	e.same("compartments of the linked one", sorted(e.get("Patient/2").Patients), []string{"1", "2"})
	at := e.barrier()
	e.yields(store.Selection{At: at, Cohort: e.cohort("1")}, "Patient/1 v1")
	e.yields(store.Selection{At: at, Cohort: e.cohort("2", "1")}, "Patient/1 v1", "Patient/2 v1")
}

func cohortGhost(e *env) {
	e.commit(write("Observation/1", "a", "never-there"), write("Observation/2", "a", "gone"), write("Patient/gone", "a"), write("Patient/other", "a"))
	e.commit(remove("Patient/gone"))
	s := store.Selection{At: e.barrier(), Cohort: e.cohort("never-there", "gone", "nobody")}
	e.yields(s, "Observation/1 v1", "Observation/2 v1")
}

func cohortMoves(e *env) {
	e.commit(write("Observation/leaves", "a", "1"), write("Observation/joins", "a", "2"), write("Observation/goes", "a", "1"),
		write("Observation/stays", "a", "1"), write("Observation/swaps", "a", "1", "2"), write("Patient/1", "a"), write("Patient/2", "a"))
	at, cohort := e.barrier(), e.cohort("1")
	e.commit(write("Observation/leaves", "b", "2"), write("Observation/joins", "b", "1"), remove("Observation/goes"),
		write("Observation/stays", "b", "1"), write("Observation/swaps", "b", "2"), write("Observation/new", "a", "1"),
		write("Patient/1", "b"), write("Patient/2", "b", "1"))
	before := []string{"Observation/leaves v1", "Observation/goes v1", "Observation/stays v1", "Observation/swaps v1", "Patient/1 v1"}
	e.yields(store.Selection{At: at, Cohort: cohort}, before...)
	now := e.barrier()
	e.yields(store.Selection{At: now, Cohort: cohort}, "Observation/joins v2", "Observation/stays v2", "Observation/new v1", "Patient/1 v2")
	e.commit(write("Observation/leaves", "c", "1"), write("Observation/goes", "c", "1"), remove("Patient/1"))
	e.yields(store.Selection{At: at, Cohort: cohort}, before...)
	e.yields(store.Selection{At: now, Cohort: cohort, After: at}, "Observation/joins v2", "Observation/stays v2", "Observation/new v1", "Patient/1 v2")
}

func cohortEmpty(e *env) {
	e.commit(write("Patient/1", "a"), write("Observation/1", "a", "1"))
	at := e.barrier()
	e.yields(store.Selection{At: at, Cohort: e.cohort()})
	e.yields(store.Selection{At: at, Cohort: "unknown"})
}

func cohortLarge(e *env) {
	s := store.Selection{At: e.loadCrowd(600)}
	var half []string
	for i := range 50 {
		half = append(half, fmt.Sprint("p", 2*i))
	}
	s.Cohort = e.cohort(half...)
	e.agrees(s, half...)
	e.same("versions", len(e.walk(north, s, e.wholeType(s), "")), 300)
}

// members pages through a cohort.
func (e *env) members(c store.CohortID, n int) []string {
	e.Helper()
	var all []string
	for after := ""; ; after = all[len(all)-1] {
		page, err := e.Members(e.ctx, north, c, after, n)
		e.ok("Members", err)
		e.that(len(page) <= n, "%d members in a page of %d", len(page), n)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// membersPages knows no order but that of one page of all.
func membersPages(e *env) {
	c := e.cohort("f", "b", "g", "a", "d", "c", "e")
	all := e.members(c, 100)
	e.same("members", sorted(all), []string{"a", "b", "c", "d", "e", "f", "g"})
	for _, n := range []int{1, 2, 3, 7} {
		e.same(fmt.Sprintf("members in pages of %d", n), e.members(c, n), all)
	}
	for i, after := range all {
		page, err := e.Members(e.ctx, north, c, after, 2)
		e.ok("Members", err)
		e.same("two after "+after, page, all[i+1:min(i+3, len(all))])
	}
}

func membersForms(e *env) {
	c := e.cohort(likeIDs()...)
	want := sorted(likeIDs())
	for _, n := range []int{1, 4, 100} {
		e.same(fmt.Sprintf("members in pages of %d", n), sorted(e.members(c, n)), want)
	}
}

func membersAgain(e *env) {
	j, f := e.planner(north)
	for _, add := range [][]string{{"b", "a"}, {"a"}, {"c", "a", "c"}, nil} {
		e.ok("AddMembers", e.AddMembers(e.ctx, f, add))
	}
	e.same("members", sorted(e.members(store.CohortID(j.ID), 2)), []string{"a", "b", "c"})
}

func membersApart(e *env) {
	a, b := e.cohort("1", "2"), e.cohort("2", "3")
	e.same("members of the first", sorted(e.members(a, 10)), []string{"1", "2"})
	e.same("members of the second", sorted(e.members(b, 10)), []string{"2", "3"})
	e.same("members of no cohort", e.members("unknown", 10), nil)
}
