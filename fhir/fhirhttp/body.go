package fhirhttp

import (
	"bytes"
	"errors"
	"net/http"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// grown is how much of a body's announced length is believed at once.
const grown = 1 << 20

// Body reads the JSON body of a request, which may have limit bytes at most. It
// refuses another media type, and a body that is empty or white space only.
func Body(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if r.ContentLength == 0 {
		return nil, errEmpty()
	}
	if err := checkBodyType(r.Header); err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, errTooLarge(limit)
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, grown)))
	if _, err := b.ReadFrom(http.MaxBytesReader(c.Response().Writer, r.Body, limit)); err != nil {
		if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
			return nil, errTooLarge(limit)
		}
		return nil, fhir.Errorf(fhir.Invalid, "the body broke off before its end").Because(err)
	}
	if len(bytes.TrimSpace(b.Bytes())) == 0 {
		return nil, errEmpty()
	}
	return b.Bytes(), nil
}

func errEmpty() error {
	return fhir.Errorf(fhir.Invalid, "the body is empty; a resource is expected").With(fhir.CodeRequired)
}

func errTooLarge(limit int64) error {
	return fhir.Errorf(fhir.TooLarge, "a body may have %d bytes at most", limit)
}
