package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/store"
)

func mentionCases() []testCase {
	return []testCase{
		{"Mentions finds who names a target or is in its compartment, in any version", mentionsAnyVersion},
		{"Mentions goes by literal relative references and compartments alone", mentionsLiteral},
		{"Mentions finds who names a target that is no Patient", mentionsOthers},
		{"ids of every form are mentioned apart", mentionsIDs},
		{"mentions are their tenant's", mentionsTenants},
		{"Mentions of a few targets among many resources of many versions", mentionsMany},
		{"Versions yields every version of each resource, the latest first", versionsAll},
		{"Versions of what is not there, or is given twice", versionsOdd},
		{"Versions goes on across what it buffers", versionsLarge},
		{"Versions holds nobody up while it yields", versionsYield},
		{"Versions ends with the error that yield returns", versionsError},
	}
}

// mentions names who mentions the targets, in order, each once.
func (e *env) mentions(targets ...string) []string {
	e.Helper()
	return e.mentionsIn(e.tenant, targets...)
}

func (e *env) mentionsIn(t store.Tenant, targets ...string) []string {
	e.Helper()
	ids, err := e.Mentions(e.ctx, t, idsOf(targets...))
	e.ok("Mentions", err)
	return slices.Compact(sorted(refsOf(ids)))
}

func mentionsAnyVersion(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/now", "a", "1"), write("Observation/was", "a", "1"),
		write("Observation/gone", "a", "1"), write("Observation/was-gone", "a", "1"), write("Observation/never", "a", "2"),
		write("Appointment/both", "a", "2", "1"), write("Organization/1", "a"))
	want := []string{
		"Appointment/both", "Observation/gone", "Observation/now", "Observation/was", "Observation/was-gone", "Patient/1",
	}
	e.same("mentions in current versions", e.mentions("Patient/1"), want)
	e.commit(write("Observation/was", "b", "2"), remove("Observation/gone"), write("Observation/was-gone", "b", "2"),
		write("Observation/now", "b", "1"), write("Patient/2", "b", "1"), write("Appointment/both", "b", "2"))
	want = append(want, "Patient/2")
	e.same("mentions in replaced versions", e.mentions("Patient/1"), want)
	e.commit(remove("Observation/was-gone"), remove("Patient/1"), write("Patient/2", "c"))
	e.same("mentions in tombstones", e.mentions("Patient/1"), want)
	e.same("mentions of two", e.mentions("Patient/1", "Patient/2"), sorted(append(want, "Observation/never")))
	e.same("mentions of nobody", e.mentions("Patient/not-there", "Medication/1", "NoSuchType/1"), nil)
	e.same("mentions of no targets", e.mentions(), nil)
}

func mentionsLiteral(e *env) {
	for i, members := range []string{
		`"extension":[{"url":"u","valueReference":{"reference":"Patient/1/_history/2"}}]`,
		`"contact":[{"extension":[{"url":"u","valueReference":{"reference":"Patient/1"}}]}]`,
		`"partOf":{"reference":"http://127.0.0.1/fhir/Patient/1"}`,
		`"partOf":{"reference":"Patient/11","display":"Patient/1"}`,
		`"name":"Patient/1","extension":[{"url":"Patient/1","valueUri":"Patient/1"}]`,
	} {
		ref := fmt.Sprint("Organization/", i)
		e.commit(exactly(ref, fmt.Sprintf(`{"resourceType":"Organization","id":"%d",%s}`, i, members)))
		e.commit(write(ref, "names nobody now"))
	}
	e.commit(exactly("CarePlan/1", `{"resourceType":"CarePlan","id":"1","instantiatesCanonical":["Patient/1"],"instantiatesUri":["Patient/1"]}`))
	want := []string{"Organization/0", "Organization/1"}
	e.same("mentions", e.mentions("Patient/1"), want)
	e.commit(remove("CarePlan/1"), remove("Organization/0"))
	e.same("mentions after a deletion", e.mentions("Patient/1"), want)
}

func mentionsOthers(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "Observation-1"),
		exactly("Observation/3", `{"resourceType":"Observation","id":"3","hasMember":[{"reference":"Observation/1"}]}`),
		exactly("Provenance/4", `{"resourceType":"Provenance","id":"4","target":[{"reference":"Observation/1/_history/1"},{"reference":"Patient/1"}]}`))
	e.commit(remove("Observation/3"))
	e.same("mentions", e.mentions("Observation/1"), []string{"Observation/3", "Provenance/4"})
	e.same("mentions of both", e.mentions("Observation/1", "Patient/1"), []string{"Observation/1", "Observation/3", "Provenance/4"})
}

func mentionsIDs(e *env) {
	var changes []change
	for _, id := range likeIDs() {
		changes = append(changes, write("Appointment/"+id, "a", id), write("Patient/"+id, "a"))
	}
	e.commit(changes...)
	for _, id := range likeIDs() {
		e.commit(remove("Appointment/"+id), remove("Patient/"+id))
		e.same("mentions of "+id, e.mentions("Patient/"+id), []string{"Appointment/" + id, "Patient/" + id})
	}
	// Of many targets some are mentioned, and others stand between them.
	for odd := range 2 {
		var targets, want []string
		for i, id := range likeIDs() {
			targets = append(targets, "Medication/"+id, "Appointment/"+id, "PatienT/"+id, "Patientx/"+id, "Zoo/"+id)
			if i%2 == odd {
				targets, want = append(targets, "Patient/"+id), append(want, "Appointment/"+id, "Patient/"+id)
				e.commit(exactly("Organization/of-"+fmt.Sprint(i), fmt.Sprintf(`{"resourceType":"Organization","id":"of-%d","partOf":{"reference":"Zoo/%s"}}`, i, id)))
			}
		}
		for i := range likeIDs() {
			if i%2 <= odd {
				want = append(want, fmt.Sprint("Organization/of-", i))
			}
		}
		e.same("mentions of many", e.mentions(targets...), sorted(want))
	}
}

func mentionsTenants(e *env) {
	e.commitIn(north, write("Observation/1", "a", "1"))
	e.commitIn(south, write("Observation/2", "a", "1"), write("Appointment/1", "a", "1"))
	e.same("north's", e.mentionsIn(north, "Patient/1"), []string{"Observation/1"})
	e.same("south's", e.mentionsIn(south, "Patient/1"), []string{"Appointment/1", "Observation/2"})
	e.same("nobody's", e.mentionsIn("nowhere", "Patient/1"), nil)
}

func mentionsMany(e *env) {
	e.loadCrowd(1000)
	var want []string
	for i := range 10 {
		for _, p := range []int{7, 99} {
			want = append(want, fmt.Sprint("Observation/", 100*i+p))
		}
	}
	for i := 0; i < 1000; i += 100 {
		e.commit(write(fmt.Sprint("Observation/", i+7), "b", "p8"))
		e.commit(write(fmt.Sprint("Observation/", i+7), "c", "p8"), remove(fmt.Sprint("Observation/", i+99)))
	}
	e.same("mentions", e.mentions("Patient/p7", "Patient/p99"), sorted(want))
}

// allVersions reads all that Versions yields, and puts the resources in the
// order of the references. Those of one come together.
func (e *env) allVersions(t store.Tenant, refs ...string) []store.Version {
	e.Helper()
	var vs []store.Version
	ended := map[fhir.ID]bool{}
	e.ok("Versions", e.Versions(e.ctx, t, idsOf(refs...), func(v *store.Version) error {
		if n := len(vs); n > 0 && vs[n-1].ID != v.ID {
			ended[vs[n-1].ID] = true
		}
		e.that(!ended[v.ID], "the versions of %s do not come together", v.ID)
		vs = append(vs, copyOf(v))
		return nil
	}))
	slices.SortStableFunc(vs, func(a, b store.Version) int {
		return slices.Index(refs, a.ID.String()) - slices.Index(refs, b.ID.String())
	})
	return vs
}

func versionsAll(e *env) {
	e.commit(write("Patient/1", "a").by(ann()), write("Observation/1", "a", "1", "2"), write("Organization/1", "a"), write("Organization/2", "a"))
	e.commit(write("Patient/1", "b"), remove("Observation/1"))
	e.commit(remove("Patient/1"), write("Observation/1", "b", "3"))
	e.commit(write("Patient/1", "c"), write("Observation/1", "c", "1"))
	refs := []string{"Observation/1", "Organization/1", "Patient/1"}
	var want []store.Version
	for _, ref := range refs {
		want = append(want, e.history(ref)...)
	}
	e.same("versions", e.allVersions(north, refs...), want)
	e.same("of one", labels(e.allVersions(north, "Patient/1")), []string{"Patient/1 v4", "Patient/1 v3", "Patient/1 v2", "Patient/1 v1"})
	e.same("of another tenant", e.allVersions(south, refs...), nil)
}

func versionsOdd(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.same("versions", labels(e.allVersions(north, "Patient/2", "Patient/not-there", "NoSuchType/1", "Patient/1", "Patient/2")),
		[]string{"Patient/2 v1", "Patient/1 v1"})
	e.same("of no ids", e.allVersions(north), nil)
}

func versionsLarge(e *env) {
	for i := range 9 {
		e.commit(write("Patient/1", fmt.Sprint(i, strings.Repeat("x", 400_000))), write("Patient/2", fmt.Sprint(i)))
	}
	want := append(e.history("Patient/1"), e.history("Patient/2")...)
	got := e.allVersions(north, "Patient/1", "Patient/2")
	e.same("versions", labels(got), labels(want))
	for i := range got {
		e.that(string(got[i].Body) == string(want[i].Body), "%s has another body", label(got[i]))
	}
}

// versionsYield commits and makes barriers from within yield.
func versionsYield(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.commit(write("Patient/1", "b"))
	n := 0
	e.ok("Versions", e.Versions(e.ctx, north, idsOf("Patient/1", "Patient/2"), func(*store.Version) error {
		n++
		e.commit(write("Patient/other", fmt.Sprint(n)))
		e.barrier()
		return nil
	}))
	e.same("versions", n, 3)
	e.same("committed meanwhile", e.get("Patient/other").N, int64(3))
}

func versionsError(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.commit(write("Patient/1", "b"))
	stop, calls := errors.New("stop"), 0
	err := e.Versions(e.ctx, north, idsOf("Patient/1", "Patient/2"), func(*store.Version) error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	e.is("Versions", err, stop)
	e.same("calls", calls, 2)
}
