package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/operations/engine"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	north    = store.Tenant("north")
	kind     = "digging"
	lifetime = time.Hour
	patience = 30 * time.Second // for what is not to happen only when a test fails
)

// clock stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// watched tells of each call that matters, when it is made and when it has
// returned, and can have it fail.
type watched struct {
	engine.Store

	mu      sync.Mutex
	changed chan struct{}
	calls   map[string]int
	hook    func(call string) error // before "end", after it "end done"
	listed  map[bool]int            // how many jobs Attend gave, by whether all were asked for
}

// note calls the hook; after a call it wakes who waits.
func (w *watched) note(call string) error {
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	var err error
	if hook != nil {
		err = hook(call)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[call]++
	close(w.changed)
	w.changed = make(chan struct{})
	return err
}

func (w *watched) count(call string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[call]
}

func (w *watched) wrap(call string, f func() error) error {
	err := w.note(call)
	if err == nil {
		err = f()
	}
	_ = w.note(call + " done")
	return err
}

func (w *watched) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (j job.Job, err error) {
	err = w.wrap("update", func() (err error) { j, err = w.Store.Update(ctx, t, id, f); return err })
	return j, err
}

func (w *watched) Tally(ctx context.Context, t store.Tenant, id string) (tally job.Tally, err error) {
	err = w.wrap("tally", func() (err error) { tally, err = w.Store.Tally(ctx, t, id); return err })
	return tally, err
}

func (w *watched) Attend(ctx context.Context, now time.Time, all bool, after string, limit int) (js []job.Job, err error) {
	err = w.wrap("attend", func() (err error) { js, err = w.Store.Attend(ctx, now, all, after, limit); return err })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed[all] += len(js)
	return js, err
}

func (w *watched) Renew(ctx context.Context, f store.Fence, lease time.Duration) error {
	return w.wrap("renew", func() error { return w.Store.Renew(ctx, f, lease) })
}

func (w *watched) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	return w.wrap("end", func() error { return w.Store.End(ctx, f, e) })
}

func (w *watched) Remove(ctx context.Context, t store.Tenant, id string) error {
	return w.wrap("remove", func() error { return w.Store.Remove(ctx, t, id) })
}

// bench is a store in a folder, with the engines of one test.
type bench struct {
	*testing.T
	clock  *clock
	dir    string
	sqlite *sqlite.Store
	store  *watched
	jobs   int
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, clock: new(clock), dir: t.TempDir()}
	b.clock.ms.Store(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC).UnixMilli())
	b.open()
	t.Cleanup(func() { b.ok(b.sqlite.Close()) })
	return b
}

func (b *bench) open() {
	b.Helper()
	s, err := sqlite.Open(b.Context(), sqlite.Config{Dir: b.dir, Now: b.clock.Now})
	b.ok(err)
	b.sqlite = s
	b.store = &watched{Store: s, changed: make(chan struct{}), calls: map[string]int{}, listed: map[bool]int{}}
}

// reopen goes on with the same folder, as a new process does.
func (b *bench) reopen() {
	b.Helper()
	b.ok(b.sqlite.Close())
	b.open()
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) onCall(hook func(call string) error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.hook = hook
}

// start runs an engine; the function stops it and waits for its end. It looks
// for work when it is told to, and by itself only if polls is set.
func (b *bench) start(h engine.Handler, set ...func(*engine.Config)) (stop func()) {
	cfg := engine.Config{
		Store: b.store, Handlers: map[string]engine.Handler{kind: h}, Now: b.clock.Now,
		Log: slog.New(slog.DiscardHandler), Lease: time.Hour, Idle: time.Hour,
	}
	for _, f := range set {
		f(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		engine.New(cfg).Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	b.Cleanup(stop)
	return stop
}

// polls has the engine look at the clock all the time, for tests that move it.
func polls(c *engine.Config) { c.Idle = time.Millisecond }

func workers(n int) func(*engine.Config) { return func(c *engine.Config) { c.Workers = n } }

// unit is a unit of a phase, which its id begins with.
func unit(id string) job.Unit { return job.Unit{ID: id, Phase: int(id[0] - '0')} }

func units(ids ...string) []job.Unit {
	us := make([]job.Unit, len(ids))
	for i, id := range ids {
		us[i] = unit(id)
	}
	return us
}

// create writes a queued job.
func (b *bench) create(us ...job.Unit) (id string) {
	b.Helper()
	return b.createOf(kind, us...)
}

func (b *bench) createOf(kind string, us ...job.Unit) (id string) {
	b.Helper()
	b.jobs++
	j := job.Job{
		ID: fmt.Sprintf("job-%04d", b.jobs), Kind: kind, Tenant: string(north), State: job.Queued,
		Request: []byte(`{}`), Created: b.clock.Now(), Lifetime: lifetime,
	}
	_, err := b.store.Create(b.Context(), j, of(j.ID, kind, us), store.Limit{})
	b.ok(err)
	return j.ID
}

// of makes units those of a job.
func of(id, kind string, us []job.Unit) []job.Unit {
	for i := range us {
		us[i].Job, us[i].Tenant, us[i].Kind = id, string(north), kind
	}
	return us
}

func (b *bench) update(id string, step func(job.Job) (job.Job, error)) {
	b.Helper()
	_, err := b.store.Update(b.Context(), north, id, step)
	b.ok(err)
}

func (b *bench) cancel(id string) {
	b.Helper()
	b.update(id, func(j job.Job) (job.Job, error) { return j.RequestCancel(b.clock.Now()) })
}

func (b *bench) dismiss(id string) {
	b.Helper()
	b.update(id, func(j job.Job) (job.Job, error) { return j.Dismiss(b.clock.Now()) })
}

// claim claims a unit as another engine would.
func (b *bench) claim() (job.Unit, store.Fence) {
	b.Helper()
	u, f, err := b.store.Claim(b.Context(), []string{kind}, time.Minute)
	b.ok(err)
	return u, f
}

func (b *bench) job(id string) job.Job {
	b.Helper()
	j, err := b.sqlite.Peek(b.Context(), north, id)
	b.ok(err)
	return j
}

func (b *bench) tally(id string) job.Tally {
	b.Helper()
	t, err := b.sqlite.Tally(b.Context(), north, id)
	b.ok(err)
	return t
}

// await returns when a condition holds, which is looked at after each call to
// the store and each event of a handler.
func (b *bench) await(what string, holds func() bool) {
	b.Helper()
	late := time.After(patience)
	for {
		b.store.mu.Lock()
		changed := b.store.changed
		b.store.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-late:
			b.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (b *bench) awaitState(id string, want job.State) job.Job {
	b.Helper()
	b.await(id+" is "+string(want), func() bool { return b.job(id).State == want })
	return b.job(id)
}

func (b *bench) awaitGone(id string) {
	b.Helper()
	b.await(id+" is gone", func() bool { return !b.has(id) })
}

func (b *bench) has(id string) bool {
	b.Helper()
	_, err := b.sqlite.Peek(b.Context(), north, id)
	return err == nil
}

// awaitRounds waits until an engine that polls has looked after all jobs twice
// more: whatever it had to do at the time of the call is done.
func (b *bench) awaitRounds() {
	b.Helper()
	n := b.store.count("attend done")
	b.await("two more rounds", func() bool { return b.store.count("attend done") > n+2 })
}

// nextTry waits until a unit was put off, moves the clock to its time, and
// says how long that was.
func (b *bench) nextTry() time.Duration {
	b.Helper()
	var at time.Time
	b.await("a unit is put off", func() bool {
		var err error
		at, err = b.sqlite.NextRun(b.Context(), []string{kind})
		b.ok(err)
		return !at.IsZero() && at.Sub(b.clock.Now()) <= time.Minute // leases are longer
	})
	off := at.Sub(b.clock.Now())
	b.clock.advance(off)
	return off
}

func (b *bench) recv(what string, ch <-chan job.Unit) job.Unit {
	b.Helper()
	select {
	case u := <-ch:
		return u
	case <-time.After(patience):
		b.Fatalf("waited in vain for: %s", what)
		return job.Unit{}
	}
}

// handler does as a test says; what it says nothing of succeeds.
type handler struct {
	run     func(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error)
	ended   func(end job.UnitEnd) error
	discard func(j job.Job) error
	sweep   func() error
}

var succeeded = job.UnitEnd{State: job.Succeeded}

func (h handler) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	if h.run == nil {
		return succeeded, nil
	}
	return h.run(ctx, j, u, f)
}

func (h handler) Ended(_ context.Context, end job.UnitEnd) error {
	if h.ended == nil {
		return nil
	}
	return h.ended(end)
}

func (h handler) Sweep(context.Context) error {
	if h.sweep == nil {
		return nil
	}
	return h.sweep()
}

func (h handler) Discard(_ context.Context, j job.Job) error {
	if h.discard == nil {
		return nil
	}
	return h.discard(j)
}

// run makes a handler of what is done with a unit alone.
func run(f func(ctx context.Context, u job.Unit) (job.UnitEnd, error)) handler {
	return handler{run: func(ctx context.Context, _ job.Job, u job.Unit, _ store.Fence) (job.UnitEnd, error) { return f(ctx, u) }}
}

// gate is a handler's work that begins when a test sees it and ends when the
// test lets it, or when it is broken off.
type gate struct {
	entered chan job.Unit
	open    chan struct{}
}

func newGate() gate { return gate{make(chan job.Unit, 100), make(chan struct{})} }

func (g gate) pass(ctx context.Context, u job.Unit) (job.UnitEnd, error) {
	g.entered <- u
	select {
	case <-g.open:
		return succeeded, nil
	case <-ctx.Done():
		return job.UnitEnd{}, ctx.Err()
	}
}
