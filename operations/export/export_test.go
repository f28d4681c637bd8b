package export_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// fill writes three patients and what is about them, about several of them,
// and about none.
func (w *world) fill() {
	w.Helper()
	w.put(organization("o1"), organization("o2"), outcome("stored"))
	for _, p := range []string{"a", "b", "c"} {
		w.put(patient(p))
		for i := range 6 {
			w.put(observation(fmt.Sprint(p, i), p, strings.Repeat("x", i*20)))
		}
	}
	w.put(
		patient("linked", "a"),
		observation("nobody", "", "v"), performed("made", "b"),
		appointment("shared", "a", "b"), appointment("alone", "c"), appointment("none"),
		group("ab", "a", "b"), group("ac", "a", "c"), group("empty"),
	)
	w.put(observation("a0", "a", "changed"), observation("gone", "a", "v"))
	w.remove("Observation/gone")
}

func TestEachLevelHoldsWhatBelongsToItOnce(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{
		"one unit": {}, "many units": tiny, "many files of one unit": {MaxFile: 300},
		"a file each":    {UnitSize: 1, SmallJob: 1, MaxFile: 1, JoinSize: 1},
		"nothing joined": {UnitSize: 400, SmallJob: 1, MaxFile: 500, JoinSize: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.fill()
			for _, a := range []asked{
				{level: selection.System},
				{level: selection.System, types: []string{"Observation", "Organization"}},
				{level: selection.Patients},
				{level: selection.Patients, types: []string{"Patient"}},
				{level: selection.OneGroup, group: "ab"},
				{level: selection.OneGroup, group: "ac", types: []string{"Group,Appointment"}},
				{level: selection.OneGroup, group: "ac", types: []string{"Observation"}},
				{level: selection.OneGroup, group: "empty", types: []string{"Patient", "Observation"}},
			} {
				r := w.run(a)
				if a.types != nil {
					a.types = strings.Split(strings.Join(a.types, ","), ",")
				}
				w.holds(r, 0, a)
				w.onlyItsFiles(r)
			}
		})
	}
}

// onlyItsFiles checks that what the job left on disk is what its manifest
// names, and that no file is larger than it may be.
func (w *world) onlyItsFiles(r result) {
	w.Helper()
	if d := cmp.Diff(r.names, w.stored(r.job)); d != "" {
		w.Errorf("files on disk (- manifest, + disk):\n%s", d)
	}
	limit := w.sizes.MaxFile
	for typ, files := range r.files {
		for i, lines := range files {
			size := int64(0)
			for _, line := range lines {
				size += int64(len(line)) + 1
			}
			if limit > 0 && size > limit && len(lines) > 1 {
				w.Errorf("file %d of %s has %d bytes in %d lines; %d are allowed", i+1, typ, size, len(lines), limit)
			}
		}
	}
}

func TestTinySizesReallyCutAndJoin(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	r := w.result(w.finish(j))
	tally, err := w.store.Tally(context.Background(), tenant, j.ID)
	w.ok("tally", err)
	parts, err := w.store.PartsOf(context.Background(), tenant, j.ID, "", 1000)
	w.ok("list parts", err)
	joins := 0
	for _, p := range parts {
		if strings.HasPrefix(p.ID, "3-join") {
			joins++
		}
		if p.N == 0 {
			t.Errorf("part %s is not public after the end", p.ID)
		}
	}
	if tally.Succeeded < 20 || joins < 2 || len(r.files["Observation"]) < 2 {
		t.Errorf("%d units, %d joined files, %d of Observation", tally.Succeeded, joins, len(r.files["Observation"]))
	}
	if n := int64(20 + 3 + 4 + 2 + 3); tally.Done.Resources != n {
		t.Errorf("the units counted %d resources, want %d", tally.Done.Resources, n)
	}
}

func TestAnEmptyStoreGivesAnEmptyOutput(t *testing.T) {
	w := newWorld(t, export.Config{})
	r := w.run(asked{level: selection.System})
	if r.manifest.Output == nil || len(r.manifest.Output)+len(r.manifest.Error) != 0 {
		t.Errorf("output %v, error %v", r.manifest.Output, r.manifest.Error)
	}
	body, err := w.export().Manifest(context.Background(), r.job, fileURL, true)
	w.ok("render the manifest", err)
	for _, part := range []string{
		`"output": []`, `"error": []`, `"requiresAccessToken": true`, `"request": "https://example.org/fhir/$export?a=1&b=<2>"`,
		`"transactionTime": "` + instant(r.job.TransactionTime) + `"`,
	} {
		if !strings.Contains(string(body), part) {
			t.Errorf("the manifest has no %s:\n%s", part, body)
		}
	}
	if len(w.stored(r.job)) > 0 {
		t.Errorf("files of nothing: %v", w.stored(r.job))
	}
}

func TestAnEmptyGroupExportsNoPatient(t *testing.T) {
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		w := newWorld(t, sizes)
		w.fill()
		r := w.run(asked{level: selection.OneGroup, group: "empty"})
		want := map[string][]string{"Group": {w.model.asOf(store.Forever - 1)["Group/empty"].line}}
		if d := cmp.Diff(want, r.lines); d != "" {
			t.Errorf("%s: only the Group itself should come:\n%s", name, d)
		}
	}
}

func TestACohortHoldsNoLinkedPatientAndNoOtherGroup(t *testing.T) {
	w := newWorld(t, tiny)
	w.put(patient("a"), patient("b", "a"), group("one", "a"), group("two", "a", "b"))
	r := w.run(asked{level: selection.OneGroup, group: "one"})
	there := w.model.asOf(store.Forever - 1)
	want := map[string][]string{"Group": {there["Group/one"].line}, "Patient": {there["Patient/a"].line}}
	if d := cmp.Diff(want, r.lines); d != "" {
		t.Errorf("(- want, + export):\n%s", d)
	}
}

func TestADeletedResourceIsNotExported(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"))
	w.remove("Patient/a")
	r := w.run(asked{level: selection.System})
	if len(r.lines["Patient"]) != 1 || strings.Contains(r.lines["Patient"][0], `"id":"a"`) {
		t.Errorf("patients: %q", r.lines["Patient"])
	}
}

func TestALineIsTheResourceAsItIsRead(t *testing.T) {
	const body = `{"id":"x","resourceType":"Patient","meta":{"tag":[{"code":"z"}]},"extension":[{"url":"u","valueDecimal":1.00}],"name":[{"text":"\u00e9\ud83c\udfe5 <&> \u2028"}]}`
	w := newWorld(t, export.Config{})
	w.put(resource{typ: "Patient", id: "x", body: body, patients: []string{"x"}})
	w.holds(w.run(asked{level: selection.System}), 0, asked{level: selection.System})
	r := w.run(asked{level: selection.System})
	for _, kept := range []string{`"valueDecimal":1.00`, `"text":"\u00e9\ud83c\udfe5 <&> \u2028"`, `"tag":[{"code":"z"}]`, `"versionId":"1"`, `{"id":"x","resourceType"`} {
		if !strings.Contains(r.lines["Patient"][0], kept) {
			t.Errorf("%s is lost: %s", kept, r.lines["Patient"][0])
		}
	}
}

func TestResourcesOf5MBAreExportedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, export.Config{MaxFile: 1 << 20, UnitSize: 6 << 20, SmallJob: 1 << 20, JoinSize: 1 << 20})
	for i := range 3 {
		w.put(observation(fmt.Sprint("large", i), "a", strings.Repeat(fmt.Sprint(i), 5<<20)), observation(fmt.Sprint("small", i), "a", "v"))
	}
	a := asked{level: selection.System}
	r := w.run(a)
	w.holds(r, 0, a)
	w.onlyItsFiles(r)
}

func TestPartsRecordThePatientsThatTheyHold(t *testing.T) {
	for name, sizes := range map[string]export.Config{"one unit": {}, "joined": tiny, "apart": {UnitSize: 1, SmallJob: 1, JoinSize: 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.fill()
			r := w.run(asked{level: selection.System})
			for _, p := range []string{"a", "b", "c", "linked", "nobody-at-all"} {
				parts, err := w.store.PartsHolding(context.Background(), tenant, p)
				w.ok("parts holding", err)
				got := map[string]bool{}
				for _, part := range parts {
					got[export.FileName(part)] = true
				}
				if d := cmp.Diff(w.filesAbout(r, p), got); d != "" {
					t.Errorf("files that hold %s (- by their lines, + by the record):\n%s", p, d)
				}
			}
		})
	}
}

// filesAbout are the names of the files with a line of a patient's compartment.
func (w *world) filesAbout(r result, patient string) map[string]bool {
	about := map[string]bool{}
	for _, v := range w.model.asOf(store.TickOf(r.job.TransactionTime)) {
		for _, p := range v.patients {
			if p == patient {
				about[v.line] = true
			}
		}
	}
	names := map[string]bool{}
	for typ, files := range r.files {
		for i, lines := range files {
			for _, line := range lines {
				if about[line] {
					names[fmt.Sprintf("%d.%s.ndjson", i+1, typ)] = true
				}
			}
		}
	}
	return names
}

func TestOnlyNamesOfTheManifestAreFound(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	r := w.run(asked{level: selection.System, lenient: true, more: map[string][]string{"unknown": {"1"}}})
	for _, name := range []string{"1.Patient.ndjson", "1.OperationOutcome.ndjson"} {
		if _, err := w.export().Find(context.Background(), r.job, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "1", "1.Patient", "0.Patient.ndjson", "2.Patient.ndjson", "-1.Patient.ndjson", "+1.Patient.ndjson", "01.Patient.ndjson",
		"1.patient.ndjson", "1 Patient.ndjson", "1.Patient.ndjson.ndjson", "1.Patient.ndjson ", " 1.Patient.ndjson", "1..ndjson",
		"1.Device.ndjson", "99999999999999999999.Patient.ndjson", "1.Patient ndjson", "1.Patient\n.ndjson", "../1.Patient.ndjson",
	} {
		if p, err := w.export().Find(context.Background(), r.job, name); err != store.ErrNotFound { //nolint:errorlint // it is documented bare
			t.Errorf("%q: %v, %v", name, p.ID, err)
		}
	}
}

func TestDiscardRemovesEveryFile(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	r := w.run(asked{level: selection.System})
	if len(w.stored(r.job)) == 0 {
		t.Fatal("there were no files")
	}
	for range 2 {
		w.ok("discard", w.export().Discard(context.Background(), r.job))
		if left := w.stored(r.job); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestADismissedJobLosesItsFilesAndRecord(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	done := w.run(asked{level: selection.System})
	queued := w.kickoff(asked{level: selection.System})
	for _, j := range []job.Job{done.job, queued} {
		_, err := w.store.Update(context.Background(), tenant, j.ID, func(j job.Job) (job.Job, error) { return j.Dismiss(w.clock.Now()) })
		w.ok("dismiss", err)
	}
	removed := make(chan string, 4)
	stop := w.start(discarding{w.export(), removed})
	defer stop()
	for range 2 {
		select {
		case <-removed:
		case <-time.After(patience):
			t.Fatal("nothing was discarded")
		}
	}
	for _, j := range []job.Job{done.job, queued} {
		if left := w.stored(j); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
}

// discarding tells of each job whose files are gone.
type discarding struct {
	*export.Export
	removed chan<- string
}

func (d discarding) Discard(ctx context.Context, j job.Job) error {
	err := d.Export.Discard(ctx, j)
	select {
	case d.removed <- j.ID:
	default:
	}
	return err
}
