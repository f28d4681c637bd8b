package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"

	"github.com/labstack/echo/v4"
)

// registry is a file of clients.
type registry struct {
	*testing.T
	path string
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	return &registry{t, filepath.Join(t.TempDir(), "clients.json")}
}

// client runs "firebreak client" with words, and gives what it prints.
func (r *registry) client(words ...string) string {
	r.Helper()
	args := append([]string{"client", words[0], "--clients", r.path}, words[1:]...)
	code, out, wrong := program(r.T, args...)
	if code != exitOK {
		r.Fatalf("%q: %s", args, wrong)
	}
	return out
}

// headers are the credentials that "firebreak client" prints, as pairs.
func (r *registry) headers(words ...string) []string {
	r.Helper()
	var pairs []string
	for line := range strings.Lines(r.client(words...)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			r.Fatalf("%q", line)
		}
		pairs = append(pairs, name, value)
	}
	return pairs
}

// onlyClients are options of a server that takes header credentials alone.
func (r *registry) onlyClients(change ...func(*serving)) serving {
	o := onData(r.TempDir())
	o.Audit, o.authentication = "off", authentication{Auth: "clients", Clients: r.path, PurgeScopeVendor: []string{"kodjin"}}
	for _, f := range change {
		f(&o)
	}
	return o
}

func with(pairs []string, more ...string) []string { return append(slices.Clone(pairs), more...) }

func TestEveryRouteTakesHeaderCredentials(t *testing.T) {
	r := newRegistry(t)
	app := r.headers("add", "--id", "app", "--scope", everything, "--scope", "system/kodjin/$patient-purge")
	s := newSite(t, r.onlyClients())
	param := regexp.MustCompile(`:\w+`)
	asked := 0
	for _, route := range s.http.Handler.(*echo.Echo).Routes() {
		if !strings.HasPrefix(route.Path, "/fhir") || strings.Contains(route.Path, "metadata") || strings.Contains(route.Path, ".well-known") || strings.Contains(route.Path, "*") {
			continue
		}
		url := strings.TrimSuffix(s.Base(), "/fhir") + param.ReplaceAllStringFunc(route.Path, func(name string) string {
			return map[string]string{":type": "Patient"}[name] + map[bool]string{true: "x1"}[name != ":type"]
		})
		if a := s.do(route.Method, url, ""); a.status != 401 {
			t.Errorf("%s %s without credentials: %d", route.Method, route.Path, a.status)
		}
		if a := s.do(route.Method, url, "", app...); a.status == 401 || a.status == 403 || a.status == 429 {
			t.Errorf("%s %s: %d %s", route.Method, route.Path, a.status, a.body)
		}
		asked++
	}
	if asked < 15 {
		t.Errorf("%d routes were asked", asked)
	}
}

func TestAnExportOfAClientWithHeaderCredentialsIsItsUsersAlone(t *testing.T) {
	r := newRegistry(t)
	app := r.headers("add", "--id", "app", "--user", "u1", "--user", "u2", "--scope", everything)
	other := r.headers("add", "--id", "other", "--scope", everything)
	s := newSite(t, r.onlyClients())
	s.work()
	s.is("put", s.do(http.MethodPut, "/Patient/p", `{"resourceType":"Patient","id":"p"}`, app...), 201)
	u1 := with(app, "x-oneup-user-id", "u1")
	status := s.kickoff("/$export", u1...)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if a := s.get(status, u1...); a.status != 202 {
			s.is("the owner", a, 200)
			break
		}
	}
	for name, header := range map[string][]string{"another user": with(app, "x-oneup-user-id", "u2"), "the client alone": app, "another client": other} {
		s.is(name, s.get(status, header...), 404)
	}
	s.is("a stranger", s.get(status, with(app, "x-oneup-user-id", "u3")...), 403)
}

func TestHeaderCredentialsAndTokensGoSideBySide(t *testing.T) {
	r := newRegistry(t)
	app := r.headers("add", "--id", "app", "--tenant", "a", "--user", "u1", "--scope", "system/Patient.cruds")
	r.client("add", "--id", "web", "--tenant", "a", "--method", "bearer")
	g := newGuarded(t, withTenants, func(o *serving) { o.Clients = r.path })
	token := func(client string) string {
		return g.issuer.Token(authtest.Claims{Client: client, Tenant: "a", Scope: everything})
	}

	g.want("headers", g.do(call{method: "PUT", path: "/t/a/fhir/Patient/p", body: aResource("Patient", "p", "x"), header: app}), 201)
	g.want("a token", g.get("/t/a/fhir/Patient/p", token("unlisted")), 200)
	g.want("a token of a client that is listed for it", g.get("/t/a/fhir/Patient/p", token("web")), 200)
	g.lacks("headers, without the scope", g.get("/t/a/fhir/Observation/x", "", app...), "system/Observation.r")
	g.want("another user", g.get("/t/a/fhir/Patient/p", "", with(app, "x-oneup-user-id", "u2")...), 403)
	g.want("both", g.get("/t/a/fhir/Patient/p", token("unlisted"), app...), 400)
	g.want("a token with a user", g.get("/t/a/fhir/Patient/p", token("unlisted"), "x-oneup-user-id", "u1"), 400)
	g.want("nothing", g.get("/t/a/fhir/Patient/p", ""), 401)
	for _, base := range []string{"/fhir", "/t/b/fhir"} {
		mine, theirs := g.get(base+"/Patient/p", "", app...), g.get(base+"/Patient/p", token("web"))
		g.want("another tenant's", mine, 403)
		if strings.ReplaceAll(mine.body, "client", "token") != theirs.body {
			t.Errorf("%s\n%s", mine.body, theirs.body)
		}
	}
	if r := g.get("/t/a/fhir/Patient/p", token("app")); r.status != 401 || !strings.Contains(r.body, "header credentials") {
		t.Errorf("a token of a client that is listed for headers: %d %s", r.status, r.body)
	}
	wrong := g.get("/t/a/fhir/Patient/p", "", "client_id", "app", "client_secret", "wrong").said()
	for _, id := range []string{"web", "unknown"} {
		if got := g.get("/t/a/fhir/Patient/p", "", "client_id", id, "client_secret", app[3]).said(); got != wrong {
			t.Errorf("%s: %s\na wrong secret: %s", id, got, wrong)
		}
	}
	g.want("the SMART configuration", g.get("/fhir"+smartPath, ""), 200)
	if r := g.get("/fhir/metadata", ""); !strings.Contains(r.body, "SMART-on-FHIR") || !strings.Contains(r.body, "client_id") {
		t.Error("the CapabilityStatement lacks one of both")
	}
}

func TestAServerForClientsAlonePromisesNoTokens(t *testing.T) {
	r := newRegistry(t)
	r.client("add", "--scope", everything)
	s := newSite(t, r.onlyClients())
	s.is("the SMART configuration", s.get(smartPath), 404)
	if body := s.get("/metadata").body; strings.Contains(body, "SMART") || !strings.Contains(body, "client_id") {
		t.Error("the CapabilityStatement speaks of tokens, or not of headers")
	}
	a := s.get("/Patient/p", "Authorization", "Bearer a.b.c")
	s.is("a token", a, 401)
	if got := a.header.Get("WWW-Authenticate"); strings.Contains(got, "Bearer") || got == "" {
		t.Errorf("the challenge is %q", got)
	}
}

func TestTheNameOfTheServerIsNoClients(t *testing.T) {
	r := newRegistry(t)
	hash := auth.HashSecret("s", [16]byte{})
	text, err := auth.Clients{"firebreak": {ID: "firebreak", Tenant: "default", Method: auth.ByHeader, SecretHash: hash}}.Format()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, r.onlyClients())
	s.is("firebreak", s.get("/Patient/p", "client_id", "firebreak", "client_secret", "s"), 403)
}

func TestFailuresAreLimitedByTheAddressBehindATrustedProxy(t *testing.T) {
	r := newRegistry(t)
	app := r.headers("add", "--id", "app", "--scope", everything)
	s := newSite(t, r.onlyClients(func(o *serving) { o.TrustedProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }))
	for range 10 {
		s.is("a guess", s.get("/Patient/p", "client_id", "app", "client_secret", "guess", "X-Forwarded-For", "203.0.113.9"), 401)
	}
	a := s.get("/Patient/p", with(app, "X-Forwarded-For", "203.0.113.9")...)
	s.is("one too many", a, 429)
	if got := a.header.Get("Retry-After"); got != "6" && got != "5" {
		t.Errorf("Retry-After: %s", got)
	}
	s.is("the client elsewhere", s.get("/Patient/p", with(app, "X-Forwarded-For", "198.51.100.1")...), 404)
}

func TestARotationAndARemovalCountWithoutARestart(t *testing.T) {
	r := newRegistry(t)
	old := r.headers("add", "--id", "app", "--scope", everything)
	s := newSite(t, r.onlyClients())
	refused := func(what string, header []string) {
		t.Helper()
		began := time.Now()
		for s.get("/Patient/p", header...).status == 404 {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%s is taken", what)
			}
		}
		if took := time.Since(began); took > 10*time.Second { // two, where nothing else runs
			t.Errorf("%s is taken for %s", what, took)
		}
	}
	s.is("before", s.get("/Patient/p", old...), 404)
	now := r.headers("rotate", "--id", "app")
	refused("the old secret", old)
	s.is("the new secret", s.get("/Patient/p", now...), 404)
	r.client("remove", "--id", "app")
	refused("the removed client", now)
}

func TestSecretsAreNowhereButInTheAnswerOfTheCommand(t *testing.T) {
	r, c, log := newRegistry(t), newCollector(t), &lines{}
	app := r.headers("add", "--id", "app", "--user", "canary-user", "--scope", everything)
	o := r.onlyClients(func(o *serving) {
		o.Audit, o.OTLPEndpoint, o.OperatorListen = "on", c.URL, "127.0.0.1:0"
	})
	srv, err := NewServer(t.Context(), o, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	s := runSite(t, srv)
	var said bytes.Buffer
	send := func(header ...string) {
		for _, url := range []string{"/Patient/p", "/$export", "/nothing/at/all"} {
			a := s.get(url, append(header, "Prefer", "respond-async")...)
			fmt.Fprintln(&said, a.String())
		}
	}
	send(with(app, "x-oneup-user-id", "canary-user")...)
	send(with(app, "x-oneup-user-id", "canary-stranger")...)
	send("client_id", "app", "client_secret", "canary-wrong")
	send("client_id", "canary-id", "client_secret", app[3], "Authorization", "Bearer canary-token")
	fmt.Fprintln(&said, s.do(http.MethodGet, s.operatorURL("/metrics"), "").body)
	said.WriteString(r.client("list"))
	s.down()
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.got.String(), "GET /fhir/:type/:id") || !strings.Contains(log.String(), "/fhir/:type/:id") {
		t.Error("there are no traces, or there is no log")
	}
	for place, text := range map[string]string{"answers, metrics or list": strings.ReplaceAll(said.String(), "canary-user", ""), "traces": c.got.String(), "log": log.String(), "file": strings.ReplaceAll(string(text), "canary-user", "")} {
		for _, never := range []string{app[3], "canary"} {
			if strings.Contains(text, never) {
				t.Errorf("%s: %s", place, never)
			}
		}
	}
	if strings.Contains(said.String(), "argon2id") || strings.Contains(log.String(), "argon2id") {
		t.Error("a hash is shown")
	}
}
