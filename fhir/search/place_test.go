package search_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firebreak/fhir/r4"
	"firebreak/fhir/search"
)

// TestReferencesAreToldByNames shows that names are enough: the strings named
// reference that are no literals are these, and no other element has the names
// that they are told by.
func TestReferencesAreToldByNames(t *testing.T) {
	var got []string
	for _, path := range r4.Paths() {
		if e, _ := r4.At(path); strings.HasSuffix(path, ".reference") && !slices.Contains(e.Types, "Reference") {
			got = append(got, path+" "+strings.Join(e.Types, " "))
		}
		if strings.HasSuffix(path, ".education") && path != "Immunization.education" {
			t.Errorf("%s has the name of Immunization.education", path)
		}
		if strings.HasSuffix(path, ".contained") && path != "DomainResource.contained" {
			t.Errorf("%s has the name of contained resources", path)
		}
	}
	want := []string{
		"Claim.related.reference Identifier",
		"DetectedIssue.reference uri",
		"ExplanationOfBenefit.related.reference Identifier",
		"Expression.reference uri",
		"Immunization.education.reference uri",
		"Reference.reference string",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAttachmentsAreToldByNames(t *testing.T) {
	names := r4.Members("Attachment")
	for _, path := range r4.Paths() {
		e, _ := r4.At(path)
		if e.Choice || !slices.Contains(names, path[strings.LastIndex(path, ".")+1:]) || slices.Contains(e.Types, "Attachment") {
			continue
		}
		for _, owner := range append(e.Types, path) {
			if _, ok := r4.At(owner + ".url"); ok {
				t.Errorf("%s is no Attachment, but has a url", path)
			}
		}
	}
}

func TestExpressionsAreNoReferences(t *testing.T) {
	const expression = `{"language":"text/cql","reference":"http://example.org/Library/l"}`
	for _, name := range r4.Members("Expression") {
		body := fmt.Appendf(nil, `{"extension":[{%q:%s}]}`, name, expression)
		if got := search.Terms("Basic", "1", body); got != nil && !slices.Contains(r4.Members("Reference"), name) {
			t.Errorf("%s has terms: %v", name, got)
		}
	}
}

func TestEveryAttachmentIsFollowed(t *testing.T) {
	for _, name := range r4.Members("Attachment") {
		body := fmt.Appendf(nil, `{"any":[{%q:[{"title":"t","url":"Binary/1/_history/2"},{"url":"data:,x"}]}]}`, name)
		want := []search.Term{{Kind: search.Reference, Param: search.Ref, Value: "Binary/1"}}
		if diff := cmp.Diff(want, search.Terms("Basic", "1", body)); diff != "" {
			t.Error(name, diff)
		}
	}
}
