package engine_test

import (
	"errors"
	"testing"
	"time"

	"firebreak/operations/engine"
)

func TestHandlersSweepAtTheStartAndAgainWhateverComesOfIt(t *testing.T) {
	b := newBench(t)
	swept := make(chan int)
	n := 0
	stop := b.start(handler{sweep: func() error {
		n++
		swept <- n
		if n == 1 {
			panic("a sweep that fails")
		}
		return errors.New("and one that errs")
	}}, func(c *engine.Config) { c.Sweep = time.Millisecond })
	for want := 1; want <= 3; want++ {
		if got := <-swept; got != want {
			t.Fatalf("sweep %d, want %d", got, want)
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for range swept {
		}
	}()
	stop()
	close(swept)
	<-drained
}
