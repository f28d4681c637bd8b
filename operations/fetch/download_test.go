package fetch_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/fetch"

	"github.com/google/go-cmp/cmp"
)

const file = "1.Patient.ndjson"

func TestFileThatDiffersIsFetchedOnceMoreAndThenRefused(t *testing.T) {
	want := patients(3)
	wrong := strings.Replace(want, "p1", "pX", 1)
	for what, body := range map[string]string{"sha256": wrong, "size 1": want + "{}\n", "size": want[:20]} {
		t.Run(what, func(t *testing.T) {
			s, dir := newServer(t), t.TempDir()
			s.offer(file, want, content(body, `"a"`))
			_, err := s.run(dir)
			wantError(t, err, file, "expected "+what, "got ")
			if _, ok := errors.AsType[*fetch.MismatchError](err); !ok {
				t.Errorf("%T", err)
			}
			if n := len(s.requests(file)); n != 2 {
				t.Errorf("asked %d times", n)
			}
			if diff := cmp.Diff([]string{"export-state.json"}, names(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFileThatDiffersOnceIsMended(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(3), content(strings.Replace(patients(3), "p1", "pX", 1), `"a"`), content(patients(3), `"a"`))
	s.mustRun(dir)
	wantFile(t, dir, file, patients(3))
}

func TestCountIsVerifiedWithoutAChecksum(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(3), content(patients(2), `"a"`)).Extension = nil
	_, err := s.run(dir)
	wantError(t, err, file, "expected count 3", "got 2")
}

func TestEmptyLinesAreNoResources(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := "\n{}\n\n{}\n{}"
	two := int64(3)
	entry := s.offer(file, body, content(body, `"a"`))
	entry.Count = &two
	if report := s.mustRun(dir); report.Files[0].Resources != 3 {
		t.Errorf("%+v", report.Files)
	}
}

func TestCompressedFileIsStoredPlain(t *testing.T) {
	body := patients(1000)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(body))
	_ = z.Close()
	packed := b.String()
	s, dir := newServer(t), t.TempDir()
	s.offer(file, body, status(200, packed[:len(packed)/2], "Content-Encoding", "gzip", "ETag", `"z"`),
		status(200, packed, "Content-Encoding", "gzip", "ETag", `"z"`))
	s.mustRun(dir, func(c *fetch.Config) { c.Gzip = true })
	wantFile(t, dir, file, body)
	asked := s.requests(file)
	if asked[0].Header.Get("Accept-Encoding") != "gzip" || asked[1].Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("asked with %v, %v", asked[0].Header, asked[1].Header)
	}
	if asked[1].Header.Get("If-Range") != "" {
		t.Error("the ETag of the compressed bytes was used for the plain ones")
	}
}

func TestEncodingThatWasNotAskedForIsRefused(t *testing.T) {
	s := newServer(t)
	s.offer(file, patients(1), status(200, "x", "Content-Encoding", "br"))
	_, err := s.run(t.TempDir())
	wantError(t, err, file, "encoded")
}

func TestNamesNeverLeadOutOfTheDirectory(t *testing.T) {
	s, parent := newServer(t), t.TempDir()
	for _, path := range []string{
		"/files/good-1.ndjson", "/files/..%2f..%2fevil", "/files/..", "/files/", "/files/.hidden",
		"/files/manifest.json", "/files/Export-State.json", "/files/x.part", "/files/x.part.json", "/files/a%00b", "/files/a%5Cb",
		"/files/same", "/other/same", "/other/SAME", "/files/1.Patient.ndjson", "/files/" + strings.Repeat("n", 250), "?file=1",
	} {
		entry := s.entry("Patient", path, "{}\n")
		s.manifest.Output = append(s.manifest.Output, entry)
	}
	s.manifest.Error = append(s.manifest.Error, s.entry("../../x", "/", "{}\n"), s.entry("", "/", "{}\n"))
	s.manifest.Error[1].Type = "CON:"
	client, _ := s.client(func(c *fetch.Config) {
		c.HTTP = &http.Client{Transport: always{"{}\n", func(*http.Request) {}}}
	})
	dir := filepath.Join(parent, "out")
	done := fetch.Completed{StatusURL: s.URL + "/fhir/jobs/1", Manifest: s.manifest, Raw: s.raw()}
	report, err := client.Download(t.Context(), done, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"out"}, names(t, parent)); diff != "" {
		t.Error(diff)
	}
	got := names(t, dir)
	if len(got) != 20 || len(report.Files) != 19 {
		t.Errorf("%d names: %v", len(got), got)
	}
	for i, want := range map[int]string{
		0: "good-1.ndjson", 1: "evil", 2: "2.Patient.ndjson", 14: "1.Patient.ndjson",
		17: "1.Unknown.ndjson", 18: "2.Unknown.ndjson",
	} {
		if report.Files[i].Name != want {
			t.Errorf("file %d is %s, want %s", i, report.Files[i].Name, want)
		}
	}
}

func TestURLThatIsNotHTTPIsRefused(t *testing.T) {
	s := newServer(t)
	s.manifest.Output = []fhir.ManifestFile{{Type: "Patient", URL: "file:///etc/passwd"}}
	_, err := s.run(t.TempDir())
	wantError(t, err, "file 1 in the manifest's output")
}
