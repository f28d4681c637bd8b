package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// beforeErase is a store in which something happens before an erasure.
type beforeErase struct {
	store.Store
	at    int64 // the number of the erasure, from 1, among those on account of a patient, or of anybody
	whose string
	calls *atomic.Int64
	do    func(ctx context.Context, f store.Fence) error
}

func (b *beforeErase) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (job.Erased, error) {
	if (b.whose == "" || slices.Contains(of, b.whose)) && b.calls.Add(1) == b.at {
		if err := b.do(ctx, f); err != nil {
			return job.Erased{}, err
		}
	}
	return b.Store.Erase(ctx, f, vs, of...)
}

// entering is a world with a ledger, in which something happens before the
// erasure of a number.
func entering(t *testing.T, at int64, requests int) (*world, *beforeErase, *known) {
	t.Helper()
	k, b := &known{}, &beforeErase{at: at, calls: new(atomic.Int64)}
	over := func(st store.Store) store.Store { b.Store = st; return b }
	return newWorldWith(t, over, purge.Config{Ledger: k, Requests: func() int { return requests }}), b, k
}

// agree asserts that of some resources the ledger has as erased exactly those
// that are gone, and that these are from least to most.
func (w *world) agree(k *known, least, most int, refs ...string) {
	w.Helper()
	n, has := 0, k.erases()
	for _, ref := range refs {
		left := len(w.versions(ref)) > 0
		if !left {
			n++
		}
		if has[ref] == left {
			w.Errorf("%s is left: %t; the ledger has it as erased: %t", ref, left, has[ref])
		}
	}
	if n < least || n > most {
		w.Errorf("%d of %d are gone, want %d to %d", n, len(refs), least, most)
	}
}

// hers are the resources of the family that go with the patient.
func hers() []string {
	return []string{
		"Patient/kestrel", "Encounter/birth", "Observation/weight", "Binary/scan", "DocumentReference/scanned",
		"Provenance/ofWeight", "Appointment/alone", "Device/pump", "Task/call", "Bundle/message",
	}
}

func TestWhatAHoldKeepsAtTheLastMomentIsNotInTheLedger(t *testing.T) {
	t.Parallel()
	w, b, k := entering(t, 1, 0)
	b.do = func(ctx context.Context, _ store.Fence) error {
		return w.store.SetHold(ctx, tenant, hold("late", "Patient/kestrel"))
	}
	w.put(family...)
	j := w.start(purge.Call{Patient: "kestrel"})
	w.stopped(j, "the legal hold late is on the patient")
	w.agree(k, 0, 0, hers()...)
	w.lift("late")
	w.succeeded(w.again(j))
	w.agree(k, len(hers()), len(hers()), hers()...)
}

func TestWhatAHoldKeepsOfAHoldingIsNotInTheLedger(t *testing.T) {
	t.Parallel()
	w, b, k := entering(t, 1, 0)
	b.do = func(ctx context.Context, _ store.Fence) error {
		return w.store.SetHold(ctx, tenant, hold("late", "Patient/kestrel"))
	}
	b.whose = "kestrel"
	ann := as("app", "ann")
	w.owns(ann, family...)
	var refs []string
	for _, body := range family {
		refs = append(refs, gjson.Get(body, "resourceType").String()+"/"+gjson.Get(body, "id").String())
	}
	j := w.holding(ann)
	w.stopped(j, "the legal hold late")
	w.agree(k, 0, len(refs)-1, refs...) // what is on no account of hers goes
	w.lift("late")
	w.succeeded(w.again(j))
	w.agree(k, len(refs), len(refs), refs...)
}

// While the server is busy, what was entered for one commit is erased with
// several.
func TestOfSmallCommitsTheLedgerHasThoseBeforeTheHold(t *testing.T) {
	t.Parallel()
	w, b, k := entering(t, 2, 50)
	b.do = func(ctx context.Context, _ store.Fence) error {
		return w.store.SetHold(ctx, tenant, hold("late", "tenant"))
	}
	ann := as("app", "ann")
	var refs []string
	for _, n := range []int{30, 70, 1, 40} {
		id := fmt.Sprintf("n%d", n)
		refs = append(refs, "Observation/"+id)
		for i := range n {
			w.owns(ann, note(id, fmt.Sprint(i)))
		}
	}
	w.stopped(w.holding(ann), "the legal hold late")
	w.agree(k, 2, 2, refs...)
}

// A cancel breaks off between commits: what was entered for one goes with it.
func TestAfterACancelTheLedgerHasWhatIsGone(t *testing.T) {
	t.Parallel()
	w, b, k := entering(t, 1, 0)
	b.do = func(ctx context.Context, f store.Fence) error {
		_, err := w.store.Update(ctx, tenant, f.Job, func(j job.Job) (job.Job, error) { return j.RequestCancel(w.now()) })
		moment, done := context.WithTimeout(ctx, 100*time.Millisecond) // in which the attempt hears of it
		defer done()
		<-moment.Done()
		return errors.Join(err, ctx.Err())
	}
	w.put(family...)
	if j := w.ended(w.start(purge.Call{Patient: "kestrel"})); j.State != job.Cancelled {
		t.Errorf("the job is %s", j.State)
	}
	w.agree(k, len(hers()), len(hers()), hers()...)
}

// An attempt that has lost its unit takes back what it entered, and the next one
// enters it anew.
func TestWhatALostAttemptEnteredIsRevoked(t *testing.T) {
	t.Parallel()
	w, b, k := entering(t, 1, 0)
	entered := 0
	b.do = func(context.Context, store.Fence) error {
		entered = len(k.erases())
		return store.ErrFenced
	}
	w.put(family...)
	w.purged("kestrel")
	w.agree(k, len(hers()), len(hers()), hers()...)
	k.mu.Lock()
	defer k.mu.Unlock()
	revoked := 0
	for _, one := range k.entries {
		if one.id.ID == "" {
			revoked++
		}
	}
	if entered == 0 || revoked < entered {
		t.Errorf("of %d entries that came to nothing %d were revoked", entered, revoked)
	}
}
