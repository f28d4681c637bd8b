package opshttp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/sqlite"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kind     = "work"
	lifetime = time.Hour
	base     = "http://ehr.example.org/fhir"
)

// world is an operation that does nothing, over HTTP.
type world struct {
	*testing.T
	echo  *echo.Echo
	store store.Store
	files files.Files
	clock atomic.Pointer[time.Time]
	calls []opshttp.Call
	fails error                        // of the next kick-off
	parts map[string]map[string]string // file in the file store, by job and name
	ids   int

	announces bool   // the operation has its jobs recorded before it makes them
	announced string // what their ids begin with then, to be those of others
	limited   bool   // and may then make none
	forbids   string // the file that nobody may read
	events    []job.Event
	unwilling error // of the next record
	recording func(e job.Event)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, echo: echo.New(), parts: map[string]map[string]string{}}
	w.at(time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC))
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Now: w.now})
	w.ok(err)
	t.Cleanup(func() { w.ok(st.Close()) })
	w.store = st
	w.files, err = files.NewDir(dir + "/files")
	w.ok(err)
	proxies := fhirhttp.Origin{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}} // where httptest's requests come from
	fhirhttp.Install(w.echo, fhirhttp.Config{Origin: proxies, NewID: func() string { return "request" }, Now: w.now, Log: slog.New(slog.DiscardHandler)})
	w.echo.Pre(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			p := auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}
			if other := c.Request().Header.Get("X-Client"); other != "" {
				p.Client, p.User, _ = strings.Cut(other, "/")
			}
			c.SetRequest(c.Request().WithContext(auth.WithPrincipal(c.Request().Context(), p)))
			return next(c)
		}
	})
	opshttp.Register(w.echo.Group(fhirhttp.Root), opshttp.Config{Store: st, Files: w.files, Now: w.now, Record: w.record}, w.operation())
	return w
}

func (w *world) record(_ context.Context, e job.Event) error {
	if w.unwilling != nil {
		return w.unwilling
	}
	w.events = append(w.events, e)
	if w.recording != nil {
		w.recording(e)
	}
	return nil
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) now() time.Time       { return *w.clock.Load() }
func (w *world) at(t time.Time)       { w.clock.Store(&t) }
func (w *world) pass(d time.Duration) { w.at(w.now().Add(d)) }

func (w *world) operation() opshttp.Operation {
	return opshttp.Operation{
		Kind: kind, Name: "$work",
		Routes: []opshttp.Route{{Name: "all", Path: "/$work"}, {Name: "one", Path: "/Group/:id/$work"}},
		Kickoff: func(ctx context.Context, p auth.Principal, c opshttp.Call) (job.Job, error) {
			announce := c.Announce
			c.Announce = nil // functions do not compare
			w.calls = append(w.calls, c)
			if w.fails != nil {
				return job.Job{}, w.fails
			}
			if w.announces {
				if err := announce(ctx, job.Job{ID: w.announced + w.nextID()}); err != nil {
					return job.Job{}, err
				}
			}
			if w.limited {
				return job.Job{}, store.ErrLimit
			}
			return w.create(kind, p), nil
		},
		Manifest: func(_ context.Context, j job.Job, url func(job.Part, string) string) ([]byte, error) {
			return fmt.Appendf(nil, `{"files":%q}`, strings.TrimSuffix(url(job.Part{}, ""), "/")), nil
		},
		May: func(_ auth.Principal, j job.Job, p job.Part) error {
			if w.forbids != "" && p.Name == j.ID+"/"+w.forbids {
				return fhir.Errorf(fhir.Forbidden, "not this one")
			}
			return nil
		},
		Find: func(_ context.Context, j job.Job, name string) (job.Part, error) {
			body, ok := w.parts[j.ID][name]
			if !ok {
				return job.Part{}, store.ErrNotFound
			}
			sum := sha256.Sum256([]byte(body))
			return job.Part{Name: j.ID + "/" + name, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}, nil
		},
	}
}

// nextID is what create will call the next job.
func (w *world) nextID() string { return fmt.Sprintf("01JOB%05d", w.ids+1) }

// newJob is a queued job that is not stored yet.
func (w *world) newJob(kind string, p auth.Principal) job.Job {
	id := w.nextID()
	w.ids++
	return job.Job{
		ID: id, Kind: kind, Tenant: p.Tenant, Owner: job.Owner{Client: p.Client, User: p.User},
		State: job.Queued, Request: json.RawMessage(`{}`), Created: w.now(), Lifetime: lifetime, TransactionTime: w.now(),
	}
}

// create makes a queued job of one unit.
func (w *world) create(kind string, p auth.Principal) job.Job {
	w.Helper()
	j := w.newJob(kind, p)
	unit := job.Unit{Job: j.ID, Tenant: p.Tenant, Kind: kind, ID: "0", Counts: job.Counts{Planned: 1000}}
	_, err := w.store.Create(context.Background(), j, []job.Unit{unit}, store.Limit{})
	w.ok(err)
	return j
}

// step is one transition of a job.
type step = func(job.Job, time.Time) (job.Job, error)

func fail(j job.Job, now time.Time) (job.Job, error) {
	return j.Fail(now, job.Reason{Code: "no-store", Message: "the disk is full"})
}

// in makes a job of mine and takes it through steps.
func (w *world) in(steps ...step) string {
	w.Helper()
	return w.of(kind, auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}, steps...)
}

func (w *world) of(kind string, p auth.Principal, steps ...step) string {
	w.Helper()
	j := w.create(kind, p)
	for _, s := range steps {
		_, err := w.store.Update(context.Background(), store.Tenant(p.Tenant), j.ID, func(j job.Job) (job.Job, error) { return s(j, w.now()) })
		w.ok(err)
	}
	return j.ID
}

// ready makes a job that has succeeded, with one file.
func (w *world) ready(name, body string) string {
	w.Helper()
	id := w.in(job.Job.Start, job.Job.Succeed)
	w.parts[id] = map[string]string{name: body}
	f, err := w.files.Create(context.Background(), id+"/"+name)
	w.ok(err)
	_, err = io.WriteString(f, body)
	w.ok(err)
	w.ok(f.Commit())
	return id
}

// header is the headers of a request: name, value, name, value …
type header []string

func (w *world) do(method, path string, h ...string) *httptest.ResponseRecorder {
	w.Helper()
	return w.send(context.Background(), method, path, nil, h...)
}

// send sends a request with a body, of a client that goes away when ctx ends.
func (w *world) send(ctx context.Context, method, path string, body io.Reader, h ...string) *httptest.ResponseRecorder {
	w.Helper()
	r := httptest.NewRequestWithContext(ctx, method, "http://ehr.example.org"+path, body)
	for pair := range slices.Chunk(header(h), 2) {
		r.Header.Add(pair[0], pair[1])
	}
	rec := httptest.NewRecorder()
	w.echo.ServeHTTP(rec, r)
	return rec
}

// is checks the status, and that an error is an OperationOutcome of the code.
func (w *world) is(what string, rec *httptest.ResponseRecorder, status int, code string) {
	w.Helper()
	if rec.Code != status {
		w.Errorf("%s: %d, want %d: %.200q", what, rec.Code, status, rec.Body)
		return
	}
	if code == "" {
		return
	}
	var o struct {
		ResourceType string
		Issue        []struct{ Severity, Code, Diagnostics string }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 ||
		o.Issue[0].Code != code || o.Issue[0].Diagnostics == "" || o.Issue[0].Severity != "error" {
		w.Errorf("%s: not an OperationOutcome of %s: %.200q", what, code, rec.Body)
	}
	if got := rec.Header().Get("Content-Type"); got != "application/fhir+json" {
		w.Errorf("%s: Content-Type %s", what, got)
	}
}

// dump is everything of an answer that a client could tell two apart by.
func dump(rec *httptest.ResponseRecorder) string {
	var b bytes.Buffer
	h := rec.Header().Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	fmt.Fprintln(&b, rec.Code)
	_ = h.Write(&b) // to memory
	b.Write(rec.Body.Bytes())
	return b.String()
}

const (
	get  = http.MethodGet
	head = http.MethodHead
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)
