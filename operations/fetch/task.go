package fetch

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// Task is an operation whose result is one resource.
type Task struct {
	Path string // below the base: "/Patient/$bulk-purge"
	Body []byte // a Parameters resource
	// Key is sent as Idempotency-Key if it is not empty. Without one a kick-off
	// whose answer was lost is not sent again.
	Key string
}

// Start asks for a task and returns where to poll it, an absolute URL. A server
// that is too busy is asked again, as often as Config.Attempts says; any other
// refusal is a StatusError.
func (c *Client) Start(ctx context.Context, t Task) (statusURL string, err error) {
	header := kickoffHeader(Request{Key: t.Key})
	header.Set("Content-Type", "application/fhir+json")
	c.Progress(Progress{Step: StepKickoff})
	for p := c.patience(); ; {
		a, err := c.sendBody(ctx, http.MethodPost, c.base.String()+t.Path, header, bytes.NewReader(t.Body))
		if err != nil {
			return "", fmt.Errorf("%s: %w", StepKickoff, err)
		}
		if a.status == http.StatusAccepted {
			return contentLocation(a)
		}
		refused := failed(StepKickoff, a.status, a.header, a.body, c.Now())
		refused.Transient = a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
		if err := p.pause(ctx, refused); err != nil {
			return "", err
		}
	}
}

// Await polls a task as Poll does an export, until an answer of 200 has a body
// that is done; it returns that.
func (c *Client) Await(ctx context.Context, statusURL string, done func(body []byte) bool) ([]byte, error) {
	var delay backoff
	for p := c.patience(); ; {
		a, err := c.ask(ctx, statusURL)
		if err != nil {
			if err := p.pause(ctx, err); err != nil {
				return nil, err
			}
			continue
		}
		if a.status == http.StatusOK && done(a.body) {
			return a.body, nil
		}
		p.restore()
		c.Progress(Progress{Step: StepPoll, Text: shorten(a.header.Get("X-Progress"))})
		d, given := retryAfter(a.header, c.Now())
		if !given {
			d = delay.next()
		}
		if err := c.Wait(ctx, d); err != nil {
			return nil, err
		}
	}
}
