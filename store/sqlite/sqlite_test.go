package sqlite_test

import (
	"sync"
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/sqlite"
	"firebreak/store/storetest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened remembers how a store was opened, to open it again.
type opened struct {
	mu     sync.Mutex
	config map[store.Store]sqlite.Config
}

func (o *opened) open(t testing.TB, cfg sqlite.Config) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.config[s] = cfg
	return s
}

func (o *opened) reopen(t testing.TB, s store.Store) store.Store {
	t.Helper()
	o.mu.Lock()
	cfg := o.config[s]
	o.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o.open(t, cfg)
}

func contract() storetest.Config {
	o := &opened{config: map[store.Store]sqlite.Config{}}
	return storetest.Config{
		Open: func(t testing.TB, opt storetest.Options) store.Store {
			now := opt.Now
			if now == nil {
				now = time.Now
			}
			return o.open(t, sqlite.Config{Dir: t.TempDir(), Now: now})
		},
		Reopen:      o.reopen,
		OwnsStorage: true,
	}
}

func TestContract(t *testing.T) { storetest.Run(t, contract()) }

func TestRaces(t *testing.T) { storetest.Race(t, contract()) }
