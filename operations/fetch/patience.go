package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	minDelay      = 100 * time.Millisecond
	maxDelay      = 5 * time.Second
	maxRetryAfter = time.Minute
)

// permanentError is one that trying again does not mend, such as a full disk.
type permanentError struct{ err error }

// Error is the text of the cause, to which nothing is to be added.
func (e *permanentError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *permanentError) Unwrap() error { return e.err }

// patience is how much longer something is tried that keeps failing.
type patience struct {
	client *Client
	tried  int
	delay  backoff
}

func (c *Client) patience() *patience { return &patience{client: c} }

// restore begins anew, after something has succeeded.
func (p *patience) restore() { p.tried, p.delay = 0, 0 }

// pause waits until the next attempt is due and returns nil, or returns the error that ends the attempts.
func (p *patience) pause(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[*permanentError](cause); ok {
		return cause
	}
	if _, ok := errors.AsType[*MismatchError](cause); ok {
		return cause
	}
	status, ok := errors.AsType[*StatusError](cause)
	if ok && !status.Transient {
		return cause
	}
	p.tried++
	if p.tried >= p.client.Attempts {
		return fmt.Errorf("given up after %d attempts: %w", p.tried, cause)
	}
	d := p.delay.next()
	if ok && status.RetryAfter > 0 {
		d = status.RetryAfter
	}
	return p.client.Wait(ctx, d)
}

// backoff is the delay before, doubled each time within bounds.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = min(max(2**b, backoff(minDelay)), backoff(maxDelay))
	return time.Duration(*b)
}

// retryAfter reads Retry-After, in seconds or as a date, held between 100 ms and a minute. A date is compared with
// the server's own clock where it shows it.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return clamp(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return clamp(at.Sub(now)), true
}

func clamp(d time.Duration) time.Duration { return min(max(d, minDelay), maxRetryAfter) }
