package opshttp_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// newBeside offers diaries beside the base too, where a job is called by its id
// in small letters. May is asked before each retry.
func newBeside(t *testing.T, may func() error) *chores {
	t.Helper()
	w := newChores(t, 0)
	cfg := opshttp.Config{Store: w.store, Now: w.now, MaxBody: most, Record: w.record}
	opshttp.RegisterBeside(w.echo, cfg, opshttp.Beside{
		Kind: diary, Path: "/other/$diary", Kickoff: w.kickoff(diary), Limit: store.Limit{PerOwner: 1}, Name: strings.ToLower,
		ID: func(name string) string {
			if name != strings.ToLower(name) {
				return ""
			}
			return strings.ToUpper(name)
		},
		MayRetry: func(context.Context, auth.Principal, job.Job) error { return may() },
		Show: func(_ context.Context, j job.Job, status bool) ([]byte, error) {
			return []byte(`{"is":"` + string(j.State) + map[bool]string{true: `","asked":true}`, false: `"}`}[status]), nil
		},
	})
	return w
}

// plain asserts an answer in another product's JSON.
func (w *chores) plain(what string, r *httptest.ResponseRecorder, want string) {
	w.Helper()
	if h := r.Header(); r.Code != 200 || r.Body.String() != want || h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		w.Errorf("%s: %d %v %s, want %s", what, r.Code, h, r.Body, want)
	}
}

func TestATaskBesideTheBaseIsCancelledAndGoesOn(t *testing.T) {
	t.Parallel()
	var refused error
	w := newBeside(t, func() error { return refused }).work()
	r := w.do(post, "/other/$diary?a=b")
	w.plain("kick-off", r, `{"is":"queued"}`)
	at := strings.TrimSuffix(base, "/fhir") + "/other/$diary/01job00001"
	if h := r.Header(); h.Get("Content-Location") != at {
		t.Errorf("headers %v", h)
	}
	if got := w.asked[0]; len(got.Params) != 1 || got.Params[0] != (fhir.Parameter{Name: "a", Value: "b"}) {
		t.Errorf("asked %+v", got)
	}
	const path = "/other/$diary/01job00001"
	w.begins("a")
	w.plain("poll", w.do(get, path), `{"is":"running","asked":true}`)
	w.is("retry of what runs", w.do(put, path), 409, "conflict")
	w.plain("cancel", w.do(del, path), `{"is":"cancelled","asked":true}`)
	w.plain("cancel again", w.do(del, path), `{"is":"cancelled","asked":true}`)
	w.is("below the base it is gone", w.do(get, "/fhir/Patient-diary/01JOB00001"), 404, "not-found")
	refused = fhir.Errorf(fhir.Forbidden, "no")
	w.is("retry of who may not", w.do(put, path), 403, "forbidden")
	refused = nil
	w.plain("retry", w.do(put, path), `{"is":"queued","asked":true}`)
	w.begins("a")
	w.goes()
	w.until("01JOB00001", in(job.Succeeded))
	w.plain("poll at the end", w.do(get, path), `{"is":"succeeded","asked":true}`)
	w.is("retry of what succeeded", w.do(put, path), 409, "conflict")
	w.body("below the base", w.do(get, "/fhir/Patient-diary/01JOB00001"), 200, shown(job.Succeeded, 1, 1))
}

// Who is asked before finds nothing in the way, and then another is faster.
func TestARetryThatAnotherWasFasterThanNamesIt(t *testing.T) {
	t.Parallel()
	asked := 0
	w := newBeside(t, func() error {
		if asked++; asked == 1 {
			return nil
		}
		return fhir.Errorf(fhir.Conflict, "the other is under way")
	})
	mine := auth.Principal{Tenant: auth.DefaultTenant, Client: "me"}
	id := w.of(diary, mine, job.Job.Start, fail)
	w.of(diary, mine)
	r := w.do(put, "/other/$diary/"+strings.ToLower(id))
	if w.is("retry", r, 409, "conflict"); gjson.Get(r.Body.String(), "issue.0.diagnostics").Str != "the other is under way" || asked != 2 {
		t.Errorf("asked %d times, it is %s", asked, r.Body)
	}
}

func TestWhatIsNotThereBesideTheBaseIsAbsent(t *testing.T) {
	t.Parallel()
	w := newBeside(t, func() error { return nil })
	w.is("kick-off", w.do(post, "/fhir/Patient/p/$chore", "Prefer", "respond-async"), 202, "")
	unknown := w.do(get, "/other/$diary/01job99999").Body.String()
	for _, method := range []string{get, put, del} {
		for _, path := range []string{"/other/$diary/01job00001", "/other/$diary/01JOB00001", "/other/$diary/x"} {
			r := w.do(method, path)
			if w.is(method+" "+path, r, 404, "not-found"); r.Body.String() != unknown {
				t.Errorf("%s %s says %s", method, path, r.Body)
			}
		}
	}
}

func TestATaskThatIsAlwaysAsynchronousIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newChores(t, forever)
	refused := fhir.Errorf(fhir.Conflict, "another is under way")
	opshttp.RegisterTask(w.echo.Group("/fhir"), opshttp.Config{Store: w.store, Now: w.now, MaxBody: most}, opshttp.Task{
		Kind: diary, Name: "$log", Status: "/$log/:job", Live: true, Result: w.result, Kickoff: w.kickoff(diary),
		Routes:   []opshttp.TaskRoute{{Path: "/$log", Async: true}},
		MayRetry: func(context.Context, auth.Principal, job.Job) error { return refused },
	})
	w.work()
	r := w.do(post, "/fhir/$log")
	if w.is("kick-off", r, 202, ""); r.Header().Get("Content-Location") != base+"/$log/01JOB00001" || r.Header().Get("Preference-Applied") != "" || r.Body.Len() > 0 {
		t.Errorf("headers %v, body %s", r.Header(), r.Body)
	}
	w.begins("a")
	r = w.do(get, "/fhir/$log/01JOB00001")
	if w.body("poll", r, 200, shown(job.Running, 0, 1)); r.Header().Get("X-Progress") != "0 % (0 resources)" || r.Header().Get("Retry-After") != "1" {
		t.Errorf("headers %v", r.Header())
	}
	w.failing.Store(true)
	w.goes()
	w.until("01JOB00001", in(job.Failed))
	r = w.do(get, "/fhir/$log/01JOB00001")
	if w.is("poll at the end", r, 200, ""); r.Header().Get("X-Progress") != "" || r.Header().Get("Retry-After") != "" {
		t.Errorf("headers %v", r.Header())
	}
	r = w.do(put, "/fhir/$log/01JOB00001")
	if w.is("retry", r, 409, "conflict"); !strings.Contains(gjson.Get(r.Body.String(), "issue.0.diagnostics").Str, "another is under way") {
		t.Errorf("body %s", r.Body)
	}
}
