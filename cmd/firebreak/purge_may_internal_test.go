package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"firebreak/auth/authtest"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// ward is a guarded server with two patients.
func ward(t *testing.T) *guarded {
	t.Helper()
	g := newGuarded(t, func(o *serving) { o.PurgeScopeVendor = []string{"kodjin"} }) // as it is without options

	writer := g.token("writer", everything)
	for _, id := range []string{"p", "q"} {
		g.put("/fhir", "Patient", id, id+" text", writer)
	}
	g.put("/fhir", "Observation", "o", "of p", writer)
	g.put("/fhir", "Group", "g", "with p", writer)
	g.engine()
	return g
}

// purgeCalls are one call for each of the operations, all of patient p.
func purgeCalls(token string) []call {
	respond := []string{"Prefer", "respond-async"}
	return []call{
		{method: "POST", path: "/fhir/Patient/p/$purge", token: token},
		{method: "POST", path: "/fhir/Patient/p/$purge", token: token, header: respond},
		{method: "POST", path: "/fhir/Patient/p/%24purge", token: token, body: parametersOf("_shared", "keep")},
		{method: "POST", path: "/fhir/Patient/p/$purge?_preview=true", token: token},
		{method: "POST", path: "/fhir/Patient/$bulk-purge", token: token, header: respond, body: patientIDs("p")},
		{method: "POST", path: "/fhir/Patient/$bulk-purge", token: token, header: respond, body: patientIDs("p", "q")},
		{method: "POST", path: "/fhir/Patient/$bulk-purge", token: token, header: respond, body: parametersOf("patientId", "p", "patientId", "q", "_preview", "true")},
		{method: "POST", path: "/fhir/Group/g/$purge", token: token, header: respond},
		{method: "POST", path: "/fhir/Group/g/$purge?_preview=true", token: token},
	}
}

func (g *guarded) allThere(what string) {
	g.Helper()
	reader := g.token("reader", "system/*.rs")
	for _, ref := range []string{"Patient/p", "Patient/q", "Observation/o", "Group/g"} {
		r := g.get("/fhir/"+ref, reader)
		g.want(what+": "+ref, r, 200)
		if r.header.Get("ETag") != `W/"1"` {
			g.Errorf("%s: %s is at version %s", what, ref, r.header.Get("ETag"))
		}
	}
}

func TestWhoMayNotPurgeIsRefusedAndNothingIsTouched(t *testing.T) {
	t.Parallel()
	g := ward(t)
	for _, c := range purgeCalls("") {
		g.want("no token: "+c.String(), g.do(c), 401)
	}
	for what, who := range map[string]authtest.Claims{
		"read alone":                    {Scope: "system/*.rs"},
		"read of v1":                    {Scope: "system/*.read user/*.read"},
		"delete without update":         {Scope: "system/*.d"},
		"all of one type":               {Scope: "system/Patient.cruds"},
		"all of some types":             {Scope: "system/Patient.cruds system/Observation.cruds system/Group.cruds"},
		"another vendor's":              {Scope: "system/acme/$patient-purge"},
		"another operation's":           {Scope: "system/kodjin/$patient-purg system/kodjin/patient-purge system/$purge"},
		"more after it":                 {Scope: "system/kodjin/$patient-purge.rs system/kodjin/$patient-purge/x"},
		"another case":                  {Scope: "system/Kodjin/$Patient-Purge"},
		"a user's without a user":       {Scope: "user/kodjin/$patient-purge"},
		"another patient's":             {Scope: "patient/kodjin/$patient-purge", User: "u", Patient: "q"},
		"a patient's without a patient": {Scope: "patient/kodjin/$patient-purge", User: "u"},
		"a patient by a reference":      {Scope: "patient/$patient-purge", User: "u", Patient: "Patient/p"},
		"all of a patient":              {Scope: "patient/*.cruds", User: "u", Patient: "p"},
		"nothing":                       {Scope: "openid"},
	} {
		who.Client = "c"
		for _, c := range purgeCalls(g.issuer.Token(who)) {
			r := g.do(c)
			g.want(what+": "+c.String(), r, 403)
			if !strings.Contains(r.header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Errorf("%s: WWW-Authenticate: %s", what, r.header.Get("WWW-Authenticate"))
			}
		}
	}
	own := g.issuer.Token(authtest.Claims{Client: "c", User: "u", Patient: "p", Scope: "patient/kodjin/$patient-purge"})
	for _, c := range purgeCalls(own)[5:] { // of more than p, and of a Group
		g.want("a patient's own, of more: "+c.String(), g.do(c), 403)
	}
	g.allThere("after all of them")
	if jobs := g.get("/fhir/jobs", g.issuer.Token(authtest.Claims{Client: "c", Scope: everything})); gjson.Get(jobs.body, "jobs.#").Int() != 0 {
		t.Errorf("there are jobs: %s", jobs.body)
	}
}

func TestWhoMayPurgeDoes(t *testing.T) {
	t.Parallel()
	for what, who := range map[string]authtest.Claims{
		"of the system":              {Scope: "system/$patient-purge"},
		"of the system, Kodjin's":    {Scope: "openid system/kodjin/$patient-purge"},
		"of a user":                  {Scope: "user/$patient-purge", User: "u"},
		"of a user, Kodjin's":        {Scope: "user/kodjin/$patient-purge", User: "u"},
		"of the patient":             {Scope: "patient/$patient-purge", User: "u", Patient: "p"},
		"of the patient, Kodjin's":   {Scope: "patient/kodjin/$patient-purge", User: "u", Patient: "p"},
		"to write everything":        {Scope: "system/*.write"},
		"to write everything, of v2": {Scope: "system/*.cud"},
	} {
		g := ward(t)
		who.Client = "c"
		token := g.issuer.Token(who)
		r := g.do(call{method: "POST", path: "/fhir/Patient/$bulk-purge", token: token, header: []string{"Prefer", "respond-async"}, body: patientIDs("p")})
		g.want(what, r, 202)
		g.purged(r.header.Get("Content-Location"), token)
		reader := g.token("reader", "system/*.rs")
		g.want(what, g.get("/fhir/Patient/p", reader), 404)
		g.want(what, g.get("/fhir/Observation/o", reader), 404)
		g.want(what, g.get("/fhir/Patient/q", reader), 200)
	}
}

func TestAPatientsOwnTokenPreviewsThatPatientAlone(t *testing.T) {
	t.Parallel()
	g := ward(t)
	own := g.issuer.Token(authtest.Claims{Client: "c", User: "u", Patient: "p", Scope: "patient/$patient-purge"})
	preview := func(path, token string) reply {
		return g.do(call{method: "POST", path: path, token: token})
	}
	shown := preview("/fhir/Patient/p/$purge?_preview=true", own)
	g.want("its own", shown, 200)
	plan := gjson.Get(shown.body, `parameter.#(name=="plan").valueId`).String()
	g.want("another's", preview("/fhir/Patient/q/$purge?_preview=true", own), 403)
	g.want("with the trail of what was done", preview("/fhir/Patient/p/$purge?_preview=true&_audit=purge", own), 403)
	g.want("of what the client owns", preview("/fhir/$purge?_preview=true", own), 403)
	other := g.issuer.Token(authtest.Claims{Client: "c", User: "v", Patient: "p", Scope: "patient/$patient-purge"})
	g.want("another user's plan", preview("/fhir/Patient/p/$purge?_plan="+plan, other), 409)
	narrower := g.issuer.Token(authtest.Claims{Client: "c", User: "u", Patient: "p", Scope: "system/*.rs"})
	g.want("its plan, with a token that may not purge", preview("/fhir/Patient/p/$purge?_plan="+plan, narrower), 403)
	g.allThere("after all of them")
	g.want("its own plan", preview("/fhir/Patient/p/$purge?_plan="+plan, own), 200)
}

// purged waits for the end of a bulk purge.
func (g *guarded) purged(status, token string) {
	g.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		r := g.get(status, token)
		g.want("the poll", r, 200)
		if gjson.Get(r.body, outcomeOf).Exists() {
			return
		}
	}
	g.Fatal("the purge does not end")
}

func TestAnothersPurgeLooksLikeAnUnknownOne(t *testing.T) {
	t.Parallel()
	g := ward(t)
	purger := func(client, user string) string {
		return g.issuer.Token(authtest.Claims{Client: client, User: user, Scope: everything + " system/$patient-purge user/*.cruds"})
	}
	mine := purger("mine", "")
	r := g.do(call{method: "POST", path: "/fhir/Patient/$bulk-purge", token: mine, header: []string{"Prefer", "respond-async"}, body: patientIDs("p")})
	g.want("the kick-off", r, 202)
	bulk := r.header.Get("Content-Location")
	r = g.do(call{method: "POST", path: "/fhir/Patient/p/$purge", token: mine, header: []string{"Prefer", "respond-async"}})
	g.want("the kick-off", r, 202)
	one := r.header.Get("Content-Location")
	g.purged(bulk, mine)
	g.want("my result", g.ended(one, mine), 200)

	unknown := func(path string) string {
		id := path[strings.LastIndex(strings.TrimSuffix(path, "/result"), "/")+1:]
		return strings.Replace(path, strings.TrimSuffix(id, "/result"), "01M7ZP972YWNCE3K2BS1NVFW99", 1)
	}
	for who, token := range map[string]string{
		"another client": purger("other", ""), "a user of mine": purger("mine", "u"), "another, with my name as user": purger("other", "mine"),
	} {
		for _, path := range []string{bulk, one, strings.TrimSuffix(one, "/result"), strings.Replace(bulk, "Patient-bulk-purge", "jobs", 1)} {
			for _, method := range []string{"GET", "DELETE", "PUT"} {
				got, want := g.do(call{method: method, path: path, token: token}), g.do(call{method: method, path: unknown(path), token: token})
				if d := cmp.Diff(want.said(), got.said()); d != "" || got.status != 404 && got.status != 405 {
					t.Errorf("%s: %s %s: %d (- unknown, + mine)\n%s", who, method, path, got.status, d)
				}
			}
		}
		if jobs := g.get("/fhir/jobs", token); gjson.Get(jobs.body, "jobs.#").Int() != 0 {
			t.Errorf("%s sees the jobs %s", who, jobs.body)
		}
	}
	g.want("mine, after all that", g.get(bulk, mine), 200)
	g.want("mine, after all that", g.get(one, mine), 200)
	// What is polled at one place is not at the other.
	for _, path := range []string{strings.Replace(bulk, "Patient-bulk-purge", "$export", 1), strings.Replace(strings.TrimSuffix(one, "/result"), "jobs", "Patient-bulk-purge", 1)} {
		g.want("a job of another kind", g.get(path, mine), 404)
	}
}

func TestAPurgeOfOneTenantTouchesNothingOfAnother(t *testing.T) {
	t.Parallel()
	w := newGuarded(t, withTenants)
	w.engine()
	tokens, files := map[string]string{}, map[string]string{}
	for tenant, base := range bases() {
		tokens[tenant] = w.issuer.Token(authtest.Claims{Client: "c", Scope: everything + " system/$patient-purge", Tenant: tenant})
		w.put(base, "Patient", "p", "Kestrel of "+tenant, tokens[tenant])
		w.put(base, "Observation", "o", "Kestrel of "+tenant, tokens[tenant])
		w.put(base, "Group", "g", "Kestrel of "+tenant, tokens[tenant])
		_, m := w.exported(base+"/$export", tokens[tenant])
		for _, f := range m.Output {
			if f.Type == "Patient" {
				files[tenant] = f.URL
			}
		}
	}
	w.refusesTokensOfOthers(tokens)
	r := w.do(call{method: "POST", path: bases()["a"] + "/Patient/$bulk-purge", token: tokens["a"], header: []string{"Prefer", "respond-async"}, body: patientIDs("p")})
	w.want("the kick-off", r, 202)
	if !strings.HasPrefix(r.header.Get("Content-Location"), w.origin+bases()["a"]+"/") {
		t.Errorf("Content-Location: %s", r.header.Get("Content-Location"))
	}
	w.purged(r.header.Get("Content-Location"), tokens["a"])
	for tenant, base := range bases() {
		want := http.StatusOK
		if tenant == "a" {
			want = http.StatusNotFound
		}
		for _, ref := range []string{"Patient/p", "Observation/o", "Patient/p/_history/1"} {
			w.want(tenant+" "+ref, w.get(base+"/"+ref, tokens[tenant]), want)
		}
		if tenant == "a" {
			want = http.StatusGone
		}
		w.want("the file of "+tenant, w.get(files[tenant], tokens[tenant]), want)
	}
}

// refusesTokensOfOthers asks each tenant for a purge with the tokens of others.
func (g *guarded) refusesTokensOfOthers(tokens map[string]string) {
	g.Helper()
	for tenant, base := range bases() {
		for other, token := range tokens {
			if other == tenant {
				continue
			}
			r := g.do(call{method: "POST", path: base + "/Patient/p/$purge", token: token})
			if r.status != 403 && r.status != 404 {
				g.Errorf("a purge in %s with a token of %s: %d", tenant, other, r.status)
			}
		}
	}
}

// The file of an export that held a purged patient is gone for its owner, and
// for nobody else was it ever there.
func TestAFileThatHeldAPurgedPatientIsGoneForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	g := ward(t)
	mine, other := g.token("mine", everything), g.token("other", everything)
	g.put("/fhir", "Organization", "org", "nobody's", mine)
	status, m := g.exported("/fhir/$export", mine)
	bytes := map[string]string{}
	for _, f := range m.Output {
		bytes[f.URL] = g.get(f.URL, mine).body
	}
	g.want("$purge", g.do(call{method: "POST", path: "/fhir/Patient/p/$purge", token: other}), 200)
	g.want("the manifest", g.get(status, mine), 200)
	unknown := g.get(status+"/99.Patient.ndjson", other)
	for _, f := range m.Output {
		r, foreign := g.get(f.URL, mine), g.get(f.URL, other)
		if f.Type == "Organization" {
			g.want(f.URL, r, 200)
			if r.body != bytes[f.URL] {
				t.Errorf("%s has changed", f.URL)
			}
		} else {
			g.want(f.URL, r, 410)
			if said, _ := diagnosticsOf(r); !strings.Contains(said, "export") {
				t.Errorf("410 says %q", said)
			}
			g.want("HEAD", g.do(call{method: "HEAD", path: f.URL, token: mine}), 410)
			g.want("a range", g.get(f.URL, mine, "Range", "bytes=5-"), 410)
		}
		if foreign.said() != unknown.said() {
			t.Errorf("to another it is %s, and what never was is %s", foreign.said(), unknown.said())
		}
		if r := g.get(f.URL, ""); r.status != 401 {
			t.Errorf("without a token: %d", r.status)
		}
	}
	g.want("DELETE", g.do(call{method: "DELETE", path: status, token: mine}), 202)
	g.want("a file after DELETE", g.get(m.Output[0].URL, mine), 404)
}
