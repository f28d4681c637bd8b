package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/sample"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestIDsOfACopyAreValidAndKeepTheirShape(t *testing.T) {
	long := strings.Repeat("x", fhir.MaxID)
	ids := []string{
		"018f428e-34f6-4707-8009-5ad742f901e7", "018F428E-34F6-4707-8009-5AD742F901E7", "018f428e-34f6-4707-8009-5ad742f901ez",
		"all", "1", long, long[1:] + "y",
	}
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	for n := 1; n < 5; n++ {
		r := newRenamer(n)
		for _, id := range ids {
			got := r.id(id)
			if err := fhir.CheckID(got); err != nil {
				t.Errorf("copy %d of %q is %q: %v", n, id, got, err)
			}
			if seen[got] {
				t.Errorf("copy %d of %q is %q, which there is already", n, id, got)
			}
			seen[got] = true
			if again := newRenamer(n).id(id); again != got {
				t.Errorf("copy %d of %q is %q, then %q", n, id, got, again)
			}
		}
		if u := r.id(ids[0]); len(u) != 36 || u[14] != '4' || !strings.ContainsRune("89ab", rune(u[19])) {
			t.Errorf("copy %d of a UUID is %q, no UUID of the same version", n, u)
		}
	}
}

func TestOnlyReferencesToResourcesAreRewritten(t *testing.T) {
	r := newRenamer(1)
	tests := map[string]struct{ before, after string }{
		"a reference":          {`{"reference":"Patient/1"}`, `{"reference":"Patient/` + r.id("1") + `"}`},
		"of a version":         {`{"reference":"Patient/1/_history/2"}`, `{"reference":"Patient/` + r.id("1") + `/_history/2"}`},
		"an attachment":        {`{"url":"Binary/1"}`, `{"url":"Binary/` + r.id("1") + `"}`},
		"two":                  {`[{"reference":"Patient/1"},{"reference":"Group/2"}]`, `[{"reference":"Patient/` + r.id("1") + `"},{"reference":"Group/` + r.id("2") + `"}]`},
		"a contained resource": {`{"reference":"#1"}`, `{"reference":"#1"}`},
		"another server":       {`{"reference":"https://example.org/fhir/Patient/1"}`, `{"reference":"https://example.org/fhir/Patient/1"}`},
		"an extension":         {`{"url":"http://example.org/a\"b","valueCode":"x"}`, `{"url":"http://example.org/a\"b","valueCode":"x"}`},
		"text":                 {`{"div":"Patient/1 \"reference\":\"Patient/1\""}`, `{"div":"Patient/1 \"reference\":\"Patient/1\""}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.after, string(r.references(nil, []byte(tt.before)))); diff != "" {
				t.Errorf("rewritten (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferencesOfACopyResolveWithinIt(t *testing.T) {
	dir := writeSample(t, 5)
	s, err := readSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := bench{set: s}
	all := identities(t, s.paths[0])
	for n := 1; n < 4; n++ {
		path := filepath.Join(t.TempDir(), "copy.ndjson")
		if err := b.writeCopy(path, n); err != nil {
			t.Fatal(err)
		}
		own := identities(t, path)
		if int64(len(own)) != s.resources {
			t.Errorf("copy %d has %d identities, of %d resources", n, len(own), s.resources)
		}
		for id := range own {
			if all[id] {
				t.Errorf("%s is in copy %d, and in one before", id, n)
			}
			all[id] = true
		}
		checkReferences(t, path, own)
	}
}

// checkReferences fails the test for each reference out of a set.
func checkReferences(t *testing.T, path string, own map[string]bool) {
	t.Helper()
	found := 0
	err := eachLine(path, func(line []byte) error {
		for rest := line; ; {
			at := nextReference(rest)
			if at < 0 {
				return nil
			}
			rest = rest[at:]
			ref := fhir.ParseReference(string(rest[:bytes.IndexByte(rest, '"')]), r4.IsType)
			if !ref.Local() {
				continue
			}
			if found++; !own[ref.Target().String()] {
				t.Errorf("%s is referred to, and not in the copy", ref.Target())
			}
		}
	})
	if err != nil || found == 0 {
		t.Errorf("%d references, %v", found, err)
	}
}

func identities(t *testing.T, path string) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	err := eachLine(path, func(line []byte) error {
		got := gjson.GetManyBytes(line, "resourceType", "id")
		ids[got[0].String()+"/"+got[1].String()] = true
		return fhir.CheckID(got[1].String())
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// writeSample makes a folder with a set of so many patients.
func writeSample(t *testing.T, patients int) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sample.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	err = sample.Write(func(resource []byte) error {
		_, err := w.Write(append(resource, '\n'))
		return err
	}, patients, 1)
	for _, err := range []error{err, w.Flush(), f.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
