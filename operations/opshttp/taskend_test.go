package opshttp_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

func TestDeletingALiveTaskShowsHowFarItCame(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	w.units = "abc"
	poll := w.async("/Patient/$diary")
	w.begins("a")
	w.goes()
	w.begins("b")
	w.body("delete", w.do(del, poll), 202, shown(job.Cancelled, 1, 3))
	for _, method := range []string{get, put, del} {
		w.is(method+" afterwards", w.do(method, poll), 404, "not-found")
	}
	if id := gets(w, "the removal", w.discarded); id != "01JOB00001" {
		t.Errorf("job %s is removed", id)
	}
	if got := w.do(get, "/fhir/jobs").Body.String(); strings.Contains(got, "01JOB00001") {
		t.Errorf("my jobs: %s", got)
	}
}

func TestDeletingALiveTaskThatHasEndedShowsWhatItDid(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	w.work()
	for _, failing := range []bool{false, true} {
		w.failing.Store(failing)
		poll, end, done := w.async("/Patient/$diary"), job.Succeeded, 1
		if failing {
			end, done = job.Failed, 0
		}
		w.goes()
		w.until(poll[strings.LastIndex(poll, "/")+1:], in(end))
		w.body("delete", w.do(del, poll), 202, shown(end, done, 1))
		w.is("poll", w.do(get, poll), 404, "not-found")
		gets(w, "the removal", w.discarded)
	}
}

func TestATaskIsDeletedThoughItsClientHasGone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/Patient/$diary", "/Patient/p/$chore"} {
		w := newChores(t, 0)
		ctx, gone := context.WithCancel(t.Context())
		w.broken = gone
		w.work()
		poll := w.async(path)
		w.begins("a")
		w.send(ctx, del, poll, nil)
		gets(w, "the removal", w.discarded)
	}
}

// Nobody works, so the job cannot stop within the second.
func TestDeletingALiveTaskDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	poll := w.async("/Patient/$diary")
	w.body("delete", w.do(del, poll), 202, shown(job.Queued, 0, 1))
	w.is("poll", w.do(get, poll), 404, "not-found")
	j, err := w.store.Peek(t.Context(), auth.DefaultTenant, "01JOB00001")
	if err != nil || j.Dismissed.IsZero() || j.CancelRequested.IsZero() {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestDeletingATaskStopsItsWorkAndSaysNothing(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	poll := w.async("/Patient/p/$chore")
	w.begins("a")
	r := w.do(del, poll)
	w.is("delete", r, 202, "")
	if r.Body.Len() > 0 {
		t.Errorf("body %s", r.Body)
	}
	w.is("poll", w.do(get, poll), 404, "not-found")
	w.is("delete again", w.do(del, poll), 404, "not-found")
	gets(w, "the removal", w.discarded)
}

func TestACancelOfATaskIsRecordedBeforeItIsDone(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	for _, c := range []struct{ path, kind, job string }{{"/Patient/p/$chore", chore, "01JOB00001"}, {"/Patient/$diary", diary, "01JOB00002"}} {
		poll := w.async(c.path)
		w.begins("a")
		w.events = nil
		w.unwilling = errors.New("disk full")
		w.is("unrecorded", w.do(del, poll), 503, "transient")
		w.unwilling = nil
		if j, err := w.store.Peek(t.Context(), auth.DefaultTenant, c.job); err != nil || !j.CancelRequested.IsZero() {
			t.Errorf("%s: %+v, %v", c.kind, j, err)
		}
		w.is("recorded", w.do(del, poll), 202, "")
		w.recorded("a cancel", job.Event{Act: job.Dismissal, Kind: c.kind, By: me, Job: c.job})
		w.do(del, poll)
		w.recorded("a second one")
	}
}

func TestATaskThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	w.units = "ab"
	poll := w.async("/Patient/p/$chore")
	w.begins("a")
	w.goes()
	w.begins("b")
	w.is("under way", w.do(put, poll), 409, "conflict")
	w.failing.Store(true)
	w.goes()
	w.until("01JOB00001", in(job.Failed))
	w.events = nil
	w.failing.Store(false)

	r := w.do(put, poll)
	w.is("failed", r, 202, "")
	if got := r.Header().Get("Content-Location"); got != base+"/jobs/01JOB00001/result" || r.Body.Len() > 0 {
		t.Errorf("Content-Location %s, body %s", got, r.Body)
	}
	w.begins("b") // and not a, which was done
	w.is("poll", w.do(get, poll), 202, "")
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	w.body("poll at the end", w.do(get, poll), 200, bundled(job.Succeeded, 2, 2))
	w.is("succeeded", w.do(put, poll), 409, "conflict")
	w.recorded("all of this", job.Event{Act: job.Retried, Kind: chore, By: me, Job: "01JOB00001"})
}

func TestARetryThatCannotBeRecordedIsNotDone(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	id := w.of(chore, auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}, job.Job.Start, fail)
	w.unwilling = errors.New("secret cause")
	r := w.do(put, "/fhir/jobs/"+id+"/result")
	w.is("retry", r, 503, "transient")
	if j, err := w.store.Peek(t.Context(), auth.DefaultTenant, id); err != nil || j.State != job.Failed || strings.Contains(r.Body.String(), "secret") {
		t.Errorf("%+v, %v: %s", j, err, r.Body)
	}
}

func TestOfTwoRetriesAtOnceOneIsRefused(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	id := w.of(chore, auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}, job.Job.Start, fail)
	w.recording = func(e job.Event) {
		if !e.Refused {
			_, err := w.store.Retry(t.Context(), auth.DefaultTenant, id, w.now(), store.Limit{})
			w.ok(err)
		}
	}
	w.is("retry", w.do(put, "/fhir/jobs/"+id+"/result"), 409, "conflict")
	e := job.Event{Act: job.Retried, Kind: chore, By: me, Job: id}
	refused := e
	refused.Refused, refused.Detail = true, "the job was not tried again"
	w.recorded("a retry that came too late", e, refused)
}

func TestARetryPastTheLimitIsPutOffAsAKickOffIs(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	w.limit = store.Limit{PerOwner: 1}
	id := w.of(chore, auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}, job.Job.Start, fail)
	w.async("/Patient/p/$chore")
	w.events = nil
	r := w.do(put, "/fhir/jobs/"+id+"/result")
	e := job.Event{Act: job.Retried, Kind: chore, By: me, Job: id}
	refused := e
	refused.Refused, refused.Detail = true, "the job was not tried again"
	w.recorded("a retry past the limit", e, refused)
	kickoff := w.post("/Patient/p/$chore", "Prefer", "respond-async")
	if w.is("retry", r, 429, "throttled"); r.Body.String() != kickoff.Body.String() || r.Header().Get("Retry-After") == "" {
		t.Errorf("a retry is answered with %s, a kick-off with %s", dump(r), dump(kickoff))
	}
	if j, err := w.store.Peek(t.Context(), auth.DefaultTenant, id); err != nil || j.State != job.Failed {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestJobsOfATaskThatAreNotThereLookLikeThoseOfAnExport(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	me := auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}
	you := auth.Principal{Tenant: auth.DefaultTenant, Client: "you"}
	expired := map[string]string{}
	for _, k := range []string{chore, diary} {
		expired[k] = w.of(k, me, job.Job.Start, fail)
	}
	w.pass(lifetime)
	absent := w.do(get, "/fhir/$work/never")
	w.is("an export", absent, 404, "not-found")
	for k, path := range map[string]string{chore: "/fhir/jobs/ID/result", diary: "/fhir/Patient-diary/ID"} {
		ids := map[string]string{
			"unknown": "01JOB99999", "garbage": "%C3%A9%20%3Cscript%3E", "slashes": "a%2Fb%5Cc", "a star": "*", "long": strings.Repeat("a", 3000),
			"expired": expired[k], "dismissed": w.of(k, me, job.Job.Start, fail, job.Job.Dismiss),
			"being cancelled": w.of(k, me, job.Job.RequestCancel), "cancelled": w.of(k, me, job.Job.Start, job.Job.RequestCancel, job.Job.Stop),
			"another client's": w.of(k, you, job.Job.Start, fail), "another's, under way": w.of(k, you),
			"a user's of my own":  w.of(k, auth.Principal{Tenant: auth.DefaultTenant, Client: "me", User: "u"}, job.Job.Start, fail),
			"another tenant's":    w.of(k, auth.Principal{Tenant: "south", Client: "me"}, job.Job.Start, fail),
			"another operation's": w.in(job.Job.Start, fail), "another, under way": w.in(),
			"another task's": w.of(map[string]string{chore: diary, diary: chore}[k], me, job.Job.Start, fail),
		}
		for what, id := range ids {
			for _, method := range []string{get, put, del} {
				r := w.do(method, strings.Replace(path, "ID", id, 1), "Accept", "application/fhir+xml")
				if d := cmp.Diff(dump(absent), dump(r)); d != "" {
					t.Errorf("%s %s of %s: %s", method, k, what, d)
				}
			}
		}
		for _, id := range []string{ids["another operation's"], ids["another, under way"]} {
			if r := w.do(get, "/fhir/$work/"+id); r.Code == 404 {
				t.Errorf("job %s has gone", id)
			}
		}
		mine := w.of(k, me, job.Job.Start, job.Job.Succeed)
		w.is("mine as an export", w.do(get, "/fhir/$work/"+mine), 404, "not-found")
	}
	if len(w.events) > 0 {
		t.Errorf("recorded %+v", w.events)
	}
}

func TestAStoreThatIsClosedIsNoEndOfATask(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	polls := []string{w.async("/Patient/p/$chore"), w.async("/Patient/$diary")}
	w.ok(w.store.Close())
	for _, poll := range polls {
		for _, method := range []string{get, put, del} {
			w.is(method+" "+poll, w.do(method, poll), 503, "transient")
		}
	}
	w.is("kick-off", w.post("/Patient/p/$chore"), 503, "transient")
}
