package fhirhttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

func TestPreferIsAList(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		want    fhirhttp.Prefer
	}{
		"none":             {nil, fhirhttp.Prefer{}},
		"one":              {[]string{"respond-async"}, fhirhttp.Prefer{RespondAsync: true}},
		"a list":           {[]string{"handling=lenient, respond-async"}, fhirhttp.Prefer{RespondAsync: true, Handling: "lenient"}},
		"repeated headers": {[]string{"return=minimal", "Respond-Async,wait=10"}, fhirhttp.Prefer{RespondAsync: true, Return: "minimal", Wait: 10 * time.Second}},
		"quotes":           {[]string{`handling="strict", return = "representation"`}, fhirhttp.Prefer{Handling: "strict", Return: "representation"}},
		"the first counts": {[]string{"handling=strict, handling=lenient", "return=minimal", "return=representation"}, fhirhttp.Prefer{Handling: "strict", Return: "minimal"}},
		"parameters":       {[]string{`respond-async; x="a,handling=lenient"; y`}, fhirhttp.Prefer{RespondAsync: true}},
		"case":             {[]string{"RETURN=operationoutcome"}, fhirhttp.Prefer{Return: "OperationOutcome"}},
		"unknown values":   {[]string{"handling=loose, return=all, wait=soon"}, fhirhttp.Prefer{}},
		"negative wait":    {[]string{"wait=-1"}, fhirhttp.Prefer{}},
		"huge wait":        {[]string{"wait=99999999999999999999"}, fhirhttp.Prefer{}},
		"junk":             {[]string{`,,;=,"`, ";", "="}, fhirhttp.Prefer{}},
		"open quote":       {[]string{`x="respond-async, respond-async`}, fhirhttp.Prefer{}},
		"no substring":     {[]string{"not-respond-async, respond-asynchronously"}, fhirhttp.Prefer{}},
	} {
		got := fhirhttp.ParsePrefer(http.Header{"Prefer": c.headers})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAnswersAreInTheJSONThatIsAccepted(t *testing.T) {
	const fhirJSON, plain = "application/fhir+json", "application/json"
	for _, c := range []struct{ query, accept, want string }{
		{"", "", fhirJSON},
		{"", "*/*", fhirJSON},
		{"", "application/*", fhirJSON},
		{"", "application/json", plain},
		{"", "text/json", "text/json"},
		{"", "application/json, application/fhir+json", fhirJSON},
		{"", "application/json, application/fhir+json;q=0.9", plain},
		{"", "Application/FHIR+JSON; charset=utf-8", fhirJSON},
		{"", "application/fhir+json;fhirVersion=4.0", fhirJSON},
		{"", "application/fhir+json;fhirVersion=3.0", ""},
		{"", "application/fhir+xml", ""},
		{"", "application/fhir+xml, application/fhir+json;q=0.1", fhirJSON},
		{"", "application/fhir+xml, */*;q=0.1", fhirJSON},
		{"", "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", fhirJSON},
		{"", "text/html, image/gif, *; q=.2, */*; q=.2", fhirJSON},
		{"", "application/fhir+json;q=0, */*", plain},
		{"", "application/fhir+json;q=0, application/json;q=0, text/json;q=0, */*", ""},
		{"", "*/*;q=0", ""},
		{"", "*/*;q=-1", ""},
		{"", "*/*;q=x", ""},
		{"", "*/*;q=NaN", ""},
		{"", "json", ""},
		{"", ";;;", ""},
		{"_format=json", "application/fhir+xml", fhirJSON},
		{"_format=application/fhir%2Bjson", "application/fhir+xml", fhirJSON},
		{"_format=application/fhir+json", "", fhirJSON},
		{"_format=application/json", "", plain},
		{"_format=xml", "application/fhir+json", ""},
		{"_format=application/fhir%2Bxml", "*/*", ""},
		{"_format=", "*/*", ""},
	} {
		s := newServer(t, fhirhttp.Origin{})
		s.answers("/open", nil)
		s.GET("/x", func(ec echo.Context) error { return fhirhttp.JSON(ec, 200, []byte(`{}`)) }, fhirhttp.Negotiate)
		r := httptest.NewRequest(http.MethodGet, "/x?"+c.query, nil)
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		w := s.do(r)
		if c.want == "" {
			if got := outcomeOf(t, w); w.Code != 406 || got.Code != "not-supported" {
				t.Errorf("%q %q: %d %+v", c.query, c.accept, w.Code, got)
			}
		} else if got := w.Header().Get("Content-Type"); w.Code != 200 || got != c.want {
			t.Errorf("%q %q: %d %s, want %s", c.query, c.accept, w.Code, got, c.want)
		}
	}
}

func TestIfMatchNamesOneVersion(t *testing.T) {
	for tag, want := range map[string]struct {
		version int64
		kind    fhir.Kind
	}{
		`W/"3"`: {3, 0}, `"3"`: {3, 0}, `3`: {3, 0}, `W/3`: {3, 0}, ` W/"12" `: {12, 0}, `W/"3",`: {3, 0},
		`W/"abc"`: {0, fhir.Precondition}, `""`: {0, fhir.Precondition}, `W/"0"`: {0, fhir.Precondition}, `"-1"`: {0, fhir.Precondition},
		`"03"`: {0, fhir.Precondition}, `W/"99999999999999999999"`: {0, fhir.Precondition},
		``: {0, fhir.Invalid}, `*`: {0, fhir.Invalid}, `abc`: {0, fhir.Invalid}, `W/"1", W/"2"`: {0, fhir.Invalid}, `"3`: {0, fhir.Invalid}, `-3`: {0, fhir.Invalid},
	} {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		r.Header.Set("If-Match", tag)
		got, err := fhirhttp.IfMatch(r)
		if got != want.version || (err != nil) != (want.kind != 0) || err != nil && fhir.KindOf(err) != want.kind {
			t.Errorf("%q: %d, %v", tag, got, err)
		}
	}
	if got, err := fhirhttp.IfMatch(httptest.NewRequest(http.MethodPut, "/", nil)); got != 0 || err != nil {
		t.Errorf("without the header: %d, %v", got, err)
	}
}

func TestOnlyAStarMakesAWriteCreateOnly(t *testing.T) {
	for tag, want := range map[string]struct{ only, ok bool }{
		"": {false, true}, "*": {true, true}, `W/"1"`: {false, false}, `*, "1"`: {false, false},
	} {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		r.Header.Set("If-None-Match", tag)
		if only, err := fhirhttp.CreateOnly(r); only != want.only || (err == nil) != want.ok {
			t.Errorf("%q: %v, %v", tag, only, err)
		}
	}
}

func TestAClientThatHasTheVersionIsToldSo(t *testing.T) {
	at := time.Date(2026, 11, 21, 11, 18, 0, 123e6, time.UTC)
	answer := http.Header{}
	fhirhttp.SetVersion(answer, 3, at)
	if answer.Get("ETag") != `W/"3"` || answer.Get("Last-Modified") != "Sat, 21 Nov 2026 11:18:00 GMT" {
		t.Fatal(answer)
	}
	for _, c := range []struct {
		none, since string
		want        bool
	}{
		{"", "", false},
		{`W/"3"`, "", true},
		{`"3"`, "", true},
		{`W/"2", W/"3"`, "", true},
		{`*`, "", true},
		{`W/"2"`, "", false},
		{`3`, "", false},
		{"", "Sat, 21 Nov 2026 11:18:00 GMT", true},
		{"", "Sat, 21 Nov 2026 11:17:59 GMT", false},
		{"", "yesterday", false},
		{`W/"2"`, "Sat, 21 Nov 2026 11:18:00 GMT", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", c.none)
		r.Header.Set("If-Modified-Since", c.since)
		if got := fhirhttp.NotModified(r, answer); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
