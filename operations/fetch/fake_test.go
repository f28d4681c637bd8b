package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/fetch"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Bulk Data server whose answers are scripted: the first of a queue is taken off with each request, and
// when a queue is empty the server behaves well.
type server struct {
	*httptest.Server
	t        *testing.T
	mu       sync.Mutex
	kickoffs []http.HandlerFunc
	polls    []http.HandlerFunc
	files    map[string][]http.HandlerFunc // by path; the last one stays
	manifest fhir.Manifest
	seen     []*http.Request
}

const transactionTime = "2026-03-04T05:06:07.000Z"

func newServer(t *testing.T) *server {
	s := &server{t: t, files: map[string][]http.HandlerFunc{}, manifest: fhir.Manifest{TransactionTime: transactionTime}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.answer(r)(w, r)
}

func (s *server) answer(r *http.Request) http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Clone(context.Background()))
	switch {
	case strings.HasSuffix(r.URL.Path, "$export"):
		return next(&s.kickoffs, accept("/fhir/jobs/1"))
	case r.Method == http.MethodDelete:
		return status(http.StatusAccepted, "")
	case r.URL.Path == "/fhir/jobs/1":
		return next(&s.polls, s.complete)
	}
	queue := s.files[r.URL.Path]
	if len(queue) == 0 {
		return outcome(http.StatusNotFound, "not-found", "no such file")
	}
	if len(queue) > 1 {
		s.files[r.URL.Path] = queue[1:]
	}
	return queue[0]
}

func next(queue *[]http.HandlerFunc, otherwise http.HandlerFunc) http.HandlerFunc {
	if len(*queue) == 0 {
		return otherwise
	}
	h := (*queue)[0]
	*queue = (*queue)[1:]
	return h
}

func (s *server) complete(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(s.raw())
}

func (s *server) raw() []byte {
	data, err := json.MarshalIndent(s.manifest, "", "\t")
	if err != nil {
		panic(err)
	}
	return data
}

// offer puts a file into the manifest's output, served by the handlers in turn.
func (s *server) offer(name, body string, handlers ...http.HandlerFunc) *fhir.ManifestFile {
	s.files["/files/"+name] = handlers
	s.manifest.Output = append(s.manifest.Output, s.entry("Patient", "/files/"+name, body))
	return &s.manifest.Output[len(s.manifest.Output)-1]
}

func (s *server) entry(kind, path, body string) fhir.ManifestFile {
	sum := sha256.Sum256([]byte(body))
	count := int64(strings.Count(body, "\n"))
	if !strings.HasSuffix(body, "\n") {
		count++
	}
	return fhir.ManifestFile{Type: kind, URL: s.URL + path, Count: &count, Extension: &fhir.ManifestFileExtension{
		Integrity: &fhir.FileIntegrity{Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])},
	}}
}

// requests returns those whose path ends so.
func (s *server) requests(suffix string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*http.Request
	for _, r := range s.seen {
		if strings.HasSuffix(r.URL.Path, suffix) {
			found = append(found, r)
		}
	}
	return found
}

// waits are the pauses a client wanted; none of them is waited for.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	return ctx.Err()
}

// client makes one for s that does not wait; change may alter its configuration.
func (s *server) client(change ...func(*fetch.Config)) (*fetch.Client, *waits) {
	s.t.Helper()
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	w := &waits{}
	cfg := fetch.Config{HTTP: &http.Client{Transport: transport}, Base: s.URL + "/fhir/", Wait: w.wait}
	for _, f := range change {
		f(&cfg)
	}
	c, err := fetch.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, w
}

// run exports all patients into dir.
func (s *server) run(dir string, change ...func(*fetch.Config)) (fetch.Report, error) {
	s.t.Helper()
	c, _ := s.client(change...)
	return c.Run(context.Background(), allPatients, dir)
}

func (s *server) mustRun(dir string, change ...func(*fetch.Config)) fetch.Report {
	s.t.Helper()
	report, err := s.run(dir, change...)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

var allPatients = fetch.Request{Level: fetch.LevelPatients}

// patients is n lines of ndjson.
func patients(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"resourceType":"Patient","id":"p%d"}`+"\n", i)
	}
	return b.String()
}

func accept(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Location", location)
		w.WriteHeader(http.StatusAccepted)
	}
}

// status answers with headers given as names and values in turn.
func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func outcome(code int, issue, text string, header ...string) http.HandlerFunc {
	body, err := json.Marshal(map[string]any{"resourceType": "OperationOutcome", "issue": []any{
		map[string]string{"severity": "error", "code": issue, "diagnostics": text},
	}})
	if err != nil {
		panic(err)
	}
	return status(code, string(body), header...)
}

// content serves a file as a good server does, with Range and If-Range.
func content(body, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Type", "application/fhir+ndjson")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte(body)))
	}
}

// cut promises the whole body and breaks the connection after 1000 bytes.
func cut(body, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		begin(w, body, etag, 1000)
		panic(http.ErrAbortHandler)
	}
}

// hang sends n bytes, says so, and then nothing more until the client goes away.
func hang(body, etag string, n int, sent chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin(w, body, etag, n)
		close(sent)
		<-r.Context().Done()
	}
}

func begin(w http.ResponseWriter, body, etag string, n int) {
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write([]byte(body[:n]))
	_ = http.NewResponseController(w).Flush()
}

func wantFile(t *testing.T, dir, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s has %d bytes, not the %d expected", name, len(got), len(want))
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

// always answers every request with the same body, without a network, and shows it to seen first.
type always struct {
	body string
	seen func(*http.Request)
}

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	a.seen(r)
	body := io.NopCloser(strings.NewReader(a.body))
	return &http.Response{StatusCode: 200, Body: body, Header: http.Header{}, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}
