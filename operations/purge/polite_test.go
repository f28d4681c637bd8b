package purge_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"
)

// crowd is a store that counts who is at it.
type crowd struct {
	store.Store
	now, most, calls *atomic.Int64
	meet             chan struct{} // who comes waits for another, if there are any
}

func (c crowd) enter() func() {
	n := c.now.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	c.calls.Add(1)
	select {
	case c.meet <- struct{}{}:
	case <-c.meet:
	case <-time.After(20 * time.Millisecond): // there is no other
	}
	return func() { c.now.Add(-1) }
}

func (c crowd) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	defer c.enter()()
	return c.Store.Versions(ctx, t, ids, yield)
}

func (c crowd) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (job.Erased, error) {
	defer c.enter()()
	return c.Store.Erase(ctx, f, vs, of...)
}

func TestPurgesTakeTurnsWhileTheServerIsBusy(t *testing.T) {
	t.Parallel()
	for many, busy := range map[int]bool{0: false, 50: true, 5000: true} {
		c := crowd{now: new(atomic.Int64), most: new(atomic.Int64), calls: new(atomic.Int64), meet: make(chan struct{})}
		w := newWorldWith(t, func(s store.Store) store.Store { c.Store = s; return c }, purge.Config{Requests: func() int { return many }})
		w.put(family...)
		call := purge.Call{Bulk: true}
		for _, id := range []string{"kestrel", "mother", "sibling"} {
			call.Params = append(call.Params, fhir.Parameter{Name: "patientId", Type: "String", Value: id})
		}
		w.succeeded(w.start(call))
		w.gone("Patient/kestrel", "Patient/mother", "Patient/sibling")
		if most := c.most.Load(); c.calls.Load() < 6 || busy && most != 1 || !busy && most < 2 {
			t.Errorf("busy: %v: %d calls, %d at once", busy, c.calls.Load(), most)
		}
	}
}

// commits is a store that notes what is erased with each commit.
type commits struct {
	store.Store
	mu  *sync.Mutex
	all *[][]store.VersionRef
}

func (c commits) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (job.Erased, error) {
	c.mu.Lock()
	*c.all = append(*c.all, slices.Clone(vs))
	c.mu.Unlock()
	return c.Store.Erase(ctx, f, vs, of...)
}

func TestWhileTheServerIsBusyCommitsAreSmallAndKeepResourcesWhole(t *testing.T) {
	t.Parallel()
	c := commits{mu: new(sync.Mutex), all: new([][]store.VersionRef)}
	w := newWorldWith(t, func(s store.Store) store.Store { c.Store = s; return c }, purge.Config{Requests: func() int { return 50 }})
	ann := as("app", "ann")
	for _, n := range []int{30, 70, 1, 40} {
		for i := range n {
			w.owns(ann, note(fmt.Sprintf("n%d", n), fmt.Sprint(i)))
		}
	}
	w.succeeded(w.holding(ann))
	in := map[fhir.ID]int{}
	for i, vs := range *c.all {
		for _, v := range vs {
			if at, ok := in[v.ID]; ok && at != i {
				t.Errorf("%s is erased with several commits", v.ID)
			}
			in[v.ID] = i
		}
	}
	if len(in) != 4 || len(*c.all) < 2 {
		t.Errorf("%d resources went with %d commits", len(in), len(*c.all))
	}
}

// voids is a store that notes when files were voided.
type voids struct {
	store.Store
	last *atomic.Int64
}

func (v voids) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	parts, err := v.Store.Void(ctx, f, patients, these...)
	if len(parts) > 0 {
		v.last.Store(time.Now().UnixNano())
	}
	return parts, err
}

// A download of a file looks once a second whether it was voided.
func TestAPurgeEndsASecondAfterItHasVoidedAFile(t *testing.T) {
	t.Parallel()
	v := voids{last: new(atomic.Int64)}
	w := newWorldWith(t, func(s store.Store) store.Store { v.Store = s; return v }, purge.Config{})
	w.put(family...)
	j, err := w.exports.Kickoff(t.Context(), auth.Local(), export.Call{Level: selection.System, URL: "u", Base: "b"})
	w.ok("export", err)
	w.ended(j)
	ended := w.ended(w.start(purge.Call{Patient: "kestrel"}))
	if gap := ended.Ended.UnixNano() - v.last.Load(); v.last.Load() == 0 || gap < time.Second.Nanoseconds() {
		t.Errorf("it ended %v after a file was voided", time.Duration(gap))
	}
}
