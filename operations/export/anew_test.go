package export_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// holdsAfter works like an export until an end is committed that is such as to
// be held: its worker waits then, before anything comes of the end.
type holdsAfter struct {
	*export.Export
	such func(job.UnitEnd) bool
	once sync.Once
	held chan job.UnitEnd
	let  chan struct{}
}

func newHoldsAfter(x *export.Export, such func(job.UnitEnd) bool) *holdsAfter {
	return &holdsAfter{Export: x, such: such, held: make(chan job.UnitEnd, 1), let: make(chan struct{})}
}

func (h *holdsAfter) Ended(ctx context.Context, end job.UnitEnd) error {
	if end.State == job.Succeeded && h.such(end) {
		h.once.Do(func() {
			h.held <- end
			<-h.let
		})
	}
	return h.Export.Ended(ctx, end)
}

// ofUnit tells whether an end is that of a unit, and left a part that holds a
// patient.
func ofUnit(prefix string) func(job.UnitEnd) bool {
	return func(end job.UnitEnd) bool {
		return len(end.Parts) > 0 && strings.HasPrefix(end.Parts[0].Unit, prefix) && patientIn(end) != ""
	}
}

// patientIn is a patient whom the parts of an end hold.
func patientIn(end job.UnitEnd) string {
	for _, p := range end.Parts {
		for _, id := range p.Patients {
			if slices.Contains([]string{"a", "b", "c"}, id) {
				return id
			}
		}
	}
	return ""
}

// sweepErased sweeps, with patience.
func (w *world) sweepErased(x *export.Export) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.ok("sweep what was erased", x.SweepErased(ctx, tenant))
}

// anew runs an export that is held after the end of a unit while a patient is
// erased of whom a file tells, and checks what becomes of it.
func (w *world) anew(a asked, since store.Tick, unit string) {
	w.Helper()
	j := w.kickoff(a)
	x := w.export()
	h := newHoldsAfter(x, ofUnit(unit))
	defer w.startWith(h, 1)()
	var end job.UnitEnd
	select {
	case end = <-h.held:
	case <-time.After(patience):
		w.Fatalf("no unit %s ended with a part that holds a patient", unit)
	}
	w.eraser(patientIn(end)).all()
	w.sweepErased(x)
	w.noTrace()
	close(h.let)
	j = w.await(j.ID, time.Minute, final)
	r := w.result(j)
	if j.Restarts != 1 || len(r.void) > 0 {
		w.Errorf("%s %s: it began anew %d times, and files of %v are gone", a.level, a.group, j.Restarts, r.void)
	}
	w.holds(r, since, a)
	w.onlyItsFiles(r)
	w.noTrace()
}

func TestAJobUnderWayHoldsAllButTheErasedEachOnce(t *testing.T) {
	t.Parallel()
	for _, a := range everything() {
		t.Run(fmt.Sprint(a.level, a.group, a.types), func(t *testing.T) {
			w := newWorld(t, tiny)
			w.fill()
			w.anew(a, 0, "1-scan-")
		})
	}
}

func TestAJobThatIsJoinedAndNotSettledBeginsAnew(t *testing.T) {
	t.Parallel()
	for _, a := range everything()[:3] {
		t.Run(fmt.Sprint(a.level, a.group), func(t *testing.T) {
			w := newWorld(t, tiny)
			w.fill()
			j := w.kickoff(a)
			x := w.export()
			h := newHoldsAfter(x, func(end job.UnitEnd) bool { return end.Numbers != nil })
			defer w.startWith(h, 1)()
			<-h.held
			w.eraser("a").all()
			w.sweepErased(x)
			w.noTrace()
			close(h.let)
			j = w.await(j.ID, time.Minute, final)
			r := w.result(j)
			if j.Restarts != 1 {
				t.Errorf("it began anew %d times", j.Restarts)
			}
			w.holds(r, 0, a)
			w.onlyItsFiles(r)
			w.noTrace()
		})
	}
}

func TestAnExportOfChangesBeginsAnewWithItsDeletions(t *testing.T) {
	t.Parallel()
	for _, level := range []asked{{level: selection.System}, {level: selection.Patients}, {level: selection.OneGroup, group: "ab"}} {
		for _, unit := range []string{"1-scan-", "1-deleted"} {
			t.Run(fmt.Sprint(level.level, " ", unit), func(t *testing.T) {
				w := newWorld(t, tiny)
				w.fill()
				w.put(provenance("of-a1", []string{"Observation/a1"}), provenance("of-b1", []string{"Observation/b1"}), appointment("both", "a", "c"))
				since := store.TickOf(w.run(asked{level: selection.System}).job.TransactionTime)
				w.put(observation("a1", "a", "later"), observation("b1", "b", "later"), observation("new", "b", "v"), patient("c"))
				for _, ref := range []string{"Observation/a2", "Observation/b2", "Observation/c2", "Provenance/of-a1", "Provenance/of-b1", "Appointment/both"} {
					w.remove(ref)
				}
				a := level
				a.since = instant(since.Time())
				w.anew(a, since, unit)
			})
		}
	}
}

// The files of a job that has ended keep their places.
func TestTheManifestOfAJobThatHasEndedKeepsThePlaceOfAFileThatWentAway(t *testing.T) {
	w := newWorld(t, export.Config{UnitSize: 1, SmallJob: 1, MaxFile: 300, JoinSize: 1})
	w.fill()
	r := w.run(asked{level: selection.System})
	before := len(r.manifest.Output)
	w.eraser("a").all()
	w.sweepErased(w.export())
	after := w.result(r.job)
	if len(after.manifest.Output) != before || len(after.void) == 0 || len(after.void) > before/2 {
		t.Errorf("%d of %d files are gone, of %d before", len(after.void), len(after.manifest.Output), before)
	}
	for i, f := range after.manifest.Output {
		if was := r.manifest.Output[i]; f.URL != was.URL || f.Type != was.Type {
			t.Errorf("file %d is %s, was %s", i, f.URL, was.URL)
		}
	}
	for typ, lines := range after.lines {
		for _, line := range lines {
			if !slices.Contains(r.lines[typ], line) {
				t.Errorf("a line is new: %s", line)
			}
		}
	}
	w.onlyItsFiles(after)
	w.noTrace()
	if _, err := w.export().Find(context.Background(), r.job, "0001.Patient.ndjson"); err == nil {
		t.Error("another name finds a file")
	}
	if d := cmp.Diff(len(r.lines["Organization"]), len(after.lines["Organization"])); d != "" {
		t.Errorf("organizations: %s", d)
	}
}
