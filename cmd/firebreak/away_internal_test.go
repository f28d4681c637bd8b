package main

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// saysSoBy is by when a request is answered though the database is away.
const saysSoBy = 45 * time.Second

// passing checks that a request is told that the database is away for now.
func (s *site) passing(what, method, path, body string) {
	s.Helper()
	began := time.Now()
	a := s.do(method, path, body, "Prefer", "respond-async")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusServiceUnavailable || err != nil || wait < 1 || gjson.Get(a.body, "issue.0.code").String() != "transient" {
		s.Errorf("%s: %s", what, a)
	}
	if took := time.Since(began); took > saysSoBy {
		s.Errorf("%s: it took %s", what, took)
	}
}

func TestOnMongoWhileTheDatabaseIsAwayRequestsSayThatItPasses(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	s := serveIn(t, serving{storage: onEngine(e).fresh(t)})
	s.put("Patient/p", "")
	status, _ := s.exportAll()
	root := strings.TrimSuffix(s.Base(), "/fhir")
	s.is("ready", s.get(root+"/readyz"), http.StatusOK)

	e.Kill(t)
	var all sync.WaitGroup
	for _, r := range []struct{ what, method, path, body string }{
		{"a read", http.MethodGet, "/Patient/p", ""},
		{"a version", http.MethodGet, "/Patient/p/_history/1", ""},
		{"an update", http.MethodPut, "/Patient/p", `{"resourceType":"Patient","id":"p"}`},
		{"a create", http.MethodPost, "/Patient", `{"resourceType":"Patient"}`},
		{"a delete", http.MethodDelete, "/Patient/p", ""},
		{"a kick-off", http.MethodGet, "/$export", ""},
		{"a poll", http.MethodGet, status, ""},
		{"a file", http.MethodGet, status + "/1.Patient.ndjson", ""},
		{"the jobs", http.MethodGet, "/jobs", ""},
		{"a DELETE of a job", http.MethodDelete, status, ""},
	} {
		all.Go(func() { s.passing(r.what, r.method, r.path, r.body) })
	}
	all.Wait()
	if ready := s.get(root + "/readyz"); ready.status != http.StatusServiceUnavailable {
		t.Errorf("readyz says %d", ready.status)
	}
	if alive := s.get(root + "/healthz"); alive.status != http.StatusOK {
		t.Errorf("healthz says %d", alive.status)
	}

	e.Restart(t)
	s.is("ready again", s.get(root+"/readyz"), http.StatusOK)
	s.is("a read", s.get("/Patient/p"), http.StatusOK)
	s.is("a file", s.get(status+"/1.Patient.ndjson"), http.StatusOK)
	s.put("Patient/q", "")
	if _, files := s.export("/Patient/$export?_type=Patient"); strings.Count(files["1.Patient.ndjson"], "\n") < 2 {
		t.Errorf("the next export has %q", files)
	}
}

// What is under way waits for the database, and it is no error of a unit's.
func TestOnMongoAnExportGoesOnWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	tpl := newTemplate(t, onEngine(e), 3)
	alone := tpl.export(t, "/$export")
	alone.disturb(strike{})
	want := alone.recover()

	k := tpl.export(t, "/$export")
	one, other := tinyOn(t, k.storage), tinyOn(t, k.storage)
	if !k.kickoff(one.Base()) {
		t.Fatal("no answer to the kick-off")
	}
	progress := func() gjson.Result { return gjson.Get(one.get("/jobs/"+k.job).body, "progress") }
	for progress().Get("units.succeeded").Int() < 3 {
		k.poll(other.Base()) // which waits for a while by itself
	}
	e.Kill(t)
	for _, s := range []*site{one, other} {
		if ready := s.get(strings.TrimSuffix(s.Base(), "/fhir") + "/readyz"); ready.status != http.StatusServiceUnavailable {
			t.Errorf("readyz says %d", ready.status)
		}
	}
	one.passing("a read", http.MethodGet, "/Patient/p", "") // so it has been away for longer than a call waits
	e.Restart(t)
	if diff := cmp.Diff(want, k.download(k.manifest(other.Base()))); diff != "" {
		t.Errorf("(- undisturbed, + got)\n%s", diff)
	}
	if errs := progress().Get("errors").Int(); errs > 0 {
		t.Errorf("the job counts %d errors", errs)
	}
	k.nothingLeftOver()
}

// A password is secret in a URI that is not one, too.
func TestThePasswordOfAURIIsNeverSaid(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	var all sync.WaitGroup
	for _, uri := range []string{
		"mongodb://user:" + secret + ":x/db",
		"mongodb://user:" + secret + "@", "mongodb://user:" + secret, "mongodb://user:" + secret + "/db", "mongodb://user:" + secret + "@:x/",
		"mongodb://user:" + secret + "@a?tls=" + secret, "mongodb+srv://user:" + secret + "@a,b/", "mongodb://user:%" + secret + "@a/",
		"mongodb://user:a?tls=" + secret + "@a/db", "http://user:" + secret + "@a/", "mongodb://user:" + secret + "@a/?authMechanism=" + secret,
		"user:" + secret + "@a", "mongodb://us/er:" + secret + "@a/db", "mongodb://user:b/" + secret + "@a/db",
	} {
		all.Go(func() {
			for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir()}, {"demo"}} {
				code, out, text := program(t, append(args, "--store", uri)...)
				if code == exitOK || text == "" || strings.Contains(out+text, secret) {
					t.Errorf("%s --store %s: %d %s%s", args[0], uri, code, out, text)
				}
			}
		})
	}
	away := "mongodb://user:" + secret + "@127.0.0.1:1/db?replicaSet=rs0"
	code, out, text := program(t, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--store", away)
	if code != exitFailed || !strings.Contains(text, "127.0.0.1:1") || strings.Contains(out+text, secret) {
		t.Errorf("where nobody listens: %d %s%s", code, out, text)
	}
	all.Wait()
	for uri, want := range map[string]string{
		"mongodb://user:s3cr3t@a:1,b:2/db?replicaSet=rs0": "mongodb://a:1,b:2/db", "mongodb+srv://user:s3cr3t@a.example": "mongodb+srv://a.example",
		"mongodb://a/db?authMechanismProperties=AWS_SESSION_TOKEN:s3cr3t": "mongodb://a/db", "mongodb://user:%s3cr3t@a": "MongoDB",
	} {
		if got := (storage{Store: uri}).where(); got != want {
			t.Errorf("%s is shown as %s", uri, got)
		}
	}
}
