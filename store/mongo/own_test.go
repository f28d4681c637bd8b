package mongo_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// deadline is within how long others go on with what a dead instance held.
const deadline = 20 * time.Second

// stopper stops all that an instance sends, as the end of its process does,
// from a command on: the first of a name to a collection.
type stopper struct {
	mu               sync.Mutex
	name, collection string // "": it has not come to that yet
	stopped          bool
	reached, goOn    chan struct{}
}

func (s *stopper) see(e *event.CommandStartedEvent) {
	s.mu.Lock()
	collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
	if !s.stopped && s.name == e.CommandName && s.collection == collection {
		s.stopped = true
		close(s.reached)
	}
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		<-s.goOn
	}
}

func (s *stopper) before(name, collection string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name, s.collection = name, collection
}

func TestAnInstanceThatDiesWithinATransactionDoesNotHoldItsJobForLong(t *testing.T) {
	t.Parallel()
	uri := fresh(t, mongotest.Start(t))
	stop := &stopper{reached: make(chan struct{}), goOn: make(chan struct{})}
	dead, other := open(t, mongo.Config{URI: uri}.Watching(stop.see)), open(t, mongo.Config{URI: uri})
	j := job.Job{ID: "j", Tenant: "t", Kind: "k", State: job.Queued, Created: time.Now()}
	if _, err := dead.Create(t.Context(), j, []job.Unit{{ID: "0", Job: "j", Tenant: "t", Kind: "k"}}, store.Limit{}); err != nil {
		t.Fatal(err)
	}
	_, f, err := dead.Claim(t.Context(), []string{"k"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stop.before("update", "unit") // when its transaction has the job
	ended := make(chan error, 1)
	go func() { ended <- dead.End(t.Context(), f, job.UnitEnd{State: job.Succeeded}) }()
	<-stop.reached

	began := time.Now()
	_, err = other.Update(t.Context(), "t", "j", func(j job.Job) (job.Job, error) { return j.Start(time.Now()) })
	if took := time.Since(began); err != nil || took > deadline {
		t.Errorf("the job was held for %s, %v", took, err)
	}
	close(stop.goOn) // it was only asleep
	if err := <-ended; err != nil && !errors.Is(err, store.ErrTransient) {
		t.Errorf("the end of its unit: %v", err)
	}
	if err := dead.End(t.Context(), f, job.UnitEnd{State: job.Succeeded}); err != nil && !errors.Is(err, store.ErrFenced) {
		t.Errorf("the end of its unit, again: %v", err)
	}
	if tally, err := other.Tally(t.Context(), "t", "j"); err != nil || tally.Succeeded != 1 {
		t.Errorf("the units stand at %+v, %v", tally, err)
	}
}
