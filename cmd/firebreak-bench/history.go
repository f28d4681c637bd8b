package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"firebreak/operations/fetch"
)

// history is "firebreak-bench history": it writes to a server while it exports
// from it again and again, each time what changed since the last export, and
// checks that the chain tells exactly what was written. It goes through HTTP
// alone, so that any server can be checked that takes updates as creates and
// has $export with _since.
type history struct {
	Server    string        `help:"FHIR base URL of the server to check. Resources are left in it." required:"" placeholder:"URL"`
	For       time.Duration `help:"How long to write." default:"20s" placeholder:"DURATION"`
	Writers   int           `help:"Writers at once." default:"8" placeholder:"N"`
	Resources int           `help:"Resources that each writer writes again and again." default:"25" placeholder:"N"`
	Seed      uint64        `help:"Other writes for another seed." default:"1" placeholder:"N"`
}

// check runs it and prints what came out.
func (h history) check(ctx context.Context, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "firebreak-history-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	run := fmt.Sprintf("h%x", time.Now().UnixNano())
	c := &checker{run: run, dir: dir, told: map[string]content{}}
	writers, stop := h.start(ctx, run)
	for writing := true; writing && err == nil; {
		select {
		case <-writers.ended:
			writing = false
		default:
		}
		// The last round begins after the last write was acknowledged.
		err = c.export(ctx, h.Server)
		_, _ = fmt.Fprintf(stderr, "export %d: %s\n", c.rounds, c.sums())
	}
	stop()
	<-writers.ended
	if err = errors.Join(err, writers.err); err != nil {
		return err
	}
	c.compare(writers.truth())
	_, _ = fmt.Fprintf(stdout, "%d exports while %d writes went on: %s\n", c.rounds, writers.count(), c.sums())
	for _, f := range c.faults {
		_, _ = fmt.Fprintln(stdout, f)
	}
	if len(c.faults) > 0 {
		return fmt.Errorf("the chain does not tell what was written: %d faults", len(c.faults))
	}
	return nil
}

// content is what a resource holds: the number of the write that wrote it.
type content struct {
	write   int
	version string // meta.versionId and lastUpdated
}

// historyWriters write to resources of their own, each one after the other.
type historyWriters struct {
	history
	run   string
	http  *http.Client
	ended chan struct{}
	err   error

	mu      sync.Mutex
	current map[string]int // of each resource the number of its last write; 0: deleted
	writes  int
}

func (h history) start(ctx context.Context, run string) (*historyWriters, context.CancelFunc) {
	w := &historyWriters{
		history: h, run: run, http: newHTTPClient(h.Writers), ended: make(chan struct{}), current: map[string]int{},
	}
	ctx, cancel := context.WithTimeout(ctx, h.For)
	go func() {
		defer close(w.ended)
		var work sync.WaitGroup
		errs := make([]error, h.Writers)
		for i := range h.Writers {
			work.Go(func() { errs[i] = w.write(ctx, i) })
		}
		work.Wait()
		w.http.CloseIdleConnections()
		w.err = errors.Join(errs...)
	}()
	return w, cancel
}

// write writes until ctx ends. A write that was begun is finished, so that
// its outcome is known.
func (w *historyWriters) write(ctx context.Context, writer int) error {
	draw := rand.New(rand.NewPCG(w.Seed, uint64(writer))) //nolint:gosec // not a secret: the same writes are wanted again
	for n := 1; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%s-%d-%d", w.run, writer, draw.IntN(w.Resources))
		number := n*w.Writers + writer
		method, body := http.MethodPut, w.body(id, number, draw.IntN(5))
		if draw.IntN(4) == 0 {
			method, body, number = http.MethodDelete, "", 0
		}
		if err := w.send(context.WithoutCancel(ctx), method, id, body); err != nil {
			return err
		}
		w.mu.Lock()
		w.current[id] = number
		w.writes++
		w.mu.Unlock()
	}
	return nil
}

// body is a resource of one of five patients, which are not there: a move from
// one to another is an update like any other.
func (w *historyWriters) body(id string, number, patient int) string {
	return fmt.Sprintf(`{"resourceType":"Basic","id":%q,"code":{"text":"history"},"subject":{"reference":"Patient/%s-p%d"},"identifier":[{"system":"urn:firebreak:history","value":"%d"}]}`,
		id, w.run, patient, number)
}

func (w *historyWriters) send(ctx context.Context, method, id, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(w.Server, "/")+"/Basic/"+id, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	res, err := w.http.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	gone := method == http.MethodDelete && (res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone)
	if res.StatusCode >= http.StatusMultipleChoices && !gone {
		return fmt.Errorf("%s is answered with %s", method, res.Status)
	}
	return nil
}

func (w *historyWriters) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// truth is what the last writes left, once all have ended.
func (w *historyWriters) truth() map[string]int {
	<-w.ended
	return w.current
}

// export fetches what changed since the last export, and takes it in.
func (c *checker) export(ctx context.Context, server string) error {
	client, err := fetch.New(fetch.Config{HTTP: http.DefaultClient, Base: server, Now: time.Now})
	if err != nil {
		return err
	}
	c.rounds++
	dir := filepath.Join(c.dir, fmt.Sprint(c.rounds))
	report, err := client.Run(ctx, fetch.Request{Level: fetch.LevelSystem, Types: []string{"Basic"}, Since: c.since}, dir)
	if err != nil {
		return err
	}
	c.since = report.TransactionTime
	for _, f := range report.Files {
		if err := c.file(filepath.Join(dir, f.Name), f.Section); err != nil {
			return err
		}
	}
	c.endRound()
	return errors.Join(os.RemoveAll(dir), client.Delete(ctx, report.StatusURL))
}
