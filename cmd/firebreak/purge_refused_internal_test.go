package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// wrongCall is a request that must do nothing but say why.
type wrongCall struct {
	what, method, path, body string
	header                   []string
	status                   int
	codes                    string // those that fit
	says                     string // in the expression or the diagnostics
}

// crowded is a server that works, with resources to be touched by mistake.
func crowded(t *testing.T, g ground) *site {
	t.Helper()
	s := onGround(t, g)
	for _, id := range []string{"a", "b", "purge"} {
		s.put("Patient/"+id, "")
		s.put("Patient/"+id+"x", "")
		s.is("an update", s.do(http.MethodPut, "/Patient/"+id, `{"resourceType":"Patient","id":"`+id+`","active":true}`), http.StatusOK)
		s.put("Observation/of-"+id, `,"status":"final","subject":{"reference":"Patient/`+id+`"}`)
	}
	s.put("Condition/deleted", `,"subject":{"reference":"Patient/a"}`)
	s.is("DELETE", s.do(http.MethodDelete, "/Condition/deleted", ""), http.StatusNoContent)
	s.put("Group/g", `,"type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}}]`)
	s.put("List/l", `,"entry":[{"item":{"reference":"Patient/a"}}]`)
	s.work()
	return s
}

// refuses makes the requests and finds that nothing has changed.
func (s *site) refuses(all []wrongCall) {
	s.Helper()
	before := s.dump("Condition/deleted")
	for _, r := range all {
		if r.method == "" {
			r.method = http.MethodPost
		}
		a := s.do(r.method, r.path, r.body, r.header...)
		s.is(r.what, a, r.status)
		if code := gjson.Get(a.body, "issue.0.code").String(); !slices.Contains(strings.Fields(r.codes), code) && a.status == r.status && r.codes != "" {
			s.Errorf("%s: the code is %s, not one of %s: %s", r.what, code, r.codes, a.body)
		}
		if said := gjson.Get(a.body, "issue.0.diagnostics").String() + gjson.Get(a.body, "issue.0.expression").String(); !strings.Contains(said, r.says) && a.status == r.status {
			s.Errorf("%s: it says %q, and nothing of %s", r.what, said, r.says)
		}
		if a.header.Get("Content-Location") != "" {
			s.Errorf("%s: there is a job", r.what)
		}
		if d := cmp.Diff(before, s.dump("Condition/deleted")); d != "" {
			s.Fatalf("%s: what is stored has changed (- before, + after)\n%s", r.what, d)
		}
	}
	if jobs := s.get("/jobs"); gjson.Get(jobs.body, "jobs.#").Int() != 0 {
		s.Errorf("there are jobs: %s", jobs.body)
	}
}

func bulkRefusals() (all []wrongCall) {
	respond := []string{"Prefer", "respond-async"}
	add := func(what, body string, status int, codes, says string) {
		all = append(all, wrongCall{what: what, path: "/Patient/$bulk-purge", body: body, header: respond, status: status, codes: codes, says: says})
	}
	all = append(all,
		wrongCall{what: "synchronously", path: "/Patient/$bulk-purge", body: patientIDs("a"), status: 400, codes: "not-supported required invalid", says: "respond-async"},
		wrongCall{what: "with another preference", path: "/Patient/$bulk-purge", body: patientIDs("a"), header: []string{"Prefer", "return=minimal"}, status: 400, says: "respond-async"},
	)
	add("without a body", "", 400, "required invalid", "patientId")
	add("without ids", parametersOf(), 400, "required invalid", "patientId")
	add("with other parameters alone", parametersOf("_shared", "keep"), 400, "required invalid", "patientId")
	add("an unknown parameter", parametersOf("patientId", "a", "_shard", "keep"), 400, "not-supported invalid value", "parameter[1]")
	add("a parameter in another case", parametersOf("patientid", "a"), 400, "", "patient")
	add("_shared with an unknown value", parametersOf("patientId", "a", "_shared", "everything"), 400, "value code-invalid invalid not-supported", "_shared")
	add("_audit with an unknown value", parametersOf("patientId", "a", "_audit", "true"), 400, "value code-invalid invalid not-supported", "_audit")
	add("_verify with an unknown value", parametersOf("patientId", "a", "_verify", "FULL"), 400, "value code-invalid invalid not-supported", "_verify")
	add("_shared twice", parametersOf("patientId", "a", "_shared", "keep", "_shared", "delete"), 400, "", "_shared")
	add("_shared twice the same", parametersOf("patientId", "a", "_shared", "keep", "_shared", "keep"), 400, "", "_shared")
	add("another resource", `{"resourceType":"Patient","id":"a"}`, 400, "structure invalid", "Parameters")
	add("no resource", `{"parameter":[{"name":"patientId","valueString":"a"}]}`, 400, "structure invalid required", "Parameters")
	add("no JSON", `patientId=a`, 400, "structure invalid", "JSON")
	add("half of it", `{"resourceType":"Parameters","parameter":[{"name":"patientId","valueString":"a"}`, 400, "structure invalid", "")
	add("two of it", patientIDs("a")+patientIDs("b"), 400, "structure invalid", "")
	add("an array", "["+patientIDs("a")+"]", 400, "structure invalid", "")
	add("10,001 ids", manyIDs(10_001), 413, "too-costly", "10000")
	add("an id that is a number", `{"resourceType":"Parameters","parameter":[{"name":"patientId","valueInteger":1}]}`, 400, "", "parameter[0]")
	add("an id with NUL", patientIDs("b", "a\x00b"), 400, "value invalid structure", "NUL")
	for _, id := range []string{ // letters, digits, - and . are what an id is made of
		"Patient/a", "a/b", "../a", "", " ", "a b", "a,b", "a\n", "*", "%61", "ä", strings.Repeat("a", 65), "a/_history/1", "$bulk-purge", "a?x=1", "a#b", "_",
	} {
		add(fmt.Sprintf("the id %q", id), patientIDs("b", id), 400, "value invalid structure", "parameter[1]")
	}
	return all
}

func manyIDs(n int) string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("somebody-with-an-id-of-usual-length-%05d", i))
	}
	return patientIDs(ids...)
}

func oneRefusals() (all []wrongCall) {
	add := func(what, path, body string, status int, says string) {
		for _, header := range [][]string{nil, {"Prefer", "respond-async"}} {
			all = append(all, wrongCall{what: fmt.Sprint(what, " ", path, " ", header), path: path, body: body, header: header, status: status, says: says})
		}
	}
	for _, of := range []string{"/Patient/a", "/Group/g"} {
		add("a patientId", of+"/$purge", patientIDs("b"), 400, "patientId")
		add("an unknown parameter", of+"/$purge", parametersOf("x", "y"), 400, "parameter[0]")
		add("an unknown parameter in the query", of+"/$purge?_shard=keep", "", 400, "_shard")
		add("a query and a body", of+"/$purge?_shared=keep", parametersOf("_audit", "keep"), 400, "")
		add("an unknown value", of+"/$purge", parametersOf("_shared", "everything"), 400, "_shared")
		add("an unknown value in the query", of+"/$purge?_shared=everything", "", 400, "_shared")
		add("twice in the query", of+"/$purge?_shared=keep&_shared=delete", "", 400, "_shared")
		add("a Patient", of+"/$purge", `{"resourceType":"Patient","id":"a"}`, 400, "Parameters")
		add("no JSON", of+"/$purge", `purge`, 400, "JSON")
	}
	add("an unknown Group", "/Group/unknown/$purge", "", 404, "")
	add("an id with a space", "/Patient/a%20b/$purge", "", 400, "")
	add("an id that is too long", "/Patient/"+strings.Repeat("a", 65)+"/$purge", "", 400, "")
	return all
}

// lostRefusals are of operations and places that there are none of.
func lostRefusals() (all []wrongCall) {
	for _, path := range []string{
		"/Patient/$purge", "/Group/$purge", "/Group/$bulk-purge", "/$bulk-purge", "/Group/g/$bulk-purge", "/Patient/a/$bulk-purge",
		"/Patient/a/$PURGE", "/Patient/a/$Purge", "/patient/a/$purge", "/Patient/$Bulk-Purge", "/Patient/a/$purge/x",
		"/Observation/of-a/$purge", "/Device/a/$purge", "/Patient/a/_history/1/$purge",
		"/Patient/a%2Fb/$purge", "/Patient/Patient%2Fa/$purge", "/Patient/%2e%2e/$purge", "/Patient/..%2Fa/$purge", "/Patient/a%00/$purge",
		"/Patient/a/%24purge%2F", "/Patient//$purge", "/Patient/a//$purge", "/Patient/$purge/a", "/Patient/a/$purge;x=1",
	} {
		all = append(all, wrongCall{what: path, path: path, body: "", header: []string{"Prefer", "respond-async"}})
	}
	return all
}

func TestAPurgeThatIsAskedForWronglyTouchesNothing(t *testing.T) {
	s := crowded(t, onSQLite())
	s.refuses(append(bulkRefusals(), oneRefusals()...))
}

func TestOnMongoAPurgeThatIsAskedForWronglyTouchesNothing(t *testing.T) {
	s := crowded(t, onMongo(t))
	s.refuses(append(bulkRefusals(), oneRefusals()...))
}

func TestWhatIsNoPurgeIsNotTakenForOne(t *testing.T) {
	s := crowded(t, onSQLite())
	before := s.dump("Condition/deleted")
	for _, r := range lostRefusals() {
		for _, body := range []string{"", patientIDs("a")} {
			a := s.do(http.MethodPost, r.path, body, r.header...)
			if a.status < 400 || a.status > 499 || !isOutcome(a) {
				t.Errorf("POST %s: %s", r.path, a)
			}
		}
	}
	for _, path := range []string{"/Patient/../$purge", "/Patient/./$purge"} { // which a client would resolve
		if got := s.raw("POST /fhir" + path + " HTTP/1.1\r\nHost: x\r\nPrefer: respond-async\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("POST %s: %s", path, got)
		}
	}
	if d := cmp.Diff(before, s.dump("Condition/deleted")); d != "" {
		t.Errorf("what is stored has changed (- before, + after)\n%s", d)
	}
	if jobs := s.get("/jobs"); gjson.Get(jobs.body, "jobs.#").Int() != 0 {
		t.Errorf("there are jobs: %s", jobs.body)
	}
}

// raw sends bytes, and returns the first line of the answer.
func (s *site) raw(request string) string {
	s.Helper()
	var d net.Dialer
	c, err := d.DialContext(s.Context(), "tcp", s.listener.Addr().String())
	s.ok(err)
	defer func() { s.ok(c.Close()) }()
	_, err = c.Write([]byte(request))
	s.ok(err)
	line, err := bufio.NewReader(c).ReadString('\n')
	s.ok(err)
	return line
}

func TestOnlyPOSTPurges(t *testing.T) {
	s := crowded(t, onSQLite())
	before := s.dump("Condition/deleted")
	for _, path := range []string{"/Patient/a/$purge", "/Patient/a/%24purge", "/Group/g/$purge", "/Patient/$bulk-purge"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "HEAD"} {
			for _, prefer := range [][]string{nil, {"Prefer", "respond-async"}} {
				body := ""
				if method == "PUT" || method == "PATCH" {
					body = patientIDs("a")
				}
				a := s.do(method, path, body, prefer...)
				if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" || method != "HEAD" && !isOutcome(a) {
					t.Errorf("%s %s: %s", method, path, a)
				}
			}
		}
	}
	if d := cmp.Diff(before, s.dump("Condition/deleted")); d != "" {
		t.Errorf("what is stored has changed (- before, + after)\n%s", d)
	}
	status := s.bulkPurging(patientIDs("nobody"))
	s.purgeEnded(status)
	a := s.do(http.MethodPost, status, patientIDs("a"))
	s.is("POST where it is polled", a, http.StatusMethodNotAllowed)
	if allow := a.header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "DELETE") {
		t.Errorf("POST where it is polled: Allow: %s", allow)
	}
}

func TestTenThousandPatientsMayBePurgedAtOnce(t *testing.T) {
	s := crowded(t, onSQLite())
	status := s.bulkPurging(manyIDs(10_000))
	a := s.get(status)
	s.is("the poll", a, http.StatusOK)
	if n := len(resultsOf(a.body)); n != 10_000 {
		t.Errorf("%d results", n)
	}
	s.is("DELETE", s.do(http.MethodDelete, status, ""), http.StatusAccepted)
	s.is("the poll after that", s.get(status), http.StatusNotFound)
}

// The ids that FHIR allows are taken, those of two dots too.
func TestAnyIDOfFHIRIsTaken(t *testing.T) {
	s := crowded(t, onSQLite())
	before := s.dump("Condition/deleted")
	ids := []string{"..", ".", "-", "A.b-9", strings.Repeat("a", 64)}
	a := s.do(http.MethodPost, "/Patient/$bulk-purge", patientIDs(ids...), "Prefer", "respond-async")
	if a.status == http.StatusAccepted {
		s.areResults(s.purgeEnded(a.header.Get("Content-Location")), ids...)
	} else {
		s.is("ids of dots", a, http.StatusBadRequest)
	}
	s.bulkPurged("patientId", "-", "patientId", "A.b-9", "patientId", strings.Repeat("a", 64))
	if d := cmp.Diff(before, s.dump("Condition/deleted")); d != "" {
		t.Errorf("what is stored has changed (- before, + after)\n%s", d)
	}
}
