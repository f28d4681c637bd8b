package sqlite_test

import (
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/sqlite"
	"firebreak/store/storetest"
)

// open opens a store in dir; it is closed when the test ends.
func open(t testing.TB, dir string, now func() time.Time) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var _ store.Store = (*sqlite.Store)(nil)
var _ = storetest.Config{}
