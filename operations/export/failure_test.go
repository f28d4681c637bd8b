package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store/files"
)

// breaking makes the files fail from the nth call of a kind on, so many times.
func (w *world) breaking(call string, n, times int64, err error) *atomic.Int64 {
	calls := &atomic.Int64{}
	w.files = faulty{w.files, func(c string) error {
		if c != call {
			return nil
		}
		if i := calls.Add(1); i >= n && i < n+times {
			return err
		}
		return nil
	}}
	return calls
}

// Whichever call meets a full disk, the unit is done again and the result is
// whole.
func TestADiskThatIsFullForAWhileCostsNothing(t *testing.T) {
	t.Parallel()
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for _, call := range []string{"create", "write", "commit", "open"} {
		w := newWorld(t, export.Config{UnitSize: 400, SmallJob: 1, MaxFile: 1800, JoinSize: 1500})
		w.fill()
		plain := w.files
		a := asked{level: selection.System, types: []string{"Group", "Observation"}, lenient: true}
		a.more = map[string][]string{"unknown": {""}}
		for n := int64(1); ; n++ {
			w.files = plain
			j := w.kickoff(a)
			calls := w.breaking(call, n, 1, full)
			j = w.finish(j)
			w.files = plain
			r := w.result(j)
			w.holds(r, 0, a)
			w.onlyItsFiles(r)
			if calls.Load() < n {
				if n < 4 {
					t.Errorf("%s is called %d times only", call, n-1)
				}
				break
			}
		}
	}
}

func TestADiskThatStaysFullFailsTheJobWithTheReason(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": {UnitSize: 1500, SmallJob: 1}} {
		for _, n := range []int64{1, 4} {
			w := newWorld(t, sizes)
			w.fill()
			plain := w.files
			w.breaking("write", n, 1<<40, syscall.ENOSPC)
			j := w.finish(w.kickoff(asked{level: selection.System}))
			if j.State != job.Failed || j.Error == nil || j.Error.Code != "no-store" || !strings.Contains(j.Error.Message, "disk is full") {
				t.Errorf("%s: the job is %s, %+v", name, j.State, j.Error)
			}
			w.whole(j, plain)
		}
	}
}

// whole checks that after a failure the store serves as before, and that the
// files of the attempts that failed do not fill the disk.
func (w *world) whole(failed job.Job, plain files.Files) {
	w.Helper()
	w.files = plain
	parts, err := w.store.PartsOf(context.Background(), tenant, failed.ID, "", 1000)
	w.ok("list parts", err)
	known := map[string]bool{}
	for _, p := range parts {
		known[p.Name] = true
	}
	for name := range w.stored(failed) {
		if !known[name] {
			w.Errorf("%s is no file of a unit that ended", name)
		}
	}
	w.ok("ping", w.store.Ping(context.Background()))
	w.put(organization("after"))
	a := asked{level: selection.System}
	w.holds(w.run(a), 0, a)
}

func TestAUnitIsTriedFiveTimes(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	plain := w.files
	calls := w.breaking("commit", 1, 1<<40, errors.New("the file store is away"))
	j := w.finish(w.kickoff(asked{level: selection.System, types: []string{"Patient"}}))
	if j.State != job.Failed || j.Error.Code != "exception" || strings.Contains(j.Error.Message, "away") || calls.Load() != job.MaxErrors {
		t.Errorf("the job is %s, %+v after %d attempts", j.State, j.Error, calls.Load())
	}
	w.whole(j, plain)
}

// A file that is gone when it is to be joined cannot be made up for; the job
// must not say that it is whole.
func TestAFileThatVanishesFailsTheJob(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	vanish := func() {
		list, err := filepath.Glob(filepath.Join(w.dir, "files", j.Tenant+"."+j.ID, "1-scan-000003.*"))
		w.ok("list files", err)
		if len(list) != 1 {
			t.Fatalf("the unit has files %v", list)
		}
		w.ok("remove a file", os.Remove(list[0]))
	}
	j = w.finishWith(&joinHook{Export: w.export(), before: vanish}, j)
	if j.State != job.Failed || j.Error.Code != "exception" {
		t.Errorf("the job is %s, %+v", j.State, j.Error)
	}
}

// A file that was cut short is noticed when it is joined.
func TestAFileThatShrankFailsTheJob(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	shrink := func() {
		list, err := filepath.Glob(filepath.Join(w.dir, "files", j.Tenant+"."+j.ID, "1-scan-*.Observation.ndjson"))
		w.ok("list files", err)
		w.ok("cut a file", os.Truncate(list[0], 10))
	}
	if j = w.finishWith(&joinHook{Export: w.export(), before: shrink}, j); j.State != job.Failed {
		t.Errorf("the job is %s", j.State)
	}
}

func TestAJobGoesOnWhereTheEngineStopped(t *testing.T) {
	t.Parallel()
	for _, a := range []asked{{level: selection.System}, {level: selection.OneGroup, group: "ab"}} {
		for _, units := range []int64{0, 1, 2, 5} {
			w := newWorld(t, export.Config{UnitSize: 500, SmallJob: 1, MaxFile: 700, JoinSize: 500})
			w.fill()
			j := w.kickoff(a)
			h := newUntil(w.export(), w.store, units)
			stop := w.start(h)
			w.await(j.ID, 0, func(j job.Job) bool { return j.State.Final() || h.stuck.Load() })
			stop()
			w.close()
			w.open()
			w.disturb()
			r := w.result(w.finish(j))
			w.holds(r, 0, a)
			for name := range r.names {
				if !w.stored(j)[name] {
					t.Errorf("%s is not there", name)
				}
			}
		}
	}
}
