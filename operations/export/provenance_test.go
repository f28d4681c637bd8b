package export_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// The values of includeAssociatedData.
var (
	latest   = []string{"LatestProvenanceResources"}
	relevant = []string{"RelevantProvenanceResources"}
	along    = []string{"_context"}
)

// ids are those of the lines of a type, as they come.
func (r result) ids(typ string) string {
	var ids []string
	for _, line := range r.lines[typ] {
		_, rest, _ := strings.Cut(line, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		ids = append(ids, id)
	}
	return strings.Join(sortedCopy(ids), " ")
}

// of checks which resources of a type an export has.
func (w *world) of(a asked, typ, want string) result {
	w.Helper()
	r := w.run(a)
	if got := r.ids(typ); got != want {
		w.Errorf("%s %v %v %s: %s %q come, want %q", a.level, a.types, a.associated, a.since, typ, got, want)
	}
	return r
}

// units are the ids of a job's units, as far as their parts and counts tell.
func (w *world) units(r result) int {
	w.Helper()
	tally, err := w.store.Tally(context.Background(), tenant, r.job.ID)
	w.ok("tally", err)
	return tally.Succeeded
}

func TestProvenanceComesAsItIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.put(patient("a"), patient("b"), observation("o", "a", "v"), observation("other", "b", "v"), organization("org"), group("g", "a"))
			w.put(provenance("p1", []string{"Observation/o"}), provenance("p2", []string{"Patient/a", "Observation/o"}))
			w.put(provenance("of-group", []string{"Group/g"}), provenance("of-b", []string{"Observation/other"}), provenance("of-org", []string{"Organization/org"}))
			w.put(provenance("of-nobody", []string{"Patient/nobody"}), provenance("of-p2", []string{"Provenance/p2"}))
			for _, c := range []struct {
				asked
				want string
			}{
				{asked{level: selection.System}, "of-b of-group of-nobody of-org of-p2 p1 p2"},
				{asked{level: selection.System, types: []string{"Observation"}}, ""},
				{asked{level: selection.System, types: []string{"Observation"}, associated: relevant}, "of-b p1 p2"},
				{asked{level: selection.System, associated: relevant}, "of-b of-group of-org p1 p2"},
				{asked{level: selection.System, types: []string{"Observation", "Patient"}, associated: latest}, "of-b p2"},
				{asked{level: selection.Patients}, "of-b of-group of-nobody of-p2 p1 p2"},
				{asked{level: selection.Patients, types: []string{"Observation"}}, ""},
				{asked{level: selection.Patients, types: []string{"Provenance"}}, "of-b of-group of-nobody of-p2 p1 p2"},
				{asked{level: selection.Patients, types: []string{"Provenance"}, associated: relevant}, ""},
				{asked{level: selection.Patients, patients: []string{"a"}}, "of-p2 p1 p2"},
				{asked{level: selection.OneGroup, group: "g"}, "of-group of-p2 p1 p2"},
				{asked{level: selection.OneGroup, group: "g", types: []string{"Provenance"}}, "of-group of-p2 p1 p2"},
				{asked{level: selection.OneGroup, group: "g", types: []string{"Patient"}}, ""},
				{asked{level: selection.OneGroup, group: "g", types: []string{"Patient"}, associated: relevant}, "p2"},
				{asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}, associated: latest}, "p2"},
				{asked{level: selection.OneGroup, group: "g", associated: []string{latest[0] + "," + relevant[0]}}, "of-group p1 p2"},
				{asked{level: selection.OneGroup, group: "g", associated: []string{relevant[0], latest[0]}}, "of-group p1 p2"},
			} {
				r := w.of(c.asked, "Provenance", c.want)
				w.onlyItsFiles(r)
			}
		})
	}
}

// What names a resource elsewhere than as its target is not about it.
func TestProvenanceThatOnlyMentionsAResourceStaysOut(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), observation("o", "a", "v"), observation("other", "b", "v"), group("g", "a"))
	w.put(provenance("mentions", []string{"Observation/other"}, "Patient/a", "Observation/o"))
	for _, associated := range [][]string{nil, relevant, latest} {
		w.of(asked{level: selection.OneGroup, group: "g", associated: associated}, "Provenance", "")
	}
}

func TestProvenanceIsThatOfTheJobsInstant(t *testing.T) {
	for _, associated := range [][]string{nil, relevant, latest} {
		w := newWorld(t, export.Config{})
		w.put(patient("a"), patient("b"), observation("o", "a", "v"), observation("other", "b", "v"), group("g", "a"))
		w.put(provenance("moves-out", []string{"Observation/o"}), provenance("moves-in", []string{"Observation/other"}))
		w.put(provenance("changes", []string{"Observation/o"}), provenance("goes", []string{"Observation/o"}))
		a := asked{level: selection.OneGroup, group: "g", associated: associated}
		j := w.kickoff(a)
		w.put(provenance("moves-out", []string{"Observation/other"}), provenance("moves-in", []string{"Observation/o"}))
		w.put(provenance("changes", []string{"Observation/o"}, "Organization/later"), provenance("new", []string{"Observation/o"}))
		w.remove("Provenance/goes")
		r := w.result(w.finish(j))
		w.holds(r, 0, a)
		want := "changes goes moves-out"
		if associated != nil && associated[0] == latest[0] {
			want = "goes"
		}
		if got := r.ids("Provenance"); got != want {
			t.Errorf("%v: %q come, want %q", associated, got, want)
		}
	}
}

func TestNewProvenanceOfAnOldResourceIsAChange(t *testing.T) {
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		w := newWorld(t, sizes)
		w.put(patient("a"), patient("b"), observation("o", "a", "v"), observation("other", "b", "v"), group("g", "a"))
		w.put(provenance("old", []string{"Observation/o"}))
		a := asked{level: selection.OneGroup, group: "g"}
		a.since = instant(w.run(a).job.TransactionTime)
		w.put(provenance("new", []string{"Observation/o"}), provenance("of-b", []string{"Observation/other"}))
		if r := w.of(a, "Provenance", "new"); len(r.lines) != 1 {
			t.Errorf("%s: it holds %v", name, r.lines)
		}
		a.associated = relevant // nothing else changed
		w.of(a, "Provenance", "")
		w.put(observation("o", "a", "later"))
		w.of(a, "Provenance", "new old")
		a.associated = latest
		w.of(a, "Provenance", "new")
	}
}

func TestTheLatestProvenanceIsTheOneThatChangedLast(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	for i := range 3 {
		w.put(provenance(fmt.Sprint("p", i), []string{"Patient/a"}))
	}
	a := asked{level: selection.OneGroup, group: "g", associated: latest}
	w.of(a, "Provenance", "p2")
	w.put(provenance("p0", []string{"Patient/a"}, "Organization/1"))
	w.of(a, "Provenance", "p0")
	w.remove("Provenance/p0")
	w.of(a, "Provenance", "p2")
}

// More than fit a page, of more targets than do.
func TestManyProvenanceOfManyResourcesComeOnceEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, export.Config{})
	all := []resource{patient("a"), group("g", "a")}
	for i := range 600 {
		id := fmt.Sprintf("%04d", i)
		all = append(all, observation(id, "a", "v"), provenance(id, []string{"Observation/" + id, fmt.Sprintf("Observation/%04d", (i+300)%600)}, "Practitioner/"+id))
		all = append(all, thing("Practitioner", id, "v"))
	}
	w.put(all...)
	for _, associated := range [][]string{along, {latest[0], along[0]}} {
		a := asked{level: selection.OneGroup, group: "g", associated: associated}
		w.holds(w.run(a), 0, a)
	}
}

func TestAProvenanceOfASharedTargetComesOnce(t *testing.T) {
	w := newWorld(t, tiny)
	w.put(patient("a"), patient("b"), appointment("shared", "a", "b"), group("g", "a", "b"))
	w.put(provenance("p", []string{"Appointment/shared", "Patient/a", "Patient/b", "Group/g", "Patient/a/_history/1"}))
	for _, associated := range [][]string{nil, relevant, latest} {
		w.of(asked{level: selection.OneGroup, group: "g", associated: associated}, "Provenance", "p")
	}
}

// A small group pays for what comes along only where there is something.
func TestASmallExportIsOneUnitWhereNothingComesAlong(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	a := asked{level: selection.OneGroup, group: "ab"}
	if n := w.units(w.run(a)); n != 2 {
		t.Errorf("%d units, want the plan and one", n)
	}
	w.put(provenance("p", []string{"Organization/o1"}))
	a.types = []string{"Patient"}
	if n := w.units(w.run(a)); n != 2 {
		t.Errorf("%d units though Provenance is not wanted", n)
	}
	a.types, a.since = nil, instant(w.kickoff(a).TransactionTime)
	if n := w.units(w.run(a)); n > 5 {
		t.Errorf("%d units of nothing", n)
	}
}

// A unit that is done again finds what it found.
func TestWhatComesAlongIsTheSameAfterAStop(t *testing.T) {
	t.Parallel()
	for _, units := range []int64{0, 1, 2, 4, 6} {
		w := newWorld(t, tiny)
		w.put(patient("a"), patient("b"), thing("Device", "d", "v"), groupOf("g", "Patient/a", "Patient/b", "Device/d"))
		w.put(referring("o1", "a", "Device/d", "Organization/1"), referring("o2", "b", "Organization/1"), organization("1"), observation("gone", "a", "v"))
		w.put(provenance("p1", []string{"Observation/o1", "Patient/a"}, "Organization/1"), provenance("p2", []string{"Observation/o2"}))
		a := asked{level: selection.OneGroup, group: "g", associated: along, since: instant(store.Tick(1).Time())}
		w.remove("Observation/gone")
		j := w.kickoff(a)
		h := newUntil(w.export(), w.store, units)
		stop := w.start(h)
		w.await(j.ID, 0, finalOr(h))
		stop()
		w.close()
		w.open()
		w.put(provenance("p1", []string{"Patient/c"}), organization("2"), observation("o1", "c", "v"))
		r := w.result(w.finish(j))
		w.holds(r, 1, a)
		if d := cmp.Diff([]string{"Observation/gone"}, r.deleted); d != "" {
			t.Errorf("deleted: %s", d)
		}
	}
}
