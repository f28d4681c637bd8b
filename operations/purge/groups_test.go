package purge_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"firebreak/auth"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"
)

func TestAGroupIsDetachedFromWhatIsErasedThoughThatIsNoPatient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"Group","id":"heavy","type":"device","actual":true,"characteristic":[{"code":{"text":"like"},"valueReference":{"reference":"Observation/weight","display":"Kestrel weighs 3 kg"},"exclude":false}]}`)
	w.purged("kestrel")
	w.says(w.body("Group/heavy"), "masked")
	w.canary("Kestrel")
}

// between has an export read the Groups after the last patient is gone, and end
// when the last unit has voided its files, or looks already.
type between struct {
	store.Store
	detaching func()        // before the Groups are detached
	finishing sync.Once     // detaching
	export    chan struct{} // closed when a unit of the export is about to end
	read      sync.Once     // export
	goOn      chan struct{} // closed when it may
	looks     sync.Once     // goOn
}

func (b *between) Note(ctx context.Context, f store.Fence, total job.Erased, result json.RawMessage) error {
	if f.Unit == "2-finish" {
		b.finishing.Do(func() { b.detaching(); <-b.export })
	}
	return b.Store.Note(ctx, f, total, result)
}

func (b *between) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	if len(e.Parts) > 0 {
		b.read.Do(func() { close(b.export); <-b.goOn })
	}
	return b.Store.End(ctx, f, e)
}

func (b *between) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	if f.Unit == "2-finish" {
		defer b.looks.Do(func() { close(b.goOn) })
	}
	return b.Store.Void(ctx, f, patients, these...)
}

func (b *between) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	select {
	case <-b.export:
		defer b.looks.Do(func() { close(b.goOn) })
	default:
	}
	return b.Store.Residue(ctx, t, g)
}

func TestAnExportThatReadsAGroupBeforeItIsDetachedKeepsNothingOfThePatient(t *testing.T) {
	t.Parallel()
	b := &between{export: make(chan struct{}), goOn: make(chan struct{})}
	w := newWorldWith(t, func(s store.Store) store.Store { b.Store = s; return b }, purge.Config{})
	w.put(family...)
	var exported job.Job
	b.detaching = func() {
		var err error
		exported, err = w.exports.Kickoff(w.Context(), auth.Local(), export.Call{Level: selection.System, URL: "u", Base: "b"})
		if err != nil {
			t.Error(err)
		}
	}
	w.purged("kestrel")
	if j := w.ended(exported); j.State != job.Succeeded {
		t.Errorf("the export is %s: %+v", j.State, j.Error)
	}
	w.canary("Kestrel")
}
