package main

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth/authtest"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"

	gocmp "github.com/google/go-cmp/cmp"
)

// bases are the FHIR bases of the tenants.
func bases() map[string]string {
	return map[string]string{"default": "/fhir", "a": "/t/a/fhir", "b": "/t/b/fhir"}
}

// idOf is the last step of a job's URL.
func idOf(status string) string { return status[strings.LastIndexByte(status, '/')+1:] }

// Who asks for what is another's reads what is said of a job that never was.
func TestJobsOfOthersLookLikeNone(t *testing.T) {
	g := newGuarded(t, withTenants)
	who := func(client, user, tenant string) string {
		return g.issuer.Token(authtest.Claims{Client: client, User: user, Scope: everything, Tenant: tenant})
	}
	owners := map[string]string{"alone": who("c", "", "default"), "with alice": who("c", "alice", "default"), "of a": who("c", "", "a")}
	for tenant, base := range bases() {
		g.put(base, "Patient", "p", "canary", who("c", "", tenant))
	}
	g.engine()
	mine := map[string]string{
		"alone":      "/fhir/$export/" + idOf(g.made("/fhir/$export", owners["alone"])),
		"with alice": "/fhir/$export/" + idOf(g.made("/fhir/$export", owners["with alice"])),
		"of a":       "/t/a/fhir/$export/" + idOf(g.made("/t/a/fhir/$export", owners["of a"])),
	}
	strangers := map[string]string{
		"another client": who("d", "", "default"), "another user": who("c", "bob", "default"), "the user of another client": who("d", "alice", "default"),
		"the client with a user": owners["with alice"], "the client alone": owners["alone"], "names in capitals": who("C", "ALICE", "default"),
		"client and user run together": who("cali", "ce", "default"), "a user called like the client": who("alice", "c", "default"),
	}
	for whose, status := range mine {
		for name, token := range strangers {
			base := "/fhir/"
			if whose == "of a" {
				base, token = "/t/a/fhir/", who("d", "", "a")
			}
			if token == owners[whose] {
				continue
			}
			expired, dismissed := g.gone(base, token)
			for _, never := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "garbage", idOf(expired), idOf(dismissed)} {
				g.alike(name+" asks for the job "+whose, token, base, idOf(status), never)
			}
		}
		g.want("the job "+whose+", after all this", g.get(status, owners[whose]), 200)
		g.want("its file", g.get(status+"/1.Patient.ndjson", owners[whose]), 200)
	}
	g.noJobs("/fhir", who("e", "", "default"), idOf(mine["alone"]))
	g.noJobs("/t/b/fhir", who("c", "", "b"), idOf(mine["of a"]))
}

// noJobs checks that the list of jobs is empty, however it is asked for.
func (g *guarded) noJobs(base, token, foreign string) {
	g.Helper()
	for _, query := range []string{"", "?before=" + foreign, "?before=~", "?owner=c", "?client=c&user=alice&tenant=a"} {
		if r := g.get(base+"/jobs"+query, token); r.status != 200 || r.body != "{\n  \"jobs\": []\n}" {
			g.Errorf("%s%s: %s", base, query, r.said())
		}
	}
}

// made is where a whole export is polled.
func (g *guarded) made(path, token string) string {
	g.Helper()
	status, _ := g.exported(path, token)
	return status
}

// gone makes jobs that are not there any more: one that has expired, and one
// that was dismissed.
func (g *guarded) gone(base, token string) (expired, dismissed string) {
	g.Helper()
	expired, dismissed = g.made(base+"$export", token), g.made(base+"$export", token)
	tenant := store.Tenant("default")
	if base != "/fhir/" {
		tenant = "a"
	}
	_, err := g.srv.store.Update(g.Context(), tenant, idOf(expired), func(j job.Job) (job.Job, error) {
		j.Expires = time.Now().Add(-time.Second)
		return j, nil
	})
	g.must(err)
	g.want("DELETE", g.do(call{method: "DELETE", path: dismissed, token: token}), 202)
	return expired, dismissed
}

// alike checks that an answer for one job is that for another, byte for byte.
func (g *guarded) alike(what, token, base, id, never string) {
	g.Helper()
	for _, c := range []call{
		{method: "GET", path: "$export/ID"},
		{method: "GET", path: "$export/ID", header: []string{"Accept", "application/fhir+json"}},
		{method: "GET", path: "$export/ID", header: []string{"Prefer", "respond-async"}},
		{method: "DELETE", path: "$export/ID"},
		{method: "GET", path: "$export/ID/1.Patient.ndjson"},
		{method: "HEAD", path: "$export/ID/1.Patient.ndjson"},
		{method: "GET", path: "$export/ID/1.Patient.ndjson", header: []string{"Accept-Encoding", "gzip"}},
		{method: "GET", path: "$export/ID/1.Patient.ndjson", header: []string{"Range", "bytes=0-9"}},
		{method: "GET", path: "$export/ID/1.Patient.ndjson", header: []string{"If-None-Match", "*"}},
		{method: "DELETE", path: "$export/ID/1.Patient.ndjson"},
		{method: "GET", path: "$export/ID/2.Patient.ndjson"},
		{method: "GET", path: "jobs/ID"},
		{method: "HEAD", path: "jobs/ID"},
		{method: "PUT", path: "$export/ID", body: "{}"},
		{method: "POST", path: "$export/ID", body: "{}"},
		{method: "GET", path: "Group/ID/$export", header: []string{"Prefer", "respond-async"}},
	} {
		c.token, c.path = token, base+c.path
		theirs, none := c, c
		theirs.path, none.path = strings.Replace(c.path, "ID", id, 1), strings.Replace(c.path, "ID", never, 1)
		got, want := g.do(theirs), g.do(none)
		if got.status < 400 {
			g.Errorf("%s: %s: %d", what, theirs, got.status)
		}
		if d := gocmp.Diff(want.said(), got.said()); d != "" {
			g.Errorf("%s: %s is not as %s: %s", what, theirs, none, d)
		}
	}
}

func TestTenantsWithTheSameIDsNeverMeet(t *testing.T) {
	g := newGuarded(t, withTenants)
	tokens := map[string]string{}
	for tenant, base := range bases() {
		tokens[tenant] = g.issuer.Token(authtest.Claims{Client: "c", User: "alice", Scope: "user/*.cruds", Tenant: tenant})
		for _, typ := range []string{"Patient", "Observation", "Group"} {
			g.put(base, typ, strings.ToLower(typ[:1]), "canary of "+tenant, tokens[tenant])
		}
	}
	g.put("/t/a/fhir", "Patient", "only-a", "canary of a", tokens["a"])
	g.want("update in one", g.do(call{method: "PUT", path: "/t/a/fhir/Patient/p", token: tokens["a"], body: aResource("Patient", "p", "second canary of a")}), 200)
	g.engine()
	status := map[string]string{}
	for tenant, base := range bases() {
		status[tenant] = g.tenantExport(tenant, base, tokens[tenant])
		r := g.do(call{method: "POST", path: base + "/Patient", token: tokens[tenant], body: aResource("Patient", "x", "canary of "+tenant)})
		g.want("create", r, 201)
		if at := r.header.Get("Location"); !strings.HasPrefix(at, g.origin+base+"/Patient/") {
			t.Errorf("Location %s", at)
		}
	}
	g.want("the next version of a", g.get("/t/a/fhir/Patient/p/_history/2", tokens["a"]), 200)
	for tenant, base := range bases() {
		if tenant != "a" {
			g.want("the next version of a", g.get(base+"/Patient/p/_history/2", tokens[tenant]), 404)
			g.want("a resource of a", g.get(base+"/Patient/only-a", tokens[tenant]), 404)
			g.want("a resource of a, deleted", g.do(call{method: "DELETE", path: base + "/Patient/only-a", token: tokens[tenant]}), 204)
		}
		for other := range bases() {
			if other == tenant {
				continue
			}
			g.alike(tenant+" asks for a job of "+other, tokens[tenant], base+"/", idOf(status[other]), "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			for _, q := range guardedCalls("/fhir/$export/" + idOf(status[tenant])) {
				q.token, q.path = tokens[other], strings.Replace(q.path, "/fhir", base, 1)
				g.want("a token of "+other+": "+q.String(), g.do(q), 403)
			}
		}
	}
	g.want("what others deleted", g.get("/t/a/fhir/Patient/only-a", tokens["a"]), 200)
}

func TestATenantThatIsNotThereIsNotFoundWhateverIsAsked(t *testing.T) {
	g := newGuarded(t, withTenants)
	good := g.issuer.Token(authtest.Claims{Client: "c", Scope: everything, Tenant: "a"})
	g.want("metadata of a tenant", g.get("/t/a/fhir/metadata", ""), 200)
	for _, q := range guardedCalls("/fhir/$export/01ARZ3NDEKTSV4RRFFQ69G5FAV") {
		q.path = "/t/c" + q.path
		for _, q.token = range []string{good, "", "garbage"} {
			g.want("of no tenant: "+q.String(), g.do(q), 404)
		}
	}
	g.want("metadata of no tenant", g.get("/t/c/fhir/metadata", ""), 404)
	for what, c := range map[string]authtest.Claims{
		"a tenant that is not": {Client: "c", Scope: everything, Tenant: "c"}, "no tenant": {Client: "c", Scope: everything},
		"a list of tenants": {Client: "c", Scope: everything, Others: map[string]any{authtest.TenantClaim: []string{"a", "b"}}},
	} {
		g.want("a token of "+what, g.get("/t/a/fhir/Patient/p", g.issuer.Token(c)), 401)
		g.want("a token of "+what, g.get("/t/c/fhir/Patient/p", g.issuer.Token(c)), 404)
	}
}

// tenantExport checks an export of a tenant: that it is whole, that nothing of
// another is in it, and that its URLs are the tenant's.
func (g *guarded) tenantExport(tenant, base, token string) string {
	g.Helper()
	kickoff := base + "/Group/g/$export"
	status, m := g.exported(kickoff, token, "Idempotency-Key", "the same in all")
	if !strings.HasPrefix(status, g.origin+base+"/$export/") || m.Request != g.origin+kickoff {
		g.Errorf("%s: polled at %s, asked for at %s", tenant, status, m.Request)
	}
	if len(m.Output) < 2 {
		g.Errorf("%s: files of %q", tenant, typesOf(m))
	}
	for _, f := range m.Output {
		if !strings.HasPrefix(f.URL, status+"/") {
			g.Errorf("%s: a file is at %s", tenant, f.URL)
		}
		r := g.get(f.URL, token)
		g.want(f.URL, r, 200)
		for line := range strings.Lines(r.body) {
			if !strings.Contains(line, "canary of "+tenant) {
				g.Errorf("%s: %s has %s", tenant, f.URL, line)
			}
		}
	}
	var list struct{ Jobs []struct{ ID, Status string } }
	g.must(json.Unmarshal([]byte(g.get(base+"/jobs", token).body), &list))
	if len(list.Jobs) != 1 || list.Jobs[0].Status != status {
		g.Errorf("%s: jobs %+v, want %s", tenant, list, status)
	}
	return status
}

// Without authentication, too, each base is that of its tenant alone.
func TestWithoutAuthenticationTheAddressSaysWhichTenant(t *testing.T) {
	g := newGuarded(t, func(o *serving) {
		o.authentication = authentication{Auth: "off", Tenant: []string{"a", "b"}}
		o.PublicBase = "https://ehr.example.org/x/fhir"
	})
	public := "https://ehr.example.org/x"
	for tenant, base := range bases() {
		g.put(base, "Patient", "p", "canary of "+tenant, "")
	}
	g.engine()
	for tenant, base := range bases() {
		r := g.get(base+"/$export", "", "Prefer", "respond-async", "X-Forwarded-Prefix", "/t/b")
		at, ok := strings.CutPrefix(r.header.Get("Content-Location"), public+base)
		if !ok {
			t.Errorf("%s: %d %v", tenant, r.status, r.header)
		}
		r = g.ended(base+at, "")
		var m fhir.Manifest
		g.must(json.Unmarshal([]byte(r.body), &m))
		file, ok := strings.CutPrefix(m.Output[0].URL, public)
		if !ok || m.Request != public+base+"/$export" || m.RequiresAccessToken {
			t.Errorf("%s: %s", tenant, r.body)
		}
		if got := g.get(file, "").body; !strings.Contains(got, "canary of "+tenant) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %s", tenant, got)
		}
		for other, elsewhere := range bases() {
			if other != tenant {
				g.want("a job of "+tenant+" at "+other, g.get(elsewhere+at, ""), 404)
				g.want("a file of "+tenant+" at "+other, g.get(strings.Replace(file, base, elsewhere, 1), ""), 404)
			}
		}
	}
	g.want("no tenant", g.get("/t/c/fhir/Patient/p", ""), 404)
}

func TestATrustedProxysPrefixComesBeforeTheTenant(t *testing.T) {
	g := newGuarded(t, withTenants, func(o *serving) { o.TrustedProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	token := g.issuer.Token(authtest.Claims{Client: "c", Scope: everything, Tenant: "a"})
	g.put("/t/a/fhir", "Patient", "p", "", token)
	g.engine()
	proxy := []string{"X-Forwarded-Host", "ehr.example.org", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/t/b"}
	r := g.get("/t/a/fhir/$export", token, append(proxy, "Prefer", "respond-async")...)
	at, ok := strings.CutPrefix(r.header.Get("Content-Location"), "https://ehr.example.org/t/b/t/a/fhir/$export/")
	if !ok {
		t.Fatalf("%d %v", r.status, r.header)
	}
	g.ended("/t/a/fhir/$export/"+at, token)
	var m fhir.Manifest
	g.must(json.Unmarshal([]byte(g.get("/t/a/fhir/$export/"+at, token, proxy...).body), &m))
	if !strings.HasPrefix(m.Output[0].URL, "https://ehr.example.org/t/b/t/a/fhir/$export/"+at+"/") {
		t.Errorf("a file is at %s", m.Output[0].URL)
	}
}

// theTypes are those that each tenant of a town has one resource of.
func theTypes() []string { return []string{"Group", "Observation", "Patient", "Practitioner"} }

// town is a server whose tenants have the same ids, and in each of which three
// owners have a job.
type town struct {
	*guarded
	jobs []resident
}

// resident is the owner of a job.
type resident struct {
	authtest.Claims
	token, job string
	files      []string
}

// sees names what an owner sees at an address.
func (r resident) sees(path string) string { return r.Client + " " + r.User + " " + path }

func newTown(t *testing.T, audit string) *town {
	t.Helper()
	w := &town{guarded: newGuarded(t, withTenants, func(o *serving) { o.Audit, o.ExportLimit = audit, 2 })}
	w.restore()
	w.engine()
	for tenant, base := range bases() {
		for _, who := range []authtest.Claims{
			{Client: "etl-" + tenant}, {Client: "etl-" + tenant, User: "alice"}, {Client: "app-" + tenant, User: "alice"},
		} {
			who.Tenant, who.Scope = tenant, everything
			r := resident{Claims: who, token: w.issuer.Token(who)}
			mark := "/$export?_type=Observation,Patient&canary-job-of-" + who.Client + "-" + who.User + "=1"
			status, m := w.exported(base+mark, r.token, "Prefer", "handling=lenient", "Idempotency-Key", "key")
			r.job = idOf(status)
			for _, f := range slices.Concat(m.Output, m.Error) {
				r.files = append(r.files, idOf(f.URL))
			}
			w.jobs = append(w.jobs, r)
		}
	}
	return w
}

// restore gives each tenant its resources back.
func (w *town) restore() {
	w.Helper()
	for tenant, base := range bases() {
		full := w.issuer.Token(authtest.Claims{Client: "loader", Scope: everything, Tenant: tenant})
		for _, typ := range theTypes() {
			id := strings.ToLower(typ[:1])
			c := call{method: "PUT", path: base + "/" + typ + "/" + id, token: full, body: aResource(typ, id, canary(tenant, typ))}
			if r := w.do(c); r.status != 200 && r.status != 201 {
				w.Fatalf("%s: %s", c, r.said())
			}
		}
	}
}

func canary(tenant, typ string) string { return "canary-" + tenant + "-" + typ + "-" }

// state is what the residents but those of one tenant see of their resources,
// and all residents of their jobs and files.
func (w *town) state(besides string) map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, r := range w.jobs {
		base := bases()[r.Tenant]
		see := func(r resident, path string) reply {
			got := w.get(path, r.token)
			all[r.sees(path)] = got.said()
			return got
		}
		see(r, base+"/jobs")
		see(r, base+"/jobs/"+r.job)
		w.want("a job", see(r, base+"/$export/"+r.job), 200)
		for _, f := range r.files {
			w.want("a file", see(r, base+"/$export/"+r.job+"/"+f), 200)
		}
		if r.Tenant == besides || r.User != "" {
			continue
		}
		for _, typ := range theTypes() {
			at := base + "/" + typ + "/" + strings.ToLower(typ[:1])
			w.want(at, see(r, at), 200)
			see(r, at+"/_history/1")
			see(r, at+"/_history/2")
		}
		auditor := w.issuer.Token(authtest.Claims{Client: "auditor", Scope: everything, Tenant: r.Tenant})
		status, m := w.exported(base+"/$export?_type="+strings.Join(append(theTypes(), "Device"), ","), auditor)
		for _, f := range m.Output {
			lines := strings.Split(w.get(f.URL, auditor).body, "\n")
			slices.Sort(lines)
			all["export of "+base+" "+idOf(f.URL)] = strings.Join(lines, "\n")
		}
		w.want("DELETE", w.do(call{method: "DELETE", path: status, token: auditor}), 202)
	}
	return all
}

// intruder is who asks for what is not theirs. Resources of a tenant are open
// to each token of the tenant with the scopes, and so are AuditEvents, which
// name jobs; jobs and files are their owner's alone.
type intruder struct {
	tenant, token string
	reads         []string // types of its own tenant
	own           []string // addresses of its own jobs
}

// intruders are those for whom one tenant is their own: there they may read,
// or write under a client that has no jobs; everywhere else they have the names
// of those who have.
func (w *town) intruders(home string) []*intruder {
	var all []*intruder
	add := func(c authtest.Claims, reads ...string) {
		c.Tenant = home
		all = append(all, &intruder{tenant: home, token: w.issuer.Token(c), reads: reads})
	}
	types := append(theTypes(), "Device", "AuditEvent")
	for _, r := range w.jobs {
		if r.Tenant != home {
			add(authtest.Claims{Client: r.Client, User: r.User, Scope: everything}, types...)
		}
	}
	add(authtest.Claims{Client: "mallory", Scope: everything}, types...)
	add(authtest.Claims{Client: "etl-" + home, User: "mallory", Scope: "system/*.rs"}, types...)
	add(authtest.Claims{Client: "app-" + home, Scope: "system/*.read"}, types...)
	add(authtest.Claims{Client: "mallory", User: "alice", Scope: "system/Patient.r user/Group.r"}, "Patient", "Group")
	add(authtest.Claims{Client: "app-" + home, User: "etl-" + home, Scope: "system/Device.cruds"}, "Device")
	add(authtest.Claims{Client: "mute"})
	stranger := authtest.New(w.T)
	all = append(all, &intruder{}, &intruder{token: "garbage"},
		&intruder{token: stranger.Token(authtest.Claims{Client: "etl-a", Scope: everything, Tenant: "a"})})
	return all
}

// forbidden are the texts that an intruder must never see.
func (w *town) forbidden(i *intruder) []string {
	var texts []string
	for tenant := range bases() {
		for _, typ := range theTypes() {
			if tenant != i.tenant || !slices.Contains(i.reads, typ) {
				texts = append(texts, canary(tenant, typ))
			}
		}
	}
	for _, r := range w.jobs {
		texts = append(texts, "canary-job-of-"+r.Client+"-"+r.User+"=")
		if r.Tenant != i.tenant || !slices.Contains(i.reads, "AuditEvent") {
			texts = append(texts, r.job)
		}
	}
	return texts
}

// attempt makes a request of an intruder, who knows the ids of all.
func (w *town) attempt(r *rand.Rand, i *intruder) call {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	victim := w.jobs[r.IntN(len(w.jobs))]
	home := cmp.Or(bases()[i.tenant], "/fhir")
	base := one(
		home, home, home, home, "/fhir", "/t/a/fhir", "/t/b/fhir", bases()[victim.Tenant],
		one("/t/c/fhir", "/t/a/t/b/fhir", "/t/a/../b/fhir", "/t/a/%2e%2e/b/fhir", "/t/default/fhir"),
	)
	typ := one(append(theTypes(), "Device", "AuditEvent", "*", "Patent")...)
	written := one("p", "new", fmt.Sprint("new-", r.IntN(50)))
	id := one(written, written, written, strings.ToLower(typ[:1]), strings.ToLower(typ[:1]), "p", "new", "new", victim.job, "..", "%2e%2e%2fp", "$export")
	file := one(append(victim.files, "1.Patient.ndjson", "2.Patient.ndjson", "1.Device.ndjson", "x")...)
	c := call{method: one("GET", "GET", "GET", "HEAD", "POST", "PUT", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS"), token: i.token}
	jobPath := one("$export/", "$export/", "jobs/", "%24export/", "$Export/", "Patient/$export/", "Group/g/$export/") + victim.job
	switch r.IntN(12) {
	case 0, 1, 2:
		c.path = base + "/" + typ + "/" + id + one("", "", "", "", "/_history/1", "/_history/2", "/_history", "?_format=json", "/$everything")
	case 3:
		c.path = base + "/" + one(typ, typ, typ, "", typ+"/_search", "_history") + one("", "", "", "?_id="+id, "?name=canary")
	case 4, 5:
		c.path = base + "/" + jobPath
	case 6, 7:
		c.path = base + "/" + jobPath + "/" + file
	case 8:
		c.path = base + "/jobs" + one("", "?before="+victim.job, "?before=~", "?owner="+victim.Client, "/"+victim.job+"/../"+victim.job)
	case 9:
		c.path = base + "/" + one("$export", "Patient/$export", "Group/g/$export", "Group/new/$export") +
			one("", "", "?_type=Patient", "?_type=Observation,Patient", "?_since=2020-01-01T00:00:00Z", "?tenant=a&owner=etl-a")
		c.method = one("GET", "GET", "GET", "POST", "DELETE")
	case 10:
		c.path = base + "/$export/" + victim.job + one("/..", "/.", "%2F"+file, "//"+file, "/"+file+"/", "%00", "/"+file+"%20", "?_format=json", ";x")
	default:
		c.path, c.method = base+"/jobs", "GET"
		if len(i.own) > 0 {
			c.path = one(i.own...)
		}
	}
	if r.IntN(8) == 0 {
		c.path = respelt(r, c.path)
	}
	switch {
	case c.method == "POST" && strings.Contains(c.path, "export"):
		c.body = one(`{"resourceType":"Parameters"}`, `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/p"}}]}`)
	case c.method == "POST" || c.method == "PUT" || c.method == "PATCH":
		c.body = aResource(strings.Trim(typ, "*"), one(written, written, written, "new"), "changed by an intruder")
	}
	c.header = w.headers(r, one)
	if strings.Contains(c.path, "xport") && r.IntN(4) > 0 {
		c.header = append(c.header, "Prefer", "respond-async")
	}
	return c
}

// headers are some that could lead a server astray.
func (w *town) headers(r *rand.Rand, one func(...string) string) []string {
	var all []string
	for range r.IntN(3) {
		pair := strings.SplitN(one(
			"Prefer|handling=lenient", "Prefer|return=minimal", "If-Match|W/\"1\"", "If-None-Match|*", "If-None-Match|W/\"1\"",
			"Range|bytes=0-50", "Accept-Encoding|gzip", "Idempotency-Key|key", "X-Forwarded-Prefix|/t/a", "X-Forwarded-Host|a.example",
			"Forwarded|host=a.example", "X-HTTP-Method-Override|DELETE", "X-Original-URL|/t/a/fhir/Patient/p", "X-Rewrite-URL|/t/a/fhir/Patient/p",
			"X-Tenant|a", "Tenant|a", "X-Forwarded-User|alice", "X-Forwarded-For|127.0.0.1", "Host|a.example", "Accept|application/fhir+ndjson",
			"Cookie|access_token="+w.jobs[r.IntN(len(w.jobs))].token, "Origin|http://127.0.0.1", "Connection|Authorization",
		), "|", 2)
		all = append(all, pair[0], pair[1])
	}
	return all
}

// respelt is a path with some character of it written otherwise.
func respelt(r *rand.Rand, path string) string {
	at := r.IntN(len(path))
	switch c := path[at]; {
	case c == '?' || strings.Contains(path[max(at-2, 0):at+1], "%"):
		return path
	case r.IntN(3) == 0:
		return path[:at] + strings.ToUpper(path[at:at+1]) + path[at+1:]
	case c == '/':
		return path[:at] + "/" + path[at:]
	default:
		return fmt.Sprintf("%s%%%02x%s", path[:at], c, path[at+1:])
	}
}

var foreignJob = regexp.MustCompile(`(?i)/(?:\$export|jobs)[/\\]+([^/\\?]+)`)

// judge finds what an answer to an intruder must not be; "" if it is fine.
func (w *town) judge(c call, i *intruder, forbidden []string, got reply) string {
	switch {
	case got.status >= 500 && !strings.Contains(got.body, "the Group was deleted"): // which is how a job of its own fails
		return "the server fails"
	case got.status >= 400:
		return ""
	}
	shown := got.body + fmt.Sprint(got.header)
	if got.header.Get("Content-Encoding") == "gzip" && got.body != "" {
		z, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			return "what it sends cannot be read"
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			return "what it sends cannot be read"
		}
		shown += string(plain)
	}
	for _, text := range forbidden {
		if strings.Contains(shown, text) {
			return "it shows " + text
		}
	}
	path, _, _ := strings.Cut(c.path, "?")
	if plain, err := url.PathUnescape(path); err == nil && c.method != "OPTIONS" && !slices.Contains(i.own, c.path) {
		if named := foreignJob.FindStringSubmatch(plain); named != nil && slices.ContainsFunc(w.jobs, func(r resident) bool { return r.job == named[1] }) {
			return "the job is another's"
		}
	}
	return ""
}

// roam has intruders make requests, and counts the statuses of the answers.
func (w *town) roam(seed uint64, home string, intruders []*intruder, n int) map[int]int {
	r := rand.New(rand.NewPCG(seed, 0))
	forbidden := map[*intruder][]string{}
	for _, i := range intruders {
		i.own = nil
		forbidden[i] = w.forbidden(i)
	}
	statuses := map[int]int{}
	for at := range n {
		i := intruders[r.IntN(len(intruders))]
		c := w.attempt(r, i)
		got, err := w.send(c)
		if err != nil {
			w.Errorf("seed %d, request %d: %s: %v", seed, at, c, err)
			continue
		}
		statuses[got.status]++
		if wrong := w.judge(c, i, forbidden[i], got); wrong != "" {
			w.Errorf("seed %d, request %d, at home in %s: %s: %s: %.400s", seed, at, home, c, wrong, got.said())
		}
		i.learn(got, w.origin)
	}
	return statuses
}

var fileURL = regexp.MustCompile(`"url": "([^"]+)"`)

// learn keeps addresses of the intruder's own jobs and files, some of them.
func (i *intruder) learn(got reply, origin string) {
	add := func(at string) {
		if u, err := url.Parse(at); err == nil && strings.HasSuffix(origin, u.Host) || err == nil && strings.HasSuffix(u.Host, "example") {
			i.own = append(i.own, u.Path)
		}
		if len(i.own) > 6 {
			i.own = i.own[1:]
		}
	}
	if at := got.header.Get("Content-Location"); at != "" {
		add(at)
	}
	for _, found := range fileURL.FindAllStringSubmatch(got.body, 3) {
		add(found[1])
	}
}

// Whoever is not the owner sees nothing of a job or a file, and whoever is not
// of the tenant nothing of a resource, whatever they ask and however they know
// what to ask for; and all that is not theirs stays as it was.
func TestForeignPrincipalsSeeNothingAndChangeNothing(t *testing.T) {
	requests := 10_000
	if testing.Short() || setting("-race") == "true" {
		requests = 1_500
	}
	t.Run("three homes", func(t *testing.T) {
		t.Parallel()
		newTown(t, "off").beset(requests, "default", "a", "b")
	})
	// Each kick-off writes then, and the next one waits for a second to pass.
	t.Run("with AuditEvents", func(t *testing.T) {
		t.Parallel()
		newTown(t, "on").beset(requests/10, "a")
	})
}

// beset has intruders from each of the homes, and checks what came of it.
func (w *town) beset(requests int, homes ...string) {
	const workers = 8
	statuses := map[int]int{}
	for number, home := range homes {
		w.restore()
		before := w.state(home)
		var mu sync.Mutex
		var work sync.WaitGroup
		for worker := range workers {
			intruders := w.intruders(home)
			work.Go(func() {
				got := w.roam(uint64(number*workers+worker), home, intruders, requests/len(homes)/workers+1)
				mu.Lock()
				defer mu.Unlock()
				for status, n := range got {
					statuses[status] += n
				}
			})
		}
		work.Wait()
		if d := gocmp.Diff(before, w.state(home)); d != "" {
			w.Errorf("what others than those of %s have has changed: %s", home, d)
		}
	}
	w.Logf("answers by status: %v", statuses)
	for _, status := range []int{200, 201, 202, 204, 400, 401, 403, 404} {
		if statuses[status] < requests/5000 {
			w.Errorf("only %d answers are %d: what was to be tried was not", statuses[status], status)
		}
	}
}

// The judge of the test above finds what it is to find.
func TestTheIntrudersWouldBeCaught(t *testing.T) {
	w := newTown(t, "off")
	owner := w.jobs[0]
	base := bases()[owner.Tenant]
	i := &intruder{tenant: owner.Tenant, token: owner.token}
	forbidden := w.forbidden(i)
	for _, c := range []call{
		{path: base + "/Patient/p"},
		{path: base + "/jobs"},
		{path: base + "/$export/" + owner.job},
		{path: base + "/%24export/" + owner.job},
		{path: base + "/jobs/" + owner.job},
		{path: base + "/$export/" + owner.job + "/1.Patient.ndjson"},
		{path: base + "/$export/" + owner.job + "/1.Patient.ndjson", header: []string{"Accept-Encoding", "gzip"}},
	} {
		c.method, c.token = "GET", owner.token
		if got := w.do(c); w.judge(c, i, forbidden, got) == "" {
			t.Errorf("%s: %s", c, got.said())
		}
	}
	before := w.state("")
	w.want("an update", w.do(call{method: "PUT", path: base + "/Patient/p", token: owner.token, body: aResource("Patient", "p", "new")}), 200)
	changed := w.state("")
	w.want("a deletion", w.do(call{method: "DELETE", path: base + "/$export/" + owner.job, token: owner.token}), 202)
	if gocmp.Equal(before, changed) {
		t.Error("a change of a resource is not seen")
	}
	if before[owner.sees(base+"/jobs")] == w.get(base+"/jobs", owner.token).said() {
		t.Error("a change of the jobs is not seen")
	}
}
