package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/sample"

	"github.com/google/go-cmp/cmp"
)

func TestAnExportFromKickOffToDelete(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.fill(3)
	status := s.kickoff("/Group/"+sample.GroupAll+"/$export?_type=Patient,Observation", "Accept", "application/fhir+json")
	if !strings.HasPrefix(status, s.Base()+"/$export/") {
		t.Fatalf("Content-Location %s", status)
	}

	pending := s.get(status)
	s.is("poll with nobody at work", pending, 202)
	if wait, err := strconv.Atoi(pending.header.Get("Retry-After")); err != nil || wait < 1 {
		t.Errorf("Retry-After %q", pending.header.Get("Retry-After"))
	}
	if said := pending.header.Get("X-Progress"); said == "" || len(said) >= 100 || pending.body != "" {
		t.Errorf("X-Progress %q, body %q", said, pending.body)
	}
	s.is("a file of it", s.get(status+"/1.Patient.ndjson"), 404)

	s.work()
	done := s.finished(status)
	s.is("poll at the end", done, 200)
	if again := s.get(status, "Accept", "application/json"); again.String() != done.String() {
		t.Errorf("polled twice: %s", cmp.Diff(done.String(), again.String()))
	}
	s.checkManifest(done)
	m, files := s.download(done)
	if want := s.Base() + "/Group/all/$export?_type=Patient,Observation"; m.Request != want {
		t.Errorf("request %s, want %s", m.Request, want)
	}
	for _, f := range m.Output {
		name := f.URL[strings.LastIndex(f.URL, "/")+1:]
		sum := sha256.Sum256([]byte(files[name]))
		if int64(strings.Count(files[name], "\n")) != *f.Count || int64(len(files[name])) != f.Extension.Integrity.Size ||
			hex.EncodeToString(sum[:]) != f.Extension.Integrity.SHA256 {
			t.Errorf("%s is not what the manifest says", name)
		}
		if !strings.HasPrefix(f.URL, status+"/") || !strings.HasSuffix(f.URL, "."+f.Type+".ndjson") {
			t.Errorf("a file is at %s", f.URL)
		}
	}
	if n := strings.Count(files["1.Patient.ndjson"], "\n"); n != 3 || len(m.Output) != 2 {
		t.Errorf("%d patients in %d files", n, len(m.Output))
	}

	s.is("DELETE", s.do(http.MethodDelete, status, ""), 202)
	s.is("DELETE again", s.do(http.MethodDelete, status, ""), 404)
	s.is("poll of what was deleted", s.get(status), 404)
	s.is("file of what was deleted", s.get(m.Output[0].URL), 404)
}

// checkManifest checks the form of a manifest, member by member.
func (s *site) checkManifest(a answer) {
	s.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json" {
		s.Errorf("Content-Type %s", got)
	}
	if at, err := http.ParseTime(a.header.Get("Expires")); err != nil || at.Before(time.Now().Add(6*24*time.Hour)) || at.After(time.Now().Add(8*24*time.Hour)) {
		s.Errorf("Expires %s, %v", a.header.Get("Expires"), err)
	}
	var members map[string]json.RawMessage
	s.ok(json.Unmarshal([]byte(a.body), &members))
	for name, form := range map[string]string{
		"transactionTime": `^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z"$`, "request": `^"http://`, "requiresAccessToken": `^false$`,
		"output": `^\[\s*\{`, "error": `^\[\]$`,
	} {
		if !regexp.MustCompile(form).Match(members[name]) {
			s.Errorf("%s is %s", name, members[name])
		}
	}
	if len(members) != 5 {
		s.Errorf("members: %s", a.body)
	}
}

func TestKickOffsThatCannotWorkAreRefused(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.put("Group/g", "")
	s.put("Patient/p", "")
	async := []string{"Prefer", "respond-async"}
	for path, status := range map[string]int{
		"/$export?_type=MissingType": 400, "/Patient/$export?_type=Organization": 400, "/$export?_since=yesterday": 400,
		"/$export?_since=2057-01-01T00:00:00Z": 400, "/$export?_since=2020-01-01T00:00:00Z&_since=2020-01-01T00:00:00Z": 400,
		"/$export?_outputFormat=application/xml": 400, "/$export?foo=1": 400, "/$export?_format=xml": 406,
		"/Group/never/$export": 404, "/Group/p/$export": 404, "/Patient/p/$export": 404, "/Patient/never/$export": 404,
		"/Organization/$export": 404, "/$Export": 404, "/$exports": 404, "/Group/$export": 404, "/Group/g/$exporting": 404,
	} {
		a := s.get(path, async...)
		s.is(path, a, status)
		if a.header.Get("Content-Location") != "" {
			t.Errorf("%s: a Content-Location", path)
		}
	}
	s.is("no Prefer", s.get("/$export"), 400)
	s.is("XML", s.get("/$export", append(async, "Accept", "application/fhir+xml")...), 406)
	for _, path := range []string{"/$export", "/Patient/$export", "/Group/g/$export"} {
		for body, status := range map[string]int{
			`{"resourceType":"Patient"}`: 400, `{`: 400, ``: 400,
			`{"resourceType":"Parameters","parameter":[{"name":"_type"}]}`:                             400,
			`{"resourceType":"Parameters","parameter":[{"name":"_since","valueInstant":"yesterday"}]}`: 400,
		} {
			s.is("POST "+path+" "+body, s.do(http.MethodPost, path, body, async...), status)
		}
		s.is("POST with a query "+path, s.do(http.MethodPost, path+"?_type=Patient", `{"resourceType":"Parameters"}`, async...), 400)
	}
	for _, path := range []string{
		"/%24export", "/Patient/%24export", "/Group/g/%24export", "/$export/", "/$export?_outputFormat=application/fhir+ndjson",
		"/$export?_outputFormat=application/fhir%2Bndjson", "/$export?_outputFormat=ndjson", "/$export?_type=Patient&_type=Group",
	} {
		s.kickoff(path)
	}
	a := s.get("/$export", "Prefer", "handling=lenient", "Prefer", "return=minimal, respond-async; x")
	s.is("a list of preferences", a, 202)
}

func TestWhatLenientHandlingIgnoresCanBeDownloaded(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.put("Patient/p", "")
	s.work()
	m, files := s.export("/$export?_typeFilter=Patient%3Fname%3Dx", "Prefer", "handling=lenient")
	if len(m.Error) != 1 || m.Error[0].Type != "OperationOutcome" || !strings.Contains(files["1.OperationOutcome.ndjson"], "_typeFilter") {
		t.Errorf("error %+v, %q", m.Error, files)
	}
}

func TestWhatIsNotThereAnyMoreOrNeverWasLooksTheSame(t *testing.T) {
	o := onData(t.TempDir())
	s := newSite(t, o)
	s.put("Patient/p", "")
	s.work()
	live := s.kickoff("/$export")
	s.is("poll", s.finished(live), 200)
	dismissed := s.kickoff("/$export")
	s.is("poll", s.finished(dismissed), 200)
	s.is("DELETE", s.do(http.MethodDelete, dismissed, ""), 202)

	o = onData(t.TempDir())
	o.ExportLifetime = time.Nanosecond
	short := newSite(t, o)
	short.work()
	expired := short.kickoff("/$export")

	want := s.get(s.Base() + "/$export/01ARZ3NDEKTSV4RRFFQ69G5FAV").String()
	if !strings.HasPrefix(want, "404\n") {
		t.Fatal(want)
	}
	for what, a := range map[string]answer{
		"expired": short.finished(expired), "its file": short.get(expired + "/1.Patient.ndjson"),
		"garbage": s.get("/$export/garbage"), "garbage with a file": s.get("/$export/%20%22/x"), "dismissed": s.get(dismissed),
		"file of it": s.get(dismissed + "/1.Patient.ndjson"), "file of another number": s.get(live + "/2.Patient.ndjson"),
		"file of another type": s.get(live + "/1.Device.ndjson"), "file of no name": s.get(live + "/x"),
		"DELETE of what was": s.do(http.MethodDelete, dismissed, ""), "DELETE of garbage": s.do(http.MethodDelete, "/$export/garbage", ""),
	} {
		if d := cmp.Diff(want, a.String()); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
}

func TestDeletingWhatIsUnderWayStopsItAndRemovesItsFiles(t *testing.T) {
	o := onData(t.TempDir())
	s := newSite(t, o)
	s.fill(2)
	status := s.kickoff("/$export")
	s.is("DELETE", s.do(http.MethodDelete, status, ""), 202)
	s.is("poll", s.get(status), 404)
	s.work()
	next := s.kickoff("/$export") // a slot is free at once
	s.is("poll of the next", s.finished(next), 200)
	if list, err := os.ReadDir(filepath.Join(o.Data, "files")); err != nil || len(list) != 1 {
		t.Errorf("folders of files: %v, %v", list, err)
	}
}

func TestAJobGoesOnInTheNextServerOnTheSameData(t *testing.T) {
	dir := t.TempDir()
	var status []string
	t.Run("first", func(t *testing.T) {
		s := newSite(t, onData(dir))
		s.fill(2)
		status = append(status, strings.TrimPrefix(s.kickoff("/$export"), s.Base()))
	})
	t.Run("second", func(t *testing.T) {
		s := newSite(t, onData(dir))
		s.work()
		done := s.finished(s.Base() + status[0])
		s.is("poll", done, 200)
		if _, files := s.download(done); strings.Count(files["1.Patient.ndjson"], "\n") != 2 {
			t.Errorf("patients: %q", files["1.Patient.ndjson"])
		}
	})
}

func TestURLsAreAsTheClientSeesTheServer(t *testing.T) {
	forwarded := []string{"X-Forwarded-Host", "ehr.example.org", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/x"}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		public  string
		trusted []netip.Prefix
		header  []string
		want    string // "" for the address itself
	}{
		"the request says":      {"", nil, nil, ""},
		"its Host says":         {"", nil, []string{"Host", "name.example:81"}, "http://name.example:81/fhir"},
		"a public base":         {"https://p.example/a/fhir", loopback, forwarded, "https://p.example/a/fhir"},
		"a trusted proxy":       {"", loopback, forwarded, "https://ehr.example.org/x/fhir"},
		"Forwarded":             {"", loopback, []string{"Forwarded", "for=x;host=f.example;proto=https"}, "https://f.example/fhir"},
		"an untrusted proxy":    {"", elsewhere, forwarded, ""},
		"nobody who is trusted": {"", nil, forwarded, ""},
	} {
		o := onData(t.TempDir())
		o.PublicBase, o.TrustedProxy = c.public, c.trusted
		s := newSite(t, o)
		s.put("Patient/p", "")
		s.work()
		if c.want == "" {
			c.want = s.Base()
		}
		status := s.kickoff("/$export?_type=Patient", c.header...)
		id, ok := strings.CutPrefix(status, c.want+"/$export/")
		if !ok {
			t.Errorf("%s: Content-Location %s", name, status)
			continue
		}
		s.is("poll", s.finished(s.Base()+"/$export/"+id), 200)
		body := s.get("/$export/"+id, c.header...).body
		for _, url := range []string{c.want + "/$export/" + id + "/1.Patient.ndjson", c.want + "/$export?_type=Patient"} {
			if !strings.Contains(body, `"`+url+`"`) {
				t.Errorf("%s: the manifest has no %s: %s", name, url, body)
			}
		}
	}
}

func TestAPublicBaseThatIsNoneIsRefused(t *testing.T) {
	for _, base := range []string{"ehr.example.org/fhir", "https://ehr.example.org", "ftp://x/fhir", "https://u:p@x/fhir", "https://x/fhir?a"} {
		o := onData(t.TempDir())
		o.PublicBase = base
		if s, err := NewServer(context.Background(), o, newLog(&lines{}, "info", "text")); err == nil {
			t.Errorf("%s is taken", base)
			_ = s.Close() // the test has failed already
		}
	}
}

func TestEveryOperationOfTheCapabilityStatementAnswers(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.put("Group/g", "")
	type operation struct{ Name, Definition string }
	var c struct {
		Instantiates []string
		Rest         []struct {
			Operation []operation
			Resource  []struct {
				Type      string
				Operation []operation
			}
		}
	}
	a := s.get("/metadata")
	s.is("metadata", a, 200)
	s.ok(json.Unmarshal([]byte(a.body), &c))
	found := map[string]string{}
	for _, op := range c.Rest[0].Operation {
		name := "/$" + op.Name
		if name == purgePath {
			s.is(name, s.do(http.MethodPost, name, ""), 202)
		} else {
			s.kickoff(name)
		}
		found[name] = op.Definition
	}
	for _, r := range c.Rest[0].Resource {
		for _, op := range r.Operation {
			name := r.Type + "/$" + op.Name
			switch name {
			case "Patient/$purge":
				s.is(name, s.do(http.MethodPost, "/Patient/p/$purge", "", "Prefer", "respond-async"), 202)
			case "Patient/$bulk-purge":
				s.is(name, s.do(http.MethodPost, "/Patient/$bulk-purge?patientId=p", "", "Prefer", "respond-async"), 202)
			case "Group/$purge":
				s.is(name, s.do(http.MethodPost, "/Group/g/$purge", "", "Prefer", "respond-async"), 202)
			case "Group/$export":
				s.kickoff("/Group/g/$export")
			default:
				s.kickoff("/" + name)
			}
			found[name] = op.Definition
		}
	}
	const definition, ballot = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/", "http://hl7.org/fhir/OperationDefinition/"
	want := map[string]string{
		"/$export": definition + "export", purgePath: "https://firebreak.dev/fhir/OperationDefinition/purge-holding", "Patient/$export": definition + "patient-export", "Group/$export": definition + "group-export",
		"Patient/$purge": ballot + "Patient-purge", "Group/$purge": ballot + "Group-purge", "Patient/$bulk-purge": "https://docs.kodjin.com/operation-bulk-purge",
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("operations: %s", d)
	}
	if d := cmp.Diff([]string{"http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"}, c.Instantiates); d != "" {
		t.Errorf("instantiates: %s", d)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	root := strings.TrimSuffix(s.Base(), "/fhir")
	s.is("healthz", s.get(root+"/healthz"), 200)
	s.is("readyz", s.get(root+"/readyz"), 200)
	s.ok(s.store.Close())
	s.is("healthz without a store", s.get(root+"/healthz"), 200)
	if a := s.get(root + "/readyz"); a.status != 503 {
		t.Errorf("readyz without a store: %d %s", a.status, a.body)
	}
	s.is("a kick-off without a store", s.get("/$export", "Prefer", "respond-async"), 503)
	s.is("a read without a store", s.get("/Patient/p"), 503)
	s.is("nowhere", s.get(root+"/nowhere"), 404)
}

func TestTheLogHoldsNothingOfAPatient(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.work()
	const id = "canary-1"
	s.put("Patient/"+id, `,"name":[{"family":"Canary"}]`)
	s.put("Group/"+id, `,"member":[{"entity":{"reference":"Patient/`+id+`"}},{"entity":{"reference":"Patient/canary-2"}}]`)
	for _, call := range []struct{ method, path, body string }{
		{"GET", "/Patient/" + id, ""},
		{"GET", "/Patient/" + id + "/_history/1", ""},
		{"GET", "/Patient/canary-9", ""},
		{"GET", "/Patient?name=Canary", ""},
		{"POST", "/Patient/_search", "name=Canary"},
		{"GET", "/Canary/canary", ""},
		{"PUT", "/Patient/" + id, `{"resourceType":"Patient","id":"` + id + `","canary":`},
		{"PUT", "/Patient/" + id, `{"resourceType":"Canary"}`},
		{"PUT", "/Patient/" + id, `{"resourceType":"Patient","id":"canary-3"}`},
		{"POST", "/Patient", `canary`},
		{"DELETE", "/Patient/canary-8", ""},
		{"GET", "/$export?_type=Canary", ""},
		{"GET", "/$export?canary=canary", ""},
		{"GET", "/$export?_since=canary", ""},
		{"GET", "/Group/canary-7/$export", ""},
		{"GET", "/$export/canary", ""},
		{"DELETE", "/$export/canary", ""},
		{"GET", "/$export/canary/canary", ""},
	} {
		s.do(call.method, call.path, call.body, "Prefer", "respond-async", "User-Agent", "canary", "Referer", "http://x/canary", "X-Request-Id", "canary canary")
	}
	m, files := s.export("/Group/" + id + "/$export")
	if !strings.Contains(files["1.OperationOutcome.ndjson"], "canary-2") || len(m.Output) != 2 {
		t.Errorf("the export is %+v, %q", m, files)
	}
	job := regexp.MustCompile(`export/([^/]+)/`).FindStringSubmatch(m.Output[0].URL)[1]
	s.do(http.MethodDelete, "/$export/"+job, "")
	s.ok(s.store.Close())
	s.get("/Patient/" + id)
	s.do(http.MethodPut, "/Patient/"+id, `{"resourceType":"Patient","id":"`+id+`"}`)
	s.down()
	log := s.log.String()
	if n := strings.Count(log, "msg=request "); n < 25 {
		t.Errorf("the log has %d requests only:\n%s", n, log)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(strings.ToLower(line), "canary") || strings.Contains(line, "msg=request ") && strings.Contains(line, job) {
			t.Errorf("the log says: %s", line)
		}
	}
}

func TestOnlyLoopbackAddressesAreServed(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "127.9.9.9:0": true,
		"0.0.0.0:0": false, ":0": false, "[::]:0": false, "10.0.0.1:80": false, "ehr.example.org:80": false, "127.0.0.1": false, "": false,
	} {
		if err := loopbackOnly(addr); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	srv, err := NewServer(context.Background(), onData(t.TempDir()), newLog(&lines{}, "info", "json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- srv.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	res, err := client.Get(srv.Base() + "/metadata")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	client.CloseIdleConnections()
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	for range 2 {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if res, err := client.Get(srv.Base() + "/metadata"); err == nil {
		_ = res.Body.Close()
		t.Error("it is still served")
	}
}

func TestManySmallFilesAreOneExport(t *testing.T) {
	o := onData(t.TempDir())
	o.ExportFileSize = 2000
	s := newSite(t, o)
	s.fill(2)
	s.work()
	m, files := s.export("/$export?_type=Observation")
	lines := 0
	for _, f := range files {
		lines += strings.Count(f, "\n")
	}
	if n := len(m.Output); n < 5 || !strings.HasSuffix(m.Output[n-1].URL, fmt.Sprintf("/%d.Observation.ndjson", n)) {
		t.Errorf("%d files", n)
	}
	whole := newSite(t, onData(t.TempDir()))
	whole.fill(2)
	whole.work()
	_, one := whole.export("/$export?_type=Observation")
	if n := strings.Count(one["1.Observation.ndjson"], "\n"); n != lines || n == 0 {
		t.Errorf("%d lines in many files, %d in one", lines, n)
	}
}
