// Package storetest is the contract of package store as a test suite. Every
// promise that a comment there makes has a case here, and each store runs all
// of them: one call of Run and one of Race are its whole conformance test.
//
// A case gets a store on fresh storage and a clock of its own, and knows
// nothing of the database. Cases run beside each other. Nothing here waits for
// time to pass, except for a barrier that must; what may hang ends with the
// case's context.
package storetest

import (
	"slices"
	"testing"
	"time"

	"firebreak/store"
)

// Config says how a store under test is made.
type Config struct {
	// Open returns a store on fresh, empty storage. The suite closes it.
	Open func(t testing.TB, o Options) store.Store
	// Reopen ends the store as a crash or a restart would, while commits may be
	// under way, and opens the same storage again with the same Options. It is
	// nil if that is not offered.
	Reopen func(t testing.TB, s store.Store) store.Store
	// OwnsStorage tells that one process at a time has the storage, so that
	// opening it again ends all leases.
	OwnsStorage bool
}

// Options are what a case asks of the store that it gets.
type Options struct {
	Now func() time.Time // the machine's clock as the store sees it
}

// testCase is a promise as a sentence, and the code that holds a store to it.
type testCase struct {
	name string
	run  func(e *env)
}

// Run runs every case but the races as a subtest, each on a fresh store.
func Run(t *testing.T, c Config) {
	runAll(t, c, slices.Concat(
		putCases(), deleteCases(), bodyCases(), tickCases(), barrierCases(), readCases(),
		keyCases(), tenantCases(), splitCases(), scanCases(), asOfCases(), cohortScanCases(), tombstoneCases(), everyCases(), ownedCases(),
		jobCases(), limitCases(), idempotencyCases(), listCases(), attendCases(), claimCases(), leaseCases(), fenceCases(), endCases(),
		tallyCases(), planCases(), cancelCases(), retryCases(), retryLimitCases(), nextRunCases(), watchCases(), memberCases(), referrerCases(), findCases(),
		partCases(), mentionCases(), eraseCases(), announceCases(), voidCases(), anewCases(), strikeCases(), noticeCases(), holdCases(), certificateCases(), ledgerCases(), noteCases(), residueCases(),
		durableCases(), closedCases(), modelCases(),
	))
}

// Race runs writers against each other, barriers, scans and claims. It is worth
// most under the race detector.
func Race(t *testing.T, c Config) {
	runAll(t, c, slices.Concat(commitRaces(), barrierRaces(), jobRaces(), retryRaces(), retryLimitRaces(), createRaces(), eraseRaces(), holdRaces(), certificateRaces(), ledgerRaces(), closeRaces()))
}

func runAll(t *testing.T, c Config, cases []testCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.run(newEnv(t, c))
		})
	}
}
