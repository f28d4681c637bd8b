package export_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// deletes checks which deletions an export tells of.
func (w *world) deletes(a asked, want ...string) result {
	w.Helper()
	r := w.run(a)
	if d := cmp.Diff(want, r.deleted, sorted); d != "" {
		w.Errorf("deletions of %s %s %v %v (- want, + export): %s", a.level, a.group, a.types, a.patients, d)
	}
	w.onlyItsFiles(r)
	for _, ref := range r.deleted {
		typ, id, _ := strings.Cut(ref, "/")
		if strings.Contains(" "+r.ids(typ)+" ", " "+id+" ") {
			w.Errorf("%s is deleted and comes", ref)
		}
	}
	return r
}

func TestWhatWasDeletedSinceIsToldToWhomItConcerns(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.put(patient("a"), patient("b"), patient("c"), group("ab", "a", "b"), group("bc", "b", "c"), organization("o"), outcome("x"))
			w.put(observation("long-gone", "a", "v"), observation("back", "a", "v"), observation("oa", "a", "v"), observation("moved", "c", "v"))
			w.put(observation("nobody", "", "v"), appointment("shared", "a", "c"), group("other", "a"))
			w.put(provenance("of-oa", []string{"Observation/oa"}), provenance("of-b", []string{"Patient/b"}), provenance("of-o", []string{"Organization/o"}))
			w.remove("Observation/long-gone")
			since := instant(w.run(asked{level: selection.System}).job.TransactionTime)
			w.put(observation("moved", "a", "v"))
			for _, ref := range []string{
				"Observation/oa", "Observation/moved", "Observation/nobody", "Observation/back", "Appointment/shared", "Group/other",
				"Organization/o", "Patient/b", "OperationOutcome/x", "Provenance/of-oa", "Provenance/of-b", "Provenance/of-o",
			} {
				w.remove(ref)
			}
			w.put(observation("back", "a", "again"))
			own := []string{"Observation/oa", "Observation/moved", "Appointment/shared"}
			r := w.deletes(asked{level: selection.System, since: since}, append([]string{
				"Observation/nobody", "Group/other", "Organization/o", "Patient/b", "Provenance/of-oa", "Provenance/of-b", "Provenance/of-o",
			}, own...)...)
			if r.ids("Observation") != "back" {
				t.Errorf("observations %q come", r.ids("Observation"))
			}
			w.deletes(asked{level: selection.Patients, since: since}, append([]string{"Group/other", "Patient/b", "Provenance/of-oa", "Provenance/of-b"}, own...)...)
			w.deletes(asked{level: selection.Patients, since: since, types: []string{"Patient"}}, "Patient/b")
			w.deletes(asked{level: selection.Patients, since: since, patients: []string{"a"}}, append([]string{"Provenance/of-oa"}, own...)...)
			w.deletes(asked{level: selection.OneGroup, group: "ab", since: since}, append([]string{"Patient/b", "Provenance/of-oa", "Provenance/of-b"}, own...)...)
			w.deletes(asked{level: selection.OneGroup, group: "bc", since: since}, "Patient/b", "Provenance/of-b", "Appointment/shared")
			w.deletes(asked{level: selection.OneGroup, group: "bc", since: since, types: []string{"Provenance"}}, "Provenance/of-b")
			w.deletes(asked{level: selection.System})
		})
	}
}

func TestWithoutDeletionsTheManifestHasNoFileOfThem(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"))
	w.remove("Patient/a")
	first := w.run(asked{level: selection.System})
	second := w.run(asked{level: selection.System, since: instant(first.job.TransactionTime)})
	for _, r := range []result{first, second} {
		if r.manifest.Deleted != nil || len(r.deleted) > 0 {
			t.Errorf("deleted: %v", r.manifest.Deleted)
		}
	}
}

func TestADeletionAfterKickOffIsToldByTheNextExport(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), observation("o", "a", "v"))
	first := w.run(asked{level: selection.Patients})
	a := asked{level: selection.Patients, since: instant(first.job.TransactionTime)}
	j := w.kickoff(a)
	w.remove("Observation/o")
	r := w.result(w.finish(j))
	if len(r.deleted) > 0 {
		t.Errorf("deleted: %v", r.deleted)
	}
	w.deletes(asked{level: selection.Patients, since: instant(j.TransactionTime)}, "Observation/o")
}

func TestManyDeletionsAreManyLinesAndNoFileIsTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, export.Config{MaxFile: 10_000})
	w.put(patient("a"), group("g", "a"))
	a := asked{level: selection.OneGroup, group: "g"}
	a.since = instant(w.run(a).job.TransactionTime)
	var refs []string
	for i := range 450 {
		id := fmt.Sprintf("%04d", i)
		w.put(observation(id, "a", "v"), provenance(id, []string{"Observation/" + id}))
		refs = append(refs, "Observation/"+id, "Provenance/"+id)
	}
	for _, ref := range refs {
		w.remove(ref)
	}
	r := w.deletes(a, refs...)
	if len(r.manifest.Deleted) < 5 {
		t.Errorf("%d files", len(r.manifest.Deleted))
	}
	for _, f := range r.manifest.Deleted {
		if f.Extension.Integrity.Size > 10_000 {
			t.Errorf("a file has %d bytes", f.Extension.Integrity.Size)
		}
	}
}

func TestDeletionsAndWhatComesAlongRecordTheirPatients(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), group("g", "a", "b"), observation("o", "b", "v"), observation("kept", "a", "v"))
	a := asked{level: selection.OneGroup, group: "g", types: []string{"Provenance", "Observation"}}
	a.since = instant(w.run(a).job.TransactionTime)
	w.put(provenance("p", []string{"Patient/a"}))
	w.remove("Observation/o")
	r := w.run(a)
	for patient, want := range map[string]string{"a": "1.Provenance.ndjson", "b": "deleted.1.Bundle.ndjson"} {
		parts, err := w.store.PartsHolding(context.Background(), tenant, patient)
		w.ok("parts holding", err)
		got := []string{}
		for _, p := range parts {
			if p.Job == r.job.ID {
				got = append(got, export.FileName(p))
			}
		}
		if d := cmp.Diff([]string{want}, got); d != "" {
			t.Errorf("files that hold %s: %s", patient, d)
		}
	}
}

// tell has an owner hear, for a while, that resources were erased.
func (w *world) tell(client string, refs ...string) {
	w.Helper()
	var ids []fhir.ID
	for _, ref := range refs {
		typ, id, _ := strings.Cut(ref, "/")
		ids = append(ids, fhir.ID{Type: typ, ID: id})
	}
	w.ok("tell", w.store.Tell(context.Background(), w.eraser("x").fence, store.Owner{Client: client}, w.clock.Now().Add(heard), ids))
}

// heard is for how long notices are told.
const heard = 100 * 24 * time.Hour

func TestWhatWasErasedIsToldToWhomItConcernsUntilThatExpires(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.put(patient("a"), observation("there", "a", "v"), group("g", "a"), organization("o"))
			since := instant(w.run(asked{level: selection.System}).job.TransactionTime)
			local := auth.Local().Client
			w.tell(local, "Patient/x", "Observation/y", "Observation/there", "Observation/back", "Organization/z", "Group/g", "Group/h")
			w.tell("another", "Patient/theirs", "Observation/theirs")
			w.put(observation("back", "a", "v"))
			w.remove("Observation/back")
			w.deletes(asked{level: selection.System, since: since}, "Patient/x", "Observation/y", "Observation/back", "Organization/z", "Group/h")
			w.deletes(asked{level: selection.Patients, since: since}, "Patient/x", "Observation/y", "Observation/back", "Group/h")
			w.deletes(asked{level: selection.Patients, since: since, types: []string{"Patient"}}, "Patient/x")
			w.deletes(asked{level: selection.OneGroup, group: "g", since: since, types: []string{"Observation"}}, "Observation/y", "Observation/back")
			w.deletes(asked{level: selection.System})
			held, err := w.store.PartsHolding(t.Context(), tenant, "x")
			if err != nil || len(held) > 0 {
				t.Errorf("what is told holds nobody: %v, %v", held, err)
			}
			w.clock.Advance(heard)
			w.deletes(asked{level: selection.System, since: since}, "Observation/back")
		})
	}
}

func TestWhatWasErasedAndIsThereAgainIsToldByAnExportOfBefore(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	a := asked{level: selection.Patients, since: instant(w.run(asked{level: selection.Patients}).job.TransactionTime)}
	w.tell(auth.Local().Client, "Observation/o")
	j := w.kickoff(a)
	w.put(observation("o", "a", "again"))
	if d := cmp.Diff([]string{"Observation/o"}, w.result(w.finish(j)).deleted); d != "" {
		t.Errorf("deletions (- want, + export): %s", d)
	}
	if r := w.deletes(a); r.ids("Observation") != "o" {
		t.Errorf("observations %q come", r.ids("Observation"))
	}
}

func TestManyThatWereErasedAreManyLinesEachOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, export.Config{MaxFile: 10_000})
	w.put(patient("a"))
	a := asked{level: selection.Patients, since: instant(w.run(asked{level: selection.Patients}).job.TransactionTime)}
	var refs []string
	for i := range 1100 {
		refs = append(refs, fmt.Sprintf("%s/%04d", []string{"Observation", "Condition", "Encounter"}[i%3], i))
	}
	w.tell(auth.Local().Client, refs...)
	r := w.deletes(a, refs...)
	if len(r.manifest.Deleted) < 5 {
		t.Errorf("%d files", len(r.manifest.Deleted))
	}
}
