package mongo_test

import (
	"errors"
	"testing"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// The store is closed after a commit has found where to wait, and before it
// does.
func TestACommitThatMeetsACloseIsDoneOrRefused(t *testing.T) {
	t.Parallel()
	uri := fresh(t, mongotest.Start(t))
	beside := open(t, mongo.Config{URI: uri})
	h := &hook{}
	s, err := mongo.Open(t.Context(), mongo.Config{URI: uri}.Watching(h.see))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	h.set(func(e *event.CommandStartedEvent) {
		if name, _ := e.Command.Lookup("find").StringValueOK(); name != "type" {
			return
		}
		h.set(func(*event.CommandStartedEvent) {})
		go func() { closed <- s.Close() }()
		for !errors.Is(s.Ping(t.Context()), store.ErrClosed) {
		}
		for range 20 { // it goes on to its lanes meanwhile
			if err := beside.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	var l ledger
	if err := l.commit(t.Context(), s, patient(t, "1", "late")); err != nil && !errors.Is(err, store.ErrClosed) {
		t.Errorf("the commit: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	l.holds(t, beside)
}
