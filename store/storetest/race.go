package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"firebreak/fhir"
	"firebreak/store"
)

// How many run against each other, and how often.
const (
	racers = 8
	rounds = 12
)

func commitRaces() []testCase {
	return []testCase{
		{"of writers that expect the same version one goes through", raceExpect},
		{"of writers that expect a resource to be absent one creates it", raceAbsent},
		{"writers that expect nothing all go through, one after the other", raceAny},
		{"batches that share resources are applied whole", raceBatches},
		{"a commit that is refused does not harm those beside it", raceConflicts},
	}
}

func barrierRaces() []testCase {
	return []testCase{
		{"a barrier holds against writers", raceBarrier},
		{"barriers of many callers hold against writers", raceBarriers},
		{"a snapshot stays the same while writers go on", raceSnapshot},
		{"tenants do not meet while both are written", raceTenants},
	}
}

// together runs f as often as there are racers, all at once, and fails the case
// with what they return.
func (e *env) together(f func(i int) error) {
	e.Helper()
	start, errs := make(chan struct{}), make([]error, racers)
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	all.Wait()
	e.ok("one of many", errors.Join(errs...))
}

// try commits from a goroutine: it returns errors.
func (e *env) try(t store.Tenant, changes ...change) ([]store.Applied, error) {
	return e.Commit(e.ctx, t, batchOf(changes))
}

// wins counts the racers whose f went through; the others must be conflicts.
func (e *env) wins(f func(i int) error) int64 {
	e.Helper()
	var won atomic.Int64
	e.together(func(i int) error {
		err := f(i)
		switch {
		case err == nil:
			won.Add(1)
		case errors.Is(err, store.ErrConflict):
			return nil
		}
		return err
	})
	return won.Load()
}

func raceExpect(e *env) {
	e.commit(write("Patient/1", "first"))
	for n := range int64(rounds) {
		won := e.wins(func(i int) error {
			_, err := e.try(north, write("Patient/1", fmt.Sprint(n, " by ", i)).expecting(n+1))
			return err
		})
		e.same("winners", won, int64(1))
		e.same("versionId", e.get("Patient/1").N, n+2)
	}
	e.chained("Patient/1", rounds+1)
}

func raceAbsent(e *env) {
	for n := range rounds {
		ref := fmt.Sprint("Patient/", n)
		won := e.wins(func(i int) error {
			_, err := e.try(north, write(ref, fmt.Sprint("by ", i)).expecting(store.Absent))
			return err
		})
		e.same("winners", won, int64(1))
		e.chained(ref, 1)
	}
}

func raceAny(e *env) {
	e.together(func(i int) error {
		for n := range rounds {
			if _, err := e.try(north, write("Patient/1", fmt.Sprint(n, " by ", i))); err != nil {
				return err
			}
		}
		return nil
	})
	e.chained("Patient/1", racers*rounds)
}

// chained asserts that a resource has n versions that follow each other.
func (e *env) chained(ref string, n int) {
	e.Helper()
	vs := e.history(ref)
	e.that(len(vs) == n, "%s has %d versions, want %d", ref, len(vs), n)
	next, keys := store.Forever, make(map[store.Key]bool)
	for i, v := range vs {
		e.that(v.N == int64(n-i) && v.To == next && v.From < v.To, "%s is current over [%d, %d), the next from %d", label(v), v.From, v.To, next)
		next, keys[v.Key] = v.From, true
	}
	e.same("keys of "+ref, len(keys), n)
}

// raceBatches writes one text to both of two resources, in either order.
func raceBatches(e *env) {
	e.together(func(i int) error {
		for n := range rounds {
			text := fmt.Sprint(n, " by ", i)
			pair := []change{write("Patient/1", text), write("Patient/2", text)}
			if i%2 == 0 {
				slices.Reverse(pair)
			}
			if _, err := e.try(north, pair...); err != nil {
				return err
			}
		}
		return nil
	})
	e.chained("Patient/1", racers*rounds)
	e.chained("Patient/2", racers*rounds)
	a, b := e.history("Patient/1"), e.history("Patient/2")
	for i := range a {
		e.that(a[i].From == b[i].From && len(a[i].Body) == len(b[i].Body), "version %d of the two is of two batches", a[i].N)
	}
}

func raceConflicts(e *env) {
	e.commit(write("Patient/shared", "a"))
	e.together(func(i int) error {
		for n := range rounds {
			bad := write("Patient/shared", fmt.Sprint(n, " by ", i)).expecting(1 << 30)
			if _, err := e.try(north, write(fmt.Sprintf("Patient/bad-%d-%d", i, n), "a"), bad); !errors.Is(err, store.ErrConflict) {
				return fmt.Errorf("a batch with a conflict: %w", err)
			}
			if _, err := e.try(north, write(fmt.Sprintf("Patient/good-%d-%d", i, n), "a")); err != nil {
				return err
			}
		}
		return nil
	})
	found := e.scan(store.Selection{At: e.barrier()})
	e.same("resources", len(found), racers*rounds+1)
	for _, v := range found {
		e.that(v.ID.ID[0] != 'b', "%s was refused and is there", label(v))
	}
}

// acked is a commit that was acknowledged.
type acked struct {
	id fhir.ID
	at store.Tick
}

// writing is a crowd of writers at work, and what was acknowledged so far.
type writing struct {
	mu   sync.Mutex
	done []acked
	end  func() error
}

// maxCommits bounds what a writer commits while others look.
const maxCommits = 200

// writers starts writers that commit new and old resources until end is called,
// or there is enough.
func (e *env) writers(t store.Tenant) *writing {
	ctx, cancel := context.WithCancel(e.ctx)
	w, errs := &writing{}, make([]error, racers/2)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for n := 0; n < maxCommits && ctx.Err() == nil && errs[i] == nil; n++ {
				errs[i] = w.write(e, t, i, n)
			}
		})
	}
	w.end = func() error { cancel(); all.Wait(); return errors.Join(errs...) }
	return w
}

// write commits a new resource, its sibling and a new version of an old one.
func (w *writing) write(e *env, t store.Tenant, i, n int) error {
	id := fmt.Sprintf("%d-%d", i, n)
	a, err := e.try(t, write("Patient/"+id, "a"), write("Organization/"+id, "a"), write("Patient/shared", id))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, acked{fhir.ID{Type: "Patient", ID: id}, a[0].At})
	return nil
}

// sofar is what was acknowledged when it is called.
func (w *writing) sofar() []acked {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.done)
}

// fence makes a barrier under writers and looks at its snapshot at once.
func (e *env) fence(w *writing) (store.Tick, []store.Version, error) {
	before := w.sofar()
	at, err := e.Barrier(e.ctx, north, time.Millisecond)
	if err != nil {
		return 0, nil, err
	}
	found, err := e.collect(store.Selection{At: at})
	if err != nil {
		return 0, nil, err
	}
	there := make(map[fhir.ID]bool)
	for _, v := range found {
		there[v.ID] = true
	}
	for _, a := range before {
		if a.at > at || !there[a.id] || !there[fhir.ID{Type: "Organization", ID: a.id.ID}] {
			return at, found, fmt.Errorf("%v was acknowledged at %d and is not whole in the snapshot at %d", a.id, a.at, at)
		}
	}
	for id := range there {
		if id.Type == "Organization" && !there[fhir.ID{Type: "Patient", ID: id.ID}] {
			return at, found, fmt.Errorf("half of a batch is in the snapshot at %d: %v", at, id)
		}
	}
	return at, found, nil
}

// collect scans from a goroutine: it returns errors.
func (e *env) collect(s store.Selection) ([]store.Version, error) {
	rs, err := e.Split(e.ctx, north, s, 20*crowdBytes)
	if err != nil {
		return nil, err
	}
	var all []store.Version
	for _, r := range rs {
		err := e.Scan(e.ctx, north, s, r, "", func(v *store.Version) error {
			all = append(all, copyOf(v))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, byKey)
	return all, nil
}

func raceBarrier(e *env) {
	w := e.writers(north)
	last := store.Tick(0)
	for range rounds {
		at, _, err := e.fence(w)
		e.ok("a barrier under writers", err)
		e.that(at >= last, "barrier %d after %d", at, last)
		last = at
	}
	e.ok("the writers", w.end())
	at, found, err := e.fence(w)
	e.ok("the last barrier", err)
	e.that(len(found) == 2*len(w.sofar())+1, "%d versions in the snapshot at %d of %d commits", len(found), at, len(w.sofar()))
	for _, a := range w.sofar() {
		e.that(e.getIn(north, a.id.String()).From == a.at, "%v was acknowledged at %d", a.id, a.at)
	}
}

func raceBarriers(e *env) {
	w := e.writers(north)
	e.together(func(int) error {
		for range 3 {
			if _, _, err := e.fence(w); err != nil {
				return err
			}
		}
		return nil
	})
	e.ok("the writers", w.end())
}

// raceSnapshot looks at each snapshot again when more was written.
func raceSnapshot(e *env) {
	w := e.writers(north)
	seen := make(map[store.Tick][]string)
	again := func() {
		for at, want := range seen {
			got, err := e.collect(store.Selection{At: at})
			e.ok("Scan", err)
			e.same(fmt.Sprintf("the snapshot at %d, later", at), lines(got), want)
		}
	}
	for range rounds / 2 {
		at, found, err := e.fence(w)
		e.ok("a barrier under writers", err)
		again()
		seen[at] = lines(found)
	}
	e.ok("the writers", w.end())
	again()
}

func raceTenants(e *env) {
	n, s := e.writers(north), e.writers(south)
	for range rounds / 2 {
		_, _, err := e.fence(n)
		e.ok("a barrier under writers of two tenants", err)
	}
	e.ok("south's writers", s.end())
	e.ok("north's writers", n.end())
	_, found, err := e.fence(n)
	e.ok("the last barrier", err)
	e.same("versions of north", len(found), 2*len(n.sofar())+1)
}
