package storetest

import (
	"fmt"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

func residueCases() []testCase {
	return []testCase{
		{"Residue of what never was is none", residueNone},
		{"Residue finds versions, current, replaced and tombstones", residueVersions},
		{"Residue finds who names an erased resource, in any version", residueReferences},
		{"Residue finds what is in a patient's compartment, in any version", residueCompartments},
		{"Residue finds parts that hold a patient, until they are forgotten", residueParts},
		{"Residue finds members and finds of other jobs", residueRows},
		{"Residue is its tenant's", residueTenants},
		{"Residue gives each kind, and a bounded number of findings", residueBounded},
		{"after everything was erased Residue is none", residueClean},
	}
}

// residue names what is left, in order, each once.
func (e *env) residue(g store.Gone) []string {
	e.Helper()
	found, err := e.Residue(e.ctx, e.tenant, g)
	e.ok("Residue", err)
	e.that(len(found) <= store.MaxResidue, "%d findings", len(found))
	var lines []string
	for _, r := range found {
		line := fmt.Sprintf("%s %s", r.Kind, r.ID)
		if r.Job != "" || r.Part != "" {
			line += fmt.Sprintf(" %s/%s", r.Job, r.Part)
		}
		lines = append(lines, line)
	}
	return slices.Compact(sorted(lines))
}

func residueNone(e *env) {
	g := store.Gone{IDs: idsOf("Patient/1", "NoSuchType/1"), Patients: []string{"1"}}
	e.same("in an empty store", e.residue(g), nil)
	e.commit(write("Patient/2", "a"), write("Observation/1", "a", "2"))
	e.filled(north, "export")
	g.Patients, g.IDs = []string{"3"}, idsOf("Patient/3", "Observation/3")
	e.same("of others", e.residue(g), nil)
	e.same("of nothing", e.residue(store.Gone{}), nil)
}

func residueVersions(e *env) {
	e.commit(write("Patient/1", "a"), write("Organization/1", "a"), write("Organization/2", "a"), write("Organization/3", "a"))
	e.commit(write("Organization/2", "b"), remove("Organization/3"))
	g := store.Gone{IDs: idsOf("Organization/1", "Organization/2", "Organization/3", "Organization/4")}
	e.same("residue", e.residue(g), []string{"version Organization/1", "version Organization/2", "version Organization/3"})
	_, f := e.eraser()
	e.erase(f, e.refsTo("Organization/1"), e.refsTo("Organization/2", 1), e.refsTo("Organization/3", 1))
	e.same("residue", e.residue(g), []string{"version Organization/2", "version Organization/3"})
	e.erase(f, e.refsTo("Organization/2"), e.refsTo("Organization/3"))
	e.same("residue", e.residue(g), nil)
}

func residueReferences(e *env) {
	e.commit(
		exactly("Provenance/1", `{"resourceType":"Provenance","id":"1","target":[{"reference":"Organization/1/_history/1"}]}`),
		exactly("Provenance/2", `{"resourceType":"Provenance","id":"2","target":[{"reference":"Organization/1"}]}`),
		exactly("Provenance/3", `{"resourceType":"Provenance","id":"3","target":[{"reference":"Organization/11"}]}`),
		exactly("Provenance/4", `{"resourceType":"Provenance","id":"4","target":[{"reference":"Organization/1"}]}`),
		exactly("CarePlan/1", `{"resourceType":"CarePlan","id":"1","instantiatesUri":["Organization/1"]}`),
	)
	e.commit(exactly("Provenance/2", `{"resourceType":"Provenance","id":"2"}`), remove("Provenance/4"))
	g := store.Gone{IDs: idsOf("Organization/1")}
	e.same("residue", e.residue(g), []string{"reference Provenance/1", "reference Provenance/2", "reference Provenance/4"})
	_, f := e.eraser()
	e.erase(f, e.refsTo("Provenance/1"), e.refsTo("Provenance/2", 1), e.refsTo("Provenance/4", 1))
	e.same("residue", e.residue(g), nil)
}

func residueCompartments(e *env) {
	e.commit(write("Patient/1", "a"), write("Observation/1", "a", "1"), write("Observation/2", "a", "1"), write("Observation/3", "a", "1"))
	e.commit(write("Observation/2", "b", "2"), remove("Observation/3"))
	g := store.Gone{Patients: []string{"1"}}
	want := []string{"compartment Observation/1", "compartment Observation/2", "compartment Observation/3", "compartment Patient/1"}
	e.same("residue", e.residue(g), want)
	_, f := e.eraser()
	e.erase(f, e.refsTo("Observation/1"), e.refsTo("Observation/3", 1), e.refsTo("Patient/1"))
	e.same("residue", e.residue(g), []string{"compartment Observation/2", "compartment Observation/3"})
	e.erase(f, e.refsTo("Observation/2", 1), e.refsTo("Observation/3"))
	e.same("residue", e.residue(g), nil)
}

func residueParts(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1"), part(f, "y", 2, "p2")} })
	g := store.Gone{Patients: []string{"p1", "p3"}}
	want := []string{"part Patient/p1 " + j.ID + "/x"}
	e.same("residue", e.residue(g), want)
	_, f := e.eraser()
	ps, err := e.Void(e.ctx, f, g.Patients)
	e.ok("Void", err)
	e.same("residue while the bytes may be there", e.residue(g), want)
	e.ok("Forget", e.Forget(e.ctx, north, ps))
	e.same("residue", e.residue(g), nil)
}

func residueRows(e *env) {
	a, f := e.planner(north)
	b, own := e.planner(north)
	for _, f := range []store.Fence{f, own} {
		e.ok("AddMembers", e.AddMembers(e.ctx, f, []string{"1", "2"}))
		e.find(f, "Observation/1", "Patient/1", "Patient/3")
	}
	g := store.Gone{IDs: idsOf("Observation/1", "Patient/2"), Patients: []string{"2", "4"}, Job: b.ID}
	e.same("residue", e.residue(g), sorted([]string{"find Observation/1 " + a.ID + "/", "member Patient/2 " + a.ID + "/"}))
	g.Job = ""
	e.same("residue of all jobs", len(e.residue(g)), 4)
	e.ok("Remove", e.Remove(e.ctx, north, a.ID))
	g.Job = b.ID
	e.same("residue", e.residue(g), nil)
}

func residueTenants(e *env) {
	e.commitIn(south, write("Patient/1", "a"), write("Observation/1", "a", "1"))
	e.filled(south, "export")
	g := store.Gone{IDs: idsOf("Patient/1", "Observation/1", "Patient/2"), Patients: []string{"1"}}
	e.same("north's", e.residue(g), nil)
	e.tenant = south
	e.that(len(e.residue(g)) > 5, "south's are %v", e.residue(g))
	e.tenant = "nowhere"
	e.same("nobody's", e.residue(g), nil)
}

func residueBounded(e *env) {
	e.loadCrowd(500)
	e.commit(write("Patient/p1", "a"), write("Patient/p2", "a"))
	_, f := e.planner(north)
	g := store.Gone{}
	for i := range 500 {
		g.IDs = append(g.IDs, fhir.ID{Type: "Observation", ID: fmt.Sprint(i)})
		g.Patients = append(g.Patients, fmt.Sprint("p", i))
	}
	g.IDs = append(g.IDs, idsOf("Patient/p1", "Patient/p2")...)
	e.ok("AddMembers", e.AddMembers(e.ctx, f, g.Patients))
	e.ok("AddFinds", e.AddFinds(e.ctx, f, g.IDs))
	e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, g.Patients...)} })
	found, err := e.Residue(e.ctx, north, g)
	e.ok("Residue", err)
	e.that(len(found) <= store.MaxResidue, "%d findings", len(found))
	kinds := make(map[store.ResidueKind]bool)
	for _, r := range found {
		kinds[r.Kind] = true
	}
	e.same("kinds", kinds, map[store.ResidueKind]bool{
		store.OfVersion: true, store.OfReference: true, store.OfCompartment: true, store.OfPart: true, store.OfMember: true, store.OfFind: true,
	})
}

// residueClean erases all that mentions two patients, in all of a world.
func residueClean(e *env) {
	e.world()
	e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "1"), part(f, "y", 2, "2")} })
	j, f := e.eraser()
	ids, err := e.Mentions(e.ctx, north, idsOf("Patient/1", "Patient/2"))
	e.ok("Mentions", err)
	e.ok("AddFinds", e.AddFinds(e.ctx, f, ids))
	e.ok("Announce", e.Announce(e.ctx, f, []string{"1", "2"}))
	// Another patient who was linked to them is erased too, and stays named.
	left := slices.DeleteFunc(slices.Clone(ids), func(id fhir.ID) bool { return id == idOf("Patient/5") })
	g := store.Gone{IDs: left, Patients: []string{"1", "2"}, Job: j.ID}
	e.that(len(e.residue(g)) > 10, "residue before is %v", e.residue(g))
	var vs []store.VersionRef
	for _, ref := range slices.Compact(sorted(refsOf(ids))) {
		vs = append(vs, e.refsTo(ref)...)
	}
	e.erase(f, vs)
	ps, err := e.Void(e.ctx, f, g.Patients)
	e.ok("Void", err)
	e.ok("Forget", e.Forget(e.ctx, north, ps))
	e.same("residue", e.residue(g), nil)
	e.agrees(store.Selection{At: e.barrier()})
}
