package mongo_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// What a store read before it began its transaction may be overtaken: another
// instance replaces what is there just before the lane is moved.
func TestAPutIsUnchangedOnlyIfATransactionSawSo(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	for name, beside := range map[string][]store.Put{
		"alone":          nil,
		"beside a write": {patient(t, "2", "new")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, h := fresh(t, e), &hook{}
			s, other := open(t, mongo.Config{URI: uri}.Watching(h.see)), open(t, mongo.Config{URI: uri})
			if _, err := commit(t.Context(), s, patient(t, "1", "a")); err != nil {
				t.Fatal(err)
			}
			overtaken := false
			h.set(beforeTheLane(func() {
				overtaken = true
				if _, err := commit(context.Background(), other, patient(t, "1", "b")); err != nil {
					t.Error(err)
				}
			}))
			applied, err := commit(t.Context(), s, append([]store.Put{patient(t, "1", "a")}, beside...)...)
			if err != nil || !overtaken {
				t.Fatalf("overtaken: %v, %v", overtaken, err)
			}
			if applied[0].Unchanged || applied[0].N != 3 {
				t.Errorf("it is %+v, where another had replaced what was there", applied[0])
			}
		})
	}
}

// beforeTheLane calls f before the first command to the lanes.
func beforeTheLane(f func()) func(*event.CommandStartedEvent) {
	var once sync.Once
	return func(e *event.CommandStartedEvent) {
		if collection, _ := e.Command.Lookup(e.CommandName).StringValueOK(); collection == "lane" {
			once.Do(f)
		}
	}
}

// A primary that does not have a barrier was deposed before it.
func TestAScanOfAPrimaryThatHasNotTheBarrierFails(t *testing.T) {
	t.Parallel()
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))})
	if _, err := commit(t.Context(), s, patient(t, "1", "a")); err != nil {
		t.Fatal(err)
	}
	at, err := s.Barrier(t.Context(), north, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := scanned(t.Context(), s, store.Selection{At: at}); err != nil || len(found) != 1 {
		t.Errorf("at the barrier: %d versions, %v", len(found), err)
	}
	later := store.Selection{At: at + 1}
	if _, err := s.Split(t.Context(), north, later, 1<<20); !errors.Is(err, store.ErrTransient) {
		t.Errorf("Split: %v", err)
	}
	if err := s.Scan(t.Context(), north, later, store.Range{Type: "Patient"}, "", nil); !errors.Is(err, store.ErrTransient) {
		t.Errorf("Scan: %v", err)
	}
	if _, err := s.Referrers(t.Context(), north, later.At, "Patient", nil); !errors.Is(err, store.ErrTransient) {
		t.Errorf("Referrers: %v", err)
	}
}
