package export_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
)

func TestMembersThatAreNoneAreLeftOutAndTheDoubtfulNamed(t *testing.T) {
	w := newWorld(t, export.Config{})
	for _, id := range []string{"in", "inactive", "past", "future", "within", "twice", "gone", "absolute"} {
		w.put(patient(id), observation("of-"+id, id, "v"))
	}
	w.put(observation("of-never", "never", "v"), organization("o"))
	w.remove("Patient/gone")
	member := func(ref, rest string) string { return `{"entity":{"reference":"` + ref + `"}` + rest + `}` }
	w.put(groupWith("g", []string{"in", "within", "twice"},
		member("Patient/inactive", `,"inactive":true`),
		member("Patient/past", `,"period":{"end":"2001-01-01"}`),
		member("Patient/future", `,"period":{"start":"2999"}`),
		member("Patient/within", `,"period":{"start":"2001","end":"2999-12-31T00:00:00Z"},"inactive":false`),
		member("Patient/twice", ``),
		member("Patient/never", ``),
		member("Patient/gone", ``),
		member("Practitioner/p", ``),
		member("Group/other", ``),
		member("https://elsewhere.example/fhir/Patient/absolute", ``),
		member("#contained", ``),
		`{"entity":{"display":"somebody"}}`,
		`{"inactive":false}`,
		member("Patient/past", `,"period":{"start":"no date"}`),
	))
	a := asked{level: selection.OneGroup, group: "g"}
	r := w.run(a)
	w.holds(r, 0, a)
	if n := len(r.lines["Patient"]); n != 3 {
		t.Errorf("%d patients", n)
	}
	said := strings.Join(r.notes, "\n")
	for _, named := range []string{"Patient/never", "Patient/gone", "Practitioner/p", "Group/other"} {
		if !strings.Contains(said, named) {
			t.Errorf("%s is not named:\n%s", named, said)
		}
	}
	for _, unnamed := range []string{"Patient/inactive", "Patient/past", "Patient/future", "no date", "somebody"} {
		if strings.Contains(said, unnamed) {
			t.Errorf("%s is named:\n%s", unnamed, said)
		}
	}
	if len(r.notes) != 9 {
		t.Errorf("%d members are said to be left out, want 9:\n%s", len(r.notes), said)
	}
}

func TestASharedAppointmentComesOnce(t *testing.T) {
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		w := newWorld(t, sizes)
		w.put(patient("a"), patient("b"), patient("c"), group("g", "a", "b"), appointment("shared", "a", "b", "c"))
		for _, a := range []asked{{level: selection.OneGroup, group: "g"}, {level: selection.Patients}} {
			if r := w.run(a); len(r.lines["Appointment"]) != 1 {
				t.Errorf("%s, %s: %q", name, a.level, r.lines["Appointment"])
			}
		}
	}
}

func TestAGroupOfManyPagesOfMembersIsExportedWhole(t *testing.T) {
	w := newWorld(t, export.Config{})
	var members []string
	var all []resource
	for i := range 2300 {
		id := fmt.Sprintf("p%04d", i)
		members, all = append(members, id), append(all, patient(id))
	}
	w.put(slices.DeleteFunc(all, func(r resource) bool { return r.id == "p1500" || r.id == "p2299" })...)
	w.put(group("g", members...))
	a := asked{level: selection.OneGroup, group: "g"}
	r := w.run(a)
	w.holds(r, 0, a)
	want := []string{
		"Patient/p1500 is a member of the Group and is not on this server",
		"Patient/p2299 is a member of the Group and is not on this server",
	}
	if d := cmp.Diff(want, r.notes); d != "" {
		t.Errorf("notes: %s", d)
	}
}

func TestAGroupThatGoesDuringKickOffFailsTheJobWithTheReason(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	w.sizes.Store = barred{w.store, func() { w.remove("Group/g") }}
	j := w.kickoff(asked{level: selection.OneGroup, group: "g"})
	w.sizes.Store = nil
	j = w.finish(j)
	want := &job.Reason{Code: "not-found", Message: "the Group was deleted before the export began, or changed by a purge since; start the export again"}
	if d := cmp.Diff(want, j.Error); j.State != job.Failed || d != "" {
		t.Errorf("the job is %s: %s", j.State, d)
	}
	tally, err := w.store.Tally(context.Background(), tenant, j.ID)
	w.ok("tally", err)
	if tally.Failed != 1 || tally.Succeeded != 0 {
		t.Errorf("what cannot work was tried again: %+v", tally)
	}
}

func TestAGroupDeletedAfterKickOffIsExportedAsItWas(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	a := asked{level: selection.OneGroup, group: "g"}
	j := w.kickoff(a)
	w.remove("Group/g")
	w.holds(w.result(w.finish(j)), 0, a)
}

func TestAGroupThatIsNotThereIsRefusedAtKickOff(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(group("gone"), patient("a"))
	w.remove("Group/gone")
	for _, id := range []string{"never", "gone", "a", "", strings.Repeat("x", 100)} {
		_, err := w.export().Kickoff(context.Background(), auth.Local(), asked{level: selection.OneGroup, group: id}.call())
		if fhir.KindOf(err) != fhir.NotFound {
			t.Errorf("group %q: %v", id, err)
		}
	}
	jobs, err := w.store.Attend(context.Background(), w.clock.Now(), true, "", 10)
	w.ok("list jobs", err)
	if len(jobs) > 0 {
		t.Errorf("%d jobs were made", len(jobs))
	}
}

func TestAnObservationOfNobodyIsNotInThePatientsExport(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(observation("nobody", "", "v"), observation("of-a", "a", "v"), performed("made", "a"))
	r := w.run(asked{level: selection.Patients})
	all := strings.Join(r.lines["Observation"], "\n")
	if strings.Contains(all, `"nobody"`) || !strings.Contains(all, `"of-a"`) || !strings.Contains(all, `"made"`) {
		t.Errorf("it holds %s", all)
	}
}

func TestAStoredOperationOutcomeIsNeverExported(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(outcome("stored"), patient("a"))
	for _, a := range []asked{{level: selection.System}, {level: selection.System, types: []string{"OperationOutcome"}}} {
		r := w.run(a)
		if len(r.manifest.Error) > 0 || len(r.lines["OperationOutcome"]) > 0 {
			t.Errorf("error %v, output %v", r.manifest.Error, r.lines)
		}
	}
	if at, err := w.store.Clock(context.Background(), tenant); err != nil || at == 0 {
		t.Errorf("clock %d, %v", at, err)
	}
}
