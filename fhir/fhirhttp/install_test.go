package fhirhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"

	"github.com/labstack/echo/v4"
)

// server is an Echo with Install, and what it logged.
type server struct {
	*echo.Echo
	log *bytes.Buffer
}

func newServer(t *testing.T, o fhirhttp.Origin) server {
	t.Helper()
	s := server{Echo: echo.New(), log: new(bytes.Buffer)}
	fhirhttp.Install(s.Echo, fhirhttp.Config{
		Origin: o,
		NewID:  func() string { return "made-anew" },
		Now:    func() time.Time { return time.Unix(0, 0) },
		Log:    slog.New(slog.NewJSONHandler(s.log, nil)),
	})
	return s
}

// answers gives each request of the path the same error, or an empty 200.
func (s server) answers(path string, err error) {
	s.Any(path, func(c echo.Context) error {
		if err != nil {
			return err
		}
		return fhirhttp.JSON(c, http.StatusOK, []byte(`{}`))
	})
}

func (s server) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (s server) get(target string) *httptest.ResponseRecorder {
	return s.do(httptest.NewRequest(http.MethodGet, target, nil))
}

// issue is the one issue of an OperationOutcome that must be the answer.
type issue struct{ Severity, Code, Diagnostics string }

func outcomeOf(t *testing.T, w *httptest.ResponseRecorder) issue {
	t.Helper()
	var o struct {
		ResourceType string
		Issue        []issue
	}
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 {
		t.Fatalf("%d %q is no OperationOutcome: %v", w.Code, w.Body, err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/fhir+json" {
		t.Errorf("Content-Type of an OperationOutcome is %q", got)
	}
	return o.Issue[0]
}

func TestEveryKindOfErrorHasItsStatusAndAnOutcome(t *testing.T) {
	for k, want := range map[fhir.Kind]int{
		fhir.Internal: 500, fhir.Invalid: 400, fhir.NotFound: 404, fhir.Gone: 410, fhir.Conflict: 409,
		fhir.Precondition: 412, fhir.Forbidden: 403, fhir.Unauthorized: 401, fhir.NotAllowed: 405,
		fhir.MediaType: 415, fhir.NotAccept: 406, fhir.TooLarge: 413, fhir.Unprocessable: 422,
		fhir.Throttled: 429, fhir.Transient: 503, fhir.Unsupported: 400,
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.answers("/x", fhir.Errorf(k, "what is wrong"))
		w := s.get("/x")
		if got := outcomeOf(t, w); w.Code != want || k != fhir.Internal && got.Diagnostics != "what is wrong" {
			t.Errorf("kind %d: status %d, %+v; want %d", k, w.Code, got, want)
		}
		if waits := want == 429 || want == 503; waits != (w.Header().Get("Retry-After") != "") {
			t.Errorf("status %d: Retry-After is %q", want, w.Header().Get("Retry-After"))
		}
		if challenged := want == 401; challenged != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("status %d: WWW-Authenticate is %q", want, w.Header().Get("WWW-Authenticate"))
		}
	}
}

func TestAHandlersOwnRetryAfterStays(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.GET("/x", func(c echo.Context) error {
		c.Response().Header().Set("Retry-After", "77")
		return fhir.Errorf(fhir.Throttled, "later")
	})
	if got := s.get("/x").Header().Get("Retry-After"); got != "77" {
		t.Errorf("Retry-After is %q", got)
	}
}

func TestAnInternalErrorIsLoggedAndNotShown(t *testing.T) {
	for name, err := range map[string]error{
		"plain":    errors.New("secret cause"),
		"kind":     fhir.Errorf(fhir.Internal, "secret cause"),
		"wrapped":  fhir.AsError(errors.New("secret cause")),
		"of echo":  echo.NewHTTPError(500, "secret cause"),
		"teapot":   echo.NewHTTPError(418, "secret cause"),
		"retrying": fhir.Errorf(fhir.Transient, "try again").Because(errors.New("secret cause")),
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.answers("/x", err)
		w := s.get("/x")
		if outcomeOf(t, w); w.Code < 500 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for _, want := range []string{"secret cause", `"request":"made-anew"`, `"route":"/x"`, `"status":50`} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("%s: no %s in the log %s", name, want, s.log)
			}
		}
	}
}

func TestAPanicIsAnInternalErrorAndItsStackIsLogged(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.GET("/x", func(echo.Context) error { panic("secret value") })
	w := s.get("/x")
	if got := outcomeOf(t, w); w.Code != 500 || got.Severity != "fatal" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %+v", w.Code, got)
	}
	if !strings.Contains(s.log.String(), "install_test.go") {
		t.Errorf("no stack in the log: %s", s.log)
	}
}

func TestEchosOwnErrorsAreOutcomesInOurWords(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.GET("/x", func(echo.Context) error { return nil })
	s.GET("/bad", func(echo.Context) error { return echo.NewHTTPError(400, "secret") })
	if w := s.get("/nowhere"); w.Code != 404 || outcomeOf(t, w).Code != "not-found" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := s.do(httptest.NewRequest(http.MethodDelete, "/x", nil))
	if got := outcomeOf(t, w); w.Code != 405 || got.Code != "not-supported" || !strings.Contains(w.Header().Get("Allow"), "GET") {
		t.Errorf("%d %+v %v", w.Code, got, w.Header())
	}
	if w := s.get("/bad"); w.Code != 400 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHeadGetsTheHeadersOfAnErrorOnly(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.answers("/x", fhir.Errorf(fhir.NotFound, "no"))
	w := s.do(httptest.NewRequest(http.MethodHead, "/x", nil))
	if w.Code != 404 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
}

// The error after the answer has begun, and the panic that http offers for
// this, both cut the connection: the client sees that the answer is not whole.
func TestABrokenAnswerIsNotTakenForAWholeOne(t *testing.T) {
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("disk gone") },
		"abort": func() error { panic(http.ErrAbortHandler) },
		"panic": func() error { panic("bug") },
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.GET("/x", func(c echo.Context) error {
			c.Response().WriteHeader(200)
			_, _ = c.Response().Write([]byte("first line\n"))
			c.Response().Flush()
			return end()
		})
		web := httptest.NewServer(s)
		res, err := http.Get(web.URL + "/x")
		if err == nil {
			_, err = new(bytes.Buffer).ReadFrom(res.Body)
			_ = res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the client read to a clean end", name)
		}
		web.Close()
	}
}

func TestARequestKeepsItsIDIfItIsUsable(t *testing.T) {
	for in, want := range map[string]string{
		"": "made-anew", "a.B_c-9": "a.B_c-9", "a b": "made-anew", "a/b": "made-anew", "\"}": "made-anew",
		strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): "made-anew",
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.answers("/x", nil)
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Header.Set("X-Request-Id", in)
		if got := s.do(r).Header().Get("X-Request-Id"); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestTheLogNamesTheRouteAndNeverWhatWasAskedFor(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.answers("/fhir/:type/:id", nil)
	s.get("/fhir/Patient/secret?name=secret")
	s.get("/other/secret?name=secret")
	s.get("/fhir/secret/%2e%2e")
	if got := s.log.String(); strings.Contains(got, "secret") || !strings.Contains(got, `"route":"/fhir/:type/:id","status":200,"bytes":2`) {
		t.Errorf("logged %s", got)
	}
	if n := strings.Count(s.log.String(), `"msg":"request"`); n != 3 {
		t.Errorf("%d lines for 3 requests: %s", n, s.log)
	}
}

func TestBase(t *testing.T) {
	proxy := fhirhttp.Origin{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	type header = map[string]string
	for name, c := range map[string]struct {
		origin fhirhttp.Origin
		peer   string
		host   string
		header header
		want   string
	}{
		"the request's own":    {proxy, "192.0.2.1:9", "a.example:8080", nil, "http://a.example:8080/fhir"},
		"IPv6":                 {proxy, "192.0.2.1:9", "[::1]:8080", nil, "http://[::1]:8080/fhir"},
		"configured":           {fhirhttp.Origin{PublicBase: "https://p.example/x/fhir"}, "10.0.0.1:9", "a", header{"X-Forwarded-Host": "b"}, "https://p.example/x/fhir"},
		"not from anyone":      {proxy, "192.0.2.1:9", "a", header{"X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "host=evil"}, "http://a/fhir"},
		"nobody is trusted":    {fhirhttp.Origin{}, "127.0.0.1:9", "a", header{"X-Forwarded-Host": "evil"}, "http://a/fhir"},
		"from a proxy":         {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "b.example", "X-Forwarded-Proto": "HTTPS", "X-Forwarded-Prefix": "/ehr/"}, "https://b.example/ehr/fhir"},
		"from a mapped IPv4":   {proxy, "[::ffff:10.1.2.3]:9", "a", header{"X-Forwarded-Host": "b"}, "http://b/fhir"},
		"from IPv6":            {proxy, "[::1]:9", "a", header{"X-Forwarded-Host": "b"}, "http://b/fhir"},
		"the nearest proxy's":  {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "evil, b", "X-Forwarded-Proto": "http, https"}, "https://b/fhir"},
		"a port":               {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "b", "X-Forwarded-Port": "8443", "X-Forwarded-Proto": "https"}, "https://b:8443/fhir"},
		"the usual port":       {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "b", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"}, "https://b/fhir"},
		"the host has a port":  {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "b:1", "X-Forwarded-Port": "2"}, "http://b:1/fhir"},
		"Forwarded":            {proxy, "10.1.2.3:9", "a", header{"Forwarded": `for=1.2.3.4;host=evil, for="[::1]";Host="b.example:99";proto=https`}, "https://b.example:99/fhir"},
		"X-Forwarded is first": {proxy, "10.1.2.3:9", "a", header{"Forwarded": "host=evil", "X-Forwarded-Host": "b"}, "http://b/fhir"},
		"junk from a proxy":    {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Host": "b/<x>", "X-Forwarded-Proto": "javascript", "X-Forwarded-Port": "99999", "X-Forwarded-Prefix": "/a/../b"}, "http://a/fhir"},
		"a prefix of slashes":  {proxy, "10.1.2.3:9", "a", header{"X-Forwarded-Prefix": "//evil.example"}, "http://a/fhir"},
		"a unix socket":        {proxy, "@", "a", header{"X-Forwarded-Host": "evil"}, "http://a/fhir"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.origin)
			var got string
			s.GET("/x", func(ec echo.Context) error { got = fhirhttp.Base(ec); return nil })
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			r.Host, r.RemoteAddr = c.host, c.peer
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			if s.do(r); got != c.want {
				t.Errorf("base is %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheAddressOfAClientIsTheLastThatNoTrustedProxyHas(t *testing.T) {
	proxy := fhirhttp.Origin{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	for name, c := range map[string]struct {
		peer   string
		header []string // name, value, …
		want   string
	}{
		"the peer":                  {"192.0.2.1:9", nil, "192.0.2.1"},
		"a peer that claims":        {"192.0.2.1:9", []string{"X-Forwarded-For", "198.51.100.1"}, "192.0.2.1"},
		"a peer that claims trust":  {"192.0.2.1:9", []string{"X-Forwarded-For", "10.0.0.1"}, "192.0.2.1"},
		"a mapped IPv4":             {"[::ffff:192.0.2.1]:9", nil, "192.0.2.1"},
		"before a proxy":            {"10.1.2.3:9", []string{"X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
		"what the client claimed":   {"10.1.2.3:9", []string{"X-Forwarded-For", "evil, 203.0.113.1, 198.51.100.1"}, "198.51.100.1"},
		"before two proxies":        {"10.1.2.3:9", []string{"X-Forwarded-For", "203.0.113.1, 198.51.100.1, 10.0.0.9"}, "198.51.100.1"},
		"in two headers":            {"10.1.2.3:9", []string{"X-Forwarded-For", "203.0.113.1", "X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
		"with a port":               {"10.1.2.3:9", []string{"X-Forwarded-For", "198.51.100.1:443"}, "198.51.100.1"},
		"IPv6":                      {"[::1]:9", []string{"X-Forwarded-For", "2001:db8::1"}, "2001:db8::1"},
		"IPv6 with a port":          {"[::1]:9", []string{"X-Forwarded-For", "[2001:db8::1]:443"}, "2001:db8::1"},
		"Forwarded":                 {"10.1.2.3:9", []string{"Forwarded", `for=203.0.113.1, for="[2001:db8::1]:4711";host=x`}, "2001:db8::1"},
		"Forwarded without a for":   {"10.1.2.3:9", []string{"Forwarded", `for=203.0.113.1, host=x`}, "10.1.2.3"},
		"X-Forwarded is first":      {"10.1.2.3:9", []string{"Forwarded", "for=203.0.113.1", "X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
		"a proxy that says nothing": {"10.1.2.3:9", nil, "10.1.2.3"},
		"a proxy that says junk":    {"10.1.2.3:9", []string{"X-Forwarded-For", "203.0.113.1, unknown"}, "10.1.2.3"},
		"proxies all the way":       {"10.1.2.3:9", []string{"X-Forwarded-For", "10.0.0.8, 10.0.0.9"}, "10.0.0.8"},
		"a unix socket":             {"@", []string{"X-Forwarded-For", "198.51.100.1"}, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.RemoteAddr = c.peer
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Add(c.header[i], c.header[i+1])
		}
		if got := proxy.ClientAddr(r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// delayed is an error that says when to try again.
type delayed struct{ error }

func (delayed) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func (d delayed) Unwrap() error { return d.error }

func TestAnErrorMaySayWhenToTryAgain(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.answers("/x", fmt.Errorf("wrapped: %w", delayed{fhir.Errorf(fhir.Throttled, "too often")}))
	w := s.do(httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Code != 429 || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), "too often") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestARequestWithoutAHostGetsTheAddressItCameTo(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	var got string
	s.GET("/x", func(c echo.Context) error { got = fhirhttp.Base(c); return nil })
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	r.Host = ""
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	s.do(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at)))
	if got != "http://127.0.0.1:8080/fhir" {
		t.Errorf("base is %q", got)
	}
}

func TestAHostThatIsNoneIsRefused(t *testing.T) {
	for _, host := range []string{
		"", "a b", "a/b", "a@b", "a?b", "a#b", "a\"b", "<script>", "a:b", "a:0", "a:65536", "[::1", "[a]", "[::1%eth0]", "::1", "é", ":80",
		strings.Repeat("a", 256),
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.answers("/x", nil)
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Host = host
		if w := s.do(r); w.Code != 400 || host != "" && len(host) > 3 && strings.Contains(w.Body.String(), host) {
			t.Errorf("Host %q: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestAPublicBaseIsChecked(t *testing.T) {
	for base, ok := range map[string]bool{
		"": true, "https://a.example/fhir": true, "http://[::1]:80/x/fhir": true,
		"https://a.example": false, "https://a.example/fhir/": false, "ftp://a/fhir": false, "a.example/fhir": false,
		"https://u@a/fhir": false, "https://a/fhir?x": false, "https://a/fhir#x": false, "https://a b/fhir": false, "https:///fhir": false,
	} {
		if err := (fhirhttp.Origin{PublicBase: base}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}
