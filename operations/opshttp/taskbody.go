package opshttp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"

	"github.com/labstack/echo/v4"
)

// taskParameters are those of the body, or those of the URL where there is no
// body.
func taskParameters(c echo.Context, limit int64) ([]fhir.Parameter, error) {
	query, err := queryOf(c)
	if err != nil {
		return nil, err
	}
	if !hasBody(c.Request()) {
		return parametersOf(query), nil
	}
	body, err := fhirhttp.Body(c, limit)
	if err != nil {
		return nil, err
	}
	params, err := fhir.ReadParameters(body)
	if err != nil {
		return nil, err
	}
	if !formatOnly(query) {
		return nil, fhir.Errorf(fhir.Invalid, "parameters are in the URL and in the body; send all of them in the Parameters resource")
	}
	return params, plain(params)
}

// hasBody tells whether a request has a body of one byte at least. Where its
// length is not announced, that byte is looked for.
func hasBody(r *http.Request) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength > 0
	}
	body := bufio.NewReader(r.Body)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return !errors.Is(err, io.EOF)
}

// parametersOf are the parameters of a URL, in order of name.
func parametersOf(query url.Values) []fhir.Parameter {
	var params []fhir.Parameter
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name == "_format" { // of the answer, not of the operation
			continue
		}
		for _, value := range query[name] {
			params = append(params, fhir.Parameter{Name: name, Value: value})
		}
	}
	return params
}

// plain refuses parameters of types that no task takes.
func plain(params []fhir.Parameter) error {
	for i, p := range params {
		switch p.Type {
		case "String", "Id", "Code", "Boolean", "Date", "DateTime", "Instant":
		default:
			return fhir.Errorf(fhir.Invalid, "a parameter's value is of a type that is not taken here; send it as valueString, valueId, valueCode, valueBoolean, or as a date").
				With(fhir.CodeValue).At(fmt.Sprintf("Parameters.parameter[%d].value", i))
		}
	}
	return nil
}

type bundleJSON struct {
	ResourceType string      `json:"resourceType"`
	Type         string      `json:"type"`
	Entry        []entryJSON `json:"entry"`
}

type entryJSON struct {
	Resource json.RawMessage `json:"resource"`
	Response responseJSON    `json:"response"`
}

type responseJSON struct {
	Status  string          `json:"status"`
	Outcome json.RawMessage `json:"outcome,omitempty"`
}

// batchResponse is the Bundle of a job that has ended: its result, with the
// status that a synchronous call would have had, and why it failed if it did.
func batchResponse(j job.Job, result []byte) ([]byte, error) {
	status := http.StatusOK
	var response responseJSON
	if j.State == job.Failed {
		status, response.Outcome = failed(j), fhir.Outcome(failure(j))
	}
	response.Status = fmt.Sprintf("%d %s", status, http.StatusText(status))
	return json.Marshal(bundleJSON{"Bundle", "batch-response", []entryJSON{{result, response}}})
}
