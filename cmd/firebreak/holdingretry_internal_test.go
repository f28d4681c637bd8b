package main

import (
	"strings"
	"sync"
	"testing"
)

// Each of two that try a job again finds that nothing is under way, and only
// then goes on.
func TestOfTwoPurgesOfAHoldingThatAreTriedAgainAtOnceOneIsRefused(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.store.first(fails)
	h.engine()
	var paths [2]string
	for i := range paths {
		paths[i], _ = h.start("/fhir/$purge", h.ann, 202)
		h.until(paths[i], h.ann, statusOfFHIR, "failed")
	}
	var both, done sync.WaitGroup
	both.Add(len(paths))
	meet := func() { both.Done(); both.Wait() }
	h.store.retry.Store(&meet)
	h.store.first(waits)
	var said [2]reply
	for i, path := range paths {
		done.Go(func() { said[i] = h.do(call{method: "PUT", path: path, token: h.ann}) })
	}
	done.Wait()
	refused := 0
	if said[1].status == 409 {
		refused = 1
	}
	goesOn := paths[1-refused]
	why, _ := diagnosticsOf(said[refused])
	if said[1-refused].status != 202 || said[refused].status != 409 || !strings.Contains(why, goesOn[strings.LastIndex(goesOn, "/")+1:]) {
		t.Errorf("PUT %s: %s\nPUT %s: %s", paths[0], said[0].said(), paths[1], said[1].said())
	}
}
