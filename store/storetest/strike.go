package storetest

import (
	"fmt"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"
)

func strikeCases() []testCase {
	return []testCase{
		{"Strike removes members and finds of all jobs but its own", strikeRemoves},
		{"striking again, or what is not there, changes nothing", strikeAgain},
		{"Strike is its tenant's", strikeTenants},
		{"a listing goes on across what was struck", strikeUnderway},
		{"a scan of a cohort goes on with the rest", strikeScan},
		{"many members and finds of many jobs are struck", strikeMany},
		{"what was struck stays so after the store was opened again", strikeDurable},
	}
}

// keeping is a job that keeps patients and resources.
func (e *env) keeping(t store.Tenant, patients []string, refs ...string) (job.Job, store.Fence) {
	e.Helper()
	j, f := e.planner(t)
	e.ok("AddMembers", e.AddMembers(e.ctx, f, patients))
	e.find(f, refs...)
	return j, f
}

// keeps asserts what a job keeps.
func (e *env) keeps(j job.Job, patients []string, refs ...string) {
	e.Helper()
	e.same("members", sorted(e.membersIn(store.Tenant(j.Tenant), j.ID)), patients)
	e.same("finds", sorted(e.found(j, 9)), refs)
}

func (e *env) strike(f store.Fence, g store.Gone) { e.Helper(); e.ok("Strike", e.Strike(e.ctx, f, g)) }

// struck is what the cases strike.
func struck(own job.Job) store.Gone {
	return store.Gone{IDs: idsOf("Patient/1", "Observation/1", "NoSuchType/1"), Patients: []string{"1", "4"}, Job: own.ID}
}

func strikeRemoves(e *env) {
	all := []string{"1", "2", "3", "4"}
	a, _ := e.keeping(north, all, "Patient/1", "Patient/2", "Observation/1", "Provenance/1")
	ended, _ := e.keeping(north, []string{"4"}, "Observation/1", "Observation/11")
	e.update(ended, e.failsBecause)
	without, _ := e.keeping(north, nil)
	own, f := e.keeping(north, all, "Patient/1", "Observation/1")
	g := struck(own)
	e.same("residue before", len(e.residue(g)), 6)
	g.Job = a.ID // it is not looked at
	e.strike(f, g)
	e.keeps(a, []string{"2", "3"}, "Patient/2", "Provenance/1")
	e.keeps(ended, nil, "Observation/11")
	e.keeps(without, nil)
	e.keeps(own, all, "Observation/1", "Patient/1")
	g.Job = own.ID
	e.same("residue", e.residue(g), nil)
}

func strikeAgain(e *env) {
	a, fa := e.keeping(north, []string{"1", "2"}, "Patient/1", "Patient/2")
	own, f := e.eraser()
	for range 2 {
		e.strike(f, struck(own))
		e.keeps(a, []string{"2"}, "Patient/2")
	}
	e.strike(f, store.Gone{})
	e.strike(f, store.Gone{Patients: []string{"nobody"}, IDs: idsOf("Patient/nobody")})
	e.keeps(a, []string{"2"}, "Patient/2")
	e.ok("AddMembers", e.AddMembers(e.ctx, fa, []string{"1"}))
	e.find(fa, "Observation/1")
	e.keeps(a, []string{"1", "2"}, "Observation/1", "Patient/2")
	e.strike(f, struck(own))
	e.keeps(a, []string{"2"}, "Patient/2")
}

func strikeTenants(e *env) {
	theirs, _ := e.keeping(south, []string{"1"}, "Patient/1")
	own, f := e.eraser()
	e.strike(f, struck(own))
	e.keeps(theirs, []string{"1"}, "Patient/1")
}

func strikeUnderway(e *env) {
	a, _ := e.keeping(north, []string{"a", "b", "c", "d", "e"}, "Patient/a", "Patient/b", "Patient/c", "Patient/d")
	first, err := e.Members(e.ctx, north, store.CohortID(a.ID), "", 2)
	e.ok("Members", err)
	found, err := e.Finds(e.ctx, north, a.ID, idOf("Observation/none"), 2)
	e.ok("Finds", err)
	_, f := e.eraser()
	e.strike(f, store.Gone{Patients: first, IDs: found}) // what the next page comes after is gone
	rest, err := e.Members(e.ctx, north, store.CohortID(a.ID), first[1], 9)
	e.ok("Members", err)
	e.same("the rest of the members", len(rest), 3)
	left, err := e.Finds(e.ctx, north, a.ID, found[1], 9)
	e.ok("Finds", err)
	e.same("the rest of the finds", len(left), 2)
}

func strikeScan(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "1"), write("Observation/2", "a", "2"))
	at, c := e.barrier(), e.cohort("1", "2")
	e.yields(store.Selection{At: at, Cohort: c}, "Patient/1 v1", "Patient/2 v1", "Observation/1 v1", "Observation/2 v1")
	_, f := e.eraser()
	e.strike(f, store.Gone{Patients: []string{"1"}})
	e.yields(store.Selection{At: at, Cohort: c}, "Patient/2 v1", "Observation/2 v1")
}

func strikeMany(e *env) {
	var patients, refs []string
	for i := range 1200 {
		patients, refs = append(patients, fmt.Sprint("p", i)), append(refs, fmt.Sprint("Observation/", i))
	}
	var js []job.Job
	for range 12 {
		j, _ := e.keeping(north, patients, refs...)
		js = append(js, j)
	}
	_, f := e.eraser()
	e.strike(f, store.Gone{Patients: slices.Concat([]string{"other"}, patients[:1100]), IDs: idsOf(refs[:1150]...)})
	for _, j := range js {
		e.same("members", len(e.members(store.CohortID(j.ID), 500)), 100)
		e.same("finds", len(e.found(j, 500)), 50)
	}
}

func strikeDurable(e *env) {
	e.needReopen()
	a, _ := e.keeping(north, []string{"1", "2"}, "Patient/1", "Patient/2")
	own, f := e.eraser()
	e.strike(f, struck(own))
	e.reopen()
	e.keeps(a, []string{"2"}, "Patient/2")
}
