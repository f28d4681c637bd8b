package fhir_test

import (
	"testing"

	"firebreak/fhir"

	"github.com/google/go-cmp/cmp"
)

func TestReadParametersTakesPrimitivesReferencesAndCodings(t *testing.T) {
	got, err := fhir.ReadParameters([]byte(`{"resourceType":"Parameters","parameter":[
		{"name":"_since","valueInstant":"2026-01-01T00:00:00Z"},
		{"name":"patient","valueReference":{"reference":"Patient/1","display":"x"}},
		{"name":"includeAssociatedData","valueCoding":{"system":"s","code":"c"}},
		{"name":"allowPartialManifests","valueBoolean":false}]}`))
	want := []fhir.Parameter{
		{Name: "_since", Type: "Instant", Value: "2026-01-01T00:00:00Z"},
		{Name: "patient", Type: "Reference", Value: "Patient/1"},
		{Name: "includeAssociatedData", Type: "Coding", Value: "c"},
		{Name: "allowPartialManifests", Type: "Boolean", Value: "false"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestReadParametersRefusesWhatIsNone(t *testing.T) {
	for name, c := range map[string]struct{ in, where string }{
		"a Patient":    {`{"resourceType":"Patient"}`, "resourceType"},
		"no name":      {`{"resourceType":"Parameters","parameter":[{"name":"a","valueString":"b"},{"valueString":"x"}]}`, "Parameters.parameter[1]"},
		"no value":     {`{"resourceType":"Parameters","parameter":[{"name":"a"}]}`, "Parameters.parameter[0]"},
		"parts":        {`{"resourceType":"Parameters","parameter":[{"name":"a","part":[]}]}`, "Parameters.parameter[0]"},
		"empty value":  {`{"resourceType":"Parameters","parameter":[{"name":"a","valueString":""}]}`, "Parameters.parameter[0]"},
		"an object":    {`{"resourceType":"Parameters","parameter":[{"name":"a","valuePeriod":{"start":"2020"}}]}`, "Parameters.parameter[0]"},
		"no reference": {`{"resourceType":"Parameters","parameter":[{"name":"a","valueReference":{"display":"x"}}]}`, "Parameters.parameter[0]"},
	} {
		if _, err := fhir.ReadParameters([]byte(c.in)); fhir.KindOf(err) != fhir.Invalid || fhir.AsError(err).Expression != c.where {
			t.Errorf("%s: %v at %q", name, err, fhir.AsError(err).Expression)
		}
	}
}
