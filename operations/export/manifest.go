package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// FileName is the last segment of a public file's URL.
func FileName(p job.Part) string { return fmt.Sprintf("%d.%s.ndjson", p.N, p.Type) }

// Manifest renders the completion manifest of a job that is ready (Bulk Data,
// "Response - Complete Status"). files is the absolute URL that FileName goes
// behind; token tells whether the files need an access token.
func (x *Export) Manifest(ctx context.Context, j job.Job, files string, token bool) ([]byte, error) {
	req, err := request(j)
	if err != nil {
		return nil, err
	}
	m := fhir.Manifest{
		TransactionTime: string(fhir.FormatInstant(nil, j.TransactionTime.UnixMilli())),
		Request:         req.URL, RequiresAccessToken: token,
		Output: []fhir.ManifestFile{}, Error: []fhir.ManifestFile{},
	}
	parts, err := x.public(ctx, j)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		f := fhir.ManifestFile{
			Type: p.Type, URL: files + "/" + FileName(p), Count: &p.Count,
			Extension: &fhir.ManifestFileExtension{Integrity: &fhir.FileIntegrity{Size: p.Size, SHA256: p.SHA256}},
		}
		if p.Category == job.Errors {
			m.Error = append(m.Error, f)
		} else {
			m.Output = append(m.Output, f)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // URLs stay as they are
	enc.SetIndent("", "  ")
	err = enc.Encode(m)
	return out.Bytes(), err
}

// public lists the files of a job in the order of the manifest.
func (x *Export) public(ctx context.Context, j job.Job) ([]job.Part, error) {
	var out []job.Part
	for after := ""; ; {
		page, err := x.cfg.Store.PartsOf(ctx, store.Tenant(j.Tenant), j.ID, after, partPage)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			after = p.ID
			if p.N > 0 {
				out = append(out, p)
			}
		}
		if len(page) < partPage {
			break
		}
	}
	slices.SortFunc(out, func(a, b job.Part) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return a.N - b.N
	})
	return out, nil
}

// Find finds the file that a FileName names; store.ErrNotFound.
func (x *Export) Find(ctx context.Context, j job.Job, name string) (job.Part, error) {
	var n int
	var typ string
	if _, err := fmt.Sscanf(strings.Replace(name, ".", " ", 1), "%d %s", &n, &typ); err != nil {
		return job.Part{}, store.ErrNotFound
	}
	typ = strings.TrimSuffix(typ, ".ndjson")
	category := job.Output
	if typ == "OperationOutcome" {
		category = job.Errors // a stored one is never exported
	}
	p, err := x.cfg.Store.Part(ctx, store.Tenant(j.Tenant), j.ID, category, typ, n)
	if err == nil && FileName(p) != name {
		err = store.ErrNotFound
	}
	return p, err
}
