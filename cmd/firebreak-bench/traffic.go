package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// traffic is clients that send requests, each one after the other.
type traffic struct {
	http    *http.Client
	clients int
	lasts   time.Duration
	until   <-chan struct{} // when it is closed, it is over too; nil: never
	pace    int             // requests a second of all together; 0: as fast as they are answered
	request func(ctx context.Context, draw *rand.Rand) (*http.Request, error)
}

// answers is what came of it.
type answers struct {
	latencies []time.Duration
	sent      []time.Duration // since the beginning, of each; in one run only
	took      time.Duration
}

// newHTTPClient keeps a connection for each of so many clients.
func newHTTPClient(clients int) *http.Client {
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients, DisableCompression: true},
	}
}

// run sends until the time is over. An answer that is no success ends it.
func (t traffic) run(ctx context.Context, seed uint64) (answers, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	var all answers
	var work sync.WaitGroup
	began := time.Now()
	for i := range t.clients {
		work.Go(func() {
			draw := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // not a secret: the same requests are wanted again
			mine, err := t.client(ctx, i, draw, began)
			if err != nil {
				stop(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, mine.latencies...)
			all.sent = append(all.sent, mine.sent...)
		})
	}
	work.Wait()
	all.took = time.Since(began)
	return all, context.Cause(ctx)
}

// client is one of the clients. Where there is a pace, they take turns.
func (t traffic) client(ctx context.Context, turn int, draw *rand.Rand, began time.Time) (mine answers, err error) {
	for ; !t.over(began); turn += t.clients {
		if t.pace > 0 {
			pause(ctx, time.Until(began.Add(time.Duration(turn)*time.Second/time.Duration(t.pace))))
		}
		if ctx.Err() != nil {
			return mine, ctx.Err()
		}
		sent := time.Now()
		req, err := t.request(ctx, draw)
		if err == nil {
			err = send(t.http, req)
		}
		if err != nil {
			return mine, err
		}
		mine.latencies, mine.sent = append(mine.latencies, time.Since(sent)), append(mine.sent, sent.Sub(began))
	}
	return mine, nil
}

func (t traffic) over(began time.Time) bool {
	select {
	case <-t.until:
		return true
	default:
		return time.Since(began) >= t.lasts
	}
}

// pause returns after the duration, or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// send reads the whole answer. One that is no success is an error.
func send(client *http.Client, req *http.Request) error {
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: the server answers %s", req.Method, req.URL.Path, res.Status)
	}
	return nil
}

// add joins what came of another round.
func (a *answers) add(b answers) {
	a.latencies = append(a.latencies, b.latencies...)
	a.took += b.took
}

// before is what came of the requests of one run that were sent before an
// instant of it.
func (a *answers) before(instant time.Duration) answers {
	out := answers{took: min(a.took, instant)}
	for i, sent := range a.sent {
		if sent < instant {
			out.latencies = append(out.latencies, a.latencies[i])
		}
	}
	return out
}

func (a *answers) rate() float64 { return rate(len(a.latencies), a.took) }

func (a *answers) at(p float64) float64 { return inMilliseconds(percentile(a.latencies, p)) }
