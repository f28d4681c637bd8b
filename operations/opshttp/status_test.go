package opshttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

func TestKickOffAnswersWhereToPollAndNothingElse(t *testing.T) {
	w := newWorld(t)
	r := w.do(get, "/fhir/Group/g-1/$work?_type=A,B&_since=x%2By&b", "Prefer", "handling=lenient", "Prefer", "return=minimal, respond-async")
	w.is("kick-off", r, 202, "")
	if got := r.Header().Get("Content-Location"); got != base+"/$work/01JOB00001" {
		t.Errorf("Content-Location %s", got)
	}
	if got := r.Header().Get("Preference-Applied"); got != "respond-async" || r.Body.Len() > 0 {
		t.Errorf("Preference-Applied %s, body %q", got, r.Body)
	}
	want := opshttp.Call{
		Route: "one", ID: "g-1", Lenient: true, Base: base, URL: base + "/Group/g-1/$work?_type=A,B&_since=x%2By&b",
		Query: map[string][]string{"_type": {"A,B"}, "_since": {"x+y"}, "b": {""}},
	}
	if d := cmp.Diff([]opshttp.Call{want}, w.calls); d != "" {
		t.Errorf("the operation was called with %s", d)
	}
}

func TestKickOffThatIsNoneStartsNoJob(t *testing.T) {
	w := newWorld(t)
	async := []string{"Prefer", "respond-async"}
	w.is("without Prefer", w.do(get, "/fhir/$work"), 400, "required")
	w.is("another preference", w.do(get, "/fhir/$work", "Prefer", "handling=lenient"), 400, "required")
	w.is("XML", w.do(get, "/fhir/$work", append(async, "Accept", "application/fhir+xml")...), 406, "not-supported")
	w.is("XML by _format", w.do(get, "/fhir/$work?_format=xml", async...), 406, "not-supported")
	w.is("a broken query", w.do(get, "/fhir/$work?a=%zz", async...), 400, "invalid")
	w.is("a semicolon", w.do(get, "/fhir/$work?a=1;b=2", async...), 400, "invalid")
	w.is("POST without a body", w.do(http.MethodPost, "/fhir/$work", append(async, "Content-Type", "application/fhir+json")...), 400, "required")
	w.is("PUT", w.do(http.MethodPut, "/fhir/$work", async...), 405, "not-supported")
	if len(w.calls) > 0 {
		t.Errorf("the operation was called: %v", w.calls)
	}
	for _, accept := range []string{"", "*/*", "application/json", "application/fhir+json", "text/html, */*;q=0.1"} {
		w.is("Accept "+accept, w.do(get, "/fhir/$work", append(async, "Accept", accept)...), 202, "")
	}
	w.is("escaped", w.do(get, "/fhir/%24work", async...), 202, "")
}

func TestErrorsOfAKickOffKeepTheirMeaning(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fhir.Errorf(fhir.Invalid, "no").With(fhir.CodeValue), 400, "value"},
		{fhir.Errorf(fhir.NotFound, "no such Group"), 404, "not-found"},
		{fhir.Errorf(fhir.Forbidden, "no"), 403, "forbidden"},
		{fmt.Errorf("commit: %w", store.ErrFull), 503, "no-store"},
		{store.ErrClosed, 503, "transient"},
	} {
		w.fails = c.err
		r := w.do(get, "/fhir/$work", "Prefer", "respond-async")
		w.is(c.err.Error(), r, c.status, c.code)
		if c.status == 503 && r.Header().Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", c.err)
		}
		if r.Header().Get("Content-Location") != "" {
			t.Errorf("%v: a Content-Location", c.err)
		}
	}
	w.fails = errors.New("canary of the inside")
	if r := w.do(get, "/fhir/$work", "Prefer", "respond-async"); r.Code != 500 || strings.Contains(r.Body.String(), "canary") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

func TestAPollSaysHowFarTheWorkIs(t *testing.T) {
	w := newWorld(t)
	id := w.in()
	poll := func() (string, int) {
		t.Helper()
		r := w.do(get, "/fhir/$work/"+id)
		w.is("poll", r, 202, "")
		if r.Body.Len() > 0 || len(r.Header().Get("X-Progress")) >= 100 {
			t.Errorf("body %q, X-Progress %s", r.Body, r.Header().Get("X-Progress"))
		}
		wait, err := strconv.Atoi(r.Header().Get("Retry-After"))
		if err != nil || wait < 1 || wait > 30 {
			t.Errorf("Retry-After %q", r.Header().Get("Retry-After"))
		}
		return r.Header().Get("X-Progress"), wait
	}
	if said, _ := poll(); said != "queued" {
		t.Errorf("X-Progress %q", said)
	}
	_, f, err := w.store.Claim(context.Background(), []string{kind}, time.Hour)
	w.ok(err)
	_, err = w.store.Update(context.Background(), auth.DefaultTenant, id, func(j job.Job) (job.Job, error) { return j.Start(w.now()) })
	w.ok(err)
	if said, _ := poll(); said != "0 % (0 resources)" {
		t.Errorf("X-Progress %q", said)
	}
	next := job.Unit{Job: id, Tenant: auth.DefaultTenant, Kind: kind, ID: "1", Phase: 1, Counts: job.Counts{Planned: 3000}}
	w.ok(w.store.Add(context.Background(), f, []job.Unit{next}))
	w.ok(w.store.End(context.Background(), f, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7, Bytes: 900}}))
	w.pass(4 * time.Second)
	if said, wait := poll(); said != "25 % (7 resources)" || wait != 4 { // no longer than it has taken so far
		t.Errorf("X-Progress %q, Retry-After %d", said, wait)
	}
	w.pass(time.Hour)
	if _, wait := poll(); wait != 30 {
		t.Errorf("Retry-After %d", wait)
	}
}

// What has hardly begun may be done in no time.
func TestAPollOfWhatHasHardlyBegunIsNotPutOffForLong(t *testing.T) {
	w := newWorld(t)
	id := w.in()
	_, f, err := w.store.Claim(context.Background(), []string{kind}, time.Hour)
	w.ok(err)
	_, err = w.store.Update(context.Background(), auth.DefaultTenant, id, func(j job.Job) (job.Job, error) { return j.Start(w.now()) })
	w.ok(err)
	next := job.Unit{Job: id, Tenant: auth.DefaultTenant, Kind: kind, ID: "1", Phase: 1, Counts: job.Counts{Planned: 99_000}}
	w.ok(w.store.Add(context.Background(), f, []job.Unit{next}))
	w.ok(w.store.End(context.Background(), f, job.UnitEnd{State: job.Succeeded}))
	w.pass(2 * time.Second)
	r := w.do(get, "/fhir/$work/"+id)
	if wait := r.Header().Get("Retry-After"); wait != "2" || r.Header().Get("X-Progress") != "1 % (0 resources)" {
		t.Errorf("X-Progress %q, Retry-After %s", r.Header().Get("X-Progress"), wait)
	}
}

func TestAPollIsAnsweredAsSoonAsTheJobHasEnded(t *testing.T) {
	w := newWorld(t)
	id := w.in(job.Job.Start)
	done := make(chan int)
	go func() { done <- w.do(get, "/fhir/$work/"+id).Code }()
	_, err := w.store.Update(context.Background(), auth.DefaultTenant, id, func(j job.Job) (job.Job, error) { return j.Succeed(w.now()) })
	w.ok(err)
	if code := <-done; code != 200 {
		t.Errorf("it is answered with %d", code)
	}
}

func TestAJobThatIsReadyAnswersWithItsManifest(t *testing.T) {
	w := newWorld(t)
	id := w.in(job.Job.Start, job.Job.Succeed)
	first := w.do(get, "/fhir/$work/"+id)
	w.is("poll", first, 200, "")
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Expires": w.now().Add(lifetime).Format(http.TimeFormat), "X-Progress": "", "Retry-After": "",
	} {
		if got := first.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if want := fmt.Sprintf(`{"files":%q}`, base+"/$work/"+id); first.Body.String() != want {
		t.Errorf("body %s, want %s", first.Body, want)
	}
	for _, accept := range []string{"", "application/json", "application/fhir+json", "application/fhir+xml", "*/*"} {
		if again := w.do(get, "/fhir/$work/"+id, "Accept", accept); dump(again) != dump(first) {
			t.Errorf("Accept %s: %s", accept, dump(again))
		}
	}
}

func TestAJobThatFailedAnswersWithItsReason(t *testing.T) {
	w := newWorld(t)
	r := w.do(get, "/fhir/$work/"+w.in(job.Job.Start, fail))
	w.is("poll", r, 500, "no-store")
	if !strings.Contains(r.Body.String(), "the disk is full") {
		t.Errorf("body %s", r.Body)
	}
}

func TestWhatIsNotThereOrNotMineAnswersWithTheSameBytes(t *testing.T) {
	w := newWorld(t)
	const file = "1.Patient.ndjson"
	me := auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}
	expired := w.ready(file, "{}\n")
	w.pass(lifetime) // of what came before
	mine := w.ready(file, "{}\n")
	lost := w.ready("2.Patient.ndjson", "{}\n")
	w.ok(w.files.Remove(context.Background(), lost+"/2.Patient.ndjson"))
	paths := map[string]string{
		"unknown": "01JOB99999", "garbage": "x", "odd letters": "%C3%A9%20%22%3Cscript%3E", "slashes": "a%2Fb%5Cc", "long": strings.Repeat("a", 3000),
		"a query": "01JOB99999?_format=xml", "a star": "*", "a dollar": "$work",
		"expired": expired, "failed long ago": w.in(job.Job.Start, fail, job.Job.Dismiss),
		"dismissed": w.in(job.Job.Start, job.Job.Succeed, job.Job.Dismiss), "dismissed when queued": w.in(job.Job.Dismiss),
		"being cancelled": w.in(job.Job.RequestCancel), "cancelled": w.in(job.Job.Start, job.Job.RequestCancel, job.Job.Stop),
		"another client's":     w.of(kind, auth.Principal{Tenant: auth.DefaultTenant, Client: "you"}, job.Job.Start, job.Job.Succeed),
		"a user's of my own":   w.of(kind, auth.Principal{Tenant: auth.DefaultTenant, Client: "me", User: "u"}, job.Job.Start, job.Job.Succeed),
		"another tenant's":     w.of(kind, auth.Principal{Tenant: "south", Client: "me"}, job.Job.Start, job.Job.Succeed),
		"another operation's":  w.of("other", me, job.Job.Start, job.Job.Succeed),
		"another, under way":   w.of("other", me, job.Job.Start),
		"another client's, up": w.of(kind, auth.Principal{Tenant: auth.DefaultTenant, Client: "you"}),
	}
	want := dump(w.do(get, "/fhir/$work/never"))
	w.is("never", w.do(get, "/fhir/$work/never"), 404, "not-found")
	same := func(what, got string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	for what, id := range paths {
		id, query, _ := strings.Cut(id, "?")
		same("poll of "+what, dump(w.do(get, "/fhir/$work/"+id+"?"+query)))
		same("DELETE of "+what, dump(w.do(del, "/fhir/$work/"+id)))
		same("file of "+what, dump(w.do(get, "/fhir/$work/"+id+"/"+file)))
		same("file of "+what+", compressed", dump(w.do(get, "/fhir/$work/"+id+"/"+file, "Accept-Encoding", "gzip", "Range", "bytes=0-1")))
	}
	for _, name := range []string{"2.Patient.ndjson", "1.Observation.ndjson", "x", "%2e%2e%2f", "a%5cb", "1.Patient.ndjson%00"} {
		if r := w.do(get, "/fhir/$work/"+mine+"/"+name); r.Code != 400 { // which has a step that is none
			same("file "+name, dump(r))
		}
	}
	same("a file whose bytes are gone", dump(w.do(get, "/fhir/$work/"+lost+"/2.Patient.ndjson")))
	same("mine, for another", dump(w.do(get, "/fhir/$work/"+mine, "X-Client", "you")))
	same("mine, for a user", dump(w.do(get, "/fhir/$work/"+mine, "X-Client", "me/u")))
	same("my file, for another", dump(w.do(get, "/fhir/$work/"+mine+"/"+file, "X-Client", "you")))
	same("DELETE of mine by another", dump(w.do(del, "/fhir/$work/"+mine, "X-Client", "you")))
	w.is("mine after all this", w.do(get, "/fhir/$work/"+mine), 200, "")
	w.is("a file of a job under way", w.do(get, "/fhir/$work/"+w.in(job.Job.Start)+"/"+file), 404, "not-found")
	w.is("a file of a job that failed", w.do(get, "/fhir/$work/"+w.in(job.Job.Start, fail)+"/"+file), 404, "not-found")
}

func TestDeleteTakesAJobAwayWhateverItsState(t *testing.T) {
	w := newWorld(t)
	for what, steps := range map[string][]step{
		"queued": nil, "running": {job.Job.Start}, "succeeded": {job.Job.Start, job.Job.Succeed}, "failed": {job.Job.Start, fail},
	} {
		id := w.in(steps...)
		first := w.do(del, "/fhir/$work/"+id)
		w.is(what, first, 202, "")
		if first.Body.Len() > 0 {
			t.Errorf("%s: body %s", what, first.Body)
		}
		w.is(what+", again", w.do(del, "/fhir/$work/"+id), 404, "not-found")
		w.is(what+", polled", w.do(get, "/fhir/$work/"+id), 404, "not-found")
		j, err := w.store.Peek(context.Background(), auth.DefaultTenant, id)
		w.ok(err)
		if j.Dismissed.IsZero() || !j.State.Final() && j.CancelRequested.IsZero() {
			t.Errorf("%s: %+v", what, j)
		}
	}
}

func TestAJobOutlivesItsWorkByItsLifetime(t *testing.T) {
	w := newWorld(t)
	id := w.ready("1.Patient.ndjson", "{}\n")
	w.pass(lifetime - time.Nanosecond)
	w.is("poll at the end", w.do(get, "/fhir/$work/"+id), 200, "")
	w.is("file at the end", w.do(get, "/fhir/$work/"+id+"/1.Patient.ndjson"), 200, "")
	w.pass(time.Nanosecond)
	w.is("poll after it", w.do(get, "/fhir/$work/"+id), 404, "not-found")
	w.is("file after it", w.do(get, "/fhir/$work/"+id+"/1.Patient.ndjson"), 404, "not-found")
}

func TestAStoreThatIsClosedIsNoEndOfTheJob(t *testing.T) {
	w := newWorld(t)
	id := w.ready("1.Patient.ndjson", "{}\n")
	w.ok(w.store.Close())
	for _, r := range []struct{ method, path string }{{get, id}, {del, id}, {get, id + "/1.Patient.ndjson"}} {
		w.is(r.method+" "+r.path, w.do(r.method, "/fhir/$work/"+r.path), 503, "transient")
	}
}
