package main

import (
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// traffic counts requests, to tell whether clients need the machine.
type traffic struct {
	mu        sync.Mutex
	since     time.Time // when the present window began
	now, last int       // requests in it, and in the one before
}

// A window, and how many requests in two of them are many: 50 a second. The
// polls of a few jobs are fewer.
const (
	window = 500 * time.Millisecond
	many   = 50
)

// count is a middleware that counts each request.
func (t *traffic) count(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		t.turn(time.Now(), 1)
		return next(c)
	}
}

// busy tells whether there were many requests of late.
func (t *traffic) busy() bool { return t.turn(time.Now(), 0) >= many }

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
