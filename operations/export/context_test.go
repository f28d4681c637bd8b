package export_test

import (
	"strings"
	"testing"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
)

func (w *world) fillContext() {
	w.Helper()
	w.put(patient("a"), patient("b"), group("g", "a"))
	w.put(thing("Device", "d", "v"), thing("Practitioner", "p", "v"), thing("Practitioner", "of-b", "v"), thing("Practitioner", "nobody", "v"))
	w.put(thing("Location", "l", "v"), thing("Medication", "m", "v"), thing("PractitionerRole", "r", "v"), organization("o"), organization("far"), thing("Substance", "s", "v"))
	w.put(
		referring("o1", "a", "Device/d", "Practitioner/p", "Location/l", "Medication/m", "PractitionerRole/r", "Organization/o", "Substance/s"),
		referring("o2", "a", "Practitioner/p", "Practitioner/gone", "Patient/b", "https://example.org/other/Practitioner/nobody"),
		referring("o3", "b", "Practitioner/of-b"),
	)
}

func TestContextComesOnceAndOnlyWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.fillContext()
			a := asked{level: selection.OneGroup, group: "g"}
			w.of(a, "Practitioner", "")
			a.associated = along
			r := w.of(a, "Practitioner", "p")
			w.holds(r, 0, a)
			w.onlyItsFiles(r)
			for typ, want := range map[string]string{
				"Device": "d", "Location": "l", "Medication": "m", "PractitionerRole": "r", "Organization": "o", "Substance": "", "Patient": "a",
			} {
				if got := r.ids(typ); got != want {
					t.Errorf("%s %q come, want %q", typ, got, want)
				}
			}
			w.of(asked{level: selection.Patients, associated: along}, "Practitioner", "of-b p")
			w.of(asked{level: selection.Patients, patients: []string{"b"}, associated: along}, "Practitioner", "of-b")
			w.of(asked{level: selection.Patients, types: []string{"Patient"}, associated: along}, "Practitioner", "")
			w.of(asked{level: selection.System, types: []string{"Observation"}, associated: along}, "Practitioner", "")
			w.of(asked{level: selection.System, associated: along}, "Practitioner", "nobody of-b p")
		})
	}
}

func TestContextIsUsualWhereTheServerSaysSoUnlessTypesAreNamed(t *testing.T) {
	w := newWorld(t, export.Config{Context: true})
	w.fillContext()
	w.of(asked{level: selection.OneGroup, group: "g"}, "Practitioner", "p")
	w.of(asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}}, "Practitioner", "")
	w.of(asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}, associated: along}, "Practitioner", "p")
}

// Context is as old as it is: what refers to it changed.
func TestContextIsThatOfTheJobsInstantWhateverItsAge(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fillContext()
	a := asked{level: selection.OneGroup, group: "g", associated: along}
	a.since = instant(w.run(a).job.TransactionTime)
	w.of(a, "Practitioner", "")
	w.put(referring("o4", "a", "Practitioner/p", "Practitioner/nobody", "Practitioner/late"))
	j := w.kickoff(a)
	w.put(thing("Practitioner", "p", "later"), thing("Practitioner", "late", "v"), referring("o4", "a"))
	w.remove("Practitioner/nobody")
	r := w.result(w.finish(j))
	if got := r.ids("Practitioner"); got != "nobody p" || strings.Contains(strings.Join(r.lines["Practitioner"], ""), "later") {
		t.Errorf("they are %q", r.lines["Practitioner"])
	}
}

func TestWhoDidWhatProvenanceSaysIsContext(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), group("g", "a"), thing("Practitioner", "p", "v"), thing("Practitioner", "of-b", "v"), organization("o"))
	w.put(provenance("p", []string{"Patient/a"}, "Practitioner/p", "Organization/o"), provenance("of-b", []string{"Patient/b"}, "Practitioner/of-b"))
	a := asked{level: selection.OneGroup, group: "g", associated: along}
	w.holds(w.of(a, "Practitioner", "p"), 0, a)
	a.types = []string{"Patient"}
	w.of(a, "Practitioner", "")
}

func TestADeviceThatIsMemberAndContextComesOnce(t *testing.T) {
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		w := newWorld(t, sizes)
		w.put(patient("a"), thing("Device", "d", "v"), groupOf("g", "Patient/a", "Device/d", "Group/h"), groupOf("h", "Device/d"))
		w.put(referring("o1", "a", "Device/d"), referring("o2", "a", "Device/d"), provenance("p", []string{"Patient/a"}, "Device/d"))
		for _, associated := range [][]string{nil, along} {
			r := w.of(asked{level: selection.OneGroup, group: "g", associated: associated}, "Device", "d")
			if len(r.notes) > 0 {
				t.Errorf("%s: it says %q", name, r.notes)
			}
		}
	}
}
