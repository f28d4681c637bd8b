package fhir_test

import (
	"strings"
	"testing"

	"firebreak/fhir"

	"github.com/google/go-cmp/cmp"
)

func knownType(s string) bool { return s == "Patient" || s == "Observation" }

func TestAReferenceIsTakenApart(t *testing.T) {
	tests := map[string]fhir.Reference{
		"":                                    {},
		"Patient/1":                           {Type: "Patient", ID: "1"},
		"Patient/a-b.C/_history/2":            {Type: "Patient", ID: "a-b.C", Version: "2"},
		"Patient/1#p":                         {Type: "Patient", ID: "1", Fragment: "p"},
		"https://h.example/fhir/Patient/1":    {Base: "https://h.example/fhir", Type: "Patient", ID: "1"},
		"http://h.example/Patient/1":          {Base: "http://h.example", Type: "Patient", ID: "1"},
		"http://h:80/a/b/Observation/1#x":     {Base: "http://h:80/a/b", Type: "Observation", ID: "1", Fragment: "x"},
		"http://h/f/Patient/1/_history/3":     {Base: "http://h/f", Type: "Patient", ID: "1", Version: "3"},
		"http://h/f//Patient/1":               {Base: "http://h/f/", Type: "Patient", ID: "1"},
		"http://Patient/Patient/1":            {Base: "http://Patient", Type: "Patient", ID: "1"},
		"#p":                                  {Fragment: "p"},
		"#":                                   {URI: "#"},
		"Patient/1#":                          {URI: "Patient/1#"},
		"urn:uuid:61ebe359-bfdc-4613-8bf2":    {URI: "urn:uuid:61ebe359-bfdc-4613-8bf2"},
		"urn:oid:1.2.3":                       {URI: "urn:oid:1.2.3"},
		"Unknown/1":                           {URI: "Unknown/1"},
		"patient/1":                           {URI: "patient/1"},
		"Patient":                             {URI: "Patient"},
		"Patient/":                            {URI: "Patient/"},
		"/Patient/1":                          {URI: "/Patient/1"},
		"Patient/1/":                          {URI: "Patient/1/"},
		"Patient/a_b":                         {URI: "Patient/a_b"},
		"Patient/1/_history/":                 {URI: "Patient/1/_history/"},
		"Patient/1/_history":                  {URI: "Patient/1/_history"},
		"Patient?identifier=x":                {URI: "Patient?identifier=x"},
		"http://Patient/1":                    {URI: "http://Patient/1"},
		"http:///Patient/1":                   {URI: "http:///Patient/1"},
		"ftp://h/Patient/1":                   {URI: "ftp://h/Patient/1"},
		"http://h/f?x=/Patient/1":             {URI: "http://h/f?x=/Patient/1"},
		"http://h/f/ValueSet/1":               {URI: "http://h/f/ValueSet/1"},
		"Patient/" + strings.Repeat("x", 65):  {URI: "Patient/" + strings.Repeat("x", 65)},
		"http://h/Patient/1/_history/2/3":     {URI: "http://h/Patient/1/_history/2/3"},
		"http://h/_history/2":                 {URI: "http://h/_history/2"},
		"Patient/1/_history/1/_history/2":     {URI: "Patient/1/_history/1/_history/2"},
		"http://h/Patient/1/_history/2#a/b#c": {Base: "http://h", Type: "Patient", ID: "1", Version: "2", Fragment: "a/b#c"},
	}
	for s, want := range tests {
		got := fhir.ParseReference(s, knownType)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
		if got.String() != s {
			t.Errorf("%q is given back as %q", s, got.String())
		}
	}
}

func TestAReferenceKnowsWhatItPointsInto(t *testing.T) {
	type facts struct{ Local, Contained, URN bool }
	tests := map[string]facts{
		"Patient/1":            {Local: true},
		"Patient/1/_history/2": {Local: true},
		"http://h/f/Patient/1": {},
		"#p":                   {Contained: true},
		"#":                    {Contained: true},
		"urn:uuid:1":           {URN: true},
		"urn:oid:1.2":          {URN: true},
		"urn:other:1":          {},
		"Unknown/1":            {},
		"":                     {},
	}
	for s, want := range tests {
		r := fhir.ParseReference(s, knownType)
		if diff := cmp.Diff(want, facts{r.Local(), r.Contained(), r.URN()}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	}
}

func TestTheTargetOfAReferenceIsAnIdentity(t *testing.T) {
	if got, want := fhir.ParseReference("http://h/Patient/1", knownType).Target(), (fhir.ID{Type: "Patient", ID: "1"}); got != want {
		t.Errorf("target is %v, want %v", got, want)
	}
	if got := fhir.ParseReference("urn:uuid:1", knownType).Target(); !got.IsZero() {
		t.Errorf("target is %v, want none", got)
	}
}

func FuzzAReferenceIsGivenBackAsItCame(f *testing.F) {
	f.Add("http://h/f/Patient/1/_history/3#x")
	f.Add("Patient/1/_history/2")
	f.Add("urn:uuid:1")
	f.Fuzz(func(t *testing.T, s string) {
		r := fhir.ParseReference(s, knownType)
		if r.String() != s {
			t.Errorf("%q is given back as %q", s, r.String())
		}
		if r.Type != "" && (!knownType(r.Type) || fhir.CheckID(r.ID) != nil || r.URI != "") {
			t.Errorf("%q is read as %+v", s, r)
		}
	})
}
