package search_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firebreak/fhir/search"
)

func TestOtherReferencesPutNothingIntoACompartment(t *testing.T) {
	tests := map[string]string{
		"Condition":        `{"recorder":{"reference":"Patient/1"}}`,
		"Composition":      `{"section":[{"entry":[{"reference":"Patient/1"}],"focus":{"reference":"Patient/1"}}]}`,
		"Task":             `{"for":{"reference":"Patient/1"},"focus":{"reference":"Patient/1"}}`,
		"Device":           `{"patient":{"reference":"Patient/1"}}`,
		"Observation":      `{"contained":[{"subject":{"reference":"Patient/1"}}],"focus":[{"reference":"Patient/1"}]}`,
		"GuidanceResponse": `{"subject":{"reference":"Patient/1"}}`,
		"Bundle":           `{"entry":[{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/1"}}}]}`,
		"Encounter":        `{"subject":{"reference":"Group/1"},"extension":[{"valueReference":{"reference":"Patient/1"}}]}`,
	}
	for typ, body := range tests {
		if got := search.Compartments(search.Terms(typ, "1", []byte(body))); got != nil {
			t.Errorf("%s is in the compartments %v", typ, got)
		}
	}
}

func TestCompartmentsAreThoseOfPatientsHere(t *testing.T) {
	tests := map[string][]string{
		"Patient/1":                          {"1"},
		"Patient/1/_history/4":               {"1"},
		"https://example.org/fhir/Patient/1": nil,
		"Group/1":                            nil,
		"Patient/":                           nil,
		"Patient/a b":                        nil,
		"Patient/1/2":                        nil,
		"Patient?identifier=1":               nil,
		"#1":                                 nil,
		"urn:uuid:1":                         nil,
	}
	for reference, want := range tests {
		body := fmt.Appendf(nil, `{"resourceType":"Observation","subject":{"reference":%q}}`, reference)
		if diff := cmp.Diff(want, search.Compartments(search.Terms("Observation", "o", body))); diff != "" {
			t.Error(reference, diff)
		}
	}
}

func TestValuesAreNormalised(t *testing.T) {
	tests := map[string]string{
		"Practitioner/1":                         "Practitioner/1",
		"Practitioner/1/_history/2":              "Practitioner/1",
		"http://x.org/Practitioner/1/_history/a": "http://x.org/Practitioner/1",
		"http://x.org/_history/Practitioner/1":   "http://x.org/_history/Practitioner/1",
		"urn:oid:1.2.3":                          "urn:oid:1.2.3",
		"#contained":                             "",
		"#":                                      "",
		"":                                       "",
	}
	for reference, want := range tests {
		body := fmt.Appendf(nil, `{"note":[{"authorReference":{"reference":%q}}]}`, reference)
		got := ""
		if terms := search.Terms("Observation", "o", body); len(terms) > 0 {
			got = terms[0].Value
		}
		if got != want {
			t.Errorf("%q gives %q, not %q", reference, got, want)
		}
	}
}

func TestUnknownTypesHaveTheirReferences(t *testing.T) {
	got := search.Terms("Future", "1", []byte(`{"resourceType":"Future","who":{"reference":"Patient/1"}}`))
	want := []search.Term{{Kind: search.Reference, Param: search.Ref, Value: "Patient/1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTermsDoNotKeepTheBody(t *testing.T) {
	typ, id, body := read(t, "observation-contained.json")
	got := search.Terms(typ, id, body)
	want := search.Terms(typ, id, bytes.Clone(body))
	for i := range body {
		body[i] = 'x'
	}
	search.Terms(typ, id, body)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTermsDoNotDependOnTheWriting writes every resource with its members in
// another order and with every character escaped.
func TestTermsDoNotDependOnTheWriting(t *testing.T) {
	for file := range goldens(t) {
		typ, id, body := read(t, file)
		want := search.Terms(typ, id, body)
		for _, order := range []int{1, -1} {
			var any any
			if err := json.Unmarshal(body, &any); err != nil {
				t.Fatal(err)
			}
			other := rewrite(nil, any, order)
			if diff := cmp.Diff(want, search.Terms(typ, id, other)); diff != "" {
				t.Error(file, diff)
			}
		}
	}
}

func TestTermsAreMadeByManyAtOnce(t *testing.T) {
	type source struct {
		typ, id string
		body    []byte
		want    []search.Term
	}
	var sources []source
	for file := range goldens(t) {
		typ, id, body := read(t, file)
		sources = append(sources, source{typ, id, body, search.Terms(typ, id, body)})
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, s := range sources {
				if diff := cmp.Diff(s.want, search.Terms(s.typ, s.id, s.body)); diff != "" {
					t.Error(s.typ, diff)
				}
			}
		})
	}
	group.Wait()
}

func TestDeepResourcesAreWalked(t *testing.T) {
	const depth = 9_000
	body := strings.Repeat(`{"extension":[`, depth/2) + `{"valueReference":{"reference":"Patient/deep"}}` + strings.Repeat(`]}`, depth/2)
	if got := search.Terms("Basic", "1", []byte(body)); len(got) != 1 || got[0].Value != "Patient/deep" {
		t.Errorf("got %v", got)
	}
}

func FuzzTermsAreSortedAndUnique(f *testing.F) {
	for file := range goldens(f) {
		typ, _, body := read(f, file)
		f.Add(typ, body)
	}
	f.Add("Patient", []byte(`[}`))
	f.Add("Patient", []byte(`{"a":`))
	f.Add("Patient", []byte(`{"reference":"\`))
	f.Fuzz(func(t *testing.T, typ string, body []byte) {
		search.Terms(typ, "1", body) // whatever it is, it ends
		var compact bytes.Buffer
		if json.Compact(&compact, body) != nil {
			return
		}
		terms := search.Terms(typ, "1", compact.Bytes())
		for i, term := range terms {
			if term.Value == "" || term.Param == "" {
				t.Errorf("an empty term: %+v", term)
			}
			if i > 0 && compare(terms[i-1], term) >= 0 {
				t.Errorf("%+v comes before %+v", terms[i-1], term)
			}
		}
	})
}

func compare(a, b search.Term) int {
	if a.Value != b.Value {
		return strings.Compare(a.Value, b.Value)
	}
	return strings.Compare(a.Param, b.Param)
}
