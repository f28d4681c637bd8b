package fhirhttp_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"firebreak/fhir/fhirhttp"

	"github.com/labstack/echo/v4"
)

const limit = 20

// post sends a body to a route that gives it back.
func post(t *testing.T, header map[string]string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	s := newServer(t, fhirhttp.Origin{})
	s.POST("/x", func(c echo.Context) error {
		b, err := fhirhttp.Body(c, limit)
		if err != nil {
			return err
		}
		return fhirhttp.JSON(c, 200, b)
	})
	r := httptest.NewRequest(http.MethodPost, "/x", body)
	r.Header.Set("Content-Type", "application/fhir+json")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return s.do(r)
}

func TestABodyMustBeJSON(t *testing.T) {
	for media, want := range map[string]int{
		"application/fhir+json": 200, "application/json": 200, "text/json": 200, "Application/FHIR+JSON": 200,
		"application/fhir+json; charset=utf-8": 200, "application/json;charset=\"UTF-8\"": 200,
		"application/fhir+json; fhirVersion=4.0": 200, "application/fhir+json; fhirVersion=4.0.1": 200,
		"application/fhir+json; fhirVersion=5.0": 415, "application/json; charset=latin1": 415,
		"": 415, "application/fhir+xml": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415,
		"application/fhir+ndjson": 415, "application/json-patch+json": 415, "*/*": 415, "junk": 415, ";": 415,
	} {
		if w := post(t, map[string]string{"Content-Type": media}, strings.NewReader("{}")); w.Code != want {
			t.Errorf("%q: %d, want %d", media, w.Code, want)
		} else if want == 415 {
			outcomeOf(t, w)
		}
	}
}

func TestACompressedBodyIsRefusedAndNotMisread(t *testing.T) {
	if w := post(t, map[string]string{"Content-Encoding": "gzip"}, strings.NewReader("{}")); w.Code != 415 {
		t.Errorf("gzip: %d", w.Code)
	}
	if w := post(t, map[string]string{"Content-Encoding": "identity"}, strings.NewReader("{}")); w.Code != 200 {
		t.Errorf("identity: %d", w.Code)
	}
}

func TestABodyHasALimit(t *testing.T) {
	fits, over := strings.Repeat("x", limit), strings.Repeat("x", limit+1)
	for name, c := range map[string]struct {
		body io.Reader
		want int
	}{
		"announced, fits":       {strings.NewReader(fits), 200},
		"announced, over":       {strings.NewReader(over), 413},
		"in chunks, fits":       {io.MultiReader(strings.NewReader(fits)), 200},
		"in chunks, over":       {io.MultiReader(strings.NewReader(over)), 413},
		"empty":                 {strings.NewReader(""), 400},
		"in chunks, empty":      {io.MultiReader(strings.NewReader("")), 400},
		"white space":           {strings.NewReader(" \r\n\t"), 400},
		"broken off":            {io.MultiReader(strings.NewReader("{"), iotest.ErrReader(errors.New("secret"))), 400},
		"byte by byte, fits":    {iotest.OneByteReader(strings.NewReader(fits)), 200},
		"byte by byte, is over": {iotest.OneByteReader(strings.NewReader(over)), 413},
	} {
		w := post(t, nil, c.body)
		if w.Code != c.want || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.want)
		}
		if c.want != 200 {
			outcomeOf(t, w)
		}
	}
}

func TestTheAnnouncedLengthOfABodyIsNotBelieved(t *testing.T) {
	s := newServer(t, fhirhttp.Origin{})
	s.POST("/x", func(c echo.Context) error {
		_, err := fhirhttp.Body(c, 1<<40)
		return err
	})
	r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = 1 << 39
	if w := s.do(r); w.Code != 200 {
		t.Errorf("an announced half terabyte: %d", w.Code)
	}
}
