package fhirhttp_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"

	"github.com/labstack/echo/v4"
)

// web serves over real HTTP with CORS for the origins. Every route refuses, as
// it does before a client has said who it is.
func web(t *testing.T, origins ...string) *httptest.Server {
	t.Helper()
	e := echo.New()
	fhirhttp.Install(e, fhirhttp.Config{
		CORS: fhirhttp.CORS{Origins: origins}, Now: time.Now,
		NewID: func() string { return "made-anew" }, Log: slog.New(slog.DiscardHandler),
	})
	e.Any("/*", func(echo.Context) error { return fhir.Errorf(fhir.Unauthorized, "who are you?") })
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s
}

// ask sends a request from a page of the origin.
func ask(t *testing.T, s *httptest.Server, method, path, origin string) (status int, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if method == http.MethodOptions {
		r.Header.Set("Access-Control-Request-Method", http.MethodGet)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header
}

const app = "https://app.example.org"

func TestWithoutCORSNoAnswerHasAWordOfIt(t *testing.T) {
	s := web(t)
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		for _, path := range []string{"/fhir/metadata", "/fhir/Patient/1", "/fhir/.well-known/smart-configuration"} {
			_, header := ask(t, s, method, path, app)
			for name := range header {
				if strings.HasPrefix(name, "Access-Control") || name == "Vary" {
					t.Errorf("%s %s has %s", method, path, name)
				}
			}
		}
	}
}

func TestOriginsReadWhatTheyMay(t *testing.T) {
	const other = "https://evil.example.org"
	for _, c := range []struct{ configured, path, origin, want string }{
		{app, "/fhir/Patient/1", app, app},
		{app, "/fhir/Patient/1", other, ""},
		{app, "/fhir/Patient/1", "", ""},
		{app, "/fhir/Patient/1", "null", ""},
		{app, "/fhir/metadata", other, "*"},
		{app, "/fhir/.well-known/smart-configuration", other, "*"},
		{app, "/fhir/Patient/metadata", other, ""},
		{"*", "/fhir/Patient/1", other, "*"},
	} {
		status, h := ask(t, web(t, c.configured), http.MethodGet, c.path, c.origin)
		if got := h.Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
		if exposed := h.Get("Access-Control-Expose-Headers"); c.want != "" != strings.Contains(exposed, "Content-Location") {
			t.Errorf("%+v: exposes %q", c, exposed)
		}
		if status != http.StatusUnauthorized || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: %d %v", c, status, h)
		}
	}
}

func TestAPreflightNeedsNoAuthentication(t *testing.T) {
	s := web(t, app, "http://localhost:3000")
	for origin, allowed := range map[string]bool{app: true, "http://localhost:3000": true, "http://localhost:3001": false} {
		status, h := ask(t, s, http.MethodOptions, "/fhir/$export", origin)
		if status != http.StatusNoContent || allowed != (h.Get("Access-Control-Allow-Origin") == origin) {
			t.Errorf("%s: %d %v", origin, status, h)
		}
		if allowed && (!strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE") ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization, Client_id, Client_secret, ") ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), ", X-Oneup-User-Id, ") || h.Get("Access-Control-Max-Age") == "") {
			t.Errorf("%s: %v", origin, h)
		}
	}
}

func TestOriginsAreChecked(t *testing.T) {
	for origin, ok := range map[string]bool{
		"*": true, app: true, "http://localhost:3000": true, "http://[::1]:80": true,
		"": false, "app.example.org": false, app + "/": false, app + "/x": false, "https://App.example.org": false,
		"https://a b": false, "null": false, app + "?x": false, "https://*.example.org": false,
	} {
		err := fhirhttp.CORS{Origins: []string{origin}}.Check()
		if (err == nil) != ok || err != nil && errors.Unwrap(err) != nil {
			t.Errorf("%q: %v", origin, err)
		}
	}
}
