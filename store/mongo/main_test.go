package mongo_test

import (
	"flag"
	"strings"
	"sync"
	"testing"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
	"firebreak/store/storetest"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Each check plays some hundred calls against a server. A flag on the
	// command line has the last word.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(mongotest.Main(m))
}

// fresh is the URI of an empty database, which is dropped when the test ends.
func fresh(t testing.TB, e *mongotest.Engine) string {
	t.Helper()
	hosts, query, _ := strings.Cut(e.URI(), "?")
	return strings.TrimRight(hosts, "/") + "/" + e.Database(t) + "?" + query
}

func open(t testing.TB, cfg mongo.Config) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// opened remembers how stores were opened, to open them again.
type opened struct {
	mu      sync.Mutex
	configs map[store.Store]mongo.Config
}

func (o *opened) open(t testing.TB, cfg mongo.Config) store.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.configs[s] = cfg
	return s
}

func (o *opened) reopen(t testing.TB, s store.Store) store.Store {
	t.Helper()
	o.mu.Lock()
	cfg := o.configs[s]
	o.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o.open(t, cfg)
}

func contract(e *mongotest.Engine, watch func(*event.CommandStartedEvent)) storetest.Config {
	o := &opened{configs: map[store.Store]mongo.Config{}}
	return storetest.Config{
		Open: func(t testing.TB, opt storetest.Options) store.Store {
			return o.open(t, mongo.Config{URI: fresh(t, e), Now: opt.Now}.Watching(watch))
		},
		Reopen: o.reopen,
	}
}

// TestContract runs the contract, and then asks the server how it would do
// each command that it was sent meanwhile.
func TestContract(t *testing.T) {
	e := mongotest.Start(t)
	a := &asked{all: map[string]sample{}}
	if t.Run("cases", func(t *testing.T) { storetest.Run(t, contract(e, a.see)) }) {
		t.Run("no query scans a collection", func(t *testing.T) { noScans(t, e, a) })
	}
}

func TestRaces(t *testing.T) { storetest.Race(t, contract(mongotest.Start(t), nil)) }
