package export_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// moments are the events of an export, at some of which something is done: a
// unit begins, has been done, or has ended, or a file is begun or committed.
type moments struct {
	mu    sync.Mutex
	seen  int
	steps []step // in order of at
}

// step is done at the event of that number, by whose event it is, or at the end.
type step struct {
	at int
	do func()
}

// event does what is due; each step once, and one after the other.
func (m *moments) event() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen++
	for len(m.steps) > 0 && m.steps[0].at <= m.seen {
		s := m.steps[0]
		m.steps = m.steps[1:]
		s.do()
	}
}

// rest does what did not come due.
func (m *moments) rest() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.steps {
		s.do()
	}
	m.steps = nil
}

// momentous tells of the events of an export.
type momentous struct {
	*export.Export
	*moments
}

func (h momentous) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	h.event()
	end, err := h.Export.Run(ctx, j, u, f)
	h.event()
	return end, err
}

func (h momentous) Ended(ctx context.Context, end job.UnitEnd) error {
	h.event()
	defer h.event()
	return h.Export.Ended(ctx, end)
}

// Patients are erased while exports run, each step at any moment. Whatever is
// met: an export that succeeds holds what was current at its instant but for
// what was erased, each once, and no file has a trace of that.
func TestAnExportThatMeetsErasuresHoldsAllButTheErasedEachOnce(t *testing.T) {
	t.Parallel()
	root, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(root, itoa(n))
		w := openWorld(t, dir, sizes(t))
		defer os.RemoveAll(dir) //nolint:errcheck // the root goes with the test
		defer w.close()
		w.fill()
		w.change(t, "before", 10)
		since := store.Tick(0)
		if rapid.Bool().Draw(t, "changes") {
			since = store.TickOf(w.run(asked{level: selection.System}).job.TransactionTime)
			w.change(t, "since", 10)
		}
		var all []asked
		var jobs []job.Job
		for range rapid.IntRange(1, 2).Draw(t, "exports") {
			a := draw(t, w)
			// Of the last Provenance that is erased, the one before it would be
			// the last; and context comes along that erased data refers to.
			if slices.Contains(a.associated, "RelevantProvenanceResources") {
				a.associated = []string{"RelevantProvenanceResources"}
			} else {
				a.associated = nil
			}
			if since > 0 {
				a.since = instant(since.Time())
			}
			all, jobs = append(all, a), append(jobs, w.kickoff(a))
		}
		w.raced(t, jobs)
		for i, j := range jobs {
			j, err := w.store.Peek(context.Background(), tenant, j.ID)
			w.ok("look at a job", err)
			w.holdsWhatIsLeft(w.result(j), since, all[i])
		}
		w.noTrace()
	})
}

// raced works the jobs off, and erases patients meanwhile.
func (w *world) raced(t *rapid.T, jobs []job.Job) {
	w.Helper()
	m := &moments{}
	plain := w.files
	w.files = faulty{plain, func(string) error { m.event(); return nil }}
	x := w.export()
	w.files = plain
	var sweeps sync.WaitGroup
	for _, p := range anyOf(t, people[:3], 2, "erased") {
		e := w.eraser(p)
		at := rapid.IntRange(1, 60).Draw(t, "at")
		for _, do := range []func(){e.announce, e.erase, func() {
			e.void()
			sweeps.Go(func() { w.sweepErased(x) })
		}} {
			m.steps = append(m.steps, step{at, do})
			at += rapid.IntRange(0, 12).Draw(t, "later")
		}
	}
	slices.SortStableFunc(m.steps, func(a, b step) int { return a.at - b.at })
	stop := w.startWith(momentous{x, m}, rapid.IntRange(1, 3).Draw(t, "workers"))
	for _, j := range jobs {
		w.await(j.ID, time.Minute, final)
	}
	m.rest()
	sweeps.Wait()
	stop()
	w.sweepErased(x)
}

// holdsWhatIsLeft is holds, but that files may be void of a job that had ended.
func (w *world) holdsWhatIsLeft(r result, since store.Tick, a asked) {
	w.Helper()
	w.onlyItsFiles(r)
	if len(r.void) == 0 {
		w.holds(r, since, a)
		return
	}
	at := store.TickOf(r.job.TransactionTime)
	for typ, want := range w.model.lines(at, since, a) {
		got := r.lines[typ]
		if !slices.Contains(r.void, typ) {
			if d := cmp.Diff(want, got, sorted); d != "" {
				w.Errorf("%s, of which no file is void (- model, + export): %s", typ, d)
			}
			continue
		}
		for i, line := range got {
			if !slices.Contains(want, line) || slices.Contains(got[:i], line) {
				w.Errorf("%s has a line too many: %s", typ, line)
			}
		}
	}
}
