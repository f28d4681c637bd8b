package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// collector is a small OTLP server, and all that it was sent.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	got   bytes.Buffer // protobuf has its strings as they are
	paths map[string]bool
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{paths: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths[r.URL.Path] = true
		_, _ = io.Copy(&c.got, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func TestTracesTellOfRequestsAndUnitsWithoutIDsOfResources(t *testing.T) {
	c := newCollector(t)
	s := serveIn(t, serving{watching: watching{OTLPEndpoint: c.URL}})
	s.put("Patient/very-secret-id", "")
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	body := s.do(http.MethodGet, "/Patient/very-secret-id?name=very-secret-name", "", "traceparent", "00-"+parent+"-00f067aa0ba902b7-01").body
	if !strings.Contains(body, "very-secret-id") {
		t.Errorf("the answer is %s", body)
	}
	s.do("SECRET", "/Patient/very-secret-id", "")
	s.do(http.MethodPut, "/Patient/other", `{"resourceType":"very-secret-body"}`)
	status, _ := s.exportAll()
	s.down() // which sends them
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.got.String()
	job := status[strings.LastIndex(status, "/")+1:]
	for _, want := range []string{
		"GET /fhir/:type/:id", "PUT /fhir/:type/:id", "GET /fhir/$export/:job", "unit export",
		"firebreak.phase", "firebreak.outcome", "succeeded", job, "service.name", "http.response.status_code",
		"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6", // the client's trace goes on
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the traces", want)
		}
	}
	for _, never := range []string{"secret", "SECRET", "url.path", "url.query"} {
		if strings.Contains(text, never) {
			t.Errorf("%q is in the traces", never)
		}
	}
	if !c.paths["/v1/traces"] || len(c.paths) != 1 {
		t.Errorf("sent to %v", c.paths)
	}
}

func TestACollectorThatIsNotThereDisturbsNothing(t *testing.T) {
	c := newCollector(t)
	c.Close()
	s := serveIn(t, serving{watching: watching{OTLPEndpoint: c.URL}})
	s.put("Patient/a", "")
	s.exportAll()
	s.down()
}

func TestAnEndpointThatIsNoneIsRefused(t *testing.T) {
	for _, url := range []string{"localhost:4318", "grpc://localhost:4317", "http://", "://"} {
		o := serving{storage: storage{Data: t.TempDir()}, watching: watching{OTLPEndpoint: url}, Listen: "127.0.0.1:0"}
		if _, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "--otlp-endpoint") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
