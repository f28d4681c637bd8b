package selection_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/detach"
	"firebreak/fhir/selection"

	"pgregory.net/rapid"
)

// some are the resources that versions are about or name here.
var some = []fhir.ID{
	{Type: "Patient", ID: "a"},
	{Type: "Patient", ID: "b"},
	{Type: "Patient", ID: "c"},
	{Type: "Observation", ID: "o"},
	{Type: "Binary", ID: "b"},
}

// anyReference is one to any of some, in any writing, or to something else.
func anyReference(t *rapid.T) string {
	literal := rapid.SampledFrom([]string{
		"Practitioner/d", "#c", "#", "", "urn:uuid:0", "https://other.org/Patient/a", "Patient/a/b", "Group/a",
		some[0].String(), some[1].String(), some[2].String(), some[3].String(), some[4].String(),
	}).Draw(t, "literal")
	literal += rapid.SampledFrom([]string{"", "", "", "/_history/2", "#f", "/_history/2#f", "/_history/2#a/b", "/_history/~"}).Draw(t, "rest")
	if rapid.Bool().Draw(t, "escaped") {
		literal = strings.ReplaceAll(literal, "/", `\/`)
	}
	typ := rapid.SampledFrom([]string{"", "", `,"type":"Patient"`, `,"type":"Device"`}).Draw(t, "type")
	return `{"reference":"` + literal + `"` + typ + `}`
}

// anyVersion is a version of a resource, whose elements may refer to anything.
func anyVersion(t *rapid.T, depth int) (typ string, body []byte) {
	typ = rapid.SampledFrom(slices.Sorted(maps.Keys(golden))).Draw(t, "type")
	members := rapid.SampledFrom([]string{golden[typ].about, golden[typ].names}).Draw(t, "members")
	if members == "" {
		members = `"extension":[{"valueReference":$P}]`
	}
	if depth > 0 && typ == "Bundle" {
		_, inner := anyVersion(t, depth-1)
		members = `"entry":[{"resource":` + string(inner) + `}]`
	}
	if rapid.Bool().Draw(t, "contains") {
		members += `,"contained":[{"resourceType":"Patient","id":"c"}]`
	}
	parts := strings.Split(members, "$")
	for i := range parts[1:] {
		parts[i+1] = anyReference(t) + parts[i+1][1:] // without the name of a person
	}
	return typ, written(typ, "a", strings.Join(parts, ""))
}

func anyOfSome(t *rapid.T, label string) []fhir.ID {
	return rapid.SliceOfDistinct(rapid.SampledFrom(some), func(id fhir.ID) fhir.ID { return id }).Draw(t, label)
}

func TestMoreInARecordNeverMakesAConcernLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, body := anyVersion(t, 2)
		r := selection.NewRecord(nil)
		r.Add(anyOfSome(t, "of the record")...)
		before := r.Concern(typ, "a", body)
		r.Add(anyOfSome(t, "more")...)
		if after := r.Concern(typ, "a", body); after < before {
			t.Fatalf("%s: %v became %v", body, before, after)
		}
	})
}

func TestNothingConcernsAnEmptyRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, body := anyVersion(t, 2)
		if got := selection.NewRecord(nil).Concern(typ, "a", body); got != selection.None {
			t.Fatalf("%s: %v", body, got)
		}
	})
}

// What has nothing to do with a record need not be detached from it, and what
// was detached has nothing to do with it any more, unless it is of the record
// by what it is itself, as a Patient, or holds, as a Bundle.
func TestWhatWasDetachedNamesNothingOfTheRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, body := anyVersion(t, 2)
		r := selection.NewRecord(nil)
		r.Add(anyOfSome(t, "of the record")...)
		before := r.Concern(typ, "x", body)
		out, n := detach.Detach(body, r.Has)
		if before == selection.None && n > 0 || before == selection.Names && n == 0 {
			t.Fatalf("%s: %v, and %d masked", body, before, n)
		}
		after := r.Concern(typ, "x", out)
		if after == selection.Names || after == selection.About && typ != "Bundle" {
			t.Fatalf("%s: %v", out, after)
		}
	})
}

func BenchmarkConcern(b *testing.B) {
	const vital = `"meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-blood-pressure"]},"status":"final",` +
		`"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital signs"}]}],` +
		`"code":{"coding":[{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel with all children optional"}],"text":"Blood pressure"},` +
		`"subject":{"reference":"Patient/%s"},"encounter":{"reference":"Encounter/2a917e5c-12b4-4b5c-8a3e-6d1f7e9a0b44"},` +
		`"effectiveDateTime":"2011-05-28T21:52:46-04:00","performer":[{"reference":"Practitioner/7c1d2e3f-0000-4a4b-8c5d-9e8f7a6b5c4d"}],` +
		`"component":[{"code":{"text":"Diastolic Blood Pressure"},"valueQuantity":{"value":81.49,"unit":"mm[Hg]"}}]`
	for name, patient := range map[string]string{"about": "p", "none": "x"} {
		r, body := recordOf("p"), written("Observation", "1", fmt.Sprintf(vital, patient))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r.Concern("Observation", "1", body)
			}
		})
	}
}
