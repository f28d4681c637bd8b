package storetest

import (
	"firebreak/operations/job"
	"firebreak/store"
)

func tenantCases() []testCase {
	return []testCase{
		{"the same ids in two tenants are two resources", tenantResources},
		{"a scan sees its tenant only", tenantScans},
		{"a cohort is its tenant's", tenantCohort},
		{"a job is its tenant's in every method", tenantJobs},
		{"the same job id in two tenants is two jobs", tenantSameJob},
	}
}

func tenantResources(e *env) {
	n, s := write("Patient/1", "north").expecting(store.Absent), write("Patient/1", "south").expecting(store.Absent)
	e.commitIn(north, n)
	e.commitIn(south, s)
	e.isVersion(e.getIn(north, "Patient/1"), n, 1)
	e.isVersion(e.getIn(south, "Patient/1"), s, 1)
	e.commitIn(south, write("Patient/1", "again").expecting(1), write("Patient/2", "south"))
	e.commitIn(south, remove("Patient/1"))
	e.isVersion(e.getIn(north, "Patient/1"), n, 1)
	e.same("history", numbers(e.history("Patient/1")), []int64{1})
	_, err := e.Version(e.ctx, north, idOf("Patient/1"), 2)
	e.is("Version", err, store.ErrNotFound)
	e.same("what only the other has", e.get("Patient/2").N, int64(0))
	e.same("its history", e.history("Patient/2"), nil)
	e.same("an unknown tenant", e.getIn("nowhere", "Patient/1").N, int64(0))
}

func tenantScans(e *env) {
	e.commitIn(north, write("Patient/1", "a"), write("Observation/1", "a", "1"))
	e.commitIn(south, write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "2"))
	e.commitIn(south, write("Patient/1", "b"))
	at := e.barrierIn(north)
	there := e.barrierIn(south)
	e.yieldsIn(north, store.Selection{At: at}, "Patient/1 v1", "Observation/1 v1")
	e.yieldsIn(south, store.Selection{At: there}, "Patient/1 v2", "Patient/2 v1", "Observation/1 v1")
	e.yieldsIn("nowhere", store.Selection{At: at})
	e.yieldsIn(north, store.Selection{At: at, IDs: []string{"2"}})
	e.yieldsIn(north, store.Selection{At: at, Compartments: true, Types: []string{"Observation"}}, "Observation/1 v1")
	for _, r := range e.ranges(south, store.Selection{At: there}, 1<<20) {
		for _, v := range e.walk(north, store.Selection{At: at}, r, "") {
			e.that(v.Owner == somebody() && v.N == 1 && v.ID.ID == "1", "north's scan of south's range gives %s", label(v))
		}
	}
}

func tenantCohort(e *env) {
	for _, t := range []store.Tenant{north, south} {
		e.commitIn(t, write("Patient/1", "a"), write("Observation/1", "a", "1"))
	}
	c := e.cohortIn(south, "1")
	e.yieldsIn(south, store.Selection{At: e.barrierIn(south), Cohort: c}, "Patient/1 v1", "Observation/1 v1")
	e.yieldsIn(north, store.Selection{At: e.barrierIn(north), Cohort: c})
	e.same("its members, asked by another", e.members(c, 9), nil)
}

func tenantJobs(e *env) {
	j, f := e.filled(south, "export")
	asked := j
	asked.Tenant = string(north)
	_, err := e.Job(e.ctx, north, j.Owner, j.ID)
	e.is("Job", err, store.ErrNotFound)
	_, err = e.Peek(e.ctx, north, j.ID)
	e.is("Peek", err, store.ErrNotFound)
	_, err = e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) { return j, nil })
	e.is("Update", err, store.ErrNotFound)
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.same("members", e.membersIn(north, j.ID), nil)
	e.same("finds", e.foundIn(north, j.ID, 9), nil)
	e.same("jobs", e.listed(north, j.Owner, 9), nil)
	e.same("parts", e.parts(asked), nil)
	e.same("public part", e.findPart(asked, job.PartName{Category: job.Output, Type: "Patient", N: 1}), "")
	e.same("parts that hold a patient", e.holding("1"), nil)
	wrong := f
	wrong.Tenant = north
	e.fenced(wrong)
	e.same("the job itself", e.read(j), j)
	e.same("its parts", partIDs(e.parts(j)), []string{"p1"})
	e.same("its members", sorted(e.membersIn(south, j.ID)), []string{"1", "2"})
	e.same("its finds", e.foundIn(south, j.ID, 9), []string{"Observation/1", "Patient/2"})
	e.ok("Renew", e.Renew(e.ctx, f, lease))
}

func tenantSameJob(e *env) {
	n := e.newJob(north, "export")
	s := n
	s.Tenant, s.Kind, s.Retries = string(south), "purge", 3
	e.ok("Create", drop(e.Create(e.ctx, n, unitsOf(n, unit("a", 0)), store.Limit{})))
	e.ok("Create", drop(e.Create(e.ctx, s, unitsOf(s, unit("a", 0), unit("b", 1)), store.Limit{})))
	_, f := e.claim("purge")
	e.that(f.Tenant == south, "the fence is %+v", f)
	e.find(f, "Patient/1")
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, "x", 1, "p")}})
	e.same("north's finds", e.found(n, 9), nil)
	e.same("north's job", e.read(n), n)
	e.same("north's units", e.tally(n), job.Tally{Queued: 1})
	e.same("north's parts", e.parts(n), nil)
	e.ok("Remove", e.Remove(e.ctx, north, n.ID))
	e.same("south's job", e.read(s), s)
	e.same("south's jobs", e.listed(south, s.Owner, 9), []string{s.ID})
	e.same("south's finds", e.found(s, 9), []string{"Patient/1"})
	e.same("south's parts", partIDs(e.parts(s)), []string{"x"})
	u, _ := e.claim("purge", "export")
	e.that(u.Tenant == string(south) && u.ID == "b", "claimed %+v", u)
}
