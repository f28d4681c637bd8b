package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// operated serves with an address for the operator.
func operated(t *testing.T) *site {
	t.Helper()
	return serveIn(t, serving{watching: watching{OperatorListen: "127.0.0.1:0"}, authentication: authentication{Tenant: []string{"south"}}})
}

// operate asks the operator's address, in JSON unless a header says otherwise.
func (s *site) operate(status int, method, path, body string, header ...string) string {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.operatorURL(path), strings.NewReader(body))
	s.ok(err)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	res, err := s.client.Do(r)
	s.ok(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	s.ok(err)
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		s.Errorf("%s %s %s: %d, want %d: %s", method, path, body, res.StatusCode, status, b)
	}
	return string(b)
}

func TestWhatTheOperatorHoldsIsNotPurgedUntilTheHoldIsLifted(t *testing.T) {
	t.Parallel()
	s := operated(t)
	s.put("Patient/a", "")
	s.put("Group/g", `,"type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}},{"entity":{"display":"somebody"}}]`)
	made := s.operate(http.StatusCreated, http.MethodPost, "/holds", `{"on":"Group/g","by":"Ann","why":"a secret case","until":"2100-01-01T00:00:00Z"}`)
	for path, want := range map[string]string{
		"on": "Group/g", "by": "Ann", "why": "a secret case", "until": "2100-01-01T00:00:00Z", "stands": "true", "patients": "1", "leftOut": "1", "tenant": "default",
	} {
		if got := gjson.Get(made, path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	id := gjson.Get(made, "id").Str
	for path, body := range map[string]string{"/Patient/a/$purge": "", "/Group/g/$purge": "", "/Patient/$bulk-purge": patientIDs("a")} {
		a := s.do(http.MethodPost, path, body, "Prefer", "respond-async")
		s.is(path, a, http.StatusConflict)
		if code := gjson.Get(a.body, "issue.0.code").Str; code != "conflict" || !strings.Contains(a.body, id) || strings.Contains(a.body, "secret") {
			t.Errorf("%s: %s", path, a)
		}
	}
	s.is("an ordinary DELETE", s.do(http.MethodDelete, "/Patient/a", ""), http.StatusNoContent)
	s.is("what was deleted, before that", s.get("/Patient/a/_history/1"), http.StatusOK)

	if got := s.operate(http.StatusOK, http.MethodGet, "/holds", ""); gjson.Get(got, "holds.#").Int() != 1 || gjson.Get(got, "holds.0.id").Str != id {
		t.Errorf("listed: %s", got)
	}
	for range 2 { // again says who did
		lifted := s.operate(http.StatusOK, http.MethodDelete, "/holds/"+id+"?by=Bob", "")
		if gjson.Get(lifted, "liftedBy").Str != "Bob" || gjson.Get(lifted, "stands").Bool() || !gjson.Get(lifted, "lifted").Exists() {
			t.Errorf("lifted: %s", lifted)
		}
	}
	if got := s.operate(http.StatusOK, http.MethodGet, "/holds", ""); gjson.Get(got, "holds.#").Int() != 0 {
		t.Errorf("standing: %s", got)
	}
	if got := s.operate(http.StatusOK, http.MethodGet, "/holds?ended=true", ""); gjson.Get(got, "holds.0.liftedBy").Str != "Bob" {
		t.Errorf("all: %s", got)
	}
	s.bulkPurged("patientId", "a")
	s.is("the patient", s.get("/Patient/a"), http.StatusNotFound)
}

func TestActsOnHoldsAreRecorded(t *testing.T) {
	t.Parallel()
	s := operated(t)
	s.put("Patient/a", "")
	id := gjson.Get(s.operate(http.StatusCreated, http.MethodPost, "/holds", `{"on":"Patient/a","by":"Ann","why":"a secret case"}`), "id").Str
	s.operate(http.StatusNotFound, http.MethodPost, "/holds", `{"on":"Patient/b","by":"Ann","why":"x"}`)
	s.operate(http.StatusOK, http.MethodDelete, "/holds/"+id+"?by=Bob", "")
	s.operate(http.StatusOK, http.MethodDelete, "/holds/"+id+"?by=Cid", "")
	acts, bodies := s.acts()
	if got, want := strings.Join(acts, "\n"), "C0 hold Patient/a\nU0 hold Patient/a"; got != want {
		t.Fatalf("recorded %q, want %q", got, want)
	}
	for i, by := range []string{"Ann", "Bob"} {
		for _, part := range []string{`"value":"` + by + `"`, `"value":"operator"`, `"value":"` + id + `"`, "until it is lifted"} {
			if !strings.Contains(bodies[i], part) {
				t.Errorf("%s is not in %s", part, bodies[i])
			}
		}
		if strings.Contains(bodies[i], "secret") {
			t.Errorf("it tells why: %s", bodies[i])
		}
	}
}

func TestWhatIsNoHoldIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	s := operated(t)
	s.put("Patient/a", "")
	for _, c := range []struct {
		status       int
		body, saying string
	}{
		{400, ``, "one JSON object"},
		{400, `{"on":"Patient/a","by":"Ann","why":"x"} {}`, "one JSON object"},
		{400, `{"on":"Patient/a","by":"Ann","why":"x","reason":"y"}`, "one JSON object"},
		{400, `{"on":"Patient/a","by":"Ann","why":"x","id":"mine"}`, "one JSON object"},
		{400, `{"on":"Patient/a","by":"Ann","why":"x","until":"tomorrow"}`, "one JSON object"},
		{400, `{"on":"Patient/a","by":"Ann","why":"x","until":"2001-01-01T00:00:00Z"}`, "has passed"},
		{400, `{"on":"Observation/a","by":"Ann","why":"x"}`, "Patient/ID, Group/ID, or tenant"},
		{400, `{"on":"Patient","by":"Ann","why":"x"}`, "Patient/ID, Group/ID, or tenant"},
		{400, `{"on":"Patient/","by":"Ann","why":"x"}`, "no id of FHIR"},
		{400, `{"on":"Patient/a","why":"x"}`, "by is missing"},
		{400, `{"on":"Patient/a","by":"Ann","why":"  "}`, "why is missing"},
		{400, `{"on":"Patient/a","by":"Ann","why":"` + strings.Repeat("x", 1001) + `"}`, "longer than 1000"},
		{404, `{"on":"Patient/nobody","by":"Ann","why":"x"}`, "no such Patient"},
		{404, `{"on":"Patient/a","by":"Ann","why":"x","tenant":"south"}`, "no such Patient"},
		{404, `{"on":"Group/nobody","by":"Ann","why":"x"}`, "no such Group"},
		{404, `{"on":"tenant","by":"Ann","why":"x","tenant":"nowhere"}`, "no such tenant"},
	} {
		if got := gjson.Get(s.operate(c.status, http.MethodPost, "/holds", c.body), "error").Str; !strings.Contains(got, c.saying) {
			t.Errorf("%s: %q, want %q", c.body, got, c.saying)
		}
	}
	good := `{"on":"Patient/a","by":"Ann","why":"x"}`
	s.operate(http.StatusUnsupportedMediaType, http.MethodPost, "/holds", good, "Content-Type", "text/plain")
	s.operate(http.StatusForbidden, http.MethodPost, "/holds", good, "Host", "rebound.example.org")
	s.operate(http.StatusForbidden, http.MethodGet, "/holds", "", "Host", "rebound.example.org:9464")
	s.operate(http.StatusBadRequest, http.MethodGet, "/holds?n=0", "")
	s.operate(http.StatusBadRequest, http.MethodGet, "/holds?standing=1", "")
	s.operate(http.StatusNotFound, http.MethodGet, "/holds?tenant=nowhere", "")
	s.operate(http.StatusNotFound, http.MethodDelete, "/holds/01X?by=Bob", "")
	s.operate(http.StatusBadRequest, http.MethodDelete, "/holds/01X", "")
	if got := s.operate(http.StatusOK, http.MethodGet, "/holds?ended=true", ""); gjson.Get(got, "holds.#").Int() != 0 {
		t.Errorf("held: %s", got)
	}
	if a := s.do(http.MethodGet, strings.TrimSuffix(s.Base(), "/fhir")+"/holds", ""); a.status != http.StatusNotFound {
		t.Errorf("a client sees holds: %d", a.status)
	}
}

func TestHoldsOfATenantAreListedInPages(t *testing.T) {
	t.Parallel()
	s := operated(t)
	for range 3 {
		s.operate(http.StatusCreated, http.MethodPost, "/holds", `{"on":"tenant","by":"Ann","why":"x","tenant":"south"}`)
	}
	first := s.operate(http.StatusOK, http.MethodGet, "/holds?tenant=south&n=2", "")
	rest := s.operate(http.StatusOK, http.MethodGet, "/holds?tenant=south&n=2&after="+gjson.Get(first, "next").Str, "")
	if gjson.Get(first, "holds.#").Int() != 2 || gjson.Get(rest, "holds.#").Int() != 1 || gjson.Get(rest, "next").Exists() {
		t.Errorf("pages: %s %s", first, rest)
	}
	if got := s.operate(http.StatusOK, http.MethodGet, "/holds", ""); gjson.Get(got, "holds.#").Int() != 0 {
		t.Errorf("of the default tenant: %s", got)
	}
	s.put("Patient/a", "")
	s.bulkPurged("patientId", "a")
}

func TestHoldsAreSetListedAndLiftedByCommand(t *testing.T) {
	t.Parallel()
	s := operated(t)
	s.put("Patient/a", "")
	s.put("Group/g", `,"type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}}]`)
	hold := func(status int, args ...string) (string, string) {
		t.Helper()
		var out, err strings.Builder
		if got := run(t.Context(), append([]string{"hold", args[0], "--operator", s.operatorURL("")}, args[1:]...), &out, &err); got != status {
			t.Errorf("%v: %d, want %d: %s", args, got, status, err.String())
		}
		return out.String(), err.String()
	}
	says := func(got, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("%q is not %s", got, pattern)
		}
	}
	none, _ := hold(exitOK, "list")
	says(none, "^there are no holds\n$")
	made, _ := hold(exitOK, "set", "--patient", "a", "--by", "Ann", "--why", "case 4711", "--until", time.Now().Add(time.Hour).Format(time.RFC3339))
	says(made, `^hold \w{26} is on Patient/a, until 2\d{3}-.*Z\n$`)
	id := strings.Fields(made)[1]
	made, _ = hold(exitOK, "set", "--group", "g", "--by", "Ann", "--why", "case 4712")
	says(made, `is on Group/g, until it is lifted\nmembers held: 1\n$`)
	made, _ = hold(exitOK, "set", "--all", "--in", "south", "--by", "Ann", "--why", "x")
	says(made, `is on tenant`)
	all, _ := hold(exitOK, "list")
	says(all, `(?s)hold +on +stands.*`+id+` +Patient/a +until 2.*Ann +case 4711.*Group/g +until it is lifted.*case 4712`)
	lifted, _ := hold(exitOK, "lift", id, "--by", "Bob")
	says(lifted, `^hold `+id+` on Patient/a: lifted 2.*Z by Bob\n$`)
	all, _ = hold(exitOK, "list")
	if strings.Contains(all, id) {
		t.Errorf("listed: %s", all)
	}
	all, _ = hold(exitOK, "list", "--ended")
	says(all, id+` +Patient/a +lifted .* by Bob`)
	_, err := hold(exitFailed, "set", "--patient", "nobody", "--by", "Ann", "--why", "x")
	says(err, "404 Not Found: the tenant has no such Patient")
	_, err = hold(exitFailed, "set", "--by", "Ann", "--why", "x")
	says(err, "--patient ID, --group ID or --all")
	_, err = hold(exitFailed, "set", "--all", "--by", "Ann", "--why", "x", "--until", "tomorrow")
	says(err, "--until is no instant")
	_, err = hold(exitFailed, "lift", "01X", "--by", "Ann", "--in", "south")
	says(err, "404 Not Found: the tenant has no hold of this id")
	_, err = hold(exitUsage, "set", "--patient", "a", "--group", "g", "--by", "Ann", "--why", "x")
	says(err, "patient.*group|group.*patient")
	_, err = hold(exitFailed, "list", "--operator", "http://"+s.listener.Addr().String())
	says(err, "404 Not Found: is this the operator's address of a firebreak")
}

func TestHoldsThatCannotBeKeptAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	s := operated(t)
	s.ok(s.store.Close())
	for method, path := range map[string]string{http.MethodPost: "/holds", http.MethodDelete: "/holds/01X?by=Bob", http.MethodGet: "/holds"} {
		r, err := http.NewRequestWithContext(t.Context(), method, s.operatorURL(path), strings.NewReader(`{"on":"tenant","by":"Ann","why":"x"}`))
		s.ok(err)
		r.Header.Set("Content-Type", "application/json")
		res, err := s.client.Do(r)
		s.ok(err)
		b, err := io.ReadAll(res.Body)
		s.ok(err)
		s.ok(res.Body.Close())
		if res.StatusCode < 500 || strings.Contains(string(b), "closed") {
			t.Errorf("%s: %d %s", method, res.StatusCode, b)
		}
	}
}
