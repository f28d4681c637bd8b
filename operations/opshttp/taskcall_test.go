package opshttp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// parameters is the Parameters resource that has the given ones.
func parameters(ps ...string) string {
	return `{"resourceType":"Parameters","parameter":[` + strings.Join(ps, ",") + `]}`
}

// unsized is a body whose length is not announced.
func unsized(body string) io.Reader { return struct{ io.Reader }{strings.NewReader(body)} }

var jsonBody = []string{"Prefer", "respond-async", "Content-Type", "application/fhir+json"}

func (w *chores) sendBody(path string, body io.Reader, h ...string) *httptest.ResponseRecorder {
	w.Helper()
	return w.send(w.Context(), post, "/fhir"+path, body, append(jsonBody, h...)...)
}

func TestATaskIsCalledWithTheParametersOfTheURLOrTheBody(t *testing.T) {
	t.Parallel()
	four := parameters(
		`{"name":"b","valueString":"x y"}`, `{"name":"a","valueId":"1"}`, `{"name":"b","valueCode":"keep"}`, `{"name":"c","valueBoolean":false}`)
	typed := []fhir.Parameter{{Name: "b", Type: "String", Value: "x y"}, {Name: "a", Type: "Id", Value: "1"}, {Name: "b", Type: "Code", Value: "keep"}, {Name: "c", Type: "Boolean", Value: "false"}}
	for what, c := range map[string]struct {
		query string
		body  io.Reader
		want  []fhir.Parameter
	}{
		"nothing":                          {"", nil, nil},
		"a query":                          {"?b=x%2By&a=2&_format=json&a=1&c", nil, []fhir.Parameter{{Name: "a", Value: "2"}, {Name: "a", Value: "1"}, {Name: "b", Value: "x+y"}, {Name: "c"}}},
		"a body":                           {"", strings.NewReader(four), typed},
		"a body of unknown length":         {"?_format=json", unsized(four), typed},
		"no parameters":                    {"", strings.NewReader(`{"resourceType":"Parameters"}`), nil},
		"a query and a body that is empty": {"?a=1", unsized(""), []fhir.Parameter{{Name: "a", Value: "1"}}},
	} {
		w := newChores(t, 0)
		w.is(what, w.sendBody("/Group/g-1/$chore"+c.query, c.body, "Idempotency-Key", "k", "Prefer", "handling=lenient"), 202, "")
		want := []opshttp.TaskCall{{Route: "group", ID: "g-1", Params: c.want, Lenient: true, Key: "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"}}
		if d := cmp.Diff(want, w.asked); d != "" {
			t.Errorf("%s: the operation was called with %s", what, d)
		}
	}
}

func TestACallOfATaskThatIsNoneStartsNoJob(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	long := parameters(`{"name":"a","valueString":"` + strings.Repeat("x", most) + `"}`)
	for what, c := range map[string]struct {
		query  string
		body   io.Reader
		status int
		code   string
		header []string
	}{
		"both":                     {"?a=1", strings.NewReader(parameters()), 400, "invalid", nil},
		"a broken query":           {"?a=%zz", nil, 400, "invalid", nil},
		"a Patient":                {"", strings.NewReader(`{"resourceType":"Patient"}`), 400, "structure", nil},
		"no JSON":                  {"", strings.NewReader(`{`), 400, "structure", nil},
		"white space":              {"", strings.NewReader(" \n"), 400, "required", nil},
		"too long":                 {"", strings.NewReader(long), 413, "too-long", nil},
		"too long, not announced":  {"", unsized(long), 413, "too-long", nil},
		"XML is wanted":            {"", nil, 406, "not-supported", []string{"Accept", "application/fhir+xml"}},
		"XML is wanted by _format": {"?_format=xml", nil, 406, "not-supported", nil},
		"two keys":                 {"", nil, 400, "invalid", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}},
	} {
		w.is(what, w.sendBody("/Patient/p/$chore"+c.query, c.body, c.header...), c.status, c.code)
	}
	r := w.send(t.Context(), post, "/fhir/Patient/p/$chore", strings.NewReader("a=1"), "Content-Type", "application/x-www-form-urlencoded")
	w.is("a form", r, 415, "not-supported")
	w.is("of the type", w.post("/Patient/$chore"), 404, "not-found")
	if len(w.asked) > 0 || w.ids > 0 {
		t.Errorf("the operation was called: %v", w.asked)
	}
}

func TestAParameterOfATypeThatIsNotTakenIsNamed(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	first := `{"name":"a","valueString":"x"}`
	for bad, where := range map[string]string{
		`{"name":"b","valueInteger":1}`:                           "Parameters.parameter[1].value",
		`{"name":"b","valueReference":{"reference":"Patient/1"}}`: "Parameters.parameter[1].value",
		`{"name":"b","valueCoding":{"code":"x"}}`:                 "Parameters.parameter[1].value",
		`{"name":"b","valueUri":"x"}`:                             "Parameters.parameter[1].value",
		`{"name":"b","valueString":""}`:                           "Parameters.parameter[1]",
		`{"name":"b","part":[]}`:                                  "Parameters.parameter[1]",
		`{"name":"b","resource":{"resourceType":"Patient"}}`:      "Parameters.parameter[1]",
		`{"valueString":"b"}`:                                     "Parameters.parameter[1]",
	} {
		r := w.sendBody("/Patient/p/$chore", strings.NewReader(parameters(first, bad)))
		if !strings.Contains(r.Body.String(), fmt.Sprintf(`"expression":[%q]`, where)) || r.Code != 400 {
			t.Errorf("%s: %d %s", bad, r.Code, r.Body)
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the operation was called: %v", w.asked)
	}
}

func TestATaskIsStartedByPOSTOnly(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	for _, path := range []string{"/Patient/p/$chore", "/Group/g/$chore", "/Patient/$diary", "/Patient/%24diary", "/Patient/p/$chore?a=1"} {
		for _, method := range []string{get, head, put, "PATCH", del} {
			code := "not-supported"
			if method == head {
				code = ""
			}
			r := w.do(method, "/fhir"+path, "Prefer", "respond-async")
			w.is(method+" "+path, r, 405, code)
			if got := r.Header().Get("Allow"); got != "POST" {
				t.Errorf("%s %s: Allow %s", method, path, got)
			}
		}
	}
	w.is("POST where it is polled", w.do(post, "/fhir/Patient-diary/x"), 405, "not-supported")
	if len(w.asked) > 0 || len(w.events) > 0 {
		t.Errorf("the operation was called: %v, recorded: %v", w.asked, w.events)
	}
}

func TestErrorsOfATasksKickOffKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fhir.Errorf(fhir.Invalid, "no").With(fhir.CodeValue), 400, "value"},
		{fhir.Errorf(fhir.Forbidden, "no"), 403, "forbidden"},
		{fmt.Errorf("commit: %w", store.ErrFull), 503, "no-store"},
	} {
		w.fails = c.err
		for _, prefer := range []string{"respond-async", ""} {
			r := w.post("/Patient/p/$chore", "Prefer", prefer)
			w.is(c.err.Error(), r, c.status, c.code)
			if r.Header().Get("Content-Location") != "" || r.Header().Get("Preference-Applied") != "" {
				t.Errorf("%v: headers %v", c.err, r.Header())
			}
		}
	}
	w.fails = errors.New("canary of the inside")
	if r := w.post("/Patient/p/$chore"); r.Code != 500 || strings.Contains(r.Body.String(), "canary") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

func TestOneTaskTooManyIsPutOff(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0)
	w.limit = store.Limit{PerOwner: 1}
	w.async("/Patient/p/$chore")
	r := w.post("/Patient/p/$chore")
	w.is("the second", r, 429, "throttled")
	if r.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestAKickOffUnderAnEarlierKeyIsAnsweredWithThatJobsResult(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).open().work()
	first := w.post("/Patient/p/$chore", "Idempotency-Key", "k")
	w.body("the first", first, 200, shown(job.Succeeded, 1, 1))
	if again := w.post("/Patient/p/$chore", "Idempotency-Key", "k"); dump(again) != dump(first) {
		t.Errorf("again: %s", dump(again))
	}
	js, err := w.store.List(t.Context(), auth.DefaultTenant, me, "", 10)
	if err != nil || len(js) != 1 {
		t.Errorf("%d jobs, %v", len(js), err)
	}
	w.is("another request", w.post("/Patient/p/$chore?a=1", "Idempotency-Key", "k"), 422, "conflict")
}

func TestAKickOffOfATaskIsRecordedBeforeItsJobIsThere(t *testing.T) {
	t.Parallel()
	w := newChores(t, 0).open().work()
	w.unwilling = errors.New("disk full")
	w.is("unrecorded", w.post("/Patient/p/$chore"), 503, "transient")
	js, err := w.store.List(t.Context(), auth.DefaultTenant, me, "", 10)
	if err != nil || len(js) > 0 {
		t.Errorf("%d jobs, %v", len(js), err)
	}
	w.unwilling = nil
	w.is("recorded", w.post("/Patient/p/$chore?_shared=keep"), 200, "")
	w.recorded("a kick-off", job.Event{Act: job.KickedOff, Kind: chore, By: me, Job: "01JOB00002", Path: "Patient/p/$chore"})
	w.fails = fhir.Errorf(fhir.Forbidden, "no")
	w.is("forbidden", w.post("/Patient/$diary", "Prefer", "respond-async"), 403, "forbidden")
	w.recorded("one that is not allowed", job.Event{Act: job.KickedOff, Kind: diary, By: me, Path: "Patient/$diary", Refused: true, Detail: "not allowed"})
}
