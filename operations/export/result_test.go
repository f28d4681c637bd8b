package export_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"firebreak/fhir"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
)

// result is what a client reads of a job.
type result struct {
	job      job.Job
	manifest fhir.Manifest
	lines    map[string][]string   // of the output, by type
	files    map[string][][]string // the same, file by file
	notes    []string              // diagnostics of the error files
	deleted  []string              // what the files of deletions name
	names    map[string]bool       // in the file store
	void     []string              // types of the output that an erasure removed
}

func (w *world) result(j job.Job) result {
	w.Helper()
	if j.State != job.Succeeded {
		w.Fatalf("the job is %s: %+v", j.State, j.Error)
	}
	body, err := w.export().Manifest(context.Background(), j, fileURL, false)
	w.ok("render the manifest", err)
	r := result{job: j, lines: map[string][]string{}, files: map[string][][]string{}, names: map[string]bool{}}
	w.ok("read the manifest", json.Unmarshal(body, &r.manifest))
	for _, f := range r.manifest.Output {
		lines := w.lines(&r, f)
		r.lines[f.Type] = append(r.lines[f.Type], lines...)
		r.files[f.Type] = append(r.files[f.Type], lines)
		if want := fmt.Sprintf("https://example.org/files/%d.%s.ndjson", len(r.files[f.Type]), f.Type); f.URL != want {
			w.Errorf("a file is %s where %s comes next", f.URL, want)
		}
	}
	for i, f := range r.manifest.Deleted {
		if want := fmt.Sprintf("https://example.org/files/deleted.%d.Bundle.ndjson", i+1); f.URL != want {
			w.Errorf("a file is %s where %s comes next", f.URL, want)
		}
		for _, line := range w.lines(&r, f) {
			r.deleted = append(r.deleted, w.deletions(line)...)
		}
	}
	for _, f := range r.manifest.Error {
		for _, line := range w.lines(&r, f) {
			r.notes = append(r.notes, diagnostics(line))
		}
	}
	return r
}

// deletions reads a Bundle of deletions.
func (w *world) deletions(line string) (refs []string) {
	w.Helper()
	var b struct {
		Type  string
		Entry []struct{ Request struct{ Method, URL string } }
	}
	if err := json.Unmarshal([]byte(line), &b); err != nil || b.Type != "transaction" || len(b.Entry) == 0 {
		w.Errorf("not a transaction of deletions: %s", line)
	}
	for _, e := range b.Entry {
		if e.Request.Method != "DELETE" {
			w.Errorf("a deletion is a %s", e.Request.Method)
		}
		refs = append(refs, e.Request.URL)
	}
	return refs
}

func diagnostics(outcome string) string {
	var o struct {
		ResourceType string
		Issue        []struct{ Diagnostics string }
	}
	if err := json.Unmarshal([]byte(outcome), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 {
		return "not an OperationOutcome: " + outcome
	}
	return o.Issue[0].Diagnostics
}

// lines reads a file that the manifest names, and holds it against what the
// manifest says of it.
func (w *world) lines(r *result, f fhir.ManifestFile) []string {
	w.Helper()
	name := f.URL[strings.LastIndex(f.URL, "/")+1:]
	p, err := w.export().Find(context.Background(), r.job, name)
	if errors.Is(err, store.ErrGone) {
		if f.Count != nil || f.Extension != nil || p.Type != f.Type || export.FileName(p) != name {
			w.Errorf("%s is gone, and the manifest says %+v; found %+v", name, f, p)
		}
		r.void = append(r.void, f.Type)
		return nil
	}
	w.ok("find "+name, err)
	if p.Type != f.Type {
		w.Errorf("%s is found as one of %s", name, p.Type)
	}
	r.names[p.Name] = true
	file, err := w.files.Open(context.Background(), p.Name)
	w.ok("open "+name, err)
	b, err := io.ReadAll(file)
	w.ok("read "+name, err)
	w.ok("close "+name, file.Close())
	text, whole := strings.CutSuffix(string(b), "\n")
	lines := strings.Split(text, "\n")
	sum := sha256.Sum256(b)
	switch said := f.Extension.Integrity; {
	case !whole:
		w.Errorf("%s does not end in a newline", name)
	case f.Count == nil || *f.Count != int64(len(lines)):
		w.Errorf("%s has %d lines; the manifest says %v", name, len(lines), f.Count)
	case said.Size != int64(len(b)) || said.SHA256 != hex.EncodeToString(sum[:]):
		w.Errorf("%s is not of the size and sha-256 that the manifest says", name)
	}
	for _, line := range lines {
		var head struct{ ResourceType string }
		if err := json.Unmarshal([]byte(line), &head); err != nil || head.ResourceType != f.Type {
			w.Errorf("a line of %s is a %q, %v", name, head.ResourceType, err)
		}
	}
	return lines
}
