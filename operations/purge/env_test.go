package purge_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = store.Tenant(auth.DefaultTenant)

// patience is how long a test waits for what must come.
const patience = time.Minute

// server is the client that owns the server's own AuditEvents.
const server = "firebreak"

// world is a store, a folder of files, and purges and exports over them.
type world struct {
	*testing.T
	dir     string
	store   store.Store
	files   files.Files
	purge   *purge.Purge
	exports *export.Export
	ids     atomic.Int64
	told    []job.Event
	ahead   atomic.Int64 // of the machine's clock
}

func newWorld(t *testing.T) *world {
	return newWorldWith(t, asIs, purge.Config{})
}

// newWorldWith is newWorld with a store that a test puts itself before, and
// with what it wants of the purges.
func newWorldWith(t *testing.T, over func(store.Store) store.Store, want purge.Config) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	d, err := files.NewDir(filepath.Join(w.dir, "files"))
	w.ok("open the files", err)
	w.files = d
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: w.dir, Now: w.now})
	w.ok("open the store", err)
	w.store = over(st)
	t.Cleanup(func() { w.ok("close the store", w.store.Close()) })
	w.exports = export.New(export.Config{Store: w.store, Files: w.files, Now: w.now, NewID: w.newID})
	w.purge = purge.New(purge.Config{
		Store: w.store, Files: w.files, Now: w.now, NewID: w.newID, NewBatchID: ulid.Make, Server: server, Tell: want.Tell, Requests: want.Requests, Certify: want.Certify, Ledger: want.Ledger,
		Holders: export.Holders, Sweep: w.exports.SweepErased, Parts: w.exports.EachPart, Record: func(_ context.Context, e job.Event) error { w.told = append(w.told, e); return nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		engine.New(engine.Config{
			Store: w.store, Now: w.now, Log: slog.New(slog.DiscardHandler),
			Handlers: map[string]engine.Handler{purge.Kind: w.purge, purge.BulkKind: w.purge, purge.HoldingKind: w.purge, purge.PreviewKind: w.purge, export.Kind: w.exports},
		}).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

func (w *world) ok(what string, err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// now is the machine's clock, which a test may move forward.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *world) newID() string { return fmt.Sprintf("made-%03d", w.ids.Add(1)) }

func (w *world) service() *interaction.Service {
	return interaction.New(interaction.Config{Store: w.store, NewID: w.newID, NewBatchID: ulid.Make})
}

// put writes resources, one after the other.
func (w *world) put(bodies ...string) {
	w.Helper()
	for _, body := range bodies {
		id := fhir.ID{Type: gjson.Get(body, "resourceType").String(), ID: gjson.Get(body, "id").String()}
		_, err := w.service().Update(w.Context(), auth.Local(), id, []byte(body), interaction.Condition{})
		w.ok("put "+id.String(), err)
	}
}

func (w *world) remove(refs ...string) {
	w.Helper()
	for _, ref := range refs {
		_, err := w.service().Delete(w.Context(), auth.Local(), idOf(ref), interaction.Condition{})
		w.ok("delete "+ref, err)
	}
}

func idOf(ref string) fhir.ID {
	typ, id, _ := strings.Cut(ref, "/")
	return fhir.ID{Type: typ, ID: id}
}

// versions are the numbers of the versions that there are, the latest first.
func (w *world) versions(ref string) []int64 {
	w.Helper()
	vs, err := w.store.History(w.Context(), tenant, idOf(ref), 0, 1<<20)
	w.ok("history of "+ref, err)
	var ns []int64
	for _, v := range vs {
		ns = append(ns, v.N)
	}
	return ns
}

func (w *world) body(ref string) string {
	w.Helper()
	got, err := w.store.Get(w.Context(), tenant, idOf(ref))
	w.ok("read "+ref, err)
	return string(got[0].Body)
}

// gone asserts that nothing is left of resources.
func (w *world) gone(refs ...string) {
	w.Helper()
	for _, ref := range refs {
		if ns := w.versions(ref); len(ns) > 0 {
			w.Errorf("%s has versions %v still", ref, ns)
		}
	}
}

// start starts a purge.
func (w *world) start(c purge.Call) job.Job {
	w.Helper()
	j, err := w.purge.Kickoff(w.Context(), auth.Local(), c)
	w.ok("kick-off", err)
	return j
}

// ended waits for a job's end.
func (w *world) ended(j job.Job) job.Job {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	hints := w.store.Watch(ctx)
	for {
		now, err := w.store.Peek(ctx, tenant, j.ID)
		w.ok("look at the job", err)
		if now.State.Final() {
			return now
		}
		select {
		case <-hints:
		case <-ctx.Done():
			w.Fatalf("the job is %s still", now.State)
		}
	}
}

// purged purges a patient, and returns what the job says.
func (w *world) purged(id string, params ...string) string {
	w.Helper()
	c := purge.Call{Patient: id}
	for i := 0; i < len(params); i += 2 {
		c.Params = append(c.Params, fhir.Parameter{Name: params[i], Value: params[i+1]})
	}
	return w.succeeded(w.start(c))
}

func (w *world) succeeded(j job.Job) string {
	w.Helper()
	if j = w.ended(j); j.State != job.Succeeded {
		w.Fatalf("the job is %s: %+v", j.State, j.Error)
	}
	return w.outcome(j)
}

func (w *world) outcome(j job.Job) string {
	w.Helper()
	show := w.purge.Outcome
	switch j.Kind {
	case purge.BulkKind:
		show = w.purge.Progress
	case purge.HoldingKind:
		show = w.purge.HoldingProgress
	case purge.PreviewKind:
		show = w.purge.Preview
	}
	body, err := show(w.Context(), j)
	w.ok("show the job", err)
	return string(body)
}

// says asserts that a text has others in it.
func (w *world) says(text string, parts ...string) {
	w.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			w.Errorf("%q is not in\n%s", p, text)
		}
	}
}

// canary asserts that no byte of a text is on disk.
func (w *world) canary(texts ...string) {
	w.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, text := range texts {
			if strings.Contains(string(b), text) {
				w.Errorf("%s holds %q", filepath.Base(path), text)
			}
		}
		return err
	})
	w.ok("read the folder", err)
}
