package storetest

import (
	"sync"
	"time"
)

// clock is the machine's clock as a store under test sees it: the real one,
// until a case moves it or stops it.
type clock struct {
	mu      sync.Mutex
	offset  time.Duration
	stopped time.Time // zero while it goes
}

// Now is the instant that the clock shows, in whole milliseconds.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stopped
	if now.IsZero() {
		now = time.Now()
	}
	return now.Add(c.offset).UTC().Truncate(time.Millisecond)
}

// stop makes the clock stand in the middle of a second, so that it moves only
// when the case says so.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = time.Now().Truncate(time.Second).Add(time.Second / 2)
}

// advance moves the clock on, or back if d is negative.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}
