package export_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/google/go-cmp/cmp"
)

// glanced are a store's looks at units, each of which is told of.
type glanced struct {
	store.Store
	looks chan struct{}
}

func (g glanced) UnitsOf(ctx context.Context, t store.Tenant, jobID, after string, n int) ([]job.Unit, error) {
	us, err := g.Store.UnitsOf(ctx, t, jobID, after, n)
	select {
	case g.looks <- struct{}{}:
	case <-ctx.Done():
	}
	return us, err
}

// sweeping is a sweep that is under way.
type sweeping struct {
	*world
	looks chan struct{}
	ended chan error
}

// sweeping begins a sweep that looks all the time.
func (w *world) sweeping(t *testing.T) sweeping {
	t.Helper()
	s := sweeping{w, make(chan struct{}), make(chan error, 1)}
	sizes := w.sizes
	w.sizes.Store, w.sizes.Glance = glanced{w.store, s.looks}, time.Millisecond
	x := w.export()
	w.sizes = sizes
	go func() { s.ended <- x.SweepErased(t.Context(), tenant) }()
	return s
}

// waits checks that the sweep goes on after so many looks.
func (s sweeping) waits(looks int) {
	s.Helper()
	for range looks {
		select {
		case <-s.looks:
		case err := <-s.ended:
			s.Fatalf("it ended: %v", err)
		case <-time.After(patience):
			s.Fatalf("it does not look")
		}
	}
}

// ends gives the end of the sweep.
func (s sweeping) ends() error {
	s.Helper()
	late := time.After(patience)
	for {
		select {
		case <-s.looks:
		case err := <-s.ended:
			return err
		case <-late:
			s.Fatalf("it does not end")
		}
	}
}

func (w *world) claim(lease time.Duration) (job.Unit, store.Fence) {
	w.Helper()
	u, f, err := w.store.Claim(context.Background(), []string{export.Kind}, lease)
	w.ok("claim a unit", err)
	return u, f
}

// leave writes a file as an attempt that has come to nothing leaves it.
func (w *world) leave(name string) {
	w.Helper()
	f, err := w.files.Create(context.Background(), name)
	w.ok("begin a file", err)
	_, err = io.WriteString(f, "{}\n")
	w.ok("write", err)
	w.ok("commit", f.Commit())
}

func (w *world) there(name string) bool {
	_, err := os.Stat(filepath.Join(w.dir, "files", name))
	return err == nil
}

func TestASweepOfErasuresWaitsForThoseWhoReadBeforeItAndForNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	other := w.kickoff(asked{level: selection.System})
	_, f := w.claim(24 * time.Hour)
	in := string(tenant) + "." + f.Job + "/"
	w.leave(in + "0-plan.1.000001.OperationOutcome.ndjson")
	w.leave(in + "0-plan.0.000001.OperationOutcome.ndjson")
	s := w.sweeping(t)
	s.waits(5)
	_, later := w.claim(24 * time.Hour) // the other job's
	s.waits(5)
	if !w.there(in + "0-plan.1.000001.OperationOutcome.ndjson") {
		t.Error("a file went that is being written")
	}
	w.ok("put the unit back", w.store.End(context.Background(), f, job.UnitEnd{State: job.Queued}))
	_, again := w.claim(24 * time.Hour)
	w.leave(in + "0-plan.2.000001.OperationOutcome.ndjson")
	w.ok("sweep", s.ends())
	if later.Job == f.Job || again.Job != f.Job || again.Attempt != 2 || f.Job == j.ID == (f.Job == other.ID) {
		t.Fatalf("claimed %+v, %+v, %+v", f, later, again)
	}
	for name, want := range map[string]bool{"0-plan.0": false, "0-plan.1": false, "0-plan.2": true} {
		if got := w.there(in + name + ".000001.OperationOutcome.ndjson"); got != want {
			t.Errorf("%s is there: %t", name, got)
		}
	}
}

func TestASweepOfErasuresEndsWithTheJob(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(job.Job, time.Time) (job.Job, error){
		"stopped": func(j job.Job, now time.Time) (job.Job, error) {
			j, _ = j.RequestCancel(now)
			return j.Stop(now)
		},
		"failed": func(j job.Job, now time.Time) (job.Job, error) {
			return j.Fail(now, job.Reason{Code: "exception", Message: "m"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tiny)
			j := w.kickoff(asked{level: selection.System})
			w.claim(24 * time.Hour)
			left := string(tenant) + "." + j.ID + "/0-plan.1.000001.OperationOutcome.ndjson"
			w.leave(left)
			s := w.sweeping(t)
			s.waits(3)
			_, err := w.store.Update(context.Background(), tenant, j.ID, func(j job.Job) (job.Job, error) { return end(j, w.clock.Now()) })
			w.ok("end the job", err)
			w.ok("sweep", s.ends())
			if w.there(left) {
				t.Error("a file is left that nothing names")
			}
		})
	}
}

// A lease has run out, and it may be that who sweeps keeps all from claiming
// the unit.
func TestASweepOfErasuresSaysWhatHoldsItUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	w.claim(time.Minute)
	left := string(tenant) + "." + j.ID + "/0-plan.1.000001.OperationOutcome.ndjson"
	w.leave(left)
	s := w.sweeping(t)
	s.waits(5)
	w.clock.Advance(time.Hour)
	if err := s.ends(); !errors.Is(err, export.ErrHeld) {
		t.Errorf("it ends with %v", err)
	}
	if !w.there(left) {
		t.Error("a file went that its attempt may still have recorded")
	}
	s = w.sweeping(t)
	s.waits(1)
	w.claim(24 * time.Hour)
	w.ok("sweep", s.ends())
	if w.there(left) {
		t.Error("a file is left of an attempt that lost its unit")
	}
}

func TestASweepOfErasuresIsOfOneTenantAndOfExports(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tiny)
	w.eraser("a") // whose unit is running
	stay := []string{"other.job/1-scan-000001.1.000001.Patient.ndjson", string(tenant) + "x.job/f.ndjson", "nobodys/f.ndjson"}
	for _, name := range stay {
		w.leave(name)
	}
	w.leave(string(tenant) + ".gone/1-scan-000001.1.000001.Patient.ndjson")
	w.sweepErased(w.export())
	for _, name := range stay {
		if !w.there(name) {
			t.Errorf("%s is gone", name)
		}
	}
	if w.there(string(tenant) + ".gone") {
		t.Error("the folder of a job is left that is not there")
	}
}

func TestASweepOfErasuresEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tiny)
	w.kickoff(asked{level: selection.System})
	w.claim(24 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.export().SweepErased(ctx, tenant) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// stalled are files of which one cannot be begun: the nth. Who begins it waits
// until its context ends.
type stalled struct {
	files.Files
	left     atomic.Int64
	begun    chan struct{}
	released atomic.Bool
}

func (s *stalled) Create(ctx context.Context, name string) (files.Writer, error) {
	if s.left.Add(-1) != 0 {
		return s.Files.Create(ctx, name)
	}
	close(s.begun)
	<-ctx.Done()
	s.released.Store(true)
	return nil, ctx.Err()
}

// A worker that has lost its unit may not know it for a third of a lease, here
// for hours. It is broken off, and what it began is gone.
func TestWhoLostItsUnitIsBrokenOffBeforeTheSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tiny)
	w.fill()
	plain, s := w.files, &stalled{Files: w.files, begun: make(chan struct{})}
	s.left.Store(2)
	w.files = s
	x := w.export()
	w.files = plain
	a := asked{level: selection.System, types: []string{"Patient"}}
	j := w.kickoff(a)
	defer w.startWith(x, 1)()
	<-s.begun
	w.eraser("a").all()
	w.sweepErased(x)
	if !s.released.Load() {
		t.Error("it is still at work")
	}
	w.noTrace()
	r := w.result(w.await(j.ID, time.Minute, final))
	if r.job.Restarts != 1 {
		t.Errorf("it began anew %d times", r.job.Restarts)
	}
	w.holds(r, 0, a)
	w.onlyItsFiles(r)
	tally, err := w.store.Tally(context.Background(), tenant, j.ID)
	w.ok("tally", err)
	if tally.Errors != 0 {
		t.Errorf("that it was broken off counts as an error: %+v", tally)
	}
}

func TestASweepRemovesTheStraysOfAJobUnderWay(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	j := w.kickoff(asked{level: selection.System})
	h := newUntil(w.export(), w.store, 4)
	stop := w.startWith(h, 1)
	w.await(j.ID, 0, finalOr(h))
	before := w.stored(j)
	in := string(tenant) + "." + j.ID + "/"
	for _, name := range []string{"1-scan-000001.7.000001.Patient.ndjson", "3-join.1.000001.Patient.ndjson", "no-such.1.000001.Patient.ndjson", "x"} {
		w.leave(in + name)
	}
	w.ok("sweep", w.export().Sweep(context.Background()))
	if d := cmp.Diff(before, w.stored(j)); d != "" {
		t.Errorf("files (- before, + after): %s", d)
	}
	stop()
	w.holds(w.result(w.finish(j)), 0, asked{level: selection.System})
}
