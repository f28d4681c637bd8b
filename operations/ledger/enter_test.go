package ledger_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"firebreak/operations/ledger"
	"firebreak/store"
)

// atOne is an entry of all patients at 1.
func atOne(int) ledger.Entry { return ledger.Entry{Erased: 1} }

func TestTheStoreReservesBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	st := newStore(t, t.TempDir())
	l := joined(t, filepath.Join(t.TempDir(), "ledger"), st)
	l.Fault(func(what string) error {
		all, err := st.Ledgers(context.Background())
		if err != nil || len(all) != 1 || all[0] != (store.Ledger{ID: l.ID(), From: 0, To: 3}) {
			t.Errorf("at the %s the store has %+v, %v", what, all, err)
		}
		return nil
	})
	enter(t, l, 1, patients(0, 3)...)
	has(t, l, 3, atOne)
}

func TestManyThatEnterAtTheSameTimeShareSyncs(t *testing.T) {
	t.Parallel()
	l := joined(t, filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()))
	const many = 200
	var syncs atomic.Int64
	full := make(chan struct{})
	l.Fault(func(what string) error {
		if what == "sync" && syncs.Add(1) == 1 {
			<-full // until all wait, or are about to
		}
		return nil
	})
	var all, about sync.WaitGroup
	about.Add(many)
	for i := range many {
		all.Go(func() {
			about.Done()
			if err := tryEnter(t, l, 1, patients(i, i+1), true); err != nil {
				t.Error(err)
			}
		})
	}
	about.Wait()
	close(full)
	all.Wait()
	lastIs(t, l, many)
	has(t, l, many, atOne)
	if n := syncs.Load(); n >= many {
		t.Errorf("%d entries took %d syncs", many, n)
	}
}

func TestMoreThanABatchIsEntered(t *testing.T) {
	t.Parallel()
	path, st := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir())
	l := joined(t, path, st)
	n := 2*ledger.MaxBatch + 1
	enter(t, l, 1, patients(0, n)...)
	ok(t, l.Close())
	l = joined(t, path, st)
	lastIs(t, l, int64(n))
	has(t, l, n, atOne)
}

// What fails at any step is not entered, and what is entered afterwards is,
// whether the same process goes on or another one opens what was left.
func TestAfterAFailureAtAnyStepTheNextEntryIsWhole(t *testing.T) {
	t.Parallel()
	failure := errors.New("the disk is gone")
	for _, again := range []bool{false, true} {
		for _, step := range []string{"write", "sync"} {
			path, st := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir())
			l := joined(t, path, st)
			enter(t, l, 1, patients(0, 2)...)
			fails := true
			l.Fault(func(what string) error {
				if fails && what == step {
					return failure
				}
				return nil
			})
			is(t, tryEnter(t, l, 1, patients(2, 7), true), failure)
			fails = false
			err := tryEnter(t, l, 2, patients(7, 9), true)
			if step == "sync" {
				is(t, err, failure) // nobody knows what is on disk
			} else {
				ok(t, err)
			}
			if again || step == "sync" {
				ok(t, l.Close())
				l = joined(t, path, st)
				enter(t, l, 2, patients(7, 9)...)
			}
			has(t, l, 2, atOne)
			x, err := l.Lookup()
			ok(t, err)
			if x.Of("north", patient(7)).Erased != 2 || x.Of("north", patient(8)).Erased != 2 {
				t.Errorf("after a failed %s the next entries are not there", step)
			}
			ok(t, l.Close())
			lastIs(t, joined(t, path, st), l.Last())
		}
	}
}

func TestWhatTheStoreDoesNotReserveIsNotWritten(t *testing.T) {
	t.Parallel()
	path, st := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir())
	l := opened(t, path)
	ok(t, l.Join(t.Context(), refusing{st, store.ErrTransient}, false))
	is(t, tryEnter(t, l, 1, patients(0, 1), true), store.ErrTransient)
	lastIs(t, l, 0)
	if info, err := os.Stat(path); err != nil || info.Size() != headerSize {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	ok(t, l.Join(t.Context(), st, false))
	enter(t, l, 1, patient(1))
	lastIs(t, l, 1)
}

func TestACrashAfterTheStoreHasReservedIsNoRestoredBackup(t *testing.T) {
	t.Parallel()
	path, st := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir())
	l := joined(t, path, st)
	enter(t, l, 1, patients(0, 2)...)
	ok(t, l.Close())
	ok(t, st.Reserve(t.Context(), store.Ledger{ID: l.ID(), From: 2, To: 6}))
	l = joined(t, path, st)
	lastIs(t, l, 6)
	has(t, l, 7, func(i int) ledger.Entry { return ledger.Entry{Erased: store.Tick(max(0, 1-i/2))} })
	enter(t, l, 2, patient(9))
	lastIs(t, l, 7)
}

func TestAStoreThatIsBehindTheLedgerWasRestored(t *testing.T) {
	t.Parallel()
	path, before, fresh := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()), newStore(t, t.TempDir())
	l := joined(t, path, before)
	enter(t, l, 1, patients(0, 5)...)
	ok(t, fresh.Reserve(t.Context(), store.Ledger{ID: l.ID(), From: 0, To: 4}))
	is(t, l.Join(t.Context(), fresh, false), ledger.ErrRestored)
	is(t, l.Join(t.Context(), fresh, true), ledger.ErrRestored)
	is(t, l.Join(t.Context(), newStore(t, t.TempDir()), false), ledger.ErrRestored)
	ok(t, l.Replayed(t.Context(), fresh))
	ok(t, l.Replayed(t.Context(), fresh))
	ok(t, l.Join(t.Context(), fresh, false))
	enter(t, l, 1, patient(5))
	is(t, l.Join(t.Context(), before, false), ledger.ErrRestored)
}

func TestAnOldCopyOfALedgerIsRefusedUnlessTheLossIsAccepted(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	st := newStore(t, t.TempDir())
	l := opened(t, path)
	ok(t, l.Replayed(t.Context(), st))
	ok(t, l.Join(t.Context(), st, false))
	enter(t, l, 1, patients(3, 6)...)
	enter(t, l, 1, patients(6, 9)...)
	ok(t, l.Close())
	ok(t, os.WriteFile(path, content, 0o600))
	l = opened(t, path)
	is(t, l.Join(t.Context(), st, false), ledger.ErrLost)
	ok(t, l.Join(t.Context(), st, true))
	lastIs(t, l, 9)
	enter(t, l, 2, patient(9))
	ok(t, l.Close())
	lastIs(t, joined(t, path, st), 10)
}

func TestADatabaseThatIsRestoredUnderTheServerIsFoundByTheNextEntry(t *testing.T) {
	t.Parallel()
	path, st, restored := filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()), newStore(t, t.TempDir())
	l := opened(t, path)
	under := &swapped{Store: st}
	ok(t, l.Join(t.Context(), under, false))
	enter(t, l, 1, patient(0))
	under.Store = restored
	is(t, tryEnter(t, l, 2, patients(1, 2), true), store.ErrConflict)
	lastIs(t, l, 1)
}

// swapped is a store in the place of which another comes.
type swapped struct{ store.Store }
