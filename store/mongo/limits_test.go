package mongo_test

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"firebreak/fhir"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// heavy is a Patient of so many bytes.
func heavy(t testing.TB, id string, size int) store.Put {
	t.Helper()
	return patient(t, id, strings.Repeat("x", size-len(patient(t, id, "").Resource.Body)))
}

// absent asserts that nothing was ever written of Patients.
func absent(t *testing.T, s *mongo.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		versions, err := s.History(t.Context(), north, fhir.ID{Type: "Patient", ID: id}, 0, 1)
		if err != nil || len(versions) > 0 {
			t.Errorf("%s has %d versions, %v", id, len(versions), err)
		}
	}
}

// besides is what a version has besides its body: so much less than the limit
// a body may have.
func besides(t *testing.T, uri string) int {
	t.Helper()
	const limit = 10_000
	s := open(t, mongo.Config{URI: uri}.Limited(limit))
	return limit + 1 - sort.Search(limit, func(size int) bool {
		if size < 200 {
			return false
		}
		_, err := commit(t.Context(), s, heavy(t, "1", size))
		if err != nil && !errors.Is(err, store.ErrTooLarge) {
			t.Fatal(err)
		}
		return err != nil
	})
}

func TestTheGreatestResourceComesBackAndAGreaterOneIsRefused(t *testing.T) {
	t.Parallel()
	uri := fresh(t, mongotest.Start(t))
	greatest := mongo.MaxDocument - besides(t, uri)
	s := open(t, mongo.Config{URI: uri})
	for _, size := range []int{greatest + 1, 17 << 20} {
		p := heavy(t, "2", size)
		if _, err := commit(t.Context(), s, patient(t, "beside", "a"), p); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("a body of %d bytes: %v", size, err)
		}
		absent(t, s, "2", "beside")
	}
	for n, expect := range []int64{store.Absent, 1} {
		p := heavy(t, "1", greatest)
		p.Resource.ID.ID, p.Expect = "3", expect
		p.Resource.Body[len(p.Resource.Body)-3] = byte('a' + n)
		if _, err := commit(t.Context(), s, p); err != nil {
			t.Fatalf("a body of %d bytes: %v", greatest, err)
		}
		got, err := s.Get(t.Context(), north, fhir.ID{Type: "Patient", ID: "3"})
		if err != nil || !bytes.Equal(got[0].Body, p.Resource.Body) {
			t.Errorf("the body of %d bytes comes back as %d others, %v", greatest, len(got[0].Body), err)
		}
	}
}

// A resource that names more than a server lists in an index, which is
// 100,000 things, is refused by it.
func TestAResourceThatTheServerFindsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	s := open(t, mongo.Config{URI: named(fresh(t, e))})
	if _, err := commit(t.Context(), s, patient(t, "0", "a")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{201, 10334} {
		f.hit(1, code(n), "insert")
		if _, err := commit(t.Context(), s, patient(t, "1", "a")); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("error %d of the server: %v", n, err)
		}
		absent(t, s, "1")
	}
}

func TestABatchThatIsTooLargeIsRefusedAndTheGreatestIsNot(t *testing.T) {
	t.Parallel()
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))})
	var puts []store.Put
	for i := range 5 {
		puts = append(puts, heavy(t, fmt.Sprint(i), 14<<20))
	}
	if _, err := commit(t.Context(), s, puts...); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a batch of 70 MB: %v", err)
	}
	absent(t, s, "0", "4")
	var l ledger
	if err := l.commit(t.Context(), s, puts[:4]...); err != nil || !l.of["0"][0].sure {
		t.Fatalf("a batch of 56 MB: %v", err)
	}
	l.holds(t, s)
}

// One resource cannot be written, whatever it is beside. What else there is
// when it comes shares its fate only if it is of the same batch.
func TestARequestThatCannotBeWrittenDoesNotHarmThoseBesideIt(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	h := &hook{}
	var shared atomic.Int64 // the most documents that were beside it
	s := open(t, mongo.Config{URI: named(fresh(t, e))}.Watching(h.see))
	var l ledger
	if err := l.commit(t.Context(), s, patient(t, "first", "a")); err != nil { // so that no tenant, type or lane is written any more
		t.Fatal(err)
	}
	h.set(func(e *event.CommandStartedEvent) {
		if e.CommandName != "insert" || !bytes.Contains(e.Command, []byte("poison")) {
			return
		}
		docs, _ := e.Command.Lookup("documents").Array().Values()
		shared.Store(max(shared.Load(), int64(len(docs))))
		f.hit(1, code(2), "insert")
	})
	for n := 0; shared.Load() < 4; n++ {
		poisoned(t, s, &l, fmt.Sprint(n))
		if n > 50 {
			t.Fatal("requests that wait together are not committed together")
		}
	}
	f.off()
	l.holds(t, s)
	if len(l.of) == 0 || !l.of["0-0"][0].sure {
		t.Error("a commit was not acknowledged")
	}
}

// poisoned commits many things at once, of which one cannot be written.
func poisoned(t *testing.T, s *mongo.Store, l *ledger, name string) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if err := l.commit(t.Context(), s, patient(t, fmt.Sprint(name, "-", i), "a")); err != nil {
				t.Errorf("beside it: %v", err)
			}
		})
	}
	with, bad := "with"+name, "bad"+name
	if _, err := commit(t.Context(), s, patient(t, with, "a"), patient(t, bad, "poison")); err == nil || errors.Is(err, store.ErrTransient) {
		t.Errorf("what cannot be written: %v", err)
	}
	all.Wait()
	absent(t, s, with, bad)
}

func TestOfTwoTenantsWithTheSameIDsNeitherSeesTheOther(t *testing.T) {
	t.Parallel()
	uri := fresh(t, mongotest.Start(t))
	var stores []*mongo.Store
	for range 3 {
		stores = append(stores, open(t, mongo.Config{URI: uri}))
	}
	tenants := []store.Tenant{"north", "south", "north/south", ""}
	for i, tenant := range tenants {
		for n := range 6 {
			b := store.Batch{Puts: []store.Put{patient(t, "same", fmt.Sprint(tenant, n)), patient(t, fmt.Sprint(n), string(tenant))}}
			if _, err := stores[(i+n)%3].Commit(t.Context(), tenant, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, tenant := range tenants {
		s := stores[(i+1)%3]
		seen := sees(t, s, tenant)
		got, err := s.Get(t.Context(), tenant, fhir.ID{Type: "Patient", ID: "same"})
		if err != nil || seen != 7 || got[0].N != 6 || !bytes.Contains(got[0].Body, []byte(`"div":"`+string(tenant)+`5"`)) {
			t.Errorf("%q has %d resources, and of the same id %s, %v", tenant, seen, got[0].Body, err)
		}
	}
}

// sees scans all of a tenant whose resources, but for one, say its name. It
// counts them.
func sees(t *testing.T, s *mongo.Store, tenant store.Tenant) int {
	t.Helper()
	at, err := s.Barrier(t.Context(), tenant, 0)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := s.Split(t.Context(), tenant, store.Selection{At: at}, 100)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range ranges {
		err := s.Scan(t.Context(), tenant, store.Selection{At: at}, r, "", func(v *store.Version) error {
			seen++
			if !bytes.Contains(v.Body, []byte(`"div":"`+string(tenant)+`"`)) && v.ID.ID != "same" {
				t.Errorf("%q sees %s", tenant, v.Body)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return seen
}
