package search_test

import (
	"fmt"
	"strings"
	"testing"

	"firebreak/fhir/search"
)

// BenchmarkTerms takes the terms of resources such as bulk loads have.
func BenchmarkTerms(b *testing.B) {
	for _, file := range []string{"observation-contained.json", "patient-linked.json", "claim.json", "activitydefinition.json"} {
		typ, id, body := read(b, file)
		b.Run(strings.TrimSuffix(file, ".json"), func(b *testing.B) { bench(b, typ, id, body) })
	}
	b.Run("observation-typical", func(b *testing.B) { bench(b, "Observation", "1", []byte(typical)) })
	b.Run("group-1000", func(b *testing.B) { bench(b, "Group", "1", group(1000)) })
}

func bench(b *testing.B, typ, id string, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		search.Terms(typ, id, body)
	}
}

const typical = `{"resourceType":"Observation","id":"9f3a1c52-7a07-4bd4-9d3f-2a5e1b6c7d80",` +
	`"meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-blood-pressure"]},"status":"final",` +
	`"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital signs"}]}],` +
	`"code":{"coding":[{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel with all children optional"}],"text":"Blood pressure"},` +
	`"subject":{"reference":"Patient/0a8eebfd-a352-522e-89f0-1d4a13abdebc"},"encounter":{"reference":"Encounter/2a917e5c-12b4-4b5c-8a3e-6d1f7e9a0b44"},` +
	`"effectiveDateTime":"2011-05-28T21:52:46-04:00","issued":"2011-05-28T21:52:46.000-04:00",` +
	`"performer":[{"reference":"Practitioner/7c1d2e3f-0000-4a4b-8c5d-9e8f7a6b5c4d","display":"Dr. Example"}],` +
	`"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4","display":"Diastolic Blood Pressure"}],"text":"Diastolic Blood Pressure"},` +
	`"valueQuantity":{"value":81.49,"unit":"mm[Hg]","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},` +
	`{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6","display":"Systolic Blood Pressure"}],"text":"Systolic Blood Pressure"},` +
	`"valueQuantity":{"value":118.93,"unit":"mm[Hg]","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}`

func group(members int) []byte {
	body := []byte(`{"resourceType":"Group","type":"person","actual":true,"member":[`)
	for i := range members {
		body = fmt.Appendf(body, `{"entity":{"reference":"Patient/%08x-a352-522e-89f0-1d4a13abdebc"}},`, uint32(i)*2654435761)
	}
	return append(body[:len(body)-1], `]}`...)
}
