package export_test

import (
	"fmt"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"

	"github.com/google/go-cmp/cmp"
)

func TestGroupsThatNameEachOtherAreFollowedOnce(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), patient("c"), patient("d"))
	w.put(groupOf("g", "Patient/a", "Group/h", "Group/g"), groupOf("h", "Patient/b", "Group/i", "Patient/a"), groupOf("i", "Group/g", "Group/h", "Patient/c"))
	a := asked{level: selection.OneGroup, group: "g"}
	r := w.of(a, "Patient", "a b c")
	w.holds(r, 0, a)
	if len(r.notes) > 0 || r.ids("Group") != "g" {
		t.Errorf("groups %q come, and it says %q", r.ids("Group"), r.notes)
	}
}

func TestADeepChainOfGroupsIsFollowedToItsEnd(t *testing.T) {
	const deep = 300
	w := newWorld(t, export.Config{})
	all := []resource{patient("last"), groupOf(itoa(deep), "Patient/last")}
	for i := range deep {
		all = append(all, groupOf(itoa(i), "Group/"+itoa(i+1)))
	}
	w.put(all...)
	w.of(asked{level: selection.OneGroup, group: "0"}, "Patient", "last")
}

func TestANestedGroupIsThatOfTheJobsInstant(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), patient("c"), groupOf("g", "Group/h", "Group/i"), groupOf("h", "Patient/a"), groupOf("i", "Patient/b"))
	a := asked{level: selection.OneGroup, group: "g"}
	j := w.kickoff(a)
	w.put(groupOf("h", "Patient/c"), groupOf("g", "Patient/c"))
	w.remove("Group/i")
	r := w.result(w.finish(j))
	w.holds(r, 0, a)
	if r.ids("Patient") != "a b" || len(r.notes) > 0 {
		t.Errorf("patients %q come, and it says %q", r.ids("Patient"), r.notes)
	}
}

func TestMembersThatAreGoneAreNamedWhateverTheyAre(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("gone"), thing("Device", "gone", "v"), thing("Device", "d", "v"))
	w.put(groupOf("g", "Patient/a", "Group/gone", "Device/gone", "Device/d", "Practitioner/never"))
	w.remove("Group/gone")
	w.remove("Device/gone")
	r := w.of(asked{level: selection.OneGroup, group: "g"}, "Device", "d")
	want := []string{}
	for _, ref := range []string{"Group/gone", "Device/gone", "Practitioner/never"} {
		want = append(want, ref+" is a member of the Group and is not on this server")
	}
	if d := cmp.Diff(want, r.notes, sorted); d != "" {
		t.Errorf("notes: %s", d)
	}
}

// Other members are resources like any others: only if they are asked for, and
// changed.
func TestOtherMembersComeIfTheirTypeAndAgeAreMeant(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), thing("Device", "d", "v"), thing("Practitioner", "p", "v"), groupOf("g", "Patient/a", "Device/d", "Group/h"), groupOf("h", "Practitioner/p"))
	a := asked{level: selection.OneGroup, group: "g"}
	w.of(asked{level: selection.OneGroup, group: "g", types: []string{"Patient"}}, "Device", "")
	a.since = instant(w.of(a, "Practitioner", "p").job.TransactionTime)
	w.of(a, "Device", "")
	w.put(thing("Device", "d", "later"))
	w.remove("Practitioner/p")
	r := w.of(a, "Device", "d")
	if d := cmp.Diff([]string{"Practitioner/p"}, r.deleted); d != "" || len(r.notes) > 0 {
		t.Errorf("deleted %s, and it says %q", d, r.notes)
	}
}

func TestCharacteristicsArePassedOverWithAWord(t *testing.T) {
	w := newWorld(t, export.Config{})
	g := group("g", "a")
	g.body = strings.TrimSuffix(g.body, "}") + `,"characteristic":[{"exclude":false}]}`
	w.put(patient("a"), g)
	r := w.of(asked{level: selection.OneGroup, group: "g"}, "Patient", "a")
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "characteristics") {
		t.Errorf("it says %q", r.notes)
	}
}

// What a modifier extension means is not known: perhaps that the members are
// to be left out.
func TestAGroupThatIsModifiedIsNotExportedAsIfItWereNot(t *testing.T) {
	const extension = `,"modifierExtension":[{"url":"urn:x","valueBoolean":true}]`
	w := newWorld(t, export.Config{})
	g, h := group("g", "a"), group("h", "b")
	g.body = strings.TrimSuffix(g.body, "}") + extension + "}"
	h.body = strings.TrimSuffix(h.body, "}") + extension + "}"
	w.put(patient("a"), patient("b"), patient("c"), g, h)
	_, err := w.export().Kickoff(t.Context(), auth.Local(), asked{level: selection.OneGroup, group: "g"}.call())
	if fhir.KindOf(err) != fhir.Unprocessable {
		t.Errorf("the kick-off: %v", err)
	}
	over := groupWith("over", []string{"c"}, `{"entity":{"reference":"Group/h"}}`, `{"entity":{"reference":"Patient/a"}`+extension+`}`)
	w.put(over)
	if r := w.of(asked{level: selection.OneGroup, group: "over"}, "Patient", "c"); len(r.notes) != 2 {
		t.Errorf("it says %q", r.notes)
	}
}

func TestAnOutcomeThatAGroupNamesIsNotExported(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(outcome("stored"), patient("a"), organization("o"), groupWith("g", []string{"a"},
		`{"entity":{"reference":"OperationOutcome/stored"}}`, `{"entity":{"reference":"Organization/o"}}`))
	r := w.of(asked{level: selection.OneGroup, group: "g"}, "OperationOutcome", "")
	if r.ids("Organization") != "" || len(r.notes) != 2 {
		t.Errorf("organizations %q come, and it says %q", r.ids("Organization"), r.notes)
	}
}

func TestPatientsThatAreNamedAreAllThatComes(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.fill()
			w.put(thing("Device", "d", "v"), groupOf("nested", "Group/ab", "Device/d", "Patient/c"))
			for _, a := range []asked{
				{level: selection.Patients, patients: []string{"a"}},
				{level: selection.Patients, patients: []string{"a", "c", "a"}},
				{level: selection.OneGroup, group: "ab", patients: []string{"a"}},
				{level: selection.OneGroup, group: "nested", patients: []string{"b"}},
			} {
				r := w.run(a)
				w.holds(r, 0, a)
				want := strings.Join(sortedCopy(unique(a.patients)), " ")
				if r.ids("Patient") != want || r.ids("Group") != "" || r.ids("Device") != "" || len(r.notes) > 0 {
					t.Errorf("%s %s %v: patients %q, groups %q, notes %q", a.level, a.group, a.patients, r.ids("Patient"), r.ids("Group"), r.notes)
				}
			}
		})
	}
}

func unique(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func TestAPatientWhoIsNoMemberIsLeftOutAndSaidSo(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	r := w.of(asked{level: selection.OneGroup, group: "ab", patients: []string{"a", "c"}}, "Patient", "a")
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "not members") {
		t.Errorf("it says %q", r.notes)
	}
	r = w.run(asked{level: selection.OneGroup, group: "ab", patients: []string{"c"}})
	if len(r.lines) != 0 {
		t.Errorf("nobody is meant, and %v come", r.lines)
	}
}

func TestAPatientWhoIsNotThereIsRefusedOrSaid(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	w.put(patient("deleted"))
	w.remove("Patient/deleted")
	for _, absent := range []string{"nobody", "deleted"} {
		a := asked{level: selection.Patients, patients: []string{"a", absent}}
		if _, err := w.export().Kickoff(t.Context(), auth.Local(), a.call()); fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%s: %v", absent, err)
		}
		a.lenient = true
		r := w.of(a, "Patient", "a")
		if d := cmp.Diff([]string{"Patient/" + absent + " was asked for and is not on this server"}, r.notes); d != "" {
			t.Errorf("notes: %s", d)
		}
		a.patients = a.patients[1:]
		if r := w.run(a); len(r.lines) != 0 {
			t.Errorf("%v come", r.lines)
		}
	}
}

// To one who asks for changes, a deletion is one.
func TestAPatientWhoWasDeletedSinceCanBeNamed(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"))
	a := asked{level: selection.Patients, patients: []string{"a"}}
	a.since = instant(w.run(a).job.TransactionTime)
	w.remove("Patient/a")
	w.remove("Patient/b")
	if d := cmp.Diff([]string{"Patient/a"}, w.run(a).deleted); d != "" {
		t.Errorf("deleted: %s", d)
	}
}

func TestReferencesToPatientsInEveryFormThatMeansOneOfHereWork(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	for ref, works := range map[string]bool{
		"Patient/a": true, "https://example.org/fhir/Patient/a": true, "Patient/a/_history/1": true,
		"https://elsewhere.example/fhir/Patient/a": false, "https://example.org/fhir2/Patient/a": false, "/Patient/a": false,
		"a": false, "": false, "Group/a": false, "#a": false, "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7": false,
	} {
		c := asked{level: selection.Patients, patients: []string{}, more: map[string][]string{"patient": {ref}}}.call()
		if _, err := w.export().Kickoff(t.Context(), auth.Local(), c); (err == nil) != works || err != nil && fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestNoPatientAtAllIsNotEverybody(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	a := asked{level: selection.Patients, patients: []string{}, more: map[string][]string{"patient": {}}}
	if r := w.run(a); len(r.lines) != 0 {
		t.Errorf("%v come", r.lines)
	}
}

func TestTooManyPatientsAreRefusedAndRepetitionsDoNotCount(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	refs := make([]string, 0, 30_001)
	for i := range 30_000 {
		refs = append(refs, fmt.Sprintf("Patient/%d", i%10_000))
	}
	a := asked{level: selection.Patients, patients: []string{}, lenient: true, more: map[string][]string{"patient": refs}}
	if _, err := w.export().Kickoff(t.Context(), auth.Local(), a.call()); err != nil {
		t.Errorf("10,000 patients: %v", err)
	}
	a.more["patient"] = append(refs, "Patient/a")
	_, err := w.export().Kickoff(t.Context(), auth.Local(), a.call())
	if e := fhir.AsError(err); err == nil || e.Kind != fhir.Invalid || e.IssueType() != fhir.CodeTooCostly {
		t.Errorf("10,001 patients: %v", err)
	}
}

// Who joined since is sent what changes from then on, and their older data not.
func TestDataOfWhoJoinedSinceIsNotSentUnlessItChanged(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), observation("ob", "b", "v"), group("g", "a"))
	a := asked{level: selection.OneGroup, group: "g"}
	a.since = instant(w.run(a).job.TransactionTime)
	w.put(group("g", "a", "b"), observation("new", "b", "v"))
	r := w.of(a, "Observation", "new")
	if r.ids("Patient") != "" || r.ids("Group") != "g" {
		t.Errorf("patients %q, groups %q", r.ids("Patient"), r.ids("Group"))
	}
}
