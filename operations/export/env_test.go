package export_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/selection"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Each case is a store of its own. The command line may ask for more.
	if err := flag.Set("rapid.checks", "50"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const tenant = store.Tenant(auth.DefaultTenant)

// patience is how long a test waits for what must come.
const patience = time.Minute

// tb is what helpers need of *testing.T, and *rapid.T has.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// clock is the machine's clock, which a test may move forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// world is a store, a directory of files, and exports over them.
type world struct {
	tb
	dir   string
	clock *clock
	store store.Store
	files files.Files
	sizes export.Config // of which only the sizes are used
	model *model
	ids   atomic.Int64
}

// tiny are sizes with which a handful of resources is many units, files, and
// joins.
var tiny = export.Config{UnitSize: 1, SmallJob: 1, MaxFile: 700, JoinSize: 500}

func newWorld(t *testing.T, sizes export.Config) *world {
	t.Helper()
	w := openWorld(t, t.TempDir(), sizes)
	t.Cleanup(w.close)
	return w
}

// openWorld is newWorld in a given directory; the caller closes it.
func openWorld(t tb, dir string, sizes export.Config) *world {
	t.Helper()
	w := &world{tb: t, dir: dir, clock: &clock{}, sizes: sizes, model: &model{}}
	d, err := files.NewDir(filepath.Join(dir, "files"))
	w.ok("open the files", err)
	w.files = d
	w.open()
	return w
}

func (w *world) open() {
	w.Helper()
	st, err := sqlite.Open(context.Background(), sqlite.Config{Dir: w.dir, Now: w.clock.Now})
	w.ok("open the store", err)
	w.store = st
}

func (w *world) close() { w.ok("close the store", w.store.Close()) }

func (w *world) ok(what string, err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// export makes the Export under test.
func (w *world) export() *export.Export {
	cfg := w.sizes
	if cfg.Store == nil {
		cfg.Store = w.store
	}
	cfg.Files, cfg.Now, cfg.NewID = w.files, w.clock.Now, w.newID
	return export.New(cfg)
}

func (w *world) newID() string { return fmt.Sprintf("job-%03d", w.ids.Add(1)) }

func (w *world) service() *interaction.Service {
	return interaction.New(interaction.Config{Store: w.store, NewID: w.newID, NewBatchID: ulid.Make})
}

// put writes resources in one batch, and notes them in the model.
func (w *world) put(rs ...resource) {
	w.Helper()
	s := w.service()
	parsed := make([]fhir.Resource, len(rs))
	for i, r := range rs {
		p, err := s.Reader().Read([]byte(r.body))
		w.ok("read "+r.ref(), err)
		parsed[i] = p
	}
	applied, err := s.PutAll(context.Background(), auth.Local(), parsed)
	w.ok("put", err)
	for i, r := range rs {
		if !applied[i].Unchanged {
			w.model.add(version{
				resource: r, at: applied[i].At,
				line: string(fhir.AppendShown(nil, parsed[i].Body, parsed[i].MetaAt, applied[i].N, int64(applied[i].At))),
			})
		}
	}
}

// remove deletes a resource.
func (w *world) remove(ref string) {
	w.Helper()
	typ, id, _ := strings.Cut(ref, "/")
	shown, err := w.service().Delete(context.Background(), auth.Local(), fhir.ID{Type: typ, ID: id}, interaction.Condition{})
	w.ok("delete "+ref, err)
	w.model.add(version{resource: resource{typ: typ, id: id}, at: store.TickOf(shown.LastUpdated), deleted: true})
}

// asked is a kick-off in a test's words.
type asked struct {
	level      selection.Level
	group      string
	types      []string
	since      string
	patients   []string // by id; they are sent in a body
	associated []string
	lenient    bool
	more       url.Values
	key        string
}

func (a asked) call() export.Call {
	q := url.Values{}
	for k, v := range a.more {
		q[k] = v
	}
	if a.types != nil {
		q["_type"] = a.types
	}
	if a.since != "" {
		q.Set("_since", a.since)
	}
	for _, p := range a.patients {
		q.Add("patient", "Patient/"+p)
	}
	if a.associated != nil {
		q["includeAssociatedData"] = a.associated
	}
	return export.Call{
		Level: a.level, Group: a.group, Query: q, Body: a.patients != nil, Lenient: a.lenient, Key: a.key,
		URL: "https://example.org/fhir/$export?a=1&b=<2>", Base: "https://example.org/fhir",
	}
}

// kickoff starts a job in a second of its own, so that it need not wait for one.
func (w *world) kickoff(a asked) job.Job {
	w.Helper()
	w.clock.Advance(2 * time.Second)
	j, err := w.export().Kickoff(context.Background(), auth.Local(), a.call())
	w.ok("kick-off", err)
	return j
}

// log gives what the engine says to the test's log.
func (w *world) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{w.tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type logWriter struct{ tb }

func (l logWriter) Write(b []byte) (int, error) {
	l.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// start runs an engine; stop ends it.
func (w *world) start(h engine.Handler) (stop func()) { return w.startWith(h, 0) }

// startWith is start with so many workers.
func (w *world) startWith(h engine.Handler, workers int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	e := engine.New(engine.Config{
		Store: w.store, Now: w.clock.Now, Log: w.log(), Lease: 24 * time.Hour, Idle: 5 * time.Millisecond,
		Workers: workers, Handlers: map[string]engine.Handler{export.Kind: h},
	})
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// await waits until a job is as it should be. Between looks it moves the clock
// on by what each is given, so that no back-off is waited out.
func (w *world) await(id string, each time.Duration, until func(job.Job) bool) job.Job {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hints := w.store.Watch(ctx)
	for {
		j, err := w.store.Peek(ctx, tenant, id)
		w.ok("look at a job", err)
		if until(j) {
			return j
		}
		w.clock.Advance(each)
		select {
		case <-hints:
		case <-ctx.Done():
			w.Fatalf("the job is still %s after %s", j.State, patience)
		}
	}
}

func final(j job.Job) bool { return j.State.Final() }

// finish runs an engine until the job has ended.
func (w *world) finish(j job.Job) job.Job {
	w.Helper()
	return w.finishWith(w.export(), j)
}

func (w *world) finishWith(h engine.Handler, j job.Job) job.Job {
	w.Helper()
	stop := w.start(h)
	defer stop()
	return w.await(j.ID, time.Minute, final)
}

// run is a kick-off, its work, and its result.
func (w *world) run(a asked) result {
	w.Helper()
	return w.result(w.finish(w.kickoff(a)))
}

// stored lists the files that are there of a job.
func (w *world) stored(j job.Job) map[string]bool {
	w.Helper()
	names := map[string]bool{}
	folder := j.Tenant + "." + j.ID
	list, err := os.ReadDir(filepath.Join(w.dir, "files", folder))
	if os.IsNotExist(err) {
		return names
	}
	w.ok("list the files", err)
	for _, f := range list {
		names[folder+"/"+f.Name()] = true
	}
	return names
}

// instant is what a client would send as _since.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// finalOr is final, or that the handler is stuck.
func finalOr(h *until) func(job.Job) bool {
	return func(j job.Job) bool { return final(j) || h.stuck.Load() }
}

func sortedCopy(list []string) []string { return slices.Sorted(slices.Values(list)) }

func itoa(n int) string { return strconv.Itoa(n) }

// fileURL is where the manifests of tests say that files are.
func fileURL(_ job.Part, name string) string { return "https://example.org/files/" + name }
