package fhirhttp_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/fhirhttp"

	"github.com/labstack/echo/v4"
)

// newTenants is a server with the tenants a, b and a.b, which answers with the
// tenant, the base and the id of each resource that is asked for.
func newTenants(o fhirhttp.Origin) server {
	s := server{Echo: echo.New()}
	fhirhttp.Install(s.Echo, fhirhttp.Config{
		Origin: o, NewID: func() string { return "id" }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Tenants: func(name string) bool { return name == "a" || name == "b" || name == "a.b" },
	})
	show := func(c echo.Context) error {
		return c.String(http.StatusOK, fmt.Sprintf("%q %s %s", fhirhttp.TenantOf(c.Request().Context()), fhirhttp.Base(c), c.Param("id")))
	}
	s.GET("/fhir/Patient/:id", show)
	s.GET("/fhir/$export", show)
	s.GET("/fhir", show)
	s.GET("/healthz", show)
	return s
}

func TestEachTenantHasTheSameRoutesUnderABaseOfItsOwn(t *testing.T) {
	s := newTenants(fhirhttp.Origin{})
	for path, want := range map[string]string{
		"/fhir/Patient/p":                `"" http://example.com/fhir p`,
		"/t/a/fhir/Patient/p":            `"a" http://example.com/t/a/fhir p`,
		"/t/b/fhir/Patient/p":            `"b" http://example.com/t/b/fhir p`,
		"/t/a.b/fhir/Patient/p":          `"a.b" http://example.com/t/a.b/fhir p`,
		"/t/a/fhir":                      `"a" http://example.com/t/a/fhir `,
		"/t/a/fhir/":                     `"a" http://example.com/t/a/fhir `,
		"/t/a/fhir/Patient/p/":           `"a" http://example.com/t/a/fhir p`,
		"/t/a/fhir/%24export":            `"a" http://example.com/t/a/fhir `,
		"/t/a/fhir/$export?_type=/t/b/":  `"a" http://example.com/t/a/fhir `,
		"/t/%61/fhir/Patient/%70":        `"a" http://example.com/t/a/fhir p`,
		"/%74/a/%66hir/Patient/p":        `"a" http://example.com/t/a/fhir p`,
		"/t/a%2Eb/fhir/Patient/p":        `"a.b" http://example.com/t/a.b/fhir p`,
		"/t/a/fhir/Patient/p%2F..b":      `"a" http://example.com/t/a/fhir p%2F..b`,
		"/t/a/fhir/Patient/%2Ft%2Fb%2Fx": `"a" http://example.com/t/a/fhir %2Ft%2Fb%2Fx`,
		"/t/a/fhir/Patient/x%252e":       `"a" http://example.com/t/a/fhir x%252e`,
	} {
		w := s.get(path)
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}

func TestNothingButATenantsBaseLeadsToATenant(t *testing.T) {
	s := newTenants(fhirhttp.Origin{})
	for path, status := range map[string]int{
		"/t/c/fhir/Patient/p": 404, "/t/c/fhir": 404, "/t/c/fhir/metadata": 404, "/t/c": 404,
		"/t/default/fhir/Patient/p": 404, "/t//fhir/Patient/p": 404, "/t/A/fhir/Patient/p": 404, "/T/a/fhir/Patient/p": 404,
		"/t": 404, "/t/": 404, "/t/a": 404, "/t/a/": 404, "/t/a/healthz": 404, "/t/a/Patient/p": 404,
		"/t/a/fhirx": 404, "/t/a/fhir2/Patient/p": 404, "/t/a/FHIR/Patient/p": 404, "/t/a//fhir/Patient/p": 404, "//t/a/fhir/Patient/p": 404,
		"/t/a%2Ffhir/Patient/p": 404, "/t%2Fa/fhir/Patient/p": 404, "/t/a/fhir%2FPatient/p": 404, "/t/%2561/fhir/Patient/p": 404,
		"/t/a/t/b/fhir/Patient/p": 404, "/t/a/fhir/t/b/fhir/Patient/p": 404, "/fhir/t/a/fhir/Patient/p": 404, "/x/t/a/fhir/Patient/p": 404,
		"/t/a;b/fhir/Patient/p": 404, "/t/a%20/fhir/Patient/p": 404, "/t/a,b/fhir/Patient/p": 404,
		"/t/a/../b/fhir/Patient/p": 400, "/t/a/%2e%2e/b/fhir/Patient/p": 400, "/t/a/.%2E/b/fhir/Patient/p": 400,
		"/t/../fhir/Patient/p": 400, "/t/a/../../fhir/Patient/p": 400, "/t/a/fhir/../../b/fhir/Patient/p": 400, "/t/./a/fhir/Patient/p": 400,
		"/t/a/fhir/..%2F..%2Fb/fhir/Patient/p": 400, "/t/a/fhir/..%5C..%5Cb": 400, "/t/a%00/fhir/Patient/p": 400, "/t/a%0A/fhir": 400,
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			w := s.do(httptest.NewRequest(method, path, nil))
			if w.Code != status || method == "GET" && strings.Contains(w.Body.String(), "http://") {
				t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
			}
		}
	}
}

func TestAnUnknownTenantLooksTheSameWhateverIsAsked(t *testing.T) {
	s := newTenants(fhirhttp.Origin{})
	want := s.get("/t/c/fhir/Patient/p")
	for _, path := range []string{"/t/d/fhir", "/t/c/fhir/$export", "/t/c/fhir/metadata", "/t/c", "/t/c/x", "/nowhere"} {
		w := s.get(path)
		if w.Code != want.Code || w.Body.String() != want.Body.String() || fmt.Sprint(w.Header()) != fmt.Sprint(want.Header()) {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

func TestWithoutTenantsTheirPathsAreNowhere(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.answers("/fhir/x", nil)
	for path, status := range map[string]int{"/fhir/x": 200, "/t/a/fhir/x": 404, "/t/default/fhir/x": 404, "/t//fhir/x": 404} {
		if w := s.get(path); w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestTheTenantComesBehindThePublicBaseAndThePrefixOfAProxy(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's client is of it
	forwarded := map[string]string{"X-Forwarded-Host": "ehr.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/x"}
	for name, c := range map[string]struct {
		origin fhirhttp.Origin
		header map[string]string
		want   string // with %s for the tenant's part
	}{
		"the request":               {fhirhttp.Origin{}, nil, "http://example.com%s/fhir"},
		"an untrusted prefix":       {fhirhttp.Origin{}, forwarded, "http://example.com%s/fhir"},
		"a trusted prefix":          {fhirhttp.Origin{Trusted: trusted}, forwarded, "https://ehr.example.org/x%s/fhir"},
		"a prefix like a tenant":    {fhirhttp.Origin{Trusted: trusted}, map[string]string{"X-Forwarded-Prefix": "/t/b"}, "http://example.com/t/b%s/fhir"},
		"a prefix that climbs":      {fhirhttp.Origin{Trusted: trusted}, map[string]string{"X-Forwarded-Prefix": "/t/../b"}, "http://example.com%s/fhir"},
		"a public base":             {fhirhttp.Origin{PublicBase: "https://p.example/fhir"}, forwarded, "https://p.example%s/fhir"},
		"a public base with a path": {fhirhttp.Origin{PublicBase: "https://p.example/fhir/x/fhir", Trusted: trusted}, forwarded, "https://p.example/fhir/x%s/fhir"},
	} {
		s := newTenants(c.origin)
		for base, tenant := range map[string]string{"": "", "/t/a": "a", "/t/b": "b"} {
			r := httptest.NewRequest(http.MethodGet, base+"/fhir/Patient/p", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			want := fmt.Sprintf("%q "+c.want+" p", tenant, base)
			if w := s.do(r); w.Body.String() != want {
				t.Errorf("%s: %s, want %s", name, w.Body, want)
			}
		}
	}
}

func TestBesideTheBaseTenantsHaveTheSameAndErrorsAreMessages(t *testing.T) {
	s := server{Echo: echo.New()}
	fhirhttp.Install(s.Echo, fhirhttp.Config{
		NewID: func() string { return "id" }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Tenants: func(name string) bool { return name == "a" }, Beside: []string{"/r4"},
	})
	s.GET("/r4/x", func(c echo.Context) error {
		return c.String(http.StatusOK, fhirhttp.TenantOf(c.Request().Context())+" "+fhirhttp.Base(c))
	})
	for path, want := range map[string]string{"/r4/x": " http://example.com/fhir", "/t/a/r4/x": "a http://example.com/t/a/fhir", "/t/a/r4/%78/": "a http://example.com/t/a/fhir"} {
		if w := s.get(path); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	const message = `{"message":"there is nothing at this address"}`
	for path, beside := range map[string]bool{
		"/r4": true, "/r4/y": true, "/t/a/r4": true, "/t/a/r4/y": true, "/t/b/r4/x": true,
		"/r4x": false, "/fhir/r4": false, "/t/a/r4x": false, "/t/r4/x": false, "/t/a/x": false, "/fhir": false,
	} {
		w := s.get(path)
		if plain := w.Body.String() == message && w.Header().Get("Content-Type") == "application/json"; w.Code != 404 || plain != beside {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}
