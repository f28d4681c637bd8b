package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/ledger"
	"firebreak/store"
	"firebreak/store/sqlite"
)

// The sizes of the file, which are never to change.
const (
	headerSize = 64
	recordSize = 48
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

// newStore is a store in a folder.
func newStore(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: time.Now})
	ok(t, err)
	t.Cleanup(func() { ok(t, st.Close()) })
	return st
}

// opened is the ledger at a path, until the test ends or it is closed.
func opened(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path, ledger.MayMake)
	ok(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func joined(t *testing.T, path string, st store.Store) *ledger.Ledger {
	t.Helper()
	l := opened(t, path)
	ok(t, l.Join(t.Context(), st, false))
	return l
}

func patient(i int) fhir.ID { return fhir.ID{Type: "Patient", ID: fmt.Sprint(i)} }

// patients are those with numbers in [from, to).
func patients(from, to int) (out []fhir.ID) {
	for i := from; i < to; i++ {
		out = append(out, patient(i))
	}
	return out
}

func enter(t *testing.T, l *ledger.Ledger, at store.Tick, ids ...fhir.ID) {
	t.Helper()
	ok(t, tryEnter(t, l, at, ids, true))
}

// tryEnter enters resources of the north.
func tryEnter(t testing.TB, l *ledger.Ledger, at store.Tick, ids []fhir.ID, entire bool) error {
	t.Helper()
	numbers, err := l.Enter(t.Context(), "north", at, ids, entire)
	if err == nil && len(numbers) != len(ids) {
		err = fmt.Errorf("of %d entries there are %d numbers", len(ids), len(numbers))
	}
	return err
}

// has asserts what a ledger has of the patients below a number.
func has(t *testing.T, l *ledger.Ledger, below int, want func(i int) ledger.Entry) {
	t.Helper()
	x, err := l.Lookup()
	ok(t, err)
	for i := range below {
		if got := x.Of("north", patient(i)); got != want(i) {
			t.Errorf("of %v it has %+v, want %+v", patient(i), got, want(i))
		}
	}
}

func lastIs(t *testing.T, l *ledger.Ledger, want int64) {
	t.Helper()
	if got := l.Last(); got != want {
		t.Errorf("the last number is %d, want %d", got, want)
	}
}

// made is a ledger of three entries, which nobody holds, and its bytes.
func made(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ledger")
	l := joined(t, path, newStore(t, t.TempDir()))
	enter(t, l, 7, patients(0, 3)...)
	ok(t, l.Close())
	content, err := os.ReadFile(path)
	ok(t, err)
	return path, content
}

// refusing is a store that does not reserve.
type refusing struct {
	store.Store
	err error
}

func (r refusing) Reserve(context.Context, store.Ledger) error { return r.err }

// noStore takes every reservation.
type noStore struct{ store.Store }

func (noStore) Ledgers(context.Context) ([]store.Ledger, error) { return nil, nil }
func (noStore) Reserve(context.Context, store.Ledger) error     { return nil }
