package mongo_test

import (
	"fmt"
	"testing"
	"time"

	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
)

// mostTimes is how often in a row a command fails: the driver tries some twice
// by itself.
const mostTimes = 3

func TestACommitIsAppliedOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	s := open(t, mongo.Config{URI: named(fresh(t, e))})
	for _, command := range breakable() {
		t.Run(command, func(t *testing.T) {
			f.t = t
			for i, how := range waysOf(command) {
				for times := 1; times <= mostTimes; times++ {
					brokenCommits(t, s, f, fmt.Sprint(command, i, "x", times), func() { f.hit(times, how, with(command)...) })
					if t.Failed() {
						t.Fatalf("%s, %d times", how.name, times)
					}
				}
			}
		})
	}
}

// brokenCommits creates, updates and deletes two resources, each time while
// something breaks.
func brokenCommits(t *testing.T, s *mongo.Store, f *faults, id string, breaks func()) {
	t.Helper()
	var l ledger
	began := time.Now()
	for i, says := range []string{"first", "second", ""} {
		breaks()
		a, b := patient(t, "a"+id, says), patient(t, "b"+id, says)
		if says == "" {
			a, b = deleted("a"+id), deleted("b"+id)
		}
		if err := l.commit(t.Context(), s, a, b); err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	breaks()
	if _, err := again(t, "Ping", func() error { return s.Ping(t.Context()) }); err != nil {
		t.Errorf("Ping: %v", err)
	}
	f.off()
	l.holds(t, s)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}
