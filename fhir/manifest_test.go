package fhir_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"firebreak/fhir"

	"github.com/google/go-cmp/cmp"
)

func TestManifestReadsBackAsWritten(t *testing.T) {
	two := int64(2)
	want := fhir.Manifest{
		TransactionTime:     "2026-01-02T03:04:05Z",
		Request:             "https://ehr.example/fhir/$export?_type=Patient&_since=2025-01-01T00:00:00Z",
		RequiresAccessToken: true,
		Output: []fhir.ManifestFile{{
			Type: "Patient", URL: "https://ehr.example/1.Patient.ndjson", Count: &two,
			Extension: &fhir.ManifestFileExtension{Integrity: &fhir.FileIntegrity{Size: 10, SHA256: strings.Repeat("ab", 32)}},
		}},
		Deleted:   []fhir.ManifestFile{{Type: "Bundle", URL: "https://ehr.example/1.Bundle.ndjson"}},
		Error:     []fhir.ManifestFile{{Type: "OperationOutcome", URL: "https://ehr.example/1.OperationOutcome.ndjson"}},
		Extension: json.RawMessage(`{"https://ehr.example/x":1}`),
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got fhir.Manifest
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyManifestStillHasOutputAndError(t *testing.T) {
	data, err := json.Marshal(fhir.Manifest{
		TransactionTime: "2026-01-02T03:04:05Z", Request: "https://ehr.example/fhir/$export",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"transactionTime":"2026-01-02T03:04:05Z","request":"https://ehr.example/fhir/$export",` +
		`"requiresAccessToken":false,"output":[],"error":[]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
}

func TestManifestURLsNeedNotBeEscaped(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fhir.Manifest{TransactionTime: "2026-01-02T03:04:05Z", Request: "https://a/?b&c"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "https://a/?b&c") {
		t.Errorf("escaped: %s", b.String())
	}
}

func TestManifestFileStatesItsIntegrity(t *testing.T) {
	data, err := json.Marshal(fhir.ManifestFile{Type: "Patient", URL: "https://a/1", Extension: &fhir.ManifestFileExtension{
		Integrity: &fhir.FileIntegrity{Size: 7, SHA256: "00"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"Patient","url":"https://a/1","extension":` +
		`{"https://firebreak.dev/fhir/StructureDefinition/file-integrity":{"size":7,"sha256":"00"}}}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
}

func TestManifestOfAnotherServerIsRead(t *testing.T) {
	const file = `{"type":"Patient","url":"https://a/1"`
	for name, member := range map[string]string{
		"no extension and no count":      file + `}`,
		"unknown members":                file + `,"continuesInFile":"https://a/2","extension":{"checksum":"x","n":[1]}}`,
		"extension as in STU4":           file + `,"extension":[{"url":"https://a/x","valueString":"y"}]}`,
		"extension that is null":         file + `,"extension":null,"count":null}`,
		"extension that is nothing FHIR": file + `,"extension":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var m fhir.Manifest
			text := `{"transactionTime":"2026-01-02T03:04:05.123456+14:00","extension":[1],"output":[` + member + `]}`
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			f := m.Output[0]
			if f.URL != "https://a/1" || f.Count != nil || (f.Extension != nil && f.Extension.Integrity != nil) {
				t.Errorf("read %+v", f)
			}
		})
	}
}

func TestChecksumIsReadInEitherCase(t *testing.T) {
	var f fhir.ManifestFile
	text := `{"type":"P","url":"u","count":0,"extension":{"a":1,"` + fhir.FileIntegrityURL + `":{"size":1,"sha256":"` +
		strings.Repeat("AB", 32) + `","other":true}}}`
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	if got := f.Extension.Integrity.SHA256; got != strings.Repeat("ab", 32) {
		t.Errorf("read %s", got)
	}
	if f.Count == nil || *f.Count != 0 {
		t.Error("a count of zero is not the same as none")
	}
}

func TestManifestThatCannotBeActedOnIsRefused(t *testing.T) {
	at := func(s string) string { return `{"transactionTime":"` + s + `","output":[]}` }
	file := func(s string) string { return `{"transactionTime":"2026-01-02T03:04:05Z","output":[` + s + `]}` }
	integrity := func(s string) string {
		return file(`{"type":"P","url":"u","extension":{"` + fhir.FileIntegrityURL + `":` + s + `}}`)
	}
	for name, text := range map[string]string{
		"no transactionTime":          `{"output":[]}`,
		"a date":                      at("2026-01-02"),
		"no zone":                     at("2026-01-02T03:04:05"),
		"an hour of one digit":        at("2026-01-02T3:04:05.0Z"),
		"a comma":                     at("2026-01-02T03:04:05,5Z"),
		"a day that is none":          at("2026-02-30T03:04:05Z"),
		"a file without type":         file(`{"url":"u"}`),
		"a file without url":          file(`{"type":"P"}`),
		"a negative count":            file(`{"type":"P","url":"u","count":-1}`),
		"a broken checksum":           integrity(`{"size":1,"sha256":"xyz"}`),
		"a checksum of another kind":  integrity(`{"size":1,"sha256":"abcd"}`),
		"integrity that is no object": integrity(`"abcd"`),
		"an OperationOutcome":         `{"resourceType":"OperationOutcome"}`,
		"a list":                      `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			var m fhir.Manifest
			if err := json.Unmarshal([]byte(text), &m); err == nil {
				t.Errorf("read as %+v", m)
			}
		})
	}
}
