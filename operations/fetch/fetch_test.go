package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/fetch"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestExportIsFetchedWithItsManifest(t *testing.T) {
	s := newServer(t)
	s.polls = []http.HandlerFunc{status(202, "", "X-Progress", "half\tway")}
	s.offer("1.Patient.ndjson", patients(3), content(patients(3), `"a"`))
	s.offer("2.Patient.ndjson", patients(2), content(patients(2), `"b"`))
	s.files["/files/d"] = []http.HandlerFunc{content("{}\n", `"c"`)}
	s.manifest.Deleted = []fhir.ManifestFile{s.entry("Bundle", "/files/d", "{}\n")}
	s.files["/files/e"] = []http.HandlerFunc{content("{}", `"d"`)}
	s.manifest.Error = []fhir.ManifestFile{s.entry("OperationOutcome", "/files/e", "{}")}
	var last fetch.Progress
	var texts []string
	dir := t.TempDir() + "/new"
	report := s.mustRun(dir, func(c *fetch.Config) {
		c.Progress = func(p fetch.Progress) {
			last = p
			if p.Step == fetch.StepPoll {
				texts = append(texts, p.Text)
			}
		}
	})
	wantTypes := []fetch.TypeReport{
		{Section: "output", Type: "Patient", Files: 2, Resources: 5, Bytes: int64(len(patients(3) + patients(2)))},
		{Section: "deleted", Type: "Bundle", Files: 1, Resources: 1, Bytes: 3},
		{Section: "error", Type: "OperationOutcome", Files: 1, Resources: 1, Bytes: 2},
	}
	if diff := cmp.Diff(wantTypes, report.Types); diff != "" {
		t.Error(diff)
	}
	if report.TransactionTime != transactionTime || report.StatusURL != s.URL+"/fhir/jobs/1" || report.Resumed {
		t.Errorf("%+v", report)
	}
	wantFile(t, dir, "1.Patient.ndjson", patients(3))
	wantFile(t, dir, "manifest.json", string(s.raw()))
	wantNames := []string{"1.Patient.ndjson", "2.Patient.ndjson", "d", "e", "manifest.json"}
	if diff := cmp.Diff(wantNames, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	wantLast := fetch.Progress{
		Step: "download", Files: 4, AllFiles: 4, Resources: 7, AllResources: 7,
		Bytes: report.Types[0].Bytes + 5,
	}
	if diff := cmp.Diff(wantLast, last); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"half way"}, texts); diff != "" {
		t.Error(diff)
	}
}

func TestKickoffAsksAsTheStandardSays(t *testing.T) {
	for _, c := range []struct {
		request fetch.Request
		want    string
	}{
		{fetch.Request{Level: fetch.LevelSystem}, "/fhir/$export"},
		{allPatients, "/fhir/Patient/$export"},
		{fetch.Request{Level: fetch.LevelGroup, Group: "a/../b c"}, "/fhir/Group/a%2F..%2Fb%20c/$export"},
		{
			fetch.Request{
				Level: fetch.LevelSystem, Types: []string{"Patient", "Observation"}, Since: "2026-01-01T00:00:00+01:00",
				OutputFormat: "application/fhir+ndjson", Query: url.Values{"_typeFilter": {"Patient?active=true"}},
			},
			"/fhir/$export?_outputFormat=application%2Ffhir%2Bndjson&_since=2026-01-01T00%3A00%3A00%2B01%3A00" +
				"&_type=Patient%2CObservation&_typeFilter=Patient%3Factive%3Dtrue",
		},
	} {
		s := newServer(t)
		client, _ := s.client()
		statusURL, err := client.Kickoff(t.Context(), c.request)
		if err != nil {
			t.Fatal(err)
		}
		if statusURL != s.URL+"/fhir/jobs/1" {
			t.Errorf("a relative Content-Location became %s", statusURL)
		}
		r := s.seen[0]
		if r.RequestURI != c.want {
			t.Errorf("asked %s, want %s", r.RequestURI, c.want)
		}
		if r.Header.Get("Prefer") != "respond-async" || r.Header.Get("Accept") != "application/fhir+json" {
			t.Errorf("headers %v", r.Header)
		}
	}
}

func TestRequestThatSaysTooLittleIsNotSent(t *testing.T) {
	s := newServer(t)
	client, _ := s.client()
	for _, r := range []fetch.Request{
		{},
		{Level: fetch.LevelGroup},
		{Level: fetch.LevelGroup, Group: ".."},
		{Level: fetch.LevelSystem, Group: "g"},
		{Level: "all"},
	} {
		if _, err := client.Kickoff(t.Context(), r); err == nil {
			t.Errorf("%+v was sent", r)
		}
	}
	if len(s.seen) > 0 {
		t.Error("the server was asked")
	}
}

func TestBaseThatIsNoneIsRefused(t *testing.T) {
	for _, base := range []string{"", "ehr.example/fhir", "ftp://ehr.example", "http://a/?x", "http://u:p@a/", "http://%zz"} {
		if _, err := fetch.New(fetch.Config{Base: base}); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
}

func TestRefusedKickoffSaysWhatToDo(t *testing.T) {
	for code, advice := range map[int]string{401: "access token", 403: "scopes", 404: "group's id", 400: ""} {
		s := newServer(t)
		s.kickoffs = []http.HandlerFunc{outcome(code, "invalid", "no\nthing\x07 "+strings.Repeat("x", 600))}
		client, waited := s.client()
		_, err := client.Kickoff(t.Context(), allPatients)
		wantError(t, err, "kick-off", http.StatusText(code), "no thing  xxx", "…", advice)
		if strings.Contains(err.Error(), s.URL) || len(waited.all) > 0 {
			t.Errorf("%q after %v", err, waited.all)
		}
	}
}

func TestKickoffWithoutAStatusURLIsAnError(t *testing.T) {
	s := newServer(t)
	s.kickoffs = []http.HandlerFunc{accept(""), accept("file:///etc/passwd"), accept("http://%zz")}
	client, _ := s.client()
	for range 3 {
		_, err := client.Kickoff(t.Context(), allPatients)
		wantError(t, err, "Content-Location")
	}
}

func TestBusyServerIsAskedAgainWhenItSays(t *testing.T) {
	s := newServer(t)
	s.kickoffs = []http.HandlerFunc{
		outcome(429, "throttled", "one at a time", "Retry-After", "7"),
		outcome(503, "transient", "starting", "Retry-After", "0"),
	}
	client, waited := s.client()
	if _, err := client.Kickoff(t.Context(), allPatients); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Duration{7 * time.Second, 100 * time.Millisecond}, waited.all); diff != "" {
		t.Error(diff)
	}
}

func TestBusyServerIsNotAskedForever(t *testing.T) {
	s := newServer(t)
	for range 9 {
		s.kickoffs = append(s.kickoffs, outcome(429, "throttled", "one at a time"))
	}
	client, waited := s.client(func(c *fetch.Config) { c.Attempts = 3 })
	_, err := client.Kickoff(t.Context(), allPatients)
	wantError(t, err, "3 attempts", "one at a time")
	if len(waited.all) != 2 {
		t.Errorf("waited %v", waited.all)
	}
}

func TestPollingKeepsToRetryAfter(t *testing.T) {
	const date = "Wed, 04 Mar 2026 05:06:07 GMT"
	s := newServer(t)
	s.polls = []http.HandlerFunc{
		status(202, "", "Retry-After", "3"),
		status(202, "", "Date", date, "Retry-After", "Wed, 04 Mar 2026 05:06:20 GMT"),
		status(202, "", "Date", date, "Retry-After", "Wed, 04 Mar 2026 05:00:00 GMT"),
		status(202, "", "Retry-After", "86400"),
		status(202, "", "Retry-After", "soon"),
	}
	for range 7 {
		s.polls = append(s.polls, status(202, ""))
	}
	client, waited := s.client()
	if _, err := client.Poll(t.Context(), s.URL+"/fhir/jobs/1"); err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	want := []time.Duration{
		3000 * ms, 13000 * ms, 100 * ms, 60000 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms,
		3200 * ms, 5000 * ms, 5000 * ms,
	}
	if diff := cmp.Diff(want, waited.all); diff != "" {
		t.Error(diff)
	}
}

func TestPassingFaultIsNotTakenForTheJobs(t *testing.T) {
	s := newServer(t)
	s.polls = []http.HandlerFunc{
		outcome(429, "throttled", "slower", "Retry-After", "9"),
		status(503, "<html>"),
		outcome(500, "transient", "database away"),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	client, waited := s.client()
	done, err := client.Poll(t.Context(), s.URL+"/fhir/jobs/1")
	if err != nil {
		t.Fatal(err)
	}
	if done.Manifest.TransactionTime != transactionTime || len(waited.all) < 3 || waited.all[0] != 9*time.Second {
		t.Errorf("%+v after %v", done.Manifest, waited.all)
	}
}

func TestFaultThatDoesNotPassEndsPolling(t *testing.T) {
	s := newServer(t)
	for range 20 {
		s.polls = append(s.polls, status(502, ""))
	}
	client, _ := s.client(func(c *fetch.Config) { c.Attempts = 4 })
	_, err := client.Poll(t.Context(), s.URL+"/fhir/jobs/1")
	wantError(t, err, "4 attempts", "502", "try again later")
}

func TestFailedJobIsForgottenSoThatAnotherCanStart(t *testing.T) {
	s := newServer(t)
	s.polls = []http.HandlerFunc{outcome(500, "exception", "the index is broken")}
	dir := t.TempDir()
	_, err := s.run(dir)
	wantError(t, err, "the index is broken", "start another")
	if status, ok := errors.AsType[*fetch.StatusError](err); !ok || status.Step != fetch.StepPoll || status.Status != 500 {
		t.Errorf("%#v", err)
	}
	s.mustRun(dir)
	if n := len(s.requests("$export")); n != 2 {
		t.Errorf("%d kick-offs", n)
	}
}

func TestManifestThatCannotBeReadIsAnError(t *testing.T) {
	s := newServer(t)
	s.polls = []http.HandlerFunc{status(200, "<html>"), status(200, `{"output":[]}`)}
	client, _ := s.client()
	for range 2 {
		_, err := client.Poll(t.Context(), s.URL+"/fhir/jobs/1")
		wantError(t, err, "no manifest that can be read")
	}
}

func TestEmptyExportLeavesItsManifest(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	report := s.mustRun(dir)
	if diff := cmp.Diff(fetch.Report{StatusURL: s.URL + "/fhir/jobs/1", TransactionTime: transactionTime}, report,
		cmpopts.EquateEmpty(), cmpopts.IgnoreTypes(time.Second)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"manifest.json"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreOfTheClockGiven(t *testing.T) {
	var ticks atomic.Int64
	s := newServer(t)
	report := s.mustRun(t.TempDir(), func(c *fetch.Config) {
		c.Now = func() time.Time { return time.Unix(ticks.Add(1), 0) }
	})
	if report.Preparing <= 0 || report.Downloading <= 0 {
		t.Errorf("%+v", report)
	}
}

func TestDeleteTellsTheServer(t *testing.T) {
	s := newServer(t)
	client, _ := s.client()
	if err := client.Delete(t.Context(), s.URL+"/fhir/jobs/1"); err != nil {
		t.Fatal(err)
	}
	if m := s.seen[0].Method; m != http.MethodDelete {
		t.Errorf("sent %s", m)
	}
	s.kickoffs = []http.HandlerFunc{outcome(404, "not-found", "no such job")}
	wantError(t, client.Delete(t.Context(), s.URL+"/$export"), "404", "no such job")
}

func TestLostAnswerToAKickoffIsNotASecondJob(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.kickoffs = []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
	if _, err := s.run(dir); err == nil {
		t.Fatal("no error")
	}
	s.mustRun(dir)
	sent := s.requests("$export")
	first, last := sent[0].Header.Get("Idempotency-Key"), sent[len(sent)-1].Header.Get("Idempotency-Key")
	if first == "" || first != last {
		t.Errorf("keys %q and %q", first, last)
	}
}

func TestKickoffThatNeverBeganDoesNotHoldTheDirectory(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	gone := newServer(t)
	gone.Close()
	if _, err := gone.run(dir); err == nil {
		t.Fatal("no error")
	}
	s.mustRun(dir)
}

func TestDirectoryOfAnotherExportIsRefused(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	client, _ := s.client(func(c *fetch.Config) {
		c.Wait = func(context.Context, time.Duration) error { return context.Canceled }
	})
	s.polls = []http.HandlerFunc{status(202, "")}
	if _, err := client.Run(t.Context(), allPatients, dir); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_, err := client.Run(t.Context(), fetch.Request{Level: fetch.LevelSystem}, dir)
	wantError(t, err, "unfinished export of another request", dir)
	if report := s.mustRun(dir); !report.Resumed {
		t.Error("not resumed")
	}
	_, err = s.run(dir)
	wantError(t, err, "finished export", dir)
	if n := len(s.requests("$export")); n != 1 {
		t.Errorf("%d kick-offs", n)
	}
}
