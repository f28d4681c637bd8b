package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/mongo/mongotest"
)

// ground is what a scenario plays on: a kind of store. Whatever dies on it, the
// same is asked of each.
type ground struct {
	// fresh is a place with nothing in it.
	fresh func(t *testing.T) storage
	// copied is a place with all that another has, for an export to be killed
	// in. It may be the other one, which an export leaves as it was.
	copied func(t *testing.T, of storage) storage
	// points is at how many the short form of a scenario dies.
	points int64
}

func onSQLite() ground {
	return ground{
		fresh: func(t *testing.T) storage {
			t.Helper()
			return storage{Data: filepath.Join(t.TempDir(), "new")}
		},
		copied: func(t *testing.T, of storage) storage {
			t.Helper()
			place := storage{Data: t.TempDir()}
			if err := os.CopyFS(place.Data, os.DirFS(of.Data)); err != nil {
				t.Fatal(err)
			}
			return place
		},
		points: 20,
	}
}

// onMongo is a ground with a database for each place.
func onMongo(t *testing.T) ground {
	t.Helper()
	return onEngine(mongotest.Start(t))
}

// onEngine is onMongo with an engine that may be one of the test's own. To copy
// a database would take longer than to clear up in it.
func onEngine(engine *mongotest.Engine) ground {
	return ground{
		fresh: func(t *testing.T) storage {
			t.Helper()
			return storage{Data: filepath.Join(t.TempDir(), "new"), Store: newDatabase(t, engine)}
		},
		copied: func(_ *testing.T, of storage) storage { return of },
		points: 10,
	}
}

// newDatabase is the URI of a database that nobody has.
func newDatabase(t *testing.T, e *mongotest.Engine) string {
	t.Helper()
	hosts, query, _ := strings.Cut(e.URI(), "?")
	return strings.TrimRight(hosts, "/") + "/" + e.Database(t) + "?" + query
}

// steps are the points at which a scenario of so many dies: all of them in the
// long form, and else so few, from a random one on.
func steps(t *testing.T, points, few int64) (some []int64) {
	t.Helper()
	first, step := int64(1), int64(1)
	if !torture() {
		step = max(1, points/few) | 1 // odd: before and after calls in turn
		first += rand.Int64N(min(step, max(points, 1)))
	}
	t.Logf("%d points; every %dth from %d", points, step, first)
	for p := first; p <= points; p += step {
		some = append(some, p)
	}
	return some
}

// some are the calls after or before which a scenario dies: all of them in the
// long form.
func some(t *testing.T, calls []string, few int64) (those []string) {
	t.Helper()
	for _, p := range steps(t, int64(len(calls)), few) {
		those = append(those, calls[p-1])
	}
	return those
}

// opened opens a place as a server does; done closes it.
func opened(t *testing.T, place storage) (st store.Store, dir files.Files, done func()) {
	t.Helper()
	st, err := openStore(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = openFiles(t.Context(), place, st); err != nil {
		t.Fatal(err)
	}
	return st, dir, func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// leave removes the job, as its expiry does. Nothing of it must be left.
func (k *killed) leave(st store.Store, dir files.Files, j job.Job) {
	k.Helper()
	k.ok(export.New(export.Config{Store: st, Files: dir}).Discard(k.Context(), j))
	k.ok(st.Remove(k.Context(), auth.DefaultTenant, j.ID))
	if left := filesOf(k.T, k.Data); len(left) > 0 {
		k.Errorf("with the job removed there are %q", left)
	}
}
