package main

import (
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// watched serves with metrics.
func watched(t *testing.T) *site {
	t.Helper()
	return serveIn(t, serving{watching: watching{OperatorListen: "127.0.0.1:0"}, Audit: "off"})
}

func (s *site) operatorURL(path string) string { return "http://" + s.operator.addr() + path }

func TestMetricsTellOfRequestsJobsUnitsAndCommits(t *testing.T) {
	s := watched(t)
	s.put("Patient/very-secret-id", "")
	s.do(http.MethodGet, "/Patient/very-secret-id?name=very-secret-name", "")
	s.do(http.MethodGet, "/nothing/very-secret-id/is/here", "")
	s.do("SECRET", "/Patient/very-secret-id", "")
	status, _ := s.exportAll()
	text := s.do(http.MethodGet, s.operatorURL("/metrics"), "").body
	for _, want := range []string{
		`firebreak_jobs{kind="export",state="succeeded"} 1`,
		`firebreak_units_at_work{kind="export"} 0`,
		`firebreak_units_ended_total{kind="export",outcome="succeeded"} 2`,
		`firebreak_unit_resources_total{kind="export"} 1`,
		`firebreak_unit_bytes_total{kind="export"} [1-9]`,
		`firebreak_unit_duration_seconds_count{kind="export"} 2`,
		`firebreak_http_request_duration_seconds_count{method="PUT",route="/fhir/:type/:id",status="2xx"} 1`,
		`firebreak_http_request_duration_seconds_count{method="GET",route="/fhir/:type/:id",status="2xx"} 1`,
		`firebreak_http_request_duration_seconds_count{method="other",route="[^"]*",status="4xx"} 1`,
		`firebreak_http_request_duration_seconds_count{method="GET",route="/fhir/\$export/:job",status="2xx"} `,
		`firebreak_commit_requests_count [1-9]`, `firebreak_commit_bytes_sum [1-9]`, `firebreak_commit_duration_seconds_count [1-9]`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{"secret", "SECRET", status[strings.LastIndex(status, "/")+1:]} {
		if strings.Contains(text, never) {
			t.Errorf("%s is in the metrics", never)
		}
	}
}

func TestTheOperatorSeesHealthAndMetricsAndClientsNoMetrics(t *testing.T) {
	s := watched(t)
	for _, url := range []string{s.operatorURL(""), strings.TrimSuffix(s.Base(), "/fhir")} {
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready"} {
			if a := s.do(http.MethodGet, url+path, ""); a.status != http.StatusOK || a.body != `{"status":"`+want+"\"}\n" {
				t.Errorf("%s%s: %d %s", url, path, a.status, a.body)
			}
		}
	}
	if a := s.do(http.MethodGet, strings.TrimSuffix(s.Base(), "/fhir")+"/metrics", ""); a.status != http.StatusNotFound {
		t.Errorf("a client sees metrics: %d", a.status)
	}
	if a := s.do(http.MethodGet, s.operatorURL("/fhir/metadata"), ""); a.status != http.StatusNotFound {
		t.Errorf("the operator's address serves clients: %d", a.status)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if a := s.do(http.MethodGet, s.operatorURL("/readyz"), ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("with the store closed: %d", a.status)
	}
	if a := s.do(http.MethodGet, s.operatorURL("/metrics"), ""); a.status != http.StatusOK || !strings.Contains(a.body, "go_goroutines") {
		t.Errorf("with the store closed, the other metrics: %d", a.status)
	}
}

func TestTheOperatorsAddressIsThisMachinesAndFree(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for addr, word := range map[string]string{
		taken.Addr().String(): "in use", "0.0.0.0:0": "loopback", ":9464": "loopback", "localhost": "HOST:PORT",
	} {
		_, err := NewServer(t.Context(), serving{
			storage: storage{Data: t.TempDir()}, watching: watching{OperatorListen: addr}, Listen: "127.0.0.1:0",
		}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "--operator-listen") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestWithoutAnOperatorNothingIsMeasured(t *testing.T) {
	for _, o := range []watching{{}, {OperatorListen: "off"}} {
		s := serveIn(t, serving{watching: o})
		if s.operator != nil || s.seen.metrics != nil || s.seen.commits() != nil || s.seen.units() != nil {
			t.Errorf("%+v: %+v", o, s.seen)
		}
	}
}
