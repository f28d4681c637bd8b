package r4_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firebreak/fhir/r4"
)

func TestEveryConcreteTypeIsKnown(t *testing.T) {
	types := r4.Types()
	if len(types) != 146 || !slices.IsSorted(types) {
		t.Errorf("%d types, sorted: %v", len(types), slices.IsSorted(types))
	}
	for _, name := range types {
		if !r4.IsType(name) {
			t.Errorf("%s is listed, but is no type", name)
		}
	}
	for _, name := range []string{"", "Resource", "DomainResource", "patient", "SubscriptionStatus", "HumanName"} {
		if r4.IsType(name) {
			t.Errorf("%q is no resource type", name)
		}
	}
}

func TestParamsAreNarrowedToTheType(t *testing.T) {
	got := find(t, "Observation", "patient")
	want := r4.Param{
		Code:       "patient",
		Type:       r4.Reference,
		Expression: "Observation.subject.where(resolve() is Patient)",
		Targets:    []string{"Patient"},
		URL:        "http://hl7.org/fhir/SearchParameter/clinical-patient",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	code := find(t, "MedicationRequest", "code")
	if want := "(MedicationRequest.medication as CodeableConcept)"; code.Expression != want {
		t.Errorf("the code of a MedicationRequest is %s", code.Expression)
	}
}

func TestUnionsOfOneTypeStayWhole(t *testing.T) {
	got := find(t, "AuditEvent", "patient").Expression
	want := "AuditEvent.agent.who.where(resolve() is Patient) | AuditEvent.entity.what.where(resolve() is Patient)"
	if got != want {
		t.Errorf("the patient of an AuditEvent is %s", got)
	}
}

func TestParamsAreInheritedOnlyWhereTheTypeDoes(t *testing.T) {
	find(t, "Patient", "_text")
	find(t, "Binary", "_id")
	for _, p := range r4.Params("Binary") {
		if p.Code == "_text" {
			t.Error("a Binary is no DomainResource, so it has no _text")
		}
	}
	if got := r4.Params("Resource"); got != nil {
		t.Errorf("Resource is abstract, and has %d parameters", len(got))
	}
}

func TestEveryParamIsWhole(t *testing.T) {
	without := map[string]bool{"_text": true, "_content": true, "_query": true}
	for _, typ := range r4.Types() {
		params := r4.Params(typ)
		codes := make([]string, len(params))
		for i, p := range params {
			codes[i] = p.Code
			if (p.Expression == "") != without[p.Code] {
				t.Errorf("%s.%s has the expression %q", typ, p.Code, p.Expression)
			}
			if !slices.IsSorted(p.Targets) {
				t.Errorf("the targets of %s.%s are not sorted", typ, p.Code)
			}
		}
		if !slices.IsSorted(codes) || len(slices.Compact(codes)) != len(params) {
			t.Errorf("the parameters of %s are not sorted, or not unique", typ)
		}
	}
}

func TestWhatOtherReleasesAddIsLeftOut(t *testing.T) {
	for typ, code := range map[string]string{"DetectedIssue": "status", "ServiceRequest": "order-detail"} {
		if slices.ContainsFunc(r4.Params(typ), func(p r4.Param) bool { return p.Code == code }) {
			t.Errorf("R4 has no %s.%s", typ, code)
		}
	}
	if got := r4.CompartmentParams("Task"); got != nil {
		t.Errorf("in R4, Task is in no compartment; got %v", got)
	}
}

func TestCompartmentIsThatOfTheStandard(t *testing.T) {
	want := map[string][]string{
		"Patient":            {"link"},
		"Encounter":          {"patient"},
		"AllergyIntolerance": {"patient", "recorder", "asserter"},
		"Coverage":           {"policy-holder", "subscriber", "beneficiary", "payor"},
		"Device":             nil,
	}
	for typ, params := range want {
		if diff := cmp.Diff(params, r4.CompartmentParams(typ)); diff != "" {
			t.Error(typ, diff)
		}
	}
	types := r4.CompartmentTypes()
	if len(types) != 66 {
		t.Errorf("%d types, not 66", len(types))
	}
	for _, typ := range types {
		for _, code := range r4.CompartmentParams(typ) {
			if p := find(t, typ, code); p.Type != r4.Reference {
				t.Errorf("%s.%s is of type %s", typ, code, p.Type)
			}
		}
	}
}

func TestElementsAreFoundByPath(t *testing.T) {
	tests := map[string]r4.Element{
		"Observation.subject":                  {Types: []string{"Reference"}},
		"Observation.component.interpretation": {Types: []string{"CodeableConcept"}},
		"MedicationRequest.medication":         {Types: []string{"CodeableConcept", "Reference"}, Choice: true},
		"Questionnaire.item.item":              {Same: "Questionnaire.item"},
		"Patient.contained":                    {Types: []string{"Resource"}},
		"Age.system":                           {Types: []string{"uri"}},
	}
	for path, want := range tests {
		got, ok := r4.At(path)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Error(path, ok, diff)
		}
	}
	for _, path := range []string{"", "Patient", "Patient.nothing", "Nothing.at"} {
		if _, ok := r4.At(path); ok {
			t.Errorf("%q is no element", path)
		}
	}
}

func TestMembersCarryTheTypeOfAChoice(t *testing.T) {
	got := r4.Members("Attachment")
	for _, name := range []string{"photo", "presentedForm", "valueAttachment", "contentAttachment"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s may be an Attachment", name)
		}
	}
	if !slices.IsSorted(got) || slices.Contains(got, "value") {
		t.Errorf("members are sorted names of JSON: %v", got)
	}
}

func TestEveryPathIsFound(t *testing.T) {
	for _, path := range r4.Paths() {
		e, ok := r4.At(path)
		if !ok || (len(e.Types) == 0) == (e.Same == "") {
			t.Errorf("%s: %+v", path, e)
		}
		if e.Same == "" {
			continue
		}
		if _, ok := r4.At(e.Same); !ok || !strings.HasPrefix(path, e.Same[:strings.Index(e.Same, ".")+1]) {
			t.Errorf("%s repeats %s", path, e.Same)
		}
	}
}

func find(t *testing.T, typ, code string) r4.Param {
	t.Helper()
	for _, p := range r4.Params(typ) {
		if p.Code == code {
			return p
		}
	}
	t.Fatalf("%s has no parameter %s", typ, code)
	return r4.Param{}
}
