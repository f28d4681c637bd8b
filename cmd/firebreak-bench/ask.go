package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"strings"
	"time"

	"firebreak/operations/fetch"
)

// addClient adds a client that may do everything to a file of clients, and
// returns the headers by which it is known.
func (p product) addClient(ctx context.Context, file, id string) (http.Header, error) {
	out, err := p.command(ctx, "client", "add", "--clients", file, "--id", id, "--scope", "system/*.cruds").Output()
	if err != nil {
		return nil, fmt.Errorf("firebreak client add: %w", err)
	}
	as := http.Header{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			as.Set(name, value)
		}
	}
	return as, nil
}

// headed adds headers to each request.
type headed struct {
	http.RoundTripper
	as http.Header
}

// RoundTrip is http.RoundTripper.
func (h headed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	maps.Copy(req.Header, h.as)
	return h.RoundTripper.RoundTrip(req)
}

// asClient keeps a connection for each of so many requests at a time.
func asClient(as http.Header, connections int) *http.Client {
	c := newHTTPClient(connections)
	c.Transport = headed{c.Transport, as}
	return c
}

// asked is a job that a client asked for.
type asked struct {
	id       string
	last     []byte        // what the last poll was answered
	accepted time.Duration // from the kick-off to its answer
	ended    time.Duration // to the answer of the last poll
}

// apartPolls is the time between polls: a purge makes way for clients that send
// 50 requests a second or more, and is measured as it is without them.
const apartPolls = 25 * time.Millisecond

func seldom(ctx context.Context, _ time.Duration) error {
	pause(ctx, apartPolls)
	return ctx.Err()
}

// ask starts a task and polls its job, below a path, until done, which is told
// of each answer and of how long after the kick-off it came.
func (h holding) ask(ctx context.Context, t fetch.Task, below string, done func(body []byte, after time.Duration) bool) (a asked, err error) {
	client, err := fetch.New(fetch.Config{Base: h.server.base, HTTP: asClient(h.as, 1), Wait: seldom})
	if err != nil {
		return a, err
	}
	began := time.Now()
	status, err := client.Start(ctx, t)
	if err != nil {
		return a, err
	}
	a.id, a.accepted = path.Base(status), time.Since(began)
	a.last, err = client.Await(ctx, h.server.base+below+a.id, func(body []byte) bool {
		a.ended = time.Since(began)
		return done(body, a.ended)
	})
	return a, err
}
