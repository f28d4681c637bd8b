package mongo_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
	"firebreak/store/storetest"
)

// instances opens three instances over one database, and calls them in turn.
func instances(e *mongotest.Engine, skew func() time.Duration) storetest.Config {
	return storetest.Config{Open: func(t testing.TB, opt storetest.Options) store.Store {
		uri := fresh(t, e)
		s := &spread{}
		for range 3 {
			one, err := mongo.Open(t.Context(), mongo.Config{URI: uri, Now: opt.Now}.Skewed(skew))
			if err != nil {
				t.Fatal(err)
			}
			s.all = append(s.all, one)
		}
		return s
	}}
}

func TestThreeInstancesAreOneStore(t *testing.T) {
	storetest.Run(t, instances(mongotest.Start(t), nil))
}

// The clock by which commits get their ticks is wrong by up to five seconds,
// by another error each time, as after one change of primary after another.
func TestRacesOfThreeInstancesWhoseClockJumps(t *testing.T) {
	storetest.Race(t, instances(mongotest.Start(t), func() time.Duration { return rand.N(10*time.Second) - 5*time.Second }))
}
