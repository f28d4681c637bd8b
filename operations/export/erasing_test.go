package export_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// erasing is a job that erases the record of a patient, in steps.
type erasing struct {
	*world
	patient string
	fence   store.Fence
	ids     []fhir.ID       // of what was touched
	holders map[string]bool // by whom the parts are found that hold it
}

const erasingKind = "erasing"

// eraser makes the job and claims its unit.
func (w *world) eraser(patient string) *erasing {
	w.Helper()
	ctx := context.Background()
	j := job.Job{
		ID: "erasing-" + w.newID(), Kind: erasingKind, Tenant: string(tenant), State: job.Queued,
		Request: []byte(`{}`), Created: w.clock.Now(), Lifetime: time.Hour,
	}
	_, err := w.store.Create(ctx, j, []job.Unit{{Job: j.ID, Tenant: j.Tenant, Kind: j.Kind, ID: "0"}}, store.Limit{})
	w.ok("make a job that erases", err)
	_, f, err := w.store.Claim(ctx, []string{erasingKind}, 1000*time.Hour)
	w.ok("claim its unit", err)
	return &erasing{world: w, patient: patient, fence: f, holders: map[string]bool{patient: true}}
}

func (e *erasing) announce() {
	e.Helper()
	e.ok("announce", e.store.Announce(context.Background(), e.fence, []string{e.patient}))
}

// erase removes the versions that are in the compartment of the patient or name
// them, and those that name what nothing is left of; of a resource that is such
// by its current version, all. Groups and other patients stay.
func (e *erasing) erase() {
	e.Helper()
	done := map[fhir.ID]bool{}
	for targets := []fhir.ID{{Type: "Patient", ID: e.patient}}; len(targets) > 0; {
		found, err := e.store.Mentions(context.Background(), tenant, targets)
		e.ok("find what names the patient", err)
		next := slices.Clone(targets[:0])
		for _, id := range append(found, targets...) {
			if done[id] || id.Type == "Group" || id.Type == "Patient" && id.ID != e.patient {
				continue
			}
			if whole := e.eraseOne(id, targets); whole {
				done[id] = true
				next = append(next, id)
			}
		}
		targets = next
	}
}

// eraseOne erases versions of one resource; whole tells whether nothing is left.
// A deletion is such as the version before it.
func (e *erasing) eraseOne(id fhir.ID, targets []fhir.ID) (whole bool) {
	e.Helper()
	ctx := context.Background()
	var all []store.Version
	err := e.store.Versions(ctx, tenant, []fhir.ID{id}, func(v *store.Version) error {
		one := *v
		one.Body, one.Patients = bytes.Clone(v.Body), slices.Clone(v.Patients)
		all = append(all, one)
		return nil
	})
	e.ok("read versions", err)
	var refs []store.VersionRef
	for i, v := range all {
		before := v
		if v.Deleted && i+1 < len(all) {
			before = all[i+1]
		}
		concerned := concerns(&before, targets)
		if whole = whole || i == 0 && concerned; !whole && !concerned {
			continue
		}
		refs = append(refs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		e.model.erase(id.String(), v.From)
		e.hold(&v)
	}
	e.ids = append(e.ids, id)
	_, err = e.store.Erase(ctx, e.fence, refs)
	e.ok("erase", err)
	return whole
}

// concerns tells whether a version is in the compartment of a target, or names
// one.
func concerns(v *store.Version, targets []fhir.ID) bool {
	return slices.ContainsFunc(targets, func(t fhir.ID) bool {
		return v.ID == t || t.Type == "Patient" && slices.Contains(v.Patients, t.ID) || bytes.Contains(v.Body, []byte(`"`+t.String()+`"`))
	})
}

// hold notes one holder of a version: the patient, or anyone whom it names, or
// itself.
func (e *erasing) hold(v *store.Version) {
	named := slices.Clone(v.Patients)
	for rest := string(v.Body); ; {
		_, after, ok := strings.Cut(rest, `"Patient/`)
		if !ok {
			break
		}
		id, _, _ := strings.Cut(after, `"`)
		named, rest = append(named, id), after
	}
	switch {
	case slices.Contains(named, e.patient):
	case len(named) > 0:
		e.holders[named[0]] = true
	default:
		e.holders[v.ID.String()] = true
	}
}

// void voids what holds the record, and removes its bytes.
func (e *erasing) void() {
	e.Helper()
	ctx := context.Background()
	var holders []string
	for h := range e.holders {
		holders = append(holders, h)
	}
	e.ok("strike", e.store.Strike(ctx, e.fence, store.Gone{IDs: e.ids, Patients: []string{e.patient}}))
	parts, err := e.store.Void(ctx, e.fence, holders)
	e.ok("void", err)
	for _, p := range parts {
		e.ok("remove a void file", e.files.Remove(ctx, p.Name))
	}
	e.ok("forget", e.store.Forget(ctx, tenant, parts))
}

// all takes all steps but the sweep.
func (e *erasing) all() {
	e.Helper()
	e.announce()
	e.erase()
	e.void()
}

// noTrace checks that no file has a line of what was erased.
func (w *world) noTrace() {
	w.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "files"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreAbsent(err)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return ignoreAbsent(err)
		}
		for _, trace := range w.model.traces() {
			if bytes.Contains(body, []byte(trace)) {
				w.Errorf("%s has a trace of what was erased: %s", filepath.Base(path), trace)
			}
		}
		return nil
	})
	w.ok("look at the files", err)
}

func ignoreAbsent(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// traces are lines of erased versions, and what tells of erased deletions.
func (m *model) traces() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := map[string]bool{}
	for _, v := range m.all {
		told[v.ref()] = told[v.ref()] || v.deleted && !v.erased
	}
	for _, v := range m.all {
		switch {
		case v.erased && !v.deleted:
			out = append(out, v.line)
		case v.erased && !told[v.ref()]:
			out = append(out, `"method":"DELETE","url":"`+v.ref()+`"`)
		}
	}
	return out
}
