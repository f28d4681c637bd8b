package main

import (
	"testing"
	"time"
)

func TestTrafficIsWhatCameInTheLastSecond(t *testing.T) {
	var all traffic
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for i := range 49 {
		if n := all.turn(now.Add(time.Duration(i)*10*time.Millisecond), 1); n != i+1 {
			t.Fatalf("after %d requests there were %d", i+1, n)
		}
	}
	now = now.Add(window)
	if n := all.turn(now, 1); n != 50 {
		t.Errorf("in the next window there were %d of late", n)
	}
	if n := all.turn(now.Add(window), 0); n != 1 {
		t.Errorf("a window later there were %d of late", n)
	}
	if n := all.turn(now.Add(3*window), 0); n != 0 {
		t.Errorf("at last there were %d of late", n)
	}
}
