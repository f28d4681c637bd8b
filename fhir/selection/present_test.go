package selection_test

import (
	"testing"

	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tidwall/gjson"
)

func TestSubjectsAreThePatientsThatAResourceIsAbout(t *testing.T) {
	for body, want := range map[string][]string{
		`{"resourceType":"Observation","subject":{"reference":"Patient/a"},"performer":[{"reference":"Patient/b"}]}`:                          {"a"},
		`{"resourceType":"Task","for":{"reference":"Patient/a/_history/2"},"owner":{"reference":"Patient/b"}}`:                                {"a"},
		`{"resourceType":"Appointment","participant":[{"actor":{"reference":"Patient/a"}},{"actor":{"reference":"Patient/b"}}]}`:              {"a", "b"},
		`{"resourceType":"Observation","subject":{"reference":"Group/a"}}`:                                                                    nil,
		`{"resourceType":"Observation","subject":{"reference":"https://elsewhere.example.org/fhir/Patient/a"}}`:                               nil,
		`{"resourceType":"Group","member":[{"entity":{"reference":"Patient/a"}}]}`:                                                            nil,
		`{"resourceType":"Provenance","target":[{"reference":"Patient/a"}]}`:                                                                  nil,
		`{"resourceType":"Observation","subject":{"reference":"#a"},"contained":[{"resourceType":"Patient","id":"a"}],"focus":["Patient/b"]}`: nil,
	} {
		typ := gjson.Get(body, "resourceType").Str
		if diff := cmp.Diff(want, selection.Subjects(typ, []byte(body)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (- want, + got):\n%s", body, diff)
		}
	}
	if got := selection.Subjects("Observation", nil); len(got) > 0 {
		t.Errorf("of a tombstone: %v", got)
	}
}
