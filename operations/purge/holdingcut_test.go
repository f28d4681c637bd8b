package purge_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"
)

// cutting is a store of which some call of each kind fails once, or after its
// work was done.
type cutting struct {
	store.Store
	mu    *sync.Mutex
	fails map[string]int // how many calls until it fails
	after bool
}

func (c cutting) call(name string, do func() error) error {
	c.mu.Lock()
	n, ok := c.fails[name]
	if ok {
		c.fails[name] = n - 1
	}
	c.mu.Unlock()
	if !ok || n != 1 {
		return do()
	}
	if c.after {
		return errors.Join(do(), errCut)
	}
	return errCut
}

func (c cutting) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (n store.Erased, err error) {
	return n, c.call("Erase", func() error { n, err = c.Store.Erase(ctx, f, vs, of...); return err })
}

func (c cutting) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) (ps []job.Part, err error) {
	return ps, c.call("Void", func() error { ps, err = c.Store.Void(ctx, f, patients, these...); return err })
}

func (c cutting) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	return c.call("Add", func() error { return c.Store.Add(ctx, f, us) })
}

func (c cutting) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	return c.call("AddFinds", func() error { return c.Store.AddFinds(ctx, f, ids) })
}

func (c cutting) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	return c.call("Strike", func() error { return c.Store.Strike(ctx, f, g) })
}

func (c cutting) Scrub(ctx context.Context) (t store.Traces, err error) {
	return t, c.call("Scrub", func() error { t, err = c.Store.Scrub(ctx); return err })
}

func TestAHoldingGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for name, nth := range map[string][]int{"Erase": {1, 2, 3}, "Void": {1, 4}, "Add": {1}, "AddFinds": {1, 2}, "Strike": {1, 2}, "Scrub": {1}} {
			for _, n := range nth {
				t.Run(fmt.Sprintf("%s %d, after %v", name, n, after), func(t *testing.T) {
					t.Parallel()
					c := cutting{mu: new(sync.Mutex), fails: map[string]int{name: n}, after: after}
					w := newWorldWith(t, func(s store.Store) store.Store { c.Store = s; return c }, purge.Config{})
					w.goesWhole(c)
				})
			}
		}
	}
}

// goesWhole purges a holding of which a call of the store fails.
func (w *world) goesWhole(c cutting) {
	w.Helper()
	ann := as("app", "ann")
	w.owns(ann, family...)
	for i := range 300 {
		w.owns(ann, note("many", fmt.Sprint("Kestrel ", i)))
	}
	w.owns(as("app", "bob"), note("bobs", "x"))
	j, err := w.exports.Kickoff(w.Context(), ann, export.Call{Level: selection.System, URL: "u", Base: "b"})
	w.ok("export", err)
	w.ended(j)
	said := w.succeeded(w.holding(ann))
	n := len(family) + 1
	w.says(said, fmt.Sprintf(`"resourceCount","valueInteger":%d},{"name":"deletedCount","valueInteger":%d},{"name":"deletedVersionsCount","valueInteger":%d}`, n, n, n+299))
	w.has("Observation/bobs", 1)
	w.canary("Kestrel", "S2VzdHJlbA", "Clinic")
	for name, left := range c.fails {
		if left > 0 {
			w.Errorf("%s was called %d times too few", name, left)
		}
	}
}
