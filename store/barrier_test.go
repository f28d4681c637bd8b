package store_test

import (
	"testing"
	"time"

	"firebreak/store"
)

func TestABarrierIsAtTheNextMultipleThatIsNotTooFarAhead(t *testing.T) {
	for name, c := range map[string]struct {
		now, clock store.Tick
		round      time.Duration
		at         store.Tick
		early      time.Duration
	}{
		"within a second":                        {now: 5400, round: time.Second, at: 6000},
		"at the second itself":                   {now: 6000, round: time.Second, at: 6000},
		"after a commit":                         {now: 5400, clock: 5700, round: time.Second, at: 6000},
		"after a barrier, nothing between":       {now: 5400, clock: 6000, round: time.Second, at: 6000},
		"after a barrier and a commit":           {now: 5400, clock: 6001, round: time.Second, early: 600 * time.Millisecond},
		"the clock was set back by hours":        {now: 5400, clock: 9_000_001, round: time.Second, at: 9_001_000},
		"of a millisecond":                       {now: 5400, clock: 5400, round: time.Millisecond, at: 5400},
		"a round of nothing is of a millisecond": {now: 5400, round: 0, at: 5400},
	} {
		at, early := store.BarrierAt(c.now, c.clock, c.round)
		if at != c.at || early != c.early {
			t.Errorf("%s: T %d, early %v; want %d, %v", name, at, early, c.at, c.early)
		}
	}
}
