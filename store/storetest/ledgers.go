package storetest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"firebreak/store"
)

func ledgerCases() []testCase {
	return []testCase{
		{"a ledger goes on from where it is noted to go, and from nowhere else", ledgersGoOn},
		{"Reserve may be called again until there is a later one", ledgersAgain},
		{"ledgers are listed in order, and know nothing of each other", ledgersApart},
		{"what is reserved is there after the store was opened again", ledgersDurable},
		{"all tenants are listed that anything was written for", tenantsListed},
	}
}

func ledgerRaces() []testCase {
	return []testCase{{"of many that reserve from one number one goes through", raceReserve}}
}

func (e *env) reserve(id string, from, to int64) error {
	return e.Reserve(e.ctx, store.Ledger{ID: id, From: from, To: to})
}

func (e *env) ledgers(want ...store.Ledger) {
	e.Helper()
	got, err := e.Ledgers(e.ctx)
	e.ok("Ledgers", err)
	e.same("ledgers", got, want)
}

func ledgersGoOn(e *env) {
	e.ledgers()
	e.is("Reserve of a ledger that nobody knows, from 3", e.reserve("a", 3, 5), store.ErrConflict)
	e.ledgers()
	e.ok("Reserve", e.reserve("a", 0, 5))
	for _, l := range [][2]int64{{0, 6}, {3, 6}, {4, 9}, {6, 9}, {5, 5}, {5, 4}, {0, 4}, {5, 0}} {
		e.is(fmt.Sprint("Reserve of ", l), e.reserve("a", l[0], l[1]), store.ErrConflict)
	}
	e.ledgers(store.Ledger{ID: "a", From: 0, To: 5})
	e.ok("Reserve", e.reserve("a", 5, math.MaxInt64-1))
	e.ledgers(store.Ledger{ID: "a", From: 5, To: math.MaxInt64 - 1})
}

func ledgersAgain(e *env) {
	for range 3 {
		e.ok("Reserve", e.reserve("a", 0, 5))
	}
	for range 3 {
		e.ok("Reserve", e.reserve("a", 5, 7))
	}
	e.is("Reserve of the one before", e.reserve("a", 0, 5), store.ErrConflict)
	e.ledgers(store.Ledger{ID: "a", From: 5, To: 7})
}

func ledgersApart(e *env) {
	var want []store.Ledger
	for i, id := range []string{"", "A", "a", "a/b", "b"} {
		want = append(want, store.Ledger{ID: id, To: int64(i + 1)})
	}
	for _, i := range []int{3, 1, 4, 0, 2} {
		e.ok("Reserve", e.reserve(want[i].ID, 0, want[i].To))
	}
	e.ledgers(want...)
}

func ledgersDurable(e *env) {
	e.needReopen()
	e.ok("Reserve", e.reserve("a", 0, 5))
	e.ok("Reserve", e.reserve("a", 5, 8))
	e.reopen()
	e.ledgers(store.Ledger{ID: "a", From: 5, To: 8})
	e.ok("Reserve", e.reserve("a", 5, 8))
	e.ok("Reserve", e.reserve("a", 8, 9))
}

func tenantsListed(e *env) {
	list := func() []store.Tenant {
		e.Helper()
		got, err := e.Tenants(e.ctx)
		e.ok("Tenants", err)
		return got
	}
	e.same("tenants", list(), nil)
	e.commitIn(south, write("Patient/1", "a"))
	e.same("tenants", list(), []store.Tenant{south})
	e.commitIn(north, write("Patient/1", "a"))
	e.commitIn(south, write("Patient/2", "a"))
	e.commitIn("Other", write("Patient/2", "a"))
	e.same("tenants", list(), []store.Tenant{"Other", north, south})
}

func raceReserve(e *env) {
	for from := range int64(5) {
		var through atomic.Int64
		e.together(func(i int) error {
			err := e.reserve("a", from, from+1)
			if err == nil {
				err = e.reserve("b", 100*from, 100*from+int64(i)+1)
			}
			switch {
			case err == nil:
				through.Add(1)
			case errors.Is(err, store.ErrConflict):
				return nil
			}
			return err
		})
		e.same("reserved", through.Load(), int64(1))
		all, err := e.Ledgers(e.ctx)
		e.ok("Ledgers", err)
		e.ok("Reserve of the next", e.reserve("b", all[1].To, 100*(from+1)))
	}
}
