package purge_test

import (
	"context"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/purge"
	"firebreak/store"
)

// book is a ledger, and a store that asks it before anything goes.
type book struct {
	store.Store
	*testing.T
	mu  *sync.Mutex
	has map[fhir.ID]bool // entire
}

func (b book) Enter(_ context.Context, _ store.Tenant, _ store.Tick, ids []fhir.ID, entire bool) ([]int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if _, again := b.has[id]; again {
			b.Errorf("%s is entered twice by one unit", id)
		}
		b.has[id] = entire
	}
	return make([]int64, len(ids)), nil
}

func (b book) Revoke(_ context.Context, numbers []int64) error {
	b.Errorf("%d entries of what goes are revoked", len(numbers))
	return nil
}

func (b book) mustHave(what string, id fhir.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.has[id]; !ok {
		b.Errorf("%s of %s, which is not entered", what, id)
	}
}

// Erase is store.Eraser.
func (b book) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	for _, v := range vs {
		b.mustHave("Erase", v.ID)
	}
	return b.Store.Erase(ctx, f, vs, of...)
}

// Commit is store.Committer.
func (b book) Commit(ctx context.Context, t store.Tenant, batch store.Batch) ([]store.Applied, error) {
	for _, p := range batch.Puts {
		if p.Detached {
			b.mustHave("Commit", p.Resource.ID)
		}
	}
	return b.Store.Commit(ctx, t, batch)
}

func TestWhatGoesIsEnteredBeforeItGoes(t *testing.T) {
	t.Parallel()
	b := book{T: t, mu: new(sync.Mutex), has: map[fhir.ID]bool{}}
	w := newWorldWith(t, func(st store.Store) store.Store { b.Store = st; return b }, purge.Config{Ledger: b})
	w.put(family...)
	w.put(`{"resourceType":"Observation","id":"moved","status":"final","subject":{"reference":"Patient/kestrel"}}`)
	w.put(`{"resourceType":"Observation","id":"moved","status":"final","subject":{"reference":"Patient/mother"}}`)
	w.put(`{"resourceType":"Condition","id":"old","subject":{"reference":"Patient/kestrel"}}`)
	w.remove("Condition/old")
	w.purged("kestrel")
	want := map[string]bool{
		"Patient/kestrel": true, "Encounter/birth": true, "Observation/weight": true, "Binary/scan": true, "DocumentReference/scanned": true,
		"Provenance/ofWeight": true, "Appointment/alone": true, "Device/pump": true, "Task/call": true, "Bundle/message": true, "Condition/old": true,
		"Patient/mother": false, "Observation/mothers": false, "Observation/bynewborn": false, "Provenance/ofBoth": false,
		"Appointment/together": false, "Group/family": false, "FamilyMemberHistory/siblings": false, "Observation/moved": false,
	}
	for ref, entire := range want {
		if got, ok := b.has[idOf(ref)]; !ok || got != entire {
			t.Errorf("%s: entered %t, entire %t; want entire %t", ref, ok, got, entire)
		}
	}
	if len(b.has) != len(want) {
		t.Errorf("%d resources are entered, want %d: %v", len(b.has), len(want), b.has)
	}
}
