package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"
	"firebreak/operations/audit"
	"firebreak/operations/fetch"

	"github.com/google/go-cmp/cmp"
)

// everything is a scope for all that there is.
const everything = "system/*.cruds"

// guarded is a server that takes the tokens of an issuer, and a client of it.
type guarded struct {
	*testing.T
	srv    *Server
	origin string // its URL, without a path
	issuer *authtest.Issuer
	client *http.Client
	engine func() // starts it
}

// newGuarded takes a server up. change may change its options.
func newGuarded(t *testing.T, change ...func(*serving)) *guarded {
	t.Helper()
	issuer := authtest.New(t)
	o := serving{
		storage: storage{Data: t.TempDir()}, Listen: "127.0.0.1:0", MaxResource: 1 << 20, Grace: 5 * time.Second, Audit: "off",
		authentication: authentication{
			Auth: "oidc", OIDCIssuer: issuer.URL, OIDCAudience: []string{authtest.Audience},
		},
	}
	for _, f := range change {
		f(&o)
	}
	g := &guarded{T: t, issuer: issuer, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var err error
	g.srv, err = NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
	g.must(err)
	g.origin = "http://" + g.srv.listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = g.srv.http.Serve(g.srv.listener) })
	g.engine = func() { running.Go(func() { g.srv.engine.Run(ctx) }) }
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.must(g.srv.http.Shutdown(context.Background()))
		stop()
		running.Wait()
		g.must(g.srv.Close())
	})
	return g
}

// withTenants is for tenants a and b.
func withTenants(o *serving) {
	o.Tenant, o.OIDCTenantClaim = []string{"a", "b"}, authtest.TenantClaim
}

func (g *guarded) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// token is one for a client alone.
func (g *guarded) token(client, scope string) string {
	return g.issuer.Token(authtest.Claims{Client: client, Scope: scope})
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// said is what a client could tell two replies apart by.
func (r reply) said() string {
	var b strings.Builder
	h := r.header.Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	fmt.Fprintln(&b, r.status)
	_ = h.Write(&b) // to memory
	return b.String() + r.body
}

// call is a request; its path is below the address of the server, or a URL.
type call struct {
	method, path, body string
	token              string // "": none
	header             []string
}

func (c call) String() string { return fmt.Sprintf("%s %s %q", c.method, c.path, c.header) }

func (g *guarded) send(c call) (reply, error) {
	if strings.HasPrefix(c.path, "/") {
		c.path = g.origin + c.path
	}
	r, err := http.NewRequestWithContext(context.Background(), c.method, c.path, strings.NewReader(c.body))
	if err != nil {
		return reply{}, err
	}
	if c.body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for pair := range slices.Chunk(c.header, 2) {
		r.Header.Add(pair[0], pair[1])
		if pair[0] == "Host" {
			r.Host = pair[1]
		}
	}
	res, err := g.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b)}, err
}

func (g *guarded) do(c call) reply {
	g.Helper()
	r, err := g.send(c)
	g.must(err)
	return r
}

func (g *guarded) get(path, token string, header ...string) reply {
	g.Helper()
	return g.do(call{method: "GET", path: path, token: token, header: header})
}

// aResource is one of the smallest, with some text.
func aResource(typ, id, text string) string {
	more := ""
	if typ == "Group" {
		more = `,"type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p"}}]`
	}
	if typ == "Observation" {
		more = `,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p"}`
	}
	return fmt.Sprintf(`{"resourceType":%q,"id":%q,"text":{"status":"generated","div":%q}%s}`, typ, id, text, more)
}

// put stores a resource below a base, "/fhir" or a tenant's.
func (g *guarded) put(base, typ, id, text, token string) {
	g.Helper()
	c := call{method: "PUT", path: base + "/" + typ + "/" + id, body: aResource(typ, id, text), token: token}
	g.want(c.String(), g.do(c), 201)
}

// want checks a status, and that an error is an OperationOutcome.
func (g *guarded) want(what string, r reply, status int) {
	g.Helper()
	if r.status != status {
		g.Errorf("%s: %d, want %d: %.300q", what, r.status, status, r.body)
		return
	}
	if status >= 400 && r.body != "" {
		if _, ok := diagnosticsOf(r); !ok {
			g.Errorf("%s: no OperationOutcome: %v %.300q", what, r.header, r.body)
		}
	}
}

func diagnosticsOf(r reply) (string, bool) {
	var o struct {
		ResourceType string
		Issue        []struct{ Diagnostics string }
	}
	if json.Unmarshal([]byte(r.body), &o) != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 {
		return "", false
	}
	return o.Issue[0].Diagnostics, r.header.Get("Content-Type") == "application/fhir+json"
}

// lacks checks that a reply refuses for want of a scope, which it names.
func (g *guarded) lacks(what string, r reply, scope string) {
	g.Helper()
	g.want(what, r, 403)
	said, _ := diagnosticsOf(r)
	challenge := r.header.Get("WWW-Authenticate")
	if challenge != `Bearer realm="firebreak", error="insufficient_scope", scope="`+scope+`"` || !strings.Contains(said, scope) {
		g.Errorf("%s: %q, %q; want the scope %s", what, challenge, said, scope)
	}
}

// exporting kicks off an export and returns where it is polled.
func (g *guarded) exporting(path, token string, header ...string) string {
	g.Helper()
	r := g.get(path, token, append([]string{"Prefer", "respond-async"}, header...)...)
	g.want(path, r, 202)
	return r.header.Get("Content-Location")
}

// ended polls until the answer is not "not yet".
func (g *guarded) ended(status, token string) reply {
	g.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if r := g.get(status, token); r.status != 202 { // a poll waits for a while by itself
			return r
		}
	}
	g.Fatal("the job does not end")
	return reply{}
}

// exported is a whole export: where it is polled, and its manifest.
func (g *guarded) exported(path, token string, header ...string) (status string, m fhir.Manifest) {
	g.Helper()
	return g.manifest(g.exporting(path, token, header...), token)
}

// manifest is that of a job, when it has ended.
func (g *guarded) manifest(status, token string) (string, fhir.Manifest) {
	g.Helper()
	var m fhir.Manifest
	r := g.ended(status, token)
	g.want(status, r, 200)
	g.must(json.Unmarshal([]byte(r.body), &m))
	return status, m
}

func typesOf(m fhir.Manifest) []string {
	types := []string{}
	for _, f := range m.Output {
		types = append(types, f.Type)
	}
	return types
}

// hospital fills the default tenant, and has the engine work.
func hospital(t *testing.T) *guarded {
	t.Helper()
	g := newGuarded(t)
	writer := g.token("writer", everything)
	for _, typ := range []string{"Patient", "Observation", "Group", "Organization"} {
		g.put("/fhir", typ, strings.ToLower(typ[:1]), typ+" text", writer)
	}
	g.engine()
	return g
}

// guardedCalls is one request for each route that needs a token.
func guardedCalls(status string) []call {
	var calls []call
	add := func(methods, path string) {
		for m := range strings.FieldsSeq(methods) {
			c := call{method: m, path: path, header: []string{"Prefer", "respond-async"}}
			if m == "POST" || m == "PUT" {
				c.body = aResource("Patient", "p", "")
			}
			calls = append(calls, c)
		}
	}
	add("GET HEAD PUT DELETE PATCH", "/fhir/Patient/p")
	add("GET HEAD", "/fhir/Patient/p/_history/1")
	add("GET HEAD", "/fhir/Patient/p/_history")
	add("GET HEAD POST PUT PATCH DELETE", "/fhir/Patient")
	add("POST", "/fhir/Patient/_search")
	add("POST", "/fhir/_search")
	add("GET", "/fhir/_history")
	add("GET", "/fhir/Patient/_history")
	add("GET HEAD POST", "/fhir")
	for _, path := range []string{"/fhir/$export", "/fhir/Patient/$export", "/fhir/Group/g/$export"} {
		add("GET POST", path)
	}
	add("GET DELETE", status)
	add("GET HEAD", status+"/1.Patient.ndjson")
	add("GET", "/fhir/jobs")
	add("GET", strings.Replace(status, "$export", "jobs", 1))
	add("GET POST PUT DELETE", "/fhir/$unknown")
	return calls
}

func TestWithoutAGoodTokenEveryRouteAsksForOne(t *testing.T) {
	g := hospital(t)
	owner := g.token("owner", everything)
	status, _ := g.exported("/fhir/$export", owner)
	good := authtest.Claims{Client: "owner", Scope: everything}
	expired, elsewhere := good, good
	expired.Expires = time.Now().Add(-time.Minute)
	elsewhere.Audience = "https://other.example.org/fhir"
	stranger := authtest.New(t)
	for name, c := range map[string]struct{ token, challenge string }{
		"no token":            {"", `Bearer realm="firebreak"`},
		"garbage":             {"invalidToken", `Bearer realm="firebreak", error="invalid_token"`},
		"expired":             {g.issuer.Token(expired), `Bearer realm="firebreak", error="invalid_token"`},
		"for another server":  {g.issuer.Token(elsewhere), `Bearer realm="firebreak", error="invalid_token"`},
		"of another provider": {stranger.Token(good), `Bearer realm="firebreak", error="invalid_token"`},
		"forged":              {g.issuer.Sign(authtest.Header{Forged: true}, g.issuer.Values(good)), `Bearer realm="firebreak", error="invalid_token"`},
		"unsigned":            {g.issuer.Sign(authtest.Header{Algorithm: "none"}, g.issuer.Values(good)), `Bearer realm="firebreak", error="invalid_token"`},
	} {
		for _, q := range guardedCalls(status) {
			q.token = c.token
			what, r := name+": "+q.String(), g.do(q)
			g.want(what, r, 401)
			if got := r.header.Get("WWW-Authenticate"); got != c.challenge {
				t.Errorf("%s: WWW-Authenticate %s", what, got)
			}
			if r.body == "" && q.method != "HEAD" {
				t.Errorf("%s: no OperationOutcome", what)
			}
		}
	}
	for _, token := range []string{"", "invalidToken"} {
		for _, path := range []string{"/fhir/metadata", "/healthz", "/readyz"} {
			g.want(path, g.get(path, token), 200)
		}
	}
	g.want("the resource, after all this", g.get("/fhir/Patient/p/_history/1", owner), 200)
	g.want("its next version", g.get("/fhir/Patient/p/_history/2", owner), 404)
	g.want("the job", g.get(status, owner), 200)
}

// A token goes into the Authorization header, and is one.
func TestATokenAnywhereElseIsNotSeen(t *testing.T) {
	g := hospital(t)
	token := g.token("c", everything)
	g.want("in the query", g.get("/fhir/Patient/p?access_token="+token, ""), 401)
	g.want("in a cookie", g.get("/fhir/Patient/p", "", "Cookie", "access_token="+token), 401)
	g.want("as Basic", g.get("/fhir/Patient/p", "", "Authorization", "Basic "+token), 401)
	g.want("twice", g.get("/fhir/Patient/p", token, "Authorization", "Bearer "+token), 400)
	g.want("in lower case", g.get("/fhir/Patient/p", "", "Authorization", "bearer "+token), 200)
}

func TestWhileTheProviderIsDownATokenMayBeGoodAndIsNotRefused(t *testing.T) {
	g := newGuarded(t)
	token := g.token("c", everything)
	g.issuer.Down()
	r := g.get("/fhir/Patient/p", token)
	g.want("the first token", r, 503)
	if r.header.Get("Retry-After") == "" || r.header.Get("WWW-Authenticate") != "" {
		t.Errorf("headers %v", r.header)
	}
	g.want("a kick-off", g.get("/fhir/$export", token, "Prefer", "respond-async"), 503)
	g.want("garbage", g.get("/fhir/Patient/p", "garbage"), 401)
	g.want("no token", g.get("/fhir/Patient/p", ""), 401)
	for _, path := range []string{"/fhir/metadata", "/healthz", "/readyz"} {
		g.want(path, g.get(path, ""), 200)
	}
	g.issuer.Up()
	g.want("when it is up again", g.get("/fhir/Patient/p", token), 404)
	g.issuer.Down()
	g.want("by keys that are known", g.get("/fhir/Patient/p", g.token("d", everything)), 404)
}

// interactionCalls are the REST interactions on a type by the letter of SMART
// that each needs. An update that creates is an update: it needs u and not c.
func interactionCalls(typ, id string, n int) map[string]call {
	at := "/fhir/" + typ + "/"
	fresh := fmt.Sprintf("fresh-%d", n)
	return map[string]call{
		"r read":             {method: "GET", path: at + id},
		"r head":             {method: "HEAD", path: at + id},
		"r vread":            {method: "GET", path: at + id + "/_history/1"},
		"r absent":           {method: "GET", path: at + "absent"},
		"c create":           {method: "POST", path: "/fhir/" + typ, body: aResource(typ, "x", "")},
		"u update":           {method: "PUT", path: at + id, body: aResource(typ, id, fresh)},
		"u update as create": {method: "PUT", path: at + fresh, body: aResource(typ, fresh, "")},
		"u broken":           {method: "PUT", path: at + id, body: `{`},
		"d delete":           {method: "DELETE", path: at + "absent"},
	}
}

func TestScopesAllowWhatTheySayAndNothingElse(t *testing.T) {
	g := hospital(t)
	n := 0
	for _, c := range []struct {
		scope, user string
		patient     string // letters on Patient
		observation string
	}{
		{"", "", "", ""},
		{"openid launch fhirUser", "", "", ""},
		{"system/Patient.c", "", "c", ""},
		{"system/Patient.r", "", "r", ""},
		{"system/Patient.u", "", "u", ""},
		{"system/Patient.d", "", "d", ""},
		{"system/Patient.s", "", "", ""},
		{"system/Patient.cud", "", "cud", ""},
		{"system/Patient.rs", "", "r", ""},
		{"system/Patient.cruds", "", "crud", ""},
		{"system/*.rs", "", "r", "r"},
		{"system/Patient.read", "", "r", ""},
		{"system/Patient.write", "", "cud", ""},
		{"system/Patient.*", "", "crud", ""},
		{"system/*.read", "", "r", "r"},
		{"system/*.write", "", "cud", "cud"},
		{"system/*.*", "", "crud", "crud"},
		{"system/Patient.r system/Observation.c", "", "r", "c"},
		{"system/Patient.r system/Patient.d", "", "rd", ""},
		{"user/Patient.r", "alice", "r", ""},
		{"user/Patient.r", "", "", ""},
		{"user/Patient.r system/*.c", "alice", "rc", "c"},
		{"patient/Patient.cruds", "alice", "", ""},
		{"system/Patient.rs?active=true", "", "", ""},
		{"system/Patient.sr", "", "", ""},
		{"system/Patient.", "", "", ""},
		{"system/Patient", "", "", ""},
		{"system/patient.r", "", "", ""},
		{"System/Patient.r", "", "", ""},
		{"system/Patient.R", "", "", ""},
		{"system/Patent.r", "", "", ""},
		{"Patient.r", "", "", ""},
	} {
		token := g.issuer.Token(authtest.Claims{Client: "c", User: c.user, Scope: c.scope})
		for typ, letters := range map[string]string{"Patient": c.patient, "Observation": c.observation} {
			n++
			level := "system/"
			if c.user != "" && strings.HasPrefix(c.scope, "user/") {
				level = "user/"
			}
			for name, q := range interactionCalls(typ, strings.ToLower(typ[:1]), n) {
				q.token = token
				what, r := fmt.Sprintf("%q: %s %s", c.scope, typ, name), g.do(q)
				switch {
				case !strings.Contains(letters, name[:1]) && q.method == "HEAD":
					g.want(what, r, 403)
				case !strings.Contains(letters, name[:1]):
					g.lacks(what, r, level+typ+"."+name[:1])
				case r.status == 401 || r.status == 403:
					t.Errorf("%s: %d", what, r.status)
				}
			}
		}
	}
	reader := g.token("c", "system/Patient.r")
	for _, q := range []call{
		{method: "GET", path: "/fhir/Patient?name=x"},
		{method: "POST", path: "/fhir/Patient/_search", body: "name=x"},
		{method: "GET", path: "/fhir?_type=Patient"},
		{method: "GET", path: "/fhir/Patient/_history"},
		{method: "GET", path: "/fhir/Patient/p/_history"},
		{method: "POST", path: "/fhir", body: `{"resourceType":"Bundle","type":"batch"}`},
		{method: "PATCH", path: "/fhir/Patient/p", body: `[]`},
		{method: "DELETE", path: "/fhir/Patient?active=true"},
	} {
		q.token = reader
		g.want(q.String()+", which is not offered to anyone", g.do(q), 400)
	}
}

func TestWhatIsRefusedForWantOfAScopeIsNotDone(t *testing.T) {
	g := hospital(t)
	for _, q := range interactionCalls("Patient", "p", 0) {
		q.token = g.token("c", "system/Observation.cruds")
		g.want(q.String(), g.do(q), 403)
	}
	reader := g.token("c", "system/Patient.r")
	g.want("what there was", g.get("/fhir/Patient/p", reader), 200)
	g.want("an update", g.get("/fhir/Patient/p/_history/2", reader), 404)
	g.want("an update as create", g.get("/fhir/Patient/fresh-0", reader), 404)
	_, m := g.exported("/fhir/$export?_type=Patient", reader)
	if n := *m.Output[0].Count; n != 1 {
		t.Errorf("%d patients", n)
	}
}

func TestAnExportBeyondTheScopesIsRefusedAndStartsNothing(t *testing.T) {
	g := hospital(t)
	body := func(typ string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"` + typ + `"}]}`
	}
	patients := `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/p"}},{"name":"_type","valueString":"Observation"}]}`
	for _, c := range []struct{ scope, method, path, body, lacks string }{
		{"system/Patient.rs", "GET", "/fhir/$export?_type=Observation", "", "system/Observation.r"},
		{"system/Patient.rs", "GET", "/fhir/$export?_type=Patient,Observation", "", "system/Observation.r"},
		{"system/Patient.rs", "GET", "/fhir/$export?_type=Patient&_type=Observation", "", "system/Observation.r"},
		{"system/Patient.rs", "GET", "/fhir/Patient/$export?_type=Observation", "", "system/Observation.r"},
		{"system/Patient.rs", "POST", "/fhir/$export", body("Observation"), "system/Observation.r"},
		{"system/Patient.rs", "POST", "/fhir/Patient/$export", body("Observation"), "system/Observation.r"},
		{"system/*.cuds", "GET", "/fhir/$export?_type=Patient", "", "system/Patient.r"},
		{"", "GET", "/fhir/$export?_type=Patient", "", "system/Patient.r"},
		{"", "GET", "/fhir/$export", "", "system/*.r"},
		{"system/Patient.cuds", "GET", "/fhir/Patient/$export", "", "system/*.r"},
		{"patient/*.rs", "GET", "/fhir/$export", "", "system/*.r"},
		{"system/Patient.rs system/Observation.rs", "GET", "/fhir/Group/g/$export", "", "system/Group.r"},
		{"system/Patient.rs", "GET", "/fhir/Group/g/$export?_type=Patient", "", "system/Group.r"},
		{"system/Patient.rs", "GET", "/fhir/Group/absent/$export?_type=Patient", "", "system/Group.r"},
		{"system/Patient.rs", "POST", "/fhir/Group/g/$export", body("Patient"), "system/Group.r"},
		{"system/Group.s system/Patient.rs", "GET", "/fhir/Group/g/$export", "", "system/Group.r"},
		{"system/Observation.rs", "POST", "/fhir/Patient/$export", patients, "system/Patient.r"},
		{"system/Patient.rs", "GET", "/fhir/$export?_type=Patient&includeAssociatedData=LatestProvenanceResources", "", "system/Provenance.r"},
	} {
		q := call{method: c.method, path: c.path, body: c.body, token: g.token("c", c.scope), header: []string{"Prefer", "respond-async"}}
		r := g.do(q)
		g.lacks(c.scope+" "+q.String(), r, c.lacks)
		if at := r.header.Get("Content-Location"); at != "" {
			t.Errorf("%s: Content-Location %s", q, at)
		}
		q.header[1] += ", handling=lenient"
		g.lacks(c.scope+" "+q.String(), g.do(q), c.lacks)
	}
	g.want("jobs", g.get("/fhir/jobs", g.token("c", "")), 200)
	if r := g.get("/fhir/jobs", g.token("c", "")); !strings.Contains(r.body, `"jobs": []`) {
		t.Errorf("there are jobs: %s", r.body)
	}
}

func TestAnExportOfAllIsNarrowedToWhatMayBeRead(t *testing.T) {
	g := hospital(t)
	for _, c := range []struct {
		scope, path string
		types       []string
	}{
		{"system/*.rs", "/fhir/$export", []string{"Group", "Observation", "Organization", "Patient"}},
		{"system/*.rs", "/fhir/Patient/$export", []string{"Observation", "Patient"}},
		{"system/Patient.rs", "/fhir/$export", []string{"Patient"}},
		{"system/Patient.read system/Organization.r system/Observation.cuds", "/fhir/$export", []string{"Organization", "Patient"}},
		{"system/Observation.r", "/fhir/Patient/$export", []string{"Observation"}},
		{"system/Group.r system/Observation.r", "/fhir/Group/g/$export", []string{"Observation"}},
		{"system/Device.r", "/fhir/$export", []string{}},
	} {
		status, m := g.exported(c.path, g.token("c", c.scope))
		if d := cmp.Diff(c.types, slices.DeleteFunc(typesOf(m), func(typ string) bool {
			return typ == "Group" && !strings.HasPrefix(c.path, "/fhir/$")
		})); d != "" {
			t.Errorf("%s of %s: %s", c.path, c.scope, d)
		}
		if !m.RequiresAccessToken {
			t.Errorf("%s needs no token", status)
		}
		for _, f := range m.Output {
			r := g.get(f.URL, g.token("c", c.scope))
			g.want(f.URL, r, 200)
			for line := range strings.Lines(r.body) {
				if !strings.Contains(line, `"resourceType":"`+f.Type+`"`) {
					t.Errorf("%s has %s", f.URL, line)
				}
			}
		}
	}
}

func TestAFileNeedsReadOnItsTypeFromTheTokenAtHand(t *testing.T) {
	g := hospital(t)
	_, m := g.exported("/fhir/$export?_type=Patient,Observation", g.token("c", "system/*.rs"))
	observations, patients := m.Output[0].URL, m.Output[1].URL
	refreshed := g.issuer.Token(authtest.Claims{
		Client: "c", Scope: "system/*.rs", Expires: time.Now().Add(time.Hour), Others: map[string]any{"jti": "2"},
	})
	narrow := g.token("c", "system/Patient.r")
	for _, header := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"Range", "bytes=0-1"}, {"If-None-Match", "*"}} {
		r := g.get(observations, narrow, header...)
		g.lacks("a narrower token", r, "system/Observation.r")
		for _, name := range []string{"ETag", "Content-Disposition", "Content-Range", "Last-Modified"} {
			if r.header.Get(name) != "" {
				t.Errorf("%v: %s says something of the file", header, name)
			}
		}
	}
	g.want("its head", g.do(call{method: "HEAD", path: observations, token: narrow}), 403)
	g.want("a file of what it may read", g.get(patients, narrow), 200)
	g.want("a token that was refreshed", g.get(observations, refreshed), 200)
	g.lacks("a token of other actions", g.get(patients, g.token("c", "system/*.cuds")), "system/Patient.r")

	// Who may start a job may follow it: no scope is asked for to poll it.
	status := strings.TrimSuffix(patients, "/1.Patient.ndjson")
	bare := g.token("c", "")
	g.want("poll without scopes", g.get(status, bare), 200)
	g.want("delete without scopes", g.do(call{method: "DELETE", path: status, token: bare}), 202)
}

func TestAClientFetchesAnExportWithTokensThatItRenews(t *testing.T) {
	g := hospital(t)
	var asked atomic.Int64
	cfg := fetch.Config{HTTP: g.client, Base: g.origin + "/fhir", Now: time.Now, Credentials: fetch.Bearer(func(context.Context) (string, error) {
		return g.issuer.Token(authtest.Claims{Client: "c", Scope: "system/*.rs", Others: map[string]any{"jti": asked.Add(1)}}), nil
	})}
	client, err := fetch.New(cfg)
	g.must(err)
	dir := filepath.Join(t.TempDir(), "out")
	report, err := client.Run(t.Context(), fetch.Request{Level: fetch.LevelSystem}, dir)
	g.must(err)
	if len(report.Files) != 4 || asked.Load() < 6 {
		t.Errorf("%d files, %d tokens", len(report.Files), asked.Load())
	}
	if _, wrong := fetch.Verify(dir); len(wrong) > 0 {
		t.Error(errors.Join(wrong...))
	}

	cfg.Credentials = nil
	client, err = fetch.New(cfg)
	g.must(err)
	if _, err := client.Run(t.Context(), fetch.Request{Level: fetch.LevelSystem}, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
}

// The commands that are clients read their token anew for each request.
func TestTheExportCommandTakesItsTokenFromAFile(t *testing.T) {
	g := hospital(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	g.must(os.WriteFile(file, []byte(g.token("c", "system/*.rs")+"\n"), 0o600))
	var stdout, stderr bytes.Buffer
	args := []string{"export", "--server", g.origin + "/fhir", "--out", filepath.Join(dir, "out"), "--token-file"}
	if code := run(t.Context(), append(args, file), &stdout, &stderr); code != exitOK {
		t.Errorf("%d %s", code, &stderr)
	}
	source := credentials{TokenFile: file}.source()
	for _, want := range []string{"first", "second"} {
		g.must(os.WriteFile(file, []byte(" "+want+"\n"), 0o600))
		if got, err := source(t.Context()); err != nil || got.Get("Authorization") != "Bearer "+want {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := (credentials{TokenFile: filepath.Join(dir, "none")}).source()(t.Context()); err == nil {
		t.Error("a file that is not there gives a token")
	}
}

func TestOptionsOfAuthenticationThatDoNotGoTogetherAreRefused(t *testing.T) {
	const issuer = "https://id.example.org"
	audience := []string{"fhir"}
	for name, c := range map[string]struct {
		authentication
		says []string
	}{
		"an issuer alone":           {authentication{Auth: "off", OIDCIssuer: issuer}, []string{"--oidc-issuer", "--auth=oidc"}},
		"an audience alone":         {authentication{Auth: "off", OIDCAudience: audience}, []string{"--oidc-audience", "--auth=oidc"}},
		"a tenant's claim alone":    {authentication{Auth: "off", OIDCTenantClaim: "tenant"}, []string{"--oidc-tenant-claim", "--auth=oidc"}},
		"no issuer":                 {authentication{Auth: "oidc", OIDCAudience: audience}, []string{"--auth=oidc", "--oidc-issuer"}},
		"no audience":               {authentication{Auth: "oidc", OIDCIssuer: issuer}, []string{"--auth=oidc", "--oidc-audience"}},
		"an empty audience":         {authentication{Auth: "oidc", OIDCIssuer: issuer, OIDCAudience: []string{""}}, []string{"audience"}},
		"tenants without a claim":   {authentication{Auth: "oidc", OIDCIssuer: issuer, OIDCAudience: audience, Tenant: []string{"a"}}, []string{"--tenant", "--oidc-tenant-claim"}},
		"the default tenant":        {authentication{Tenant: []string{auth.DefaultTenant}}, []string{"--tenant", "default"}},
		"a tenant with a slash":     {authentication{Tenant: []string{"a/b"}}, []string{"--tenant", "letters"}},
		"a tenant with an escape":   {authentication{Tenant: []string{"a%20b"}}, []string{"--tenant", "letters"}},
		"a tenant without a name":   {authentication{Tenant: []string{""}}, []string{"--tenant", "letters"}},
		"a tenant of dots":          {authentication{Tenant: []string{".."}}, []string{"--tenant", "letters"}},
		"a tenant of a dot":         {authentication{Tenant: []string{"a", "."}}, []string{"--tenant", "letters"}},
		"an issuer without TLS":     {authentication{Auth: "oidc", OIDCIssuer: "http://id.example.org", OIDCAudience: audience}, []string{"issuer", "https"}},
		"an issuer that is no URL":  {authentication{Auth: "oidc", OIDCIssuer: "id.example.org", OIDCAudience: audience}, []string{"issuer", "https"}},
		"a skew of hours":           {authentication{Auth: "oidc", OIDCIssuer: issuer, OIDCAudience: audience, OIDCSkew: time.Hour}, []string{"skew"}},
		"a claim that is something": {authentication{Auth: "oidc", OIDCIssuer: issuer, OIDCAudience: audience, OIDCTenantClaim: "sub"}, []string{"claim", "sub"}},
		"a vendor with a slash":     {authentication{Auth: "oidc", OIDCIssuer: issuer, OIDCAudience: audience, PurgeScopeVendor: []string{"kodjin", "a/b"}}, []string{"a/b", "vendor", "letters"}},
	} {
		o := serving{storage: storage{Data: t.TempDir()}, Listen: "127.0.0.1:0", authentication: c.authentication}
		srv, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: it serves", name)
			_ = srv.Close()
			continue
		}
		for _, word := range c.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, args := range [][]string{{"serve", "--auth=basic"}, {"serve", "--auth=oidc", "--data", t.TempDir()}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code == exitOK || !strings.Contains(stderr.String(), "--") {
			t.Errorf("%q: %d %s", args, code, &stderr)
		}
	}
}

func TestVendorsOfPurgeScopesAreOptions(t *testing.T) {
	for name, c := range map[string]struct{ args, want []string }{
		"nothing said": {nil, []string{"kodjin"}},
		"two":          {[]string{"--purge-scope-vendor=acme", "--purge-scope-vendor=other"}, []string{"acme", "other"}},
		"none":         {[]string{"--purge-scope-vendor="}, nil},
	} {
		got, err := parse(append([]string{"serve"}, c.args...), io.Discard, io.Discard)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if serve, ok := got.(*serveCommand); !ok || !slices.Equal(serve.PurgeScopeVendor, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The server's own AuditEvents are known by the name of who stored them.
func TestAClientWithTheNameOfTheServerItselfIsRefused(t *testing.T) {
	g := newGuarded(t)
	r := g.get("/fhir/Patient/p", g.token(audit.Client, everything))
	g.want("a client of the server's own name", r, 403)
	r = g.do(call{method: "PUT", path: "/fhir/AuditEvent/e", body: aResource("AuditEvent", "e", ""), token: g.issuer.Token(authtest.Claims{
		Client: audit.Client, User: "alice", Scope: everything,
	})})
	g.want("with a user", r, 403)
	g.want("what it wrote", g.get("/fhir/AuditEvent/e", g.token("c", everything)), 404)
}

func TestAddressesThatOthersReachAreServedWithTokensOnly(t *testing.T) {
	g := newGuarded(t, func(o *serving) { o.Listen = "0.0.0.0:0" })
	g.want("no token", g.get("/fhir/Patient/p", ""), 401)
	g.want("a token", g.get("/fhir/Patient/p", g.token("c", everything)), 404)
	for _, off := range []string{"", "off"} {
		o := serving{storage: storage{Data: t.TempDir()}, Listen: "0.0.0.0:0", authentication: authentication{Auth: off}}
		srv, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("--auth=%q: it serves", off)
			_ = srv.Close()
		} else if !strings.Contains(err.Error(), "--listen") || !strings.Contains(err.Error(), "--auth=oidc") {
			t.Error(err)
		}
	}
}
