package export

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// FileName is the last segment of a public file's URL.
func FileName(p job.Part) string {
	name := fmt.Sprintf("%d.%s.ndjson", p.N, p.Type)
	if p.Category == job.Deleted {
		return deletedPrefix + name // a Bundle may be among the output too
	}
	return name
}

const deletedPrefix = "deleted."

// Manifest renders the completion manifest of a job that is ready (Bulk Data,
// "Response - Complete Status"). fileURL is the absolute URL of a file
// by its FileName; token tells whether the files need an access token. A file
// that an erasure removed keeps its place, without count and integrity.
func (x *Export) Manifest(ctx context.Context, j job.Job, fileURL func(p job.Part, name string) string, token bool) ([]byte, error) {
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
		f := fhir.ManifestFile{Type: p.Type, URL: fileURL(p.Part, FileName(p.Part))}
		if !p.void {
			f.Count = &p.Count
			f.Extension = &fhir.ManifestFileExtension{Integrity: &fhir.FileIntegrity{Size: p.Size, SHA256: p.SHA256}}
		}
		switch p.Category {
		case job.Errors:
			m.Error = append(m.Error, f)
		case job.Deleted:
			m.Deleted = append(m.Deleted, f)
		case job.Output:
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

// parts calls f with the record of each file of a job.
func (x *Export) parts(ctx context.Context, j job.Job, f func(job.Part)) error {
	for after := ""; ; {
		page, err := x.cfg.Store.PartsOf(ctx, store.Tenant(j.Tenant), j.ID, after, partPage)
		if err != nil {
			return err
		}
		for _, p := range page {
			after = p.ID
			f(p)
		}
		if len(page) < partPage {
			return nil
		}
	}
}

// publicPart is a file of the manifest; what is void was removed by an erasure.
type publicPart struct {
	job.Part
	void bool
}

// public lists the files of a job in the order of the manifest.
func (x *Export) public(ctx context.Context, j job.Job) ([]publicPart, error) {
	parts := map[string]publicPart{}
	err := x.parts(ctx, j, func(p job.Part) {
		if p.N > 0 {
			parts[p.ID] = publicPart{Part: p}
		}
	})
	if err != nil {
		return nil, err
	}
	// A part that is voided meanwhile is listed by both, as this is read later.
	voided, err := x.cfg.Store.Voided(ctx, store.Tenant(j.Tenant), j.ID)
	for _, p := range voided {
		parts[p.ID] = publicPart{p, true}
	}
	return slices.SortedFunc(maps.Values(parts), func(a, b publicPart) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), a.N-b.N)
	}), err
}

// Find finds the file that a FileName names; store.ErrNotFound. With
// store.ErrGone, which says that an erasure removed it, there is its category,
// its type and its number.
func (x *Export) Find(ctx context.Context, j job.Job, name string) (job.Part, error) {
	plain, deleted := strings.CutPrefix(name, deletedPrefix)
	number, typ, _ := strings.Cut(strings.TrimSuffix(plain, ".ndjson"), ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		return job.Part{}, store.ErrNotFound
	}
	category := job.Output
	switch {
	case deleted:
		category = job.Deleted
	case typ == "OperationOutcome":
		category = job.Errors // a stored one is never exported
	}
	p, err := x.cfg.Store.Part(ctx, store.Tenant(j.Tenant), j.ID, job.PartName{Category: category, Type: typ, N: n})
	if errors.Is(err, store.ErrGone) {
		p = job.Part{Category: category, Type: typ, N: n}
	}
	if (err == nil || errors.Is(err, store.ErrGone)) && FileName(p) != name {
		return job.Part{}, store.ErrNotFound
	}
	return p, err
}
