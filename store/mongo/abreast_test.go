package mongo_test

import (
	"slices"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// sent is a command, on a collection.
type sent struct {
	name, collection string
	within           bool // a transaction
}

// tape records what a store sends while f runs.
func (h *hook) tape(f func()) []sent {
	var mu sync.Mutex
	var all []sent
	h.set(func(e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
		_, err := e.Command.LookupErr("autocommit")
		all = append(all, sent{e.CommandName, collection, err == nil})
	})
	f()
	h.set(func(*event.CommandStartedEvent) {})
	return all
}

// reading are the collections in which something may be left of a Patient.
func reading() []string { return []string{"version", "part_patient", "member", "find", "job"} }

// A primary that was deposed answers what it still has, and acknowledges no
// write: what it says is there no more must not count.
func TestWhatIsToBeErasedIsReadOnlyFromAPrimaryThatCanWrite(t *testing.T) {
	t.Parallel()
	h := &hook{}
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))}.Watching(h.see))
	refs := written(t, s, "1", 2)
	working(t, s, "export")
	ids := []fhir.ID{refs[0].ID}
	for name, read := range map[string]func() error{
		"Mentions": func() error { return drop(s.Mentions(t.Context(), north, ids)) },
		"Versions": func() error {
			return s.Versions(t.Context(), north, ids, func(*store.Version) error { return nil })
		},
	} {
		all := h.tape(func() {
			if err := read(); err != nil {
				t.Error(err)
			}
		})
		wrote := slices.Index(all, sent{"update", "instance", false})
		looked := slices.IndexFunc(all, func(c sent) bool { return c.collection == "version" })
		if wrote < 0 || looked < wrote {
			t.Errorf("%s does not write before it reads: %v", name, all)
		}
	}
}

func TestResidueIsReadInTransactionsThatWrite(t *testing.T) {
	t.Parallel()
	h := &hook{}
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))}.Watching(h.see))
	refs := written(t, s, "1", 2)
	working(t, s, "export")
	all := h.tape(func() {
		g := store.Gone{IDs: []fhir.ID{refs[0].ID}, Patients: []string{"1"}}
		if found, err := s.Residue(t.Context(), north, g); err != nil || len(found) != 2 {
			t.Errorf("residue: %+v, %v", found, err)
		}
	})
	looked, wrote := map[string]bool{}, false
	for _, c := range all {
		switch {
		case slices.Contains(reading(), c.collection):
			if looked[c.collection] = true; !c.within {
				t.Errorf("it reads %s outside of transactions", c.collection)
			}
			wrote = false
		case c.name == "insert" && c.within:
			wrote = true
		case c.name == "commitTransaction" && !wrote:
			t.Errorf("a transaction ends in which nothing was written: %v", all)
		}
	}
	if len(looked) != len(reading()) {
		t.Errorf("it reads %v", looked)
	}
}
