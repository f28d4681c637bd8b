package mongo_test

import (
	"context"
	"fmt"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
)

// purged is a job that erased a Patient.
type purged struct {
	worked
	id   fhir.ID
	refs []store.VersionRef
}

// purge writes Patients and erases them, job after job.
func (l *load) purge(s *mongo.Store) {
	for n := 0; l.writing.Err() == nil && !l.t.Failed(); n++ {
		p := &purged{worked: worked{t: l.t, s: s, j: newJob("purge")}, id: fhir.ID{Type: "Patient", ID: fmt.Sprint("purged", n)}}
		if p.run() {
			l.purged = append(l.purged, p)
		}
	}
}

// run tells whether the job was done: a claim may not have been heard of.
func (p *purged) run() bool {
	ctx := context.Background()
	for _, says := range []string{"first", "second"} {
		p.call("Commit", func() error { return drop(commit(ctx, p.s, patient(p.t, p.id.ID, says))) })
	}
	p.call("Create", func() error { return drop(p.s.Create(ctx, p.j, unitsOf(p.j, "a"), store.Limit{})) })
	var f store.Fence
	p.call("Claim", func() (err error) {
		_, f, err = p.s.Claim(ctx, []string{p.j.Kind}, lease)
		return err
	}, store.ErrNotFound)
	if f.Job != p.j.ID {
		return false
	}
	p.call("Announce", func() error { return p.s.Announce(ctx, f, []string{p.id.ID}) })
	p.call("Versions", func() error {
		p.refs = nil
		return p.s.Versions(ctx, north, []fhir.ID{p.id}, func(v *store.Version) error {
			p.refs = append(p.refs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
			return nil
		})
	})
	if len(p.refs) < 2 {
		p.t.Errorf("%d versions of %s are found", len(p.refs), p.id)
		return false
	}
	p.call("Erase of the first version", func() error { return drop(p.s.Erase(ctx, f, p.refs[len(p.refs)-1:])) })
	p.call("Erase of all", func() error { return drop(p.s.Erase(ctx, f, p.refs)) })
	p.call("Void", func() error { return drop(p.s.Void(ctx, f, []string{p.id.ID})) })
	p.call("End", func() error { return p.s.End(ctx, f, job.UnitEnd{State: job.Succeeded}) }, store.ErrFenced)
	return true
}

// stands asserts that what was erased is gone, and was counted once.
func (p *purged) stands(t *testing.T) {
	t.Helper()
	tally, err := p.s.Tally(context.Background(), north, p.j.ID)
	if want := (job.Erased{Versions: int64(len(p.refs)), Resources: 1}); err != nil || tally.Erased != want {
		t.Errorf("%s: %d versions were erased, and %+v are counted, %v", p.id, len(p.refs), tally.Erased, err)
	}
	left, err := p.s.Residue(context.Background(), north, store.Gone{IDs: []fhir.ID{p.id}})
	if err != nil || len(left) > 0 {
		t.Errorf("residue: %+v, %v", left, err)
	}
}
