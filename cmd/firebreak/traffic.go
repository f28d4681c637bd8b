package main

import (
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// traffic counts requests, to tell how much clients need the machine.
type traffic struct {
	mu        sync.Mutex
	since     time.Time // when the present window began
	now, last int       // requests in it, and in the one before
}

// window is half of the time that requests are counted over.
const window = 500 * time.Millisecond

// count is a middleware that counts each request.
func (t *traffic) count(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		t.turn(time.Now(), 1)
		return next(c)
	}
}

// lately is how many requests there were in the last second, or a little less.
func (t *traffic) lately() int { return t.turn(time.Now(), 0) }

// turn adds requests, and gives how many there were of late.
func (t *traffic) turn(at time.Time, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch gone := at.Sub(t.since); {
	case gone >= 2*window:
		t.since, t.last, t.now = at, 0, 0
	case gone >= window:
		t.since, t.last, t.now = at, t.now, 0
	}
	t.now += n
	return t.now + t.last
}
