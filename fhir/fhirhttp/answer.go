package fhirhttp

import (
	"net/http"
	"strconv"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// JSON answers with JSON that is ready, under the name that the client asked
// for where the route has Negotiate, else as FHIRJSON.
func JSON(c echo.Context, status int, body []byte) error {
	media, ok := c.Get(mediaName).(string)
	if !ok {
		media = FHIRJSON
	}
	return write(c, status, media, body)
}

// Outcome answers with an OperationOutcome. An error is not answered so, but
// returned.
func Outcome(c echo.Context, status int, issues ...fhir.Issue) error {
	return JSON(c, status, fhir.Outcome(issues...))
}

// write sends the answer; to HEAD all of it but the body.
func write(c echo.Context, status int, media string, body []byte) error {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, media)
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	c.Response().WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := c.Response().Write(body)
	return err
}
