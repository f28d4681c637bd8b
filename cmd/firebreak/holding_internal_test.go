package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"firebreak/auth/authtest"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/purge"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestAHoldingIsPurgedByTheFHIRFace(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	at, r := h.start("/fhir/$purge", h.ann, 202)
	if !strings.HasPrefix(at, h.origin+"/fhir/$purge/") || r.body != "" || r.header.Get("Preference-Applied") != "" {
		t.Errorf("the kick-off says %s", r.said())
	}
	r = h.get(at, h.ann)
	h.golden("fhir-queued", r.body)
	if r.header.Get("X-Progress") != "queued" || r.header.Get("Retry-After") != "1" {
		t.Errorf("under way it says %v", r.header)
	}
	h.put("/fhir", "Observation", "later", "of Ann", h.ann)
	h.engine()
	r = h.until(at, h.ann, statusOfFHIR, "succeeded")
	h.golden("fhir-succeeded", r.body)
	if r.header.Get("X-Progress") != "" || r.header.Get("Retry-After") != "" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("at the end it says %v", r.header)
	}
	h.there()
	h.want("what was deleted", h.get("/fhir/Observation/ann-2/_history/1", h.ann), 404)
	h.want("what was written since", h.get("/fhir/Observation/later", h.ann), 200)
	if jobs := h.get("/fhir/jobs", h.ann); gjson.Get(jobs.body, "jobs.0.status").String() != at {
		t.Errorf("my jobs: %s", jobs.body)
	}
	h.want("PUT of what succeeded", h.do(call{method: "PUT", path: at, token: h.ann}), 409)
	h.want("DELETE", h.do(call{method: "DELETE", path: at, token: h.ann}), 202)
	h.want("GET after DELETE", h.get(at, h.ann), 404)
	h.want("PUT after DELETE", h.do(call{method: "PUT", path: at, token: h.ann}), 404)
}

func TestAHoldingIsPurgedByTheBulkPurge(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.store.first(waits)
	at, r := h.start("/r4/$purge?_type=Observation,Patient&_before=2999-01-31", h.ann, 200)
	h.golden("bulk-started", r.body)
	id := gjson.Get(r.body, "job.id").String()
	if at != h.origin+"/r4/$purge/"+id || aUUID.FindString(id) != id || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("the start says %s", r.said())
	}
	h.golden("bulk-queued", h.get(at, h.ann).body)
	h.engine()
	<-h.store.erasing
	h.golden("bulk-running", h.get(at, h.ann).body)
	began := time.Now()
	r = h.do(call{method: "DELETE", path: at, token: h.ann})
	if h.golden("bulk-canceled", r.body); r.status != 200 || time.Since(began) > 2*time.Second {
		t.Errorf("DELETE: %d after %s", r.status, time.Since(began))
	}
	h.until(at, h.ann, statusOfBulk, "canceled")
	h.there("Observation/ann-0", "Observation/ann-1", "Patient/p")
	h.store.first(fails)
	r = h.do(call{method: "PUT", path: at, token: h.ann})
	if r.status != 200 || gjson.Get(r.body, statusOfBulk).String() != "in progress" || gjson.Get(r.body, "job.retryCount").Int() != 1 {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
	h.golden("bulk-failed", h.until(at, h.ann, statusOfBulk, "failed").body)
	h.store.first(goesOn)
	if r = h.do(call{method: "PUT", path: at, token: h.ann}); r.status != 200 {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
	h.golden("bulk-successful", h.until(at, h.ann, statusOfBulk, "successful").body)
	h.there()
	if r = h.do(call{method: "DELETE", path: at, token: h.ann}); r.status != 200 || gjson.Get(r.body, statusOfBulk).String() != "successful" {
		t.Errorf("DELETE of what has ended: %d %s", r.status, r.body)
	}
	_, r = h.start("/r4/$purge", h.of("app", ""), 200)
	h.golden("bulk-alone", r.body)
}

func TestACancelByTheFHIRFaceSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.store.first(waits)
	h.engine()
	at, _ := h.start("/fhir/$purge?_type=Observation", h.ann, 202)
	<-h.store.erasing
	began := time.Now()
	r := h.do(call{method: "DELETE", path: at, token: h.ann})
	h.want("DELETE", r, 202)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	h.golden("fhir-cancelled", r.body)
	h.want("GET", h.get(at, h.ann), 404)
	h.there("Observation/ann-0", "Observation/ann-1", "Patient/p")
	h.store.first(goesOn)
	at, _ = h.start("/fhir/$purge?_type=Observation", h.ann, 202)
	h.until(at, h.ann, statusOfFHIR, "succeeded")
	h.there("Patient/p")
}

func TestARetryByTheFHIRFaceDoesWhatFailed(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.store.first(fails)
	at, _ := h.start("/fhir/$purge", h.ann, 202)
	h.want("PUT before it ran", h.do(call{method: "PUT", path: at, token: h.ann}), 409)
	h.engine()
	h.golden("fhir-failed", h.until(at, h.ann, statusOfFHIR, "failed").body)
	h.store.first(goesOn)
	narrow := h.issuer.Token(authtest.Claims{Client: "app", User: "ann", Scope: "system/*.rs"})
	h.want("PUT of who may not", h.do(call{method: "PUT", path: at, token: narrow}), 403)
	r := h.do(call{method: "PUT", path: at, token: h.ann})
	if h.want("PUT", r, 202); r.header.Get("Content-Location") != at {
		t.Errorf("PUT says %v", r.header)
	}
	h.until(at, h.ann, statusOfFHIR, "succeeded")
	h.there()
}

// message is what an error beside the FHIR base says; "" if it is none.
func messageOf(r reply) string {
	if r.header.Get("Content-Type") != "application/json" || gjson.Get(r.body, "@keys").String() != `["message"]` {
		return ""
	}
	return gjson.Get(r.body, "message").String()
}

func TestOnePurgeOfAHoldingAtATime(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	at, _ := h.start("/fhir/$purge", h.ann, 202)
	id := at[strings.LastIndex(at, "/")+1:]
	r := h.do(call{method: "POST", path: "/fhir/$purge", token: h.ann})
	h.want("a second", r, 409)
	if said, _ := diagnosticsOf(r); !strings.Contains(said, id) {
		t.Errorf("409 says %s", said)
	}
	r = h.do(call{method: "POST", path: "/r4/$purge", token: h.ann})
	if r.status != 409 || !strings.Contains(messageOf(r), purge.UUID(id)) {
		t.Errorf("a second beside: %s", r.said())
	}
	first := call{method: "POST", path: "/fhir/$purge", token: h.of("app", "bob"), header: []string{"Idempotency-Key", "k"}}
	one, two := h.do(first), h.do(first)
	if h.want("the same again", two, 202); one.header.Get("Content-Location") != two.header.Get("Content-Location") {
		t.Errorf("with a key: %v, %v", one.header, two.header)
	}
	// Both faces show the same job.
	if r := h.get("/r4/$purge/"+purge.UUID(id), h.ann); gjson.Get(r.body, "job.id").String() != purge.UUID(id) {
		t.Errorf("beside: %s", r.said())
	}
	// One that was cancelled is not tried again beside another.
	h.engine()
	h.until(at, h.ann, statusOfFHIR, "succeeded")
	h.store.first(waits)
	h.put("/fhir", "Observation", "later", "of Ann", h.ann)
	stopped, _ := h.start("/r4/$purge", h.ann, 200)
	h.do(call{method: "DELETE", path: stopped, token: h.ann})
	running, _ := h.start("/r4/$purge", h.ann, 200)
	r = h.do(call{method: "PUT", path: stopped, token: h.ann})
	if r.status != 409 || !strings.Contains(messageOf(r), running[strings.LastIndex(running, "/")+1:]) {
		t.Errorf("a retry beside another: %s", r.said())
	}
}

func TestWhoMayNotPurgeAHoldingIsRefusedInEachFace(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.engine()
	for _, path := range []string{"/fhir/$purge", "/fhir/%24purge?_type=Patient", "/r4/$purge", "/r4/$purge?_type=Observation,Patient"} {
		for what, scope := range map[string]string{
			"read": "system/*.rs", "one type": "system/Observation.cruds", "a patient's own": "patient/$patient-purge",
			"another vendor's": "system/acme/$patient-purge", "nothing": "openid",
		} {
			r := h.do(call{method: "POST", path: path, token: h.issuer.Token(authtest.Claims{Client: "app", User: "ann", Patient: "p", Scope: scope})})
			if r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), "insufficient_scope") || strings.HasPrefix(path, "/r4") && messageOf(r) == "" {
				t.Errorf("%s, %s: %s", path, what, r.said())
			}
		}
		r := h.do(call{method: "POST", path: path})
		if r.status != 401 || r.header.Get("WWW-Authenticate") == "" || strings.HasPrefix(path, "/r4") && messageOf(r) == "" {
			t.Errorf("%s without a token: %s", path, r.said())
		}
	}
	h.there("Observation/ann-0", "Observation/ann-1", "Patient/p")
	if jobs := h.get("/fhir/jobs", h.ann); gjson.Get(jobs.body, "jobs.#").Int() != 0 {
		t.Errorf("there are jobs: %s", jobs.body)
	}
	may := h.issuer.Token(authtest.Claims{Client: "app", User: "ann", Scope: "user/Observation.d"})
	at, _ := h.start("/r4/$purge?_type=Observation", may, 200)
	h.until(at, may, statusOfBulk, "successful")
	h.there("Patient/p")
	may = h.issuer.Token(authtest.Claims{Client: "app", User: "ann", Scope: "system/kodjin/$patient-purge"})
	at, _ = h.start("/fhir/$purge", may, 202)
	h.until(at, may, statusOfFHIR, "succeeded")
	h.there()
}

func TestWrongCallsOfAHoldingChangeNothing(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	h.engine()
	for _, base := range []string{"/fhir", "/r4"} {
		for what, c := range map[string]struct {
			method, path, body string
			status             int
		}{
			"an unknown type":          {"POST", "/$purge?_type=Observations", "", 400},
			"an empty type":            {"POST", "/$purge?_type=", "", 400},
			"no date":                  {"POST", "/$purge?_before=soon", "", 400},
			"two dates":                {"POST", "/$purge?_before=2026&_before=2027", "", 400},
			"an unknown parameter":     {"POST", "/$purge?type=Observation", "", 400},
			"an unknown one in a body": {"POST", "/$purge", parametersOf("_types", "Observation"), 400},
			"a body and a query":       {"POST", "/$purge?_type=Observation", parametersOf("_type", "Observation"), 400},
			"a body that is none":      {"POST", "/$purge", "{}", 400},
			"a torn query":             {"POST", "/$purge?_type=%zz", "", 400},
			"GET":                      {"GET", "/$purge", "", 405},
			"GET with parameters":      {"GET", "/$purge?_type=Observation", "", 405},
			"PUT without a job":        {"PUT", "/$purge", "", 405},
			"DELETE without a job":     {"DELETE", "/$purge", "", 405},
			"POST to a job":            {"POST", "/$purge/01M7ZP972YWNCE3K2BS1NVFW99", "", 405},
			"PATCH":                    {"PATCH", "/$purge", "", 405},
		} {
			r := h.do(call{method: c.method, path: base + c.path, body: c.body, token: h.ann})
			_, outcome := diagnosticsOf(r)
			if base == "/fhir" && what == "POST to a job" {
				c.status = 404 // as below every other address of jobs there
			}
			if r.status != c.status || base == "/fhir" != outcome || base == "/r4" != (messageOf(r) != "") || c.status == 405 && r.header.Get("Allow") == "" {
				t.Errorf("%s, %s: %s", base, what, r.said())
			}
		}
	}
	for path, status := range map[string]int{
		"/dstu2/$purge": 404, "/stu3/$purge": 404, "/stu3/$purge/x": 404, "/r4": 404, "/r4/Patient": 404, "/r4/$export": 404,
	} {
		for _, method := range []string{"POST", "GET"} {
			if r := h.do(call{method: method, path: path, token: h.ann}); r.status != status || messageOf(r) == "" {
				t.Errorf("%s %s: %s", method, path, r.said())
			}
		}
	}
	h.there("Observation/ann-0", "Observation/ann-1", "Patient/p")
}

func TestAnothersPurgeOfAHoldingLooksLikeAnUnknownOne(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	at, _ := h.start("/fhir/$purge", h.ann, 202)
	id := at[strings.LastIndex(at, "/")+1:]
	const unknown = "01M7ZP972YWNCE3K2BS1NVFW99"
	for what, token := range map[string]string{"another user": h.of("app", "bob"), "the client": h.of("app", ""), "another client": h.of("other", "ann")} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			for path, never := range map[string]string{
				"/fhir/$purge/" + id: "/fhir/$purge/" + unknown, "/r4/$purge/" + purge.UUID(id): "/r4/$purge/" + purge.UUID(unknown), "/r4/$purge/" + id: "/r4/$purge/x",
			} {
				got, want := h.do(call{method: method, path: path, token: token}), h.do(call{method: method, path: never, token: token})
				if d := cmp.Diff(want.said(), got.said()); d != "" || got.status != 404 {
					t.Errorf("%s: %s %s: %d (- unknown, + mine)\n%s", what, method, path, got.status, d)
				}
			}
		}
	}
	r := h.do(call{method: "POST", path: "/fhir/Patient/$bulk-purge", token: h.ann, header: []string{"Prefer", "respond-async"}, body: patientIDs("p")})
	h.want("another kind", r, 202)
	other := r.header.Get("Content-Location")
	h.want("a job of another kind", h.get("/fhir/$purge/"+other[strings.LastIndex(other, "/")+1:], h.ann), 404)
	if r := h.get("/r4/$purge/"+purge.UUID(other[strings.LastIndex(other, "/")+1:]), h.ann); r.status != 404 {
		t.Errorf("a job of another kind beside: %s", r.said())
	}
}

func TestAHoldingIsOfOneTenant(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, withTenants)
	g.engine()
	for tenant, base := range bases() {
		g.put(base, "Patient", "p", "of "+tenant, g.issuer.Token(authtest.Claims{Client: "c", Scope: everything, Tenant: tenant}))
	}
	token := g.issuer.Token(authtest.Claims{Client: "c", Scope: everything, Tenant: "a"})
	path := strings.TrimSuffix(bases()["a"], "/fhir") + "/r4/$purge"
	r := g.do(call{method: "POST", path: path, token: token})
	at := r.header.Get("Content-Location")
	if r.status != 200 || !strings.HasPrefix(at, g.origin+path+"/") {
		t.Fatalf("POST: %s", r.said())
	}
	for end := time.Now().Add(time.Minute); gjson.Get(g.get(at, token).body, statusOfBulk).String() != "successful"; {
		if time.Now().After(end) {
			t.Fatal("the job does not end")
		}
	}
	for tenant, base := range bases() {
		want := map[bool]int{true: http.StatusNotFound, false: http.StatusOK}[tenant == "a"]
		g.want(tenant, g.get(base+"/Patient/p", g.issuer.Token(authtest.Claims{Client: "c", Scope: everything, Tenant: tenant})), want)
	}
	for _, path := range []string{"/t/nobody/r4/$purge", "/t/a/stu3/$purge", "/t/a/r4/x"} {
		if r := g.do(call{method: "POST", path: path, token: token}); r.status != 404 || messageOf(r) == "" {
			t.Errorf("%s: %s", path, r.said())
		}
	}
}

func TestTheCommandPurgesWhatIsMine(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.work()
	s.put("Patient/p", "")
	s.put("Observation/o", `,"status":"final","code":{"text":"x"}`)
	run := func(c purgeCommand, answer string) (string, error) {
		var out, asked bytes.Buffer
		c.Server, c.Shared, c.in = s.Base(), "detach", strings.NewReader(answer)
		err := c.Run(t.Context(), streams{out: &out, err: &asked})
		return out.String() + asked.String(), err
	}
	mine := purgeCommand{holdingFlags: holdingFlags{Mine: true, Type: []string{"Observation"}, Before: "2999"}}
	said, err := run(mine, "no\n")
	if err == nil || !strings.Contains(said, "All that you own of Observation, last updated before 2999, at "+s.Base()+" will be removed for good") {
		t.Errorf("%v, it asks %s", err, said)
	}
	s.is("after no", s.get("/Observation/o"), 200)
	said, err = run(mine, "yes\n")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(said), " "), "planned 1 1 removed 1 1 1 ") || !strings.Contains(said, "none is left") {
		t.Errorf("%v, it says %s", err, said)
	}
	s.is("the Observation", s.get("/Observation/o"), 404)
	s.is("the Patient", s.get("/Patient/p"), 200)
	for what, c := range map[string]purgeCommand{
		"nothing": {}, "types alone": {Patient: []string{"p"}, holdingFlags: holdingFlags{Type: []string{"Patient"}}},
		"with a look": {Verify: true, holdingFlags: holdingFlags{Mine: true}}, "a wrong type": {Yes: true, holdingFlags: holdingFlags{Mine: true, Type: []string{"Obs"}}},
	} {
		if said, err := run(c, "yes\n"); err == nil {
			t.Errorf("%s: %s", what, said)
		}
	}
	s.is("the Patient", s.get("/Patient/p"), 200)
}

func TestWhatIsDoneWithAHoldingIsRecorded(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.put("Patient/p", "")
	first := s.do(http.MethodPost, s.besideBase()+"/r4/$purge", "")
	at := first.header.Get("Content-Location")
	s.is("a second", s.do(http.MethodPost, "/$purge", ""), 409)
	s.do(http.MethodDelete, at, "")
	s.work()
	for end := time.Now().Add(time.Minute); s.do(http.MethodPut, at, "").status != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("it is not tried again")
		}
	}
	for end := time.Now().Add(time.Minute); gjson.Get(s.get(at).body, statusOfBulk).String() != "successful"; {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	acts, _ := s.acts()
	want := []string{
		"E0 purge-holding r4/$purge", "E0 purge-holding $purge", "E4 purge-holding $purge", "D0 purge-holding",
		"E0 purge-holding", "E0 purge-holding", // tried again, and ended
	}
	if d := cmp.Diff(want, acts); d != "" {
		t.Errorf("recorded (- want, + got)\n%s", d)
	}
}

// besideBase is the URL of the server, without the FHIR base.
func (s *site) besideBase() string { return strings.TrimSuffix(s.Base(), fhirhttp.Root) }
