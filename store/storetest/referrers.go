package storetest

import (
	"fmt"
	"slices"

	"firebreak/fhir"
	"firebreak/store"
)

func referrerCases() []testCase {
	return []testCase{
		{"Referrers gives those of the type that name a target", referrersNamed},
		{"Referrers of many targets gives those that name any", referrersTargets},
		{"only a literal relative reference counts", referrersLiteral},
		{"a Patient does not name itself by being in its own compartment", referrersSelf},
		{"ids of every form are referred to apart", referrersIDs},
		{"who named a target as of T is found though replaced or deleted since", referrersSince},
		{"who named a target only before T is not found", referrersBefore},
		{"referrers are their tenant's", referrersTenants},
		{"many referrers of one target are all found", referrersMany},
	}
}

// referrers asserts who of a type names one of the targets as of at. Who may be
// named too does so only since.
func (e *env) referrers(at store.Tick, typ string, targets []string, want []string, may ...string) {
	e.Helper()
	got := slices.DeleteFunc(e.referring(e.tenant, at, typ, targets), func(ref string) bool { return slices.Contains(may, ref) })
	e.same(fmt.Sprintf("who of %s names %v as of %d", typ, targets, at), got, sorted(want))
}

// referring names referrers in order, each once.
func (e *env) referring(t store.Tenant, at store.Tick, typ string, targets []string) []string {
	e.Helper()
	ids, err := e.Referrers(e.ctx, t, at, typ, idsOf(targets...))
	e.ok("Referrers", err)
	return slices.Compact(sorted(refsOf(ids)))
}

func refsOf(ids []fhir.ID) []string {
	refs := make([]string, len(ids))
	for i, id := range ids {
		refs[i] = id.String()
	}
	return refs
}

func referrersNamed(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "2", "1"), write("Observation/3", "a", "2"),
		write("Appointment/1", "a", "3", "1"), write("Patient/1", "a"), write("Patient/2", "a", "1"), write("Organization/1", "a"))
	at := e.barrier()
	target := []string{"Patient/1"}
	e.referrers(at, "Observation", target, []string{"Observation/1", "Observation/2"})
	e.referrers(at, "Appointment", target, []string{"Appointment/1"})
	e.referrers(at, "Patient", target, []string{"Patient/2"})
	for _, typ := range []string{"Organization", "Medication", "NoSuchType", ""} {
		e.referrers(at, typ, target, nil)
	}
}

func referrersTargets(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "2", "1"), write("Observation/3", "a", "3"), write("Observation/4", "of nobody"),
		exactly("Observation/5", `{"resourceType":"Observation","id":"5","hasMember":[{"reference":"Observation/4"}]}`))
	at := e.barrier()
	e.referrers(at, "Observation", []string{"Patient/1", "Patient/3"}, []string{"Observation/1", "Observation/2", "Observation/3"})
	e.referrers(at, "Observation", []string{"Patient/3", "Observation/4", "Patient/3"}, []string{"Observation/3", "Observation/5"})
	e.referrers(at, "Observation", []string{"Patient/not-there", "Medication/1", "NoSuchType/1"}, nil)
	e.referrers(at, "Observation", []string{"Patient/not-there", "Patient/2"}, []string{"Observation/2"})
	e.referrers(at, "Observation", nil, nil)
}

// referrersLiteral has what looks like a reference to Patient/1, or is one that
// is not relative or not literal.
func referrersLiteral(e *env) {
	for i, members := range []string{
		`"subject":{"reference":"Patient/1"}`,
		`"subject":{"reference":"Patient/1/_history/2"}`,
		`"subject":{"reference":"Patient\/1"}`,
		`"extension":[{"url":"u","valueReference":{"reference":"Patient/1"}}]`,
		`"contained":[{"resourceType":"Device","id":"d","patient":{"reference":"Patient/1"}}],"device":{"reference":"#d"}`,
		`"subject":{"reference":"http://127.0.0.1/fhir/Patient/1"}`,
		`"subject":{"reference":"http://elsewhere.example/fhir/Patient/1/_history/1"}`,
		`"subject":{"reference":"urn:uuid:8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4d"}`,
		`"subject":{"identifier":{"value":"Patient/1"},"display":"Patient/1","type":"Patient"}`,
		`"subject":{"reference":"patient/1"}`,
		`"subject":{"reference":"Patient/11"},"performer":[{"reference":"Patient/01"},{"reference":"Practitioner/1"}]`,
		`"extension":[{"url":"Patient/1","valueString":"Patient/1"},{"url":"u","valueUri":"Patient/1"}]`,
		`"valueString":"Patient/1","note":[{"text":"{\"reference\":\"Patient/1\"}"}]`,
	} {
		e.commit(exactly(fmt.Sprint("Observation/", i), fmt.Sprintf(`{"resourceType":"Observation","id":"%d",%s}`, i, members)))
	}
	e.commit(exactly("CarePlan/1", `{"resourceType":"CarePlan","id":"1","instantiatesCanonical":["Patient/1"],"instantiatesUri":["Patient/1"]}`))
	at := e.barrier()
	want := []string{"Observation/0", "Observation/1", "Observation/2", "Observation/3", "Observation/4"}
	look := func() {
		e.referrers(at, "Observation", []string{"Patient/1"}, want)
		e.referrers(at, "CarePlan", []string{"Patient/1"}, nil)
	}
	look()
	for i := range 13 {
		e.commit(write(fmt.Sprint("Observation/", i), "names nobody now"))
	}
	e.commit(remove("CarePlan/1"))
	look()
}

func referrersSelf(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "linked", "1"))
	at := e.barrier()
	e.referrers(at, "Patient", []string{"Patient/1"}, []string{"Patient/2"})
	e.referrers(at, "Patient", []string{"Patient/2"}, nil)
	e.commit(write("Patient/1", "b"), remove("Patient/2"))
	e.referrers(at, "Patient", []string{"Patient/1"}, []string{"Patient/2"})
	e.referrers(at, "Patient", []string{"Patient/2"}, nil)
}

func referrersIDs(e *env) {
	var changes []change
	for _, id := range likeIDs() {
		changes = append(changes, write("Observation/of-"+id, "a", id))
	}
	changes = slices.DeleteFunc(changes, func(c change) bool { return len(c.id.ID) > fhir.MaxID })
	for _, id := range likeIDs() {
		changes = append(changes, write("Appointment/"+id, "a", id))
	}
	e.commit(changes...)
	at := e.barrier()
	for _, id := range likeIDs() {
		e.referrers(at, "Appointment", []string{"Patient/" + id}, []string{"Appointment/" + id})
		if len("of-"+id) <= fhir.MaxID {
			e.referrers(at, "Observation", []string{"Patient/" + id}, []string{"Observation/of-" + id})
		}
	}
}

func referrersSince(e *env) {
	e.commit(write("Observation/stays", "a", "1"), write("Observation/same", "a", "1"), write("Observation/leaves", "a", "1"),
		write("Observation/goes", "a", "1"), write("Observation/swaps", "a", "1", "2"), write("Observation/joins", "a", "2"))
	at := e.barrier()
	want := []string{"Observation/stays", "Observation/same", "Observation/leaves", "Observation/goes", "Observation/swaps"}
	since := []string{"Observation/joins", "Observation/new"}
	for _, later := range [][]change{
		{write("Observation/same", "b", "1"), write("Observation/leaves", "b", "2"), remove("Observation/goes"), write("Observation/swaps", "b", "2")},
		{write("Observation/joins", "b", "1"), write("Observation/new", "a", "1")},
		{write("Observation/leaves", "c", "1"), write("Observation/goes", "c", "3"), remove("Observation/swaps"), remove("Observation/joins")},
		{remove("Observation/same"), remove("Observation/leaves"), remove("Observation/new")},
	} {
		e.commit(later...)
		e.referrers(at, "Observation", []string{"Patient/1"}, want, since...)
	}
	e.referrers(e.barrier(), "Observation", []string{"Patient/1"}, []string{"Observation/stays"})
}

func referrersBefore(e *env) {
	e.commit(write("Observation/left", "a", "1"), write("Observation/gone", "a", "1"), write("Observation/back", "a", "1"), write("Observation/other", "a", "1"))
	first := e.barrier()
	e.commit(write("Observation/left", "b", "2"), remove("Observation/gone"), write("Observation/back", "b"), write("Observation/other", "b", "2"))
	e.commit(write("Observation/back", "c", "1"))
	at := e.barrier()
	e.commit(write("Observation/left", "c", "3"), write("Observation/gone", "c", "3"), remove("Observation/other"), write("Observation/back", "d"))
	e.referrers(at, "Observation", []string{"Patient/1"}, []string{"Observation/back"})
	e.referrers(first, "Observation", []string{"Patient/1"}, []string{"Observation/left", "Observation/gone", "Observation/back", "Observation/other"})
}

func referrersTenants(e *env) {
	e.commitIn(north, write("Observation/1", "a", "1"), write("Observation/2", "a", "2"))
	e.commitIn(south, write("Observation/2", "a", "1"), write("Observation/3", "a", "1"), write("Appointment/1", "a", "1"))
	e.commitIn(south, write("Observation/3", "b", "2"))
	at := e.barrier()
	target := []string{"Patient/1"}
	e.same("north's", e.referring(north, at, "Observation", target), []string{"Observation/1"})
	e.same("north's of a type that only south has", e.referring(north, at, "Appointment", target), nil)
	e.same("nobody's", e.referring("nowhere", at, "Observation", target), nil)
	e.same("south's", e.referring(south, e.barrierIn(south), "Observation", target), []string{"Observation/2"})
}

func referrersMany(e *env) {
	at := e.loadCrowd(1000)
	want := make([]string, 0, 30)
	for i := range 10 {
		for _, p := range []int{7, 40, 99} {
			want = append(want, fmt.Sprint("Observation/", 100*i+p))
		}
	}
	targets := []string{"Patient/p7", "Patient/p40", "Patient/p99"}
	e.referrers(at, "Observation", targets, want)
	for i := 0; i < 1000; i += 10 {
		e.commit(remove(fmt.Sprint("Observation/", i)))
	}
	e.referrers(at, "Observation", targets, want)
}
