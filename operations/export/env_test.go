package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	level   selection.Level
	group   string
	types   []string
	since   string
	lenient bool
	more    url.Values
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
	return export.Call{Level: a.level, Group: a.group, Query: q, URL: "https://example.org/fhir/$export?a=1&b=<2>", Lenient: a.lenient}
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
func (w *world) start(h engine.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	e := engine.New(engine.Config{
		Store: w.store, Now: w.clock.Now, Log: w.log(), Lease: 24 * time.Hour, Idle: 5 * time.Millisecond,
		Handlers: map[string]engine.Handler{export.Kind: h},
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

// result is what a client reads of a job.
type result struct {
	job      job.Job
	manifest fhir.Manifest
	lines    map[string][]string   // of the output, by type
	files    map[string][][]string // the same, file by file
	notes    []string              // diagnostics of the error files
	names    map[string]bool       // in the file store
}

func (w *world) result(j job.Job) result {
	w.Helper()
	if j.State != job.Succeeded {
		w.Fatalf("the job is %s: %+v", j.State, j.Error)
	}
	body, err := w.export().Manifest(context.Background(), j, "https://example.org/files", false)
	w.ok("render the manifest", err)
	r := result{job: j, lines: map[string][]string{}, files: map[string][][]string{}, names: map[string]bool{}}
	w.ok("read the manifest", json.Unmarshal(body, &r.manifest))
	for _, f := range r.manifest.Output {
		lines := w.lines(&r, f)
		r.lines[f.Type] = append(r.lines[f.Type], lines...)
		r.files[f.Type] = append(r.files[f.Type], lines)
		if want := fmt.Sprintf("https://example.org/files/%d.%s.ndjson", len(r.files[f.Type]), f.Type); f.URL != want {
			w.Errorf("a file is %s where %s comes next", f.URL, want)
		}
	}
	for _, f := range r.manifest.Error {
		for _, line := range w.lines(&r, f) {
			r.notes = append(r.notes, diagnostics(line))
		}
	}
	return r
}

func diagnostics(outcome string) string {
	var o struct {
		ResourceType string
		Issue        []struct{ Diagnostics string }
	}
	if err := json.Unmarshal([]byte(outcome), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 {
		return "not an OperationOutcome: " + outcome
	}
	return o.Issue[0].Diagnostics
}

// lines reads a file that the manifest names, and holds it against what the
// manifest says of it.
func (w *world) lines(r *result, f fhir.ManifestFile) []string {
	w.Helper()
	name := f.URL[strings.LastIndex(f.URL, "/")+1:]
	p, err := w.export().Find(context.Background(), r.job, name)
	w.ok("find "+name, err)
	if p.Type != f.Type {
		w.Errorf("%s is found as one of %s", name, p.Type)
	}
	r.names[p.Name] = true
	file, err := w.files.Open(context.Background(), p.Name)
	w.ok("open "+name, err)
	b, err := io.ReadAll(file)
	w.ok("read "+name, err)
	w.ok("close "+name, file.Close())
	text, whole := strings.CutSuffix(string(b), "\n")
	lines := strings.Split(text, "\n")
	sum := sha256.Sum256(b)
	switch said := f.Extension.Integrity; {
	case !whole:
		w.Errorf("%s does not end in a newline", name)
	case f.Count == nil || *f.Count != int64(len(lines)):
		w.Errorf("%s has %d lines; the manifest says %v", name, len(lines), f.Count)
	case said.Size != int64(len(b)) || said.SHA256 != hex.EncodeToString(sum[:]):
		w.Errorf("%s is not of the size and sha-256 that the manifest says", name)
	}
	for _, line := range lines {
		var head struct{ ResourceType string }
		if err := json.Unmarshal([]byte(line), &head); err != nil || head.ResourceType != f.Type {
			w.Errorf("a line of %s is a %q, %v", name, head.ResourceType, err)
		}
	}
	return lines
}

// stored lists the files that are there of a job.
func (w *world) stored(j job.Job) map[string]bool {
	w.Helper()
	names := map[string]bool{}
	list, err := os.ReadDir(filepath.Join(w.dir, "files", j.ID))
	if os.IsNotExist(err) {
		return names
	}
	w.ok("list the files", err)
	for _, f := range list {
		names[j.ID+"/"+f.Name()] = true
	}
	return names
}

// instant is what a client would send as _since.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func itoa(n int) string { return strconv.Itoa(n) }
