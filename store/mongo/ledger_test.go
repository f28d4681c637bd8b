package mongo_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/store"
)

// ledger is what was asked of Patients, each by one writer and with bodies
// that are never the same, and what the writers were told.
type ledger struct {
	mu sync.Mutex
	of map[string][]entry
}

// entry is one Put; sure if it was acknowledged.
type entry struct {
	body   string // "" for a deletion
	sure   bool
	answer store.Applied
}

// commit commits, and notes what became of it. An error that is neither nil
// nor ErrTransient is returned.
func (l *ledger) commit(ctx context.Context, s store.Store, puts ...store.Put) error {
	answers, err := commit(ctx, s, puts...)
	if err != nil && !errors.Is(err, store.ErrTransient) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string][]entry{}
	}
	for i, p := range puts {
		e := entry{sure: err == nil}
		if !p.Delete {
			e.body = string(p.Resource.Body)
		}
		if e.sure {
			e.answer = answers[i]
		}
		l.of[p.Resource.ID.ID] = append(l.of[p.Resource.ID.ID], e)
	}
	return nil
}

// acknowledged is a copy of what is sure so far.
func (l *ledger) acknowledged() map[string]store.Applied {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]store.Applied{}
	for id, entries := range l.of {
		for _, e := range entries {
			if e.sure && !e.answer.Unchanged {
				out[id] = e.answer
			}
		}
	}
	return out
}

// holds asserts that each resource has the versions that were acknowledged, in
// their order and at their ticks, and between them no others than one at most
// for each call whose result was left open.
func (l *ledger) holds(t testing.TB, s store.Store) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(l.of)) {
		versions, err := s.History(context.Background(), north, fhir.ID{Type: "Patient", ID: id}, 0, 1<<30)
		if err != nil {
			t.Fatalf("History of %s: %v", id, err)
		}
		slices.Reverse(versions)
		chained(t, id, versions)
		l.matches(t, id, versions)
	}
}

// chained asserts that versions, the first one first, follow each other.
func chained(t testing.TB, id string, versions []store.Version) {
	t.Helper()
	for i, v := range versions {
		to := store.Forever
		if i+1 < len(versions) {
			to = versions[i+1].From
		}
		if v.N != int64(i+1) || v.To != to || v.From >= v.To {
			t.Errorf("%s: version %d of %d is number %d, current over [%d, %d), and the next is from %d", id, i+1, len(versions), v.N, v.From, v.To, to)
		}
	}
}

func (l *ledger) matches(t testing.TB, id string, versions []store.Version) {
	t.Helper()
	rest := l.of[id]
	for _, v := range versions {
		i := slices.IndexFunc(rest, func(e entry) bool { return e.body == string(v.Body) && !e.answer.Unchanged })
		if i < 0 {
			t.Errorf("%s: version %d was written twice, or never asked for", id, v.N)
			return
		}
		lost(t, id, rest[:i])
		if e := rest[i]; e.sure && (e.answer.N != v.N || e.answer.At != v.From || e.answer.Key != v.Key) {
			t.Errorf("%s: version %d at %d (%s) was acknowledged as %d at %d (%s)", id, v.N, v.From, v.Key, e.answer.N, e.answer.At, e.answer.Key)
		}
		rest = rest[i+1:]
	}
	lost(t, id, rest)
}

// lost fails the test for entries that have no version and were acknowledged.
func lost(t testing.TB, id string, entries []entry) {
	t.Helper()
	for _, e := range entries {
		if e.sure && !e.answer.Unchanged {
			t.Errorf("%s: version %d at %d was acknowledged, and is not there", id, e.answer.N, e.answer.At)
		}
	}
}
