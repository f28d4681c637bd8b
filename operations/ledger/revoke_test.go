package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"firebreak/operations/ledger"
	"firebreak/store"
)

func TestWhatIsRevokedCountsForNothingAndOtherEntriesStand(t *testing.T) {
	t.Parallel()
	path, st := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir())
	l := joined(t, path, st)
	enter(t, l, 3, patient(0))
	numbers, err := l.Enter(t.Context(), "north", 7, patients(0, 6), true)
	ok(t, err)
	if want := []int64{2, 3, 4, 5, 6, 7}; !slices.Equal(numbers, want) {
		t.Errorf("the entries have the numbers %v, want %v", numbers, want)
	}
	some, err := l.Enter(t.Context(), "north", 8, patients(4, 5), false)
	ok(t, err)
	ok(t, l.Revoke(t.Context(), []int64{numbers[3], some[0], numbers[0], numbers[1]}))
	ok(t, l.Revoke(t.Context(), nil))
	enter(t, l, 9, patient(1))
	want := func(i int) ledger.Entry {
		return []ledger.Entry{{Erased: 3}, {Erased: 9}, {Erased: 7}, {}, {Erased: 7}, {Erased: 7}}[i]
	}
	has(t, l, 6, want)
	ok(t, l.Close())
	l = joined(t, path, st)
	has(t, l, 6, want)
	if x, err := l.Lookup(); err != nil || x.Len() != 5 {
		t.Errorf("%d resources, %v", x.Len(), err)
	}
}

func TestMoreThanABatchIsRevoked(t *testing.T) {
	t.Parallel()
	l := joined(t, filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()))
	n := 2*ledger.MaxBatch + 7
	numbers, err := l.Enter(t.Context(), "north", 1, patients(0, n), true)
	ok(t, err)
	var odd []int64
	for i := 1; i < n; i += 2 {
		odd = append(odd, numbers[i])
	}
	ok(t, l.Revoke(t.Context(), odd))
	has(t, l, n, func(i int) ledger.Entry { return ledger.Entry{Erased: store.Tick(1 - i%2)} })
	ok(t, l.Revoke(t.Context(), numbers))
	lastIs(t, l, int64(n+n/2+1)) // one record for all that follow each other
	has(t, l, n, func(int) ledger.Entry { return ledger.Entry{} })
}

func TestOfManyThatShareASyncEachRevokesItsOwn(t *testing.T) {
	t.Parallel()
	l := joined(t, filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()))
	const many = 60
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			numbers, err := l.Enter(t.Context(), "north", 1, patients(3*i, 3*i+3), true)
			if err == nil && i%2 == 1 {
				err = l.Revoke(t.Context(), numbers)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	has(t, l, 3*many, func(i int) ledger.Entry { return ledger.Entry{Erased: store.Tick(1 - i/3%2)} })
}

// Programs from before entries could be revoked know the first byte of a
// record's kind, and that 3 is nothing.
func TestToOlderProgramsARevocationIsAnEmptyRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	l := joined(t, path, newStore(t, t.TempDir()))
	numbers, err := l.Enter(t.Context(), "north", 1, patients(0, 1), true)
	ok(t, err)
	ok(t, tryEnter(t, l, 1, patients(0, 1), false))
	ok(t, l.Revoke(t.Context(), numbers))
	content, err := os.ReadFile(path)
	ok(t, err)
	for i, want := range [][]byte{{1, 0, 0, 0}, {2, 0, 0, 0}, {3, 1, 0, 0}} {
		at := headerSize + i*recordSize + 40
		if got := content[at : at+4]; !bytes.Equal(got, want) {
			t.Errorf("the kind of record %d is %v, want %v", i+1, got, want)
		}
	}
}
