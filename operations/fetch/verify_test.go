package fetch_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/operations/fetch"
)

// fetched is a directory with two files as their manifest states them.
func fetched(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var output []string
	for _, name := range []string{"1.Patient.ndjson", "1.Observation.ndjson"} {
		body := strings.Repeat(`{"resourceType":"X"}`+"\n", 3)
		put(t, dir, name, body)
		sum := sha256.Sum256([]byte(body))
		output = append(output, fmt.Sprintf(`{"type":%q,"url":"http://h/%s","count":3,"extension":{%q:{"size":%d,"sha256":%q}}}`,
			strings.Split(name, ".")[1], name, "https://firebreak.dev/fhir/StructureDefinition/file-integrity", len(body), hex.EncodeToString(sum[:])))
	}
	put(t, dir, fetch.ManifestName, `{"transactionTime":"2026-01-01T00:00:00Z","request":"http://h/$export","requiresAccessToken":false,"output":[`+
		strings.Join(output, ",")+`],"error":[]}`)
	return dir
}

func put(t *testing.T, dir, name, body string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyPassesWhatTheManifestStates(t *testing.T) {
	report, wrong := fetch.Verify(fetched(t))
	if len(wrong) > 0 || len(report.Files) != 2 || report.Types[0].Resources != 3 {
		t.Errorf("%+v %v", report, wrong)
	}
}

func TestVerifyNamesEachFileThatIsNotAsStated(t *testing.T) {
	dir := fetched(t)
	put(t, dir, "1.Patient.ndjson", strings.Repeat(`{"resourceType":"Y"}`+"\n", 3))
	put(t, dir, "2.Patient.ndjson", "{}\n")
	if err := os.Remove(filepath.Join(dir, "1.Observation.ndjson")); err != nil {
		t.Fatal(err)
	}
	_, wrong := fetch.Verify(dir)
	all := fmt.Sprint(wrong)
	for _, says := range []string{"1.Patient.ndjson is not the file of the manifest: expected sha256", "1.Observation.ndjson is missing", "2.Patient.ndjson is not in the manifest"} {
		if !strings.Contains(all, says) {
			t.Errorf("%q is not in %s", says, all)
		}
	}
	if len(wrong) != 3 {
		t.Errorf("%d errors: %s", len(wrong), all)
	}
}

func TestVerifyRefusesWhatWasNotFetchedToItsEnd(t *testing.T) {
	if _, wrong := fetch.Verify(t.TempDir()); len(wrong) != 1 || !errors.Is(wrong[0], fetch.ErrNotFinished) {
		t.Errorf("got %v", wrong)
	}
}

func TestVerifyDoesNotPassAFileOfWhichNothingIsStated(t *testing.T) {
	dir := fetched(t)
	put(t, dir, fetch.ManifestName, `{"transactionTime":"2026-01-01T00:00:00Z","request":"r","requiresAccessToken":false,"output":[`+
		`{"type":"Patient","url":"http://h/1.Patient.ndjson"},{"type":"Observation","url":"http://h/1.Observation.ndjson"}],"error":[]}`)
	if _, wrong := fetch.Verify(dir); len(wrong) != 2 {
		t.Errorf("got %v", wrong)
	}
}
