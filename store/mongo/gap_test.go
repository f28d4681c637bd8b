package mongo_test

import (
	"fmt"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// gate holds up the next change of a document of a collection.
type gate struct {
	of      string
	mu      sync.Mutex
	armed   bool
	planned chan struct{}
	open    chan struct{}
}

func (g *gate) see(e *event.CommandStartedEvent) {
	if name, _ := e.Command.Lookup(e.CommandName).StringValueOK(); e.CommandName != "findAndModify" || name != g.of {
		return
	}
	g.mu.Lock()
	held := g.armed
	g.armed = false
	g.mu.Unlock()
	if held {
		close(g.planned)
		<-g.open
	}
}

func (g *gate) arm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = true
}

// says writes an Organization of that name.
func says(t *testing.T, s store.Store, id, name string) store.Applied {
	t.Helper()
	r, err := fhir.Reader{Known: r4.IsType}.Read(fmt.Appendf(nil, `{"resourceType":"Organization","id":%q,"name":%q}`, id, name))
	if err != nil {
		t.Fatal(err)
	}
	applied, err := commit(t.Context(), s, store.Put{Resource: r, Terms: search.Terms("Organization", id, r.Body), Owner: store.Owner{Client: "c"}})
	if err != nil {
		t.Error(err)
		return store.Applied{}
	}
	return applied[0]
}

// The first version of another, which would have kept the commit from writing
// its own first version, is replaced and erased before the commit is made.
func TestACommitThatWasPlannedBeforeAGapDoesNotWriteBesideTheCurrentVersion(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	t.Run("on a lane that was open", func(t *testing.T) { commitsBesideAGap(t, e, "lane", true) })
	t.Run("on a lane that opens later", func(t *testing.T) { commitsBesideAGap(t, e, "tenant", false) })
}

// commitsBesideAGap has a store plan a commit, and holds it up when it first
// changes a document of the collection.
func commitsBesideAGap(t *testing.T, e *mongotest.Engine, of string, opened bool) {
	t.Helper()
	uri, g := fresh(t, e), &gate{of: of, planned: make(chan struct{}), open: make(chan struct{})}
	slow, fast := open(t, mongo.Config{URI: uri}.Watching(g.see)), open(t, mongo.Config{URI: uri})
	if opened {
		says(t, slow, "other", "opens the lane")
	}
	_, f := working(t, fast, "purge")

	g.arm()
	var late store.Applied
	var under sync.WaitGroup
	under.Go(func() { late = says(t, slow, "1", "planned when there was none") })
	<-g.planned
	first := says(t, fast, "1", "first")
	says(t, fast, "1", "second")
	id := fhir.ID{Type: "Organization", ID: "1"}
	got, err := fast.Erase(t.Context(), f, []store.VersionRef{{Key: first.Key, ID: id, N: 1}})
	if err != nil || got != (job.Erased{Versions: 1}) {
		t.Errorf("erased %+v, %v", got, err)
	}
	close(g.open)
	under.Wait()

	if late.N != 3 {
		t.Errorf("the late one is %+v, want version 3", late)
	}
	vs, err := fast.History(t.Context(), north, id, 0, 1<<20)
	if err != nil || len(vs) != 2 || vs[0].N != 3 || vs[0].To != store.Forever || vs[1].To != vs[0].From {
		t.Errorf("the history is %+v, %v", vs, err)
	}
	if made := says(t, fast, "2", "has nothing to do with it"); made.N != 1 || !made.Created {
		t.Errorf("something new afterwards: %+v", made)
	}
}
