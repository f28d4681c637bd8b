package opshttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

func TestATaskThatIsDoneInTimeIsAnsweredWithItsResource(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).open().work()
	r := w.post("/Patient/p/$chore")
	w.body("kick-off", r, 200, shown(job.Succeeded, 1, 1))
	for _, name := range []string{"Content-Location", "Preference-Applied", "Retry-After"} {
		if got := r.Header().Get(name); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if r := w.post("/Patient/p/$chore", "Accept", "application/json"); r.Header().Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %s", r.Header().Get("Content-Type"))
	}
}

func TestATaskThatTakesLongerIsAnsweredWithWhereToPoll(t *testing.T) {
	t.Parallel()
	w := newChores(t, 10*time.Millisecond).work()
	r := w.post("/Patient/p/$chore")
	poll := base + "/jobs/01JOB00001/result"
	w.is("kick-off", r, 202, "")
	if got := r.Header(); got.Get("Content-Location") != poll || got.Get("Preference-Applied") != "" {
		t.Errorf("headers %v", got)
	}
	issue := gjson.Get(r.Body.String(), "issue.0")
	if issue.Get("severity").Str != "information" || issue.Get("code").Str != "incomplete" || !strings.Contains(issue.Get("diagnostics").Str, poll) {
		t.Errorf("body %s", r.Body)
	}
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	w.body("poll", w.do(get, "/fhir/jobs/01JOB00001/result"), 200, bundled(job.Succeeded, 1, 1))
}

// deaf gets no hints, and its job ends just after it was looked at first.
type deaf struct {
	opshttp.Store
	now time.Time
}

func (d deaf) Watch(context.Context) <-chan struct{} { return nil }

func (d deaf) Job(ctx context.Context, t store.Tenant, who job.Owner, id string) (job.Job, error) {
	j, err := d.Store.Job(ctx, t, who, id)
	if err == nil && !j.State.Final() {
		_, err = d.Update(ctx, t, id, func(j job.Job) (job.Job, error) { return j.Settle(job.Tally{Succeeded: 1}, d.now) })
	}
	return j, err
}

func TestAnEndThatNoHintToldOfIsSeenWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	w := newChores(t, time.Millisecond, func(s opshttp.Store) opshttp.Store {
		return deaf{s, time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	})
	w.body("kick-off", w.post("/Patient/p/$chore"), 200, shown(job.Succeeded, 0, 1))
}

func TestATaskThatFailsWhileItsClientWaitsAnswersWithItsReason(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).open().work()
	w.failing.Store(true)
	r := w.post("/Patient/p/$chore")
	w.is("kick-off", r, 500, "no-store")
	if !strings.Contains(r.Body.String(), "the disk is full") {
		t.Errorf("body %s", r.Body)
	}
}

func TestATaskGoesOnWhenItsClientHasGone(t *testing.T) {
	t.Parallel()
	w := newChores(t, forever).work()
	ctx, gone := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		w.send(ctx, post, "/fhir/Patient/p/$chore", nil)
	}()
	w.begins("a")
	gone()
	gets(w, "the handler's end", left)
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	w.body("poll", w.do(get, "/fhir/jobs/01JOB00001/result"), 200, bundled(job.Succeeded, 1, 1))
}

func TestAClientWhoseJobIsStoppedIsToldSo(t *testing.T) {
	t.Parallel()
	for what, stop := range map[string]func(w *chores){
		"deleted": func(w *chores) { w.is("delete", w.do(del, "/fhir/jobs/01JOB00001/result"), 202, "") },
		"cancelled": func(w *chores) {
			_, err := w.store.Update(context.Background(), auth.DefaultTenant, "01JOB00001", func(j job.Job) (job.Job, error) {
				return j.RequestCancel(w.now())
			})
			w.ok(err)
		},
	} {
		w := newChores(t, forever).work()
		waiting := make(chan *httptest.ResponseRecorder, 1)
		go func() { waiting <- w.post("/Patient/p/$chore") }()
		w.begins("a")
		stop(w)
		w.is(what, gets(w, "the answer", waiting), 409, "conflict")
	}
}

func TestATaskThatIsNotWaitedForIsPolled(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	w.units = "ab"
	r := w.post("/Group/g/$chore", "Prefer", "respond-async, handling=lenient")
	w.is("kick-off", r, 202, "")
	if h := r.Header(); h.Get("Content-Location") != base+"/jobs/01JOB00001/result" || h.Get("Preference-Applied") != "respond-async" || r.Body.Len() > 0 {
		t.Errorf("headers %v, body %s", h, r.Body)
	}
	w.begins("a")
	w.goes()
	w.begins("b")
	r = w.do(get, "/fhir/jobs/01JOB00001/result")
	w.is("poll", r, 202, "")
	wait, err := strconv.Atoi(r.Header().Get("Retry-After"))
	if err != nil || wait < 1 || r.Header().Get("X-Progress") != "50 % (1 resources)" || r.Body.Len() > 0 {
		t.Errorf("headers %v, body %s", r.Header(), r.Body)
	}
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	r = w.do(get, "/fhir/jobs/01JOB00001/result")
	w.body("poll at the end", r, 200, bundled(job.Succeeded, 2, 2))
	if got, want := r.Header().Get("Expires"), w.now().Add(lifetime).Format(http.TimeFormat); got != want || r.Header().Get("X-Progress") != "" {
		t.Errorf("headers %v", r.Header())
	}
	if r := w.do(head, "/fhir/jobs/01JOB00001/result"); r.Code != 200 || r.Body.Len() > 0 {
		t.Errorf("HEAD: %d %s", r.Code, r.Body)
	}
}

// The operation's failure is told within the Bundle.
func TestAPollOfATaskThatFailedIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).work()
	w.units = "ab"
	poll := w.async("/Patient/p/$chore")
	w.begins("a")
	w.goes()
	w.begins("b")
	w.failing.Store(true)
	w.goes()
	w.until("01JOB00001", in(job.Failed))
	w.body("poll", w.do(get, poll), 200, bundled(job.Failed, 1, 2))
}

func TestWhereToPollIsAsTheClientSeesTheServer(t *testing.T) {
	t.Parallel()
	w := newChores(t, time.Millisecond)
	proxy := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "ehr.example.net", "X-Forwarded-Prefix", "/north"}
	want := "https://ehr.example.net/north/fhir/jobs/01JOB0000"
	if got := w.post("/Patient/p/$chore", append(proxy, "Prefer", "respond-async")...).Header().Get("Content-Location"); got != want+"1/result" {
		t.Errorf("Content-Location %s", got)
	}
	r := w.post("/Patient/p/$chore", proxy...)
	if got := r.Header().Get("Content-Location"); got != want+"2/result" || !strings.Contains(r.Body.String(), got) {
		t.Errorf("Content-Location %s, body %s", got, r.Body)
	}
}

func TestATaskThatNobodyMayWaitForAsksForThePreference(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	for _, prefer := range []string{"", "handling=lenient", "return=minimal"} {
		r := w.post("/Patient/$diary", "Prefer", prefer)
		w.is(prefer, r, 400, "required")
		if !strings.Contains(r.Body.String(), "Prefer: respond-async") {
			t.Errorf("body %s", r.Body)
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the operation was called: %v", w.asked)
	}
	r := w.post("/Patient/$diary", "Prefer", "respond-async")
	w.is("with it", r, 202, "")
	if got := r.Header().Get("Content-Location"); got != base+"/Patient-diary/01JOB00001" || r.Body.Len() > 0 {
		t.Errorf("Content-Location %s, body %s", got, r.Body)
	}
}

func TestALivePollShowsHowFarTheWorkIs(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	w.units = "abc"
	poll := w.async("/Patient/$diary")
	sees := func(s job.State, done int) {
		t.Helper()
		w.body("poll", w.do(get, poll), 200, shown(s, done, 3))
	}
	sees(job.Queued, 0)
	w.work()
	w.begins("a")
	sees(job.Running, 0)
	w.goes()
	w.begins("b")
	sees(job.Running, 1)
	w.failing.Store(true)
	w.goes()
	w.until("01JOB00001", in(job.Failed))
	sees(job.Failed, 1)
	w.failing.Store(false)
	w.is("retry", w.do(put, poll), 202, "")
	w.begins("b")
	sees(job.Running, 1)
	w.goes()
	w.begins("c")
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	sees(job.Succeeded, 3)
	if r := w.do(head, poll); r.Code != 200 || r.Body.Len() > 0 {
		t.Errorf("HEAD: %d %s", r.Code, r.Body)
	}
}

func TestEachJobOfTheListSaysWhereItIsPolled(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	me := auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}
	for _, c := range []struct{ kind, status string }{
		{chore, "/jobs/01JOB00001/result"}, {diary, "/Patient-diary/01JOB00002"}, {kind, "/$work/01JOB00003"}, {"other", "/jobs/01JOB00004"},
	} {
		id := w.of(c.kind, me, job.Job.Start, job.Job.Succeed)
		one := w.do(get, "/fhir/jobs/"+id).Body.String()
		if got := gjson.Get(one, "status").Str; got != base+c.status {
			t.Errorf("%s: %s", c.kind, one)
		}
		if list := w.do(get, "/fhir/jobs").Body.String(); gjson.Get(list, "jobs.0.status").Str != base+c.status {
			t.Errorf("%s: %s", c.kind, list)
		}
	}
}
