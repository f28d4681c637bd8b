package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/sample"

	"go.uber.org/goleak"
)

// site is a server on an address of its own, and a client of it.
type site struct {
	*testing.T
	*Server
	log    *lines
	client *http.Client
	stop   []func()
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options for tests, on a data directory.
func onData(dir string) serving {
	return serving{storage: storage{Data: dir}, Listen: "127.0.0.1:0", MaxResource: 8 << 20, Grace: 5 * time.Second}
}

// newSite takes a server up. It serves; its engine works when work is called.
func newSite(t *testing.T, o serving) *site {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	s := &site{T: t, log: &lines{}, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	var err error
	s.Server, err = NewServer(context.Background(), o, slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	s.ok(err)
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	s.stop = append(s.stop, func() {
		s.client.CloseIdleConnections()
		s.ok(s.http.Shutdown(context.Background()))
		<-served
	})
	t.Cleanup(func() {
		s.down()
		s.ok(s.Close())
		goleak.VerifyNone(t, leaks)
	})
	return s
}

// down stops what runs, the last first.
func (s *site) down() {
	s.Helper()
	for _, stop := range slices.Backward(s.stop) {
		stop()
	}
	s.stop = nil
}

// work runs the engine.
func (s *site) work() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.engine.Run(ctx) })
	s.stop = append(s.stop, func() { cancel(); running.Wait() })
}

func (s *site) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// String is what a client could tell two answers apart by.
func (a answer) String() string {
	var b strings.Builder
	h := a.header.Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	fmt.Fprintln(&b, a.status)
	_ = h.Write(&b) // to memory
	return b.String() + a.body
}

// do asks; a url that begins with a slash is below the FHIR base.
func (s *site) do(method, url, body string, header ...string) answer {
	s.Helper()
	if strings.HasPrefix(url, "/") {
		url = s.Base() + url
	}
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	s.ok(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	for pair := range slices.Chunk(header, 2) {
		if pair[0] == "Host" {
			r.Host = pair[1]
		}
		r.Header.Add(pair[0], pair[1])
	}
	res, err := s.client.Do(r)
	s.ok(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	s.ok(err)
	return answer{res.StatusCode, res.Header, string(b)}
}

func (s *site) get(url string, header ...string) answer {
	s.Helper()
	return s.do(http.MethodGet, url, "", header...)
}

func (s *site) put(ref, body string) {
	s.Helper()
	typ, id, _ := strings.Cut(ref, "/")
	s.is("put "+ref, s.do(http.MethodPut, "/"+ref, fmt.Sprintf(`{"resourceType":%q,"id":%q%s}`, typ, id, body)), 201)
}

// is checks a status, and that an error is an OperationOutcome.
func (s *site) is(what string, a answer, status int) {
	s.Helper()
	if a.status != status {
		s.Errorf("%s: %d, want %d: %.300s", what, a.status, status, a.body)
		return
	}
	if status >= 400 && !isOutcome(a) {
		s.Errorf("%s: no OperationOutcome: %v %.300q", what, a.header, a.body)
	}
}

func isOutcome(a answer) bool {
	var o struct {
		ResourceType string
		Issue        []struct{ Severity, Code, Diagnostics string }
	}
	err := json.Unmarshal([]byte(a.body), &o)
	return err == nil && o.ResourceType == "OperationOutcome" && len(o.Issue) > 0 && o.Issue[0].Diagnostics != "" &&
		a.header.Get("Content-Type") == "application/fhir+json"
}

// kickoff starts an export and returns where it is polled.
func (s *site) kickoff(path string, header ...string) string {
	s.Helper()
	a := s.get(path, append([]string{"Prefer", "respond-async"}, header...)...)
	s.is("kick-off "+path, a, 202)
	if a.body != "" {
		s.Errorf("the kick-off has a body: %s", a.body)
	}
	return a.header.Get("Content-Location")
}

// finished polls until there is an answer that is not "not yet".
func (s *site) finished(status string) answer {
	s.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if a := s.get(status); a.status != 202 { // a poll waits for a while by itself
			return a
		}
	}
	s.Fatal("the job does not end")
	return answer{}
}

// export is a whole export: its manifest, and its files by name.
func (s *site) export(path string, header ...string) (fhir.Manifest, map[string]string) {
	s.Helper()
	a := s.finished(s.kickoff(path, header...))
	s.is("poll", a, 200)
	return s.download(a)
}

func (s *site) download(a answer) (m fhir.Manifest, files map[string]string) {
	s.Helper()
	s.ok(json.Unmarshal([]byte(a.body), &m))
	files = map[string]string{}
	for _, f := range append(slices.Clone(m.Output), m.Error...) {
		got := s.get(f.URL)
		s.is(f.URL, got, 200)
		files[f.URL[strings.LastIndex(f.URL, "/")+1:]] = got.body
	}
	return m, files
}

// fill loads sample patients.
func (s *site) fill(patients int) {
	s.Helper()
	service := newService(s.store, 0)
	var all []fhir.Resource
	s.ok(sample.Write(func(b []byte) error {
		r, err := service.Reader().Read(b)
		all = append(all, r)
		return err
	}, patients, 1))
	_, err := serviceSink{service}.Put(context.Background(), all)
	s.ok(err)
}
