package fhirhttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"firebreak/fhir/fhirhttp"

	"github.com/labstack/echo/v4"
)

// route tells where a path leads, and what was in it.
func route(t *testing.T, path string) (status int, pattern, param string) {
	t.Helper()
	s := newServer(t, fhirhttp.Origin{})
	for _, p := range []string{"/fhir/$export", "/fhir/:type/$export", "/fhir/:type/:id"} {
		s.GET(p, func(c echo.Context) error {
			pattern, param = c.Path(), c.Param("id")
			return nil
		})
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL = u
	return s.do(r).Code, pattern, param
}

func TestOnePathHasOneSpelling(t *testing.T) {
	for path, want := range map[string]string{
		"/fhir/$export":            "/fhir/$export",
		"/fhir/%24export":          "/fhir/$export",
		"/%66hir/%24%65xport":      "/fhir/$export",
		"/fhir/$export/":           "/fhir/$export",
		"/fhir/Patient/%24export":  "/fhir/:type/$export",
		"/fhir/Patient/a%2Db":      "/fhir/:type/:id a-b",
		"/fhir/Patient/a%2fb":      "/fhir/:type/:id a%2Fb",
		"/fhir/Patient/a%252fb":    "/fhir/:type/:id a%252fb",
		"/fhir/Patient/%2524x":     "/fhir/:type/:id %2524x",
		"/fhir/Patient/%C3%a9":     "/fhir/:type/:id %C3%A9",
		"/fhir/Patient%2F$export":  "",
		"/fhir%2F$export":          "",
		"/fhir/Patient/a..b":       "/fhir/:type/:id a..b",
		"/FHIR/$export":            "",
		"/fhir/%2524export":        "",
		"/fhir/Patient/1%3F_x=1":   "/fhir/:type/:id 1%3F_x=1",
		"/fhir/Patient/" + long():  "/fhir/:type/:id " + long(),
		"/fhir/Patient/1%20%7c%22": "/fhir/:type/:id 1%20%7C%22",
	} {
		status, pattern, param := route(t, path)
		if got := strings.TrimSpace(pattern + " " + param); got != want || (want == "") != (status == 404) {
			t.Errorf("%s leads to %d %q, want %q", path, status, got, want)
		}
	}
}

func long() string { return strings.Repeat("x", 10_000) }

func TestAPathThatClimbsIsRefused(t *testing.T) {
	for _, path := range []string{
		"/fhir/../x", "/fhir/%2e%2e/x", "/fhir/.%2E", "/fhir/./Patient/1", "/fhir/Patient/..", "/fhir/Patient/..%2f..%2fetc",
		"/fhir/Patient/..%5c1", "/fhir/Patient/%00", "/fhir/Patient/a%0d%0aX:1", "/fhir/Patient/%7f",
	} {
		if status, _, _ := route(t, path); status != 400 {
			t.Errorf("%s: %d", path, status)
		}
	}
}
