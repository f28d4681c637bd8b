package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth/authtest"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// holdings is a guarded server over a store whose erasures a test has in hand,
// with what a client, two users of it and another client own.
type holdings struct {
	*guarded
	store *heldStore
	ann   string // the token of a user who may do everything
}

// heldStore is a store that erases as long as nothing else is said.
type heldStore struct {
	store.Store
	erasing chan struct{} // gets a value when an erasure begins
	erase   atomic.Pointer[func(ctx context.Context) error]
	retry   atomic.Pointer[func()] // is called before each retry; nil: nothing is
}

func (h *heldStore) Retry(ctx context.Context, t store.Tenant, id string, now time.Time, l store.Limit) (job.Job, error) {
	if before := h.retry.Load(); before != nil {
		(*before)()
	}
	return h.Store.Retry(ctx, t, id, now, l)
}

func (h *heldStore) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	select {
	case h.erasing <- struct{}{}:
	default:
	}
	if before := h.erase.Load(); before != nil {
		if err := (*before)(ctx); err != nil {
			return store.Erased{}, err
		}
	}
	return h.Store.Erase(ctx, f, vs, of...)
}

// first is said before each erasure; nil: nothing.
func (h *heldStore) first(f func(ctx context.Context) error) { h.erase.Store(&f) }

// waits lets no erasure begin until it is broken off.
func waits(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// fails has each erasure fail for good.
func fails(context.Context) error {
	return &job.Failure{Permanent: true, Reason: job.Reason{Code: "no-store", Message: "the disk is full"}, Err: errors.New("full")}
}

func goesOn(context.Context) error { return nil }

func newHoldings(t *testing.T) *holdings {
	t.Helper()
	issuer := authtest.New(t)
	o := onData(filepath.Join(t.TempDir(), "data"))
	o.Audit = "off"
	o.authentication = authentication{Auth: "oidc", OIDCIssuer: issuer.URL, OIDCAudience: []string{authtest.Audience}, PurgeScopeVendor: []string{"kodjin"}}
	st, dir, _ := opened(t, o.storage)
	h := &holdings{store: &heldStore{Store: st, erasing: make(chan struct{}, 1)}, guarded: &guarded{
		T: t, issuer: issuer, client: &http.Client{Transport: &http.Transport{DisableCompression: true}},
	}}
	var err error
	h.srv, err = assemble(t.Context(), o, slog.New(slog.DiscardHandler), h.store, dir)
	h.must(err)
	h.origin = "http://" + h.srv.listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.srv.http.Serve(h.srv.listener) })
	h.engine = func() { running.Go(func() { h.srv.engine.Run(ctx) }) }
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		h.must(h.srv.http.Shutdown(context.Background()))
		stop()
		running.Wait()
		h.must(h.srv.Close())
	})
	h.ann = h.of("app", "ann")
	for i := range 3 {
		h.put("/fhir", "Observation", fmt.Sprint("ann-", i), "of Ann", h.ann)
	}
	h.put("/fhir", "Patient", "p", "of Ann", h.ann)
	h.want("DELETE", h.do(call{method: "DELETE", path: "/fhir/Observation/ann-2", token: h.ann}), 204)
	h.put("/fhir", "Observation", "bob", "of Bob", h.of("app", "bob"))
	h.put("/fhir", "Observation", "alone", "of the client", h.of("app", ""))
	h.put("/fhir", "Observation", "other", "of another", h.of("other", "ann"))
	return h
}

// of is the token of a client, and of a user of it, who may do everything.
func (h *holdings) of(client, user string) string {
	return h.issuer.Token(authtest.Claims{Client: client, User: user, Scope: everything})
}

// start starts a purge and gives where it is.
func (h *holdings) start(path, token string, status int) (at string, r reply) {
	h.Helper()
	r = h.do(call{method: "POST", path: path, token: token})
	if r.status != status {
		h.Fatalf("POST %s: %d %s", path, r.status, r.body)
	}
	return r.header.Get("Content-Location"), r
}

// until asks until an answer has a value.
func (h *holdings) until(at, token, path, value string) reply {
	h.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		r := h.get(at, token)
		if r.status != 200 {
			h.Fatalf("GET %s: %d %s", at, r.status, r.body)
		}
		if gjson.Get(r.body, path).String() == value {
			return r
		}
	}
	h.Fatalf("%s does not become %s", path, value)
	return reply{}
}

// Where the two faces say how a job is.
const (
	statusOfFHIR = `parameter.#(name=="status").valueCode`
	statusOfBulk = "job.status"
)

// there asserts which resources there are, and that what Ann does not own is as
// it was.
func (h *holdings) there(refs ...string) {
	h.Helper()
	reader := h.token("reader", "system/*.rs")
	is := map[string]bool{"Observation/bob": true, "Observation/alone": true, "Observation/other": true}
	for _, ref := range refs {
		is[ref] = true
	}
	for _, ref := range []string{"Observation/ann-0", "Observation/ann-1", "Patient/p", "Observation/bob", "Observation/alone", "Observation/other"} {
		r := h.get("/fhir/"+ref, reader)
		if want := map[bool]int{true: 200, false: 404}[is[ref]]; r.status != want || is[ref] && r.header.Get("ETag") != `W/"1"` {
			h.Errorf("%s: %d %s", ref, r.status, r.header.Get("ETag"))
		}
	}
}

var (
	aTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	aUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aULID = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`)
)

// golden compares a body, without times and ids, with a file.
func (h *holdings) golden(name, body string) {
	h.Helper()
	var b bytes.Buffer
	h.must(json.Indent(&b, []byte(body), "", "  "))
	got := aTime.ReplaceAllString(b.String(), "<time>")
	got = aULID.ReplaceAllString(aUUID.ReplaceAllString(got, "<uuid>"), "<ulid>")
	want, err := os.ReadFile(filepath.Join("testdata", "holding", name+".json"))
	if err != nil {
		h.Errorf("%v; it would be\n%s", err, got)
		return
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), got); diff != "" {
		h.Errorf("%s (- golden, + got)\n%s\n%s", name, diff, got)
	}
}
