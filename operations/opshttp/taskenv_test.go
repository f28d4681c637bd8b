package opshttp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"
	"firebreak/fhir/rest"
	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

// Two tasks: chores are waited for or polled until they are done, what a diary
// says can be read all the time.
const (
	chore = "chore"
	diary = "diary"

	forever = 30 * time.Second // for what is over before, unless a test fails
	most    = 400              // bytes of a kick-off's body
)

// chores are the two tasks over HTTP, beside $work and the REST API.
type chores struct {
	*world
	asked []opshttp.TaskCall
	units string      // ids of the units of a job, each a letter
	limit store.Limit // of jobs under way

	begun     chan string   // gets the id of each unit when it is begun
	gate      chan struct{} // which goes on when it gets a value of this
	discarded chan string   // gets the id of each job that is removed
	failing   atomic.Bool   // units fail
	broken    func()        // a unit is broken off
}

// newChores has the kick-offs wait for so long; nobody works yet. What is given
// beside that stands between HTTP and the store.
func newChores(t *testing.T, wait time.Duration, between ...func(opshttp.Store) opshttp.Store) *chores {
	t.Helper()
	w := &chores{
		world: newWorld(t), units: "a",
		begun: make(chan string, 100), gate: make(chan struct{}), discarded: make(chan string, 100), broken: func() {},
	}
	g := w.echo.Group(fhirhttp.Root)
	rest.Routes(g, rest.Config{
		Service: interaction.New(interaction.Config{
			Store: w.store, NewID: ulid.Make().String, NewBatchID: ulid.Make, Limits: interaction.Limits{Resource: most},
		}),
		MaxBody: most, Metadata: []byte("{}"),
	})
	cfg := opshttp.Config{Store: w.store, Now: w.now, MaxBody: most, Wait: wait, Record: w.record}
	for _, f := range between {
		cfg.Store = f(cfg.Store)
	}
	waited := opshttp.Task{
		Kind: chore, Name: "$chore", Status: "/jobs/:job/result", Result: w.result, Kickoff: w.kickoff(chore), Limit: store.Limit{PerOwner: 1},
		Routes: []opshttp.TaskRoute{{Name: "one", Path: "/Patient/:id/$chore"}, {Name: "group", Path: "/Group/:id/$chore"}},
	}
	live := opshttp.Task{
		Kind: diary, Name: "$diary", Status: "/Patient-diary/:job", Live: true, Result: w.result, Kickoff: w.kickoff(diary),
		Routes: []opshttp.TaskRoute{{Name: "many", Path: "/Patient/$diary", AsyncOnly: true}},
	}
	opshttp.RegisterTask(g, cfg, waited)
	opshttp.RegisterTask(g, cfg, live)
	opshttp.RegisterJobs(g, cfg, map[string]string{chore: waited.Status, diary: live.Status, kind: w.operation().Status()})
	return w
}

// open lets all units go on.
func (w *chores) open() *chores {
	close(w.gate)
	return w
}

// work starts an engine, which works on one unit at a time.
func (w *chores) work() *chores {
	w.Helper()
	e := engine.New(engine.Config{
		Store: w.store, Handlers: map[string]engine.Handler{chore: worker{w}, diary: worker{w}}, Now: w.now,
		Log: slog.New(slog.DiscardHandler), Workers: 1, Lease: time.Hour, Idle: time.Hour,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	w.Cleanup(func() { cancel(); <-ended })
	return w
}

// worker is the engine's handler.
type worker struct{ *chores }

func (w worker) Run(ctx context.Context, _ job.Job, u job.Unit, _ store.Fence) (job.UnitEnd, error) {
	w.begun <- u.ID
	select {
	case <-w.gate:
	case <-ctx.Done():
		w.broken()
		return job.UnitEnd{}, ctx.Err()
	}
	if w.failing.Load() {
		return job.UnitEnd{}, &job.Failure{Permanent: true, Reason: job.Reason{Code: "no-store", Message: "the disk is full"}}
	}
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 1}}, nil
}

func (worker) Ended(context.Context, job.UnitEnd) error { return nil }
func (worker) Sweep(context.Context) error              { return nil }

func (w worker) Discard(_ context.Context, j job.Job) error {
	w.discarded <- j.ID
	return nil
}

func (w *chores) kickoff(kind string) func(context.Context, auth.Principal, opshttp.TaskCall) (job.Job, error) {
	return func(ctx context.Context, p auth.Principal, c opshttp.TaskCall) (job.Job, error) {
		announce := c.Announce
		c.Announce = nil // functions do not compare
		w.asked = append(w.asked, c)
		if w.fails != nil {
			return job.Job{}, w.fails
		}
		j := w.newJob(kind, p)
		j.Key, j.Digest = c.Key, fmt.Sprint(c.Params)
		if err := announce(ctx, j); err != nil {
			return job.Job{}, err
		}
		var units []job.Unit
		for _, id := range strings.Split(w.units, "") {
			units = append(units, job.Unit{Job: j.ID, Tenant: j.Tenant, Kind: kind, ID: id})
		}
		return w.store.Create(ctx, j, units, w.limit)
	}
}

// result counts the units that are done. They may be gone at any moment when
// the job is dismissed.
func (w *chores) result(ctx context.Context, j job.Job) ([]byte, error) {
	if !j.Dismissed.IsZero() {
		return nil, errors.New("asked of a job that is dismissed")
	}
	t, err := w.store.Tally(ctx, store.Tenant(j.Tenant), j.ID)
	return []byte(shown(j.State, t.Succeeded, t.Unfinished()+t.Succeeded+t.Failed+t.Cancelled)), err
}

// shown is the resource of a job of which so many units are done.
func shown(s job.State, done, of int) string {
	return fmt.Sprintf(`{"resourceType":"Parameters","parameter":[{"name":"state","valueCode":%q},`+
		`{"name":"done","valueInteger":%d},{"name":"of","valueInteger":%d}]}`, s, done, of)
}

// until waits until a job is as it should be.
func (w *chores) until(id string, is func(j job.Job) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), forever)
	defer cancel()
	changes := w.store.Watch(ctx)
	for {
		j, err := w.store.Peek(ctx, auth.DefaultTenant, id)
		w.ok(err)
		if is(j) {
			return
		}
		select {
		case <-changes:
		case <-ctx.Done():
			w.Fatalf("job %s stays %s", id, j.State)
		}
	}
}

func in(s job.State) func(job.Job) bool {
	return func(j job.Job) bool { return j.State == s }
}

// gets receives from a channel of what is to happen.
func gets[T any](w *chores, what string, ch <-chan T) T {
	w.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(forever):
		w.Fatalf("%s: it does not come", what)
		panic("not reached")
	}
}

// begins checks which unit is begun next.
func (w *chores) begins(unit string) {
	w.Helper()
	if got := gets(w, "a unit", w.begun); got != unit {
		w.Fatalf("unit %s is begun, not %s", got, unit)
	}
}

// goes lets one unit go on.
func (w *chores) goes() {
	w.Helper()
	select {
	case w.gate <- struct{}{}:
	case <-time.After(forever):
		w.Fatal("no unit waits")
	}
}

// post kicks off, without a body.
func (w *chores) post(path string, h ...string) *httptest.ResponseRecorder {
	w.Helper()
	return w.do(post, "/fhir"+path, h...)
}

// async kicks off, and gives the path at which the job is polled.
func (w *chores) async(path string) string {
	w.Helper()
	r := w.post(path, "Prefer", "respond-async")
	w.is("kick-off", r, 202, "")
	poll, ok := strings.CutPrefix(r.Header().Get("Content-Location"), base)
	if !ok {
		w.Fatalf("Content-Location %s", r.Header().Get("Content-Location"))
	}
	return "/fhir" + poll
}

// body checks that an answer is a resource, which no cache keeps.
func (w *chores) body(what string, r *httptest.ResponseRecorder, status int, want string) {
	w.Helper()
	w.is(what, r, status, "")
	if got := r.Body.String(); got != want {
		w.Errorf("%s: %s\nwant %s", what, got, want)
	}
	if h := r.Header(); h.Get("Content-Type") != "application/fhir+json" || h.Get("Cache-Control") != "no-store" {
		w.Errorf("%s: headers %v", what, h)
	}
}

// bundled is the Bundle of a job that has succeeded, or failed as worker does.
func bundled(s job.State, done, of int) string {
	response := `{"status":"200 OK"}`
	if s == job.Failed {
		response = `{"status":"500 Internal Server Error","outcome":{"resourceType":"OperationOutcome",` +
			`"issue":[{"severity":"error","code":"no-store","diagnostics":"the disk is full"}]}}`
	}
	return `{"resourceType":"Bundle","type":"batch-response","entry":[{"resource":` + shown(s, done, of) + `,"response":` + response + `}]}`
}
