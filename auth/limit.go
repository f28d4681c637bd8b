package auth

import (
	"sync"
	"time"

	"firebreak/fhir"
)

// How often credentials may be wrong: so many times at once, then one more
// each time this has passed.
const (
	failuresAtOnce = 10
	failureEvery   = 6 * time.Second

	// maxDebtors is how many addresses, and how many clients, a limiter
	// remembers.
	maxDebtors = 8192
)

// limiter counts failures by some key. Its memory is bounded: past that, who
// would be free again soonest is forgotten.
type limiter[K comparable] struct {
	mu   sync.Mutex
	free map[K]time.Time // when all failures will be forgiven
}

// wait is how long until k may try again; 0: now.
func (l *limiter[K]) wait(k K, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := l.free[k].Add(-(failuresAtOnce - 1) * failureEvery)
	if !again.After(now) {
		return 0
	}
	return again.Sub(now)
}

// isClean tells whether nothing of k is remembered.
func (l *limiter[K]) isClean(k K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.free[k].After(now)
}

// fail counts a failure.
func (l *limiter[K]) fail(k K, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == nil {
		l.free = map[K]time.Time{}
	}
	from := now
	if old, ok := l.free[k]; ok && old.After(now) {
		from = old
	} else if !ok && len(l.free) >= maxDebtors {
		l.forget(now)
	}
	l.free[k] = from.Add(failureEvery)
}

// forget makes room: all who are free go, or else the one who is soonest.
func (l *limiter[K]) forget(now time.Time) {
	var soonest K
	var at time.Time
	for k, free := range l.free {
		if !free.After(now) {
			delete(l.free, k)
		} else if at.IsZero() || free.Before(at) {
			soonest, at = k, free
		}
	}
	if len(l.free) >= maxDebtors {
		delete(l.free, soonest)
	}
}

// throttled is an error that says when to try again.
type throttled struct {
	err   *fhir.Error
	after time.Duration
}

func errThrottled(after time.Duration) error {
	return &throttled{fhir.Errorf(fhir.Throttled, "credentials from this address, or of this client, were wrong too often; try again after the seconds of Retry-After"), after}
}

// Error gives the message.
func (t *throttled) Error() string { return t.err.Error() }

// Unwrap gives the *fhir.Error.
func (t *throttled) Unwrap() error { return t.err }

// RetryAfter is how long the client is to wait. Whoever renders errors looks
// for it with errors.As, and need not know this package.
func (t *throttled) RetryAfter() time.Duration { return t.after }
