package mongo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
)

func TestAnErasureIsDoneOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	s := open(t, mongo.Config{URI: named(fresh(t, e))})
	for _, command := range append(breakable(), "delete") {
		t.Run(command, func(t *testing.T) {
			f.t = t
			for i, how := range waysOf(command) {
				times := 1 + i%mostTimes
				b := &broken{t: t, s: s, kind: fmt.Sprint(command, i), breaks: func() { f.hit(times, how, with(command)...) }}
				b.erasure(f.off)
				if t.Failed() {
					t.Fatalf("%s, %d times", how.name, times)
				}
			}
		})
	}
}

func TestAnErasureIsDoneOnceThoughAnswersAreLost(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	w := wireTo(t, e)
	s := open(t, mongo.Config{URI: w.uri(e.Database(t))})
	hit, armed := 0, 0
	lose := func(times int, command string) {
		hit += armed - w.left()
		armed = times
		w.lose(times, command)
	}
	for _, command := range doers() {
		for times := 1; times <= 4; times++ {
			b := &broken{t: t, s: s, kind: fmt.Sprint(command, times), breaks: func() { lose(times, command) }}
			b.erasure(func() { lose(0, command) })
			if t.Failed() {
				t.Fatalf("%d answers of %s are lost", times, command)
			}
		}
	}
	if hit < 100 {
		t.Errorf("only %d answers were lost", hit)
	}
}

// written writes so many versions of a Patient, and names them.
func written(t *testing.T, s *mongo.Store, id string, versions int) []store.VersionRef {
	t.Helper()
	var refs []store.VersionRef
	for n := range versions {
		applied, err := commit(t.Context(), s, patient(t, id, fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, store.VersionRef{Key: applied[0].Key, ID: fhir.ID{Type: "Patient", ID: id}, N: applied[0].N})
	}
	return refs
}

// holder is the end of a unit with one part that holds patients.
func holder(f store.Fence, patients ...string) job.UnitEnd {
	return job.UnitEnd{State: job.Succeeded, Parts: []job.Part{{
		ID: "of" + f.Unit, Job: f.Job, Unit: f.Unit, Category: job.Output, Type: "Patient", Name: f.Unit + ".ndjson", Count: 1, Size: 10, Patients: patients,
	}}}
}

// erasure erases a Patient, first the oldest version and then the others, who
// is in a part of an export that is not done; and looks at it when nothing
// breaks any more.
func (b *broken) erasure(mended func()) {
	b.t.Helper()
	ctx, s, doomed := b.t.Context(), b.s, "erased-"+b.kind
	refs, kept := written(b.t, s, doomed, 3), written(b.t, s, "kept-"+b.kind, 2)
	_, done := working(b.t, s, "export"+b.kind)
	if err := s.End(ctx, done, holder(done, doomed, "other")); err != nil {
		b.t.Fatal(err)
	}
	_, reading, err := s.Claim(ctx, []string{"export" + b.kind}, lease)
	if err != nil {
		b.t.Fatal(err)
	}
	anew := b.exporting(doomed)
	var purge store.Fence
	b.j, purge = working(b.t, s, b.kind)

	who, gone := []string{doomed}, store.Gone{IDs: []fhir.ID{refs[0].ID}, Patients: []string{doomed}}
	b.call("Announce", func() error { return s.Announce(ctx, purge, who) })
	b.call("Note", func() error {
		return s.Note(ctx, purge, job.Erased{Versions: 3, Resources: 1}, json.RawMessage(`{"n":1}`))
	})
	var ids []fhir.ID
	b.call("Mentions", func() (err error) { ids, err = s.Mentions(ctx, north, gone.IDs); return err })
	found := 0
	b.call("Versions", func() error {
		found = 0
		return s.Versions(ctx, north, ids, func(*store.Version) error { found++; return nil })
	})
	if len(ids) != 1 || found != len(refs) {
		b.t.Errorf("%d versions of %v are found", found, ids)
	}
	hold := store.Hold{ID: b.kind, On: store.OnPatient, Subject: doomed, By: "Ann", Set: time.Now()}
	b.call("SetHold", func() error { return s.SetHold(ctx, north, hold) })
	var held []store.Held
	b.call("HeldAmong", func() (err error) { held, err = s.HeldAmong(ctx, north, time.Now(), who); return err })
	if len(held) != 1 {
		b.t.Errorf("held: %+v", held)
	}
	if _, err := s.Erase(ctx, purge, refs, doomed); !errors.Is(err, store.ErrOnHold) && !errors.Is(err, store.ErrTransient) {
		b.t.Errorf("erased what is held: %v", err)
	}
	b.call("LiftHold", func() error { return drop(s.LiftHold(ctx, north, hold.ID, "Bob", time.Now())) })
	b.call("Erase of the first version", func() error { return drop(s.Erase(ctx, purge, refs[:1], doomed)) })
	b.call("Erase of the others", func() error { return drop(s.Erase(ctx, purge, refs)) })
	b.refused("End of who may have read it", reading, doomed)
	var parts []job.Part
	b.call("Void", func() (err error) { parts, err = s.Void(ctx, purge, who); return err })
	// The other one was dropped: it is given once, by a call whose answer may be lost.
	parts = slices.DeleteFunc(parts, func(p job.Part) bool { return p.Job == anew.ID })
	if len(parts) != 1 || parts[0].Job != done.Job {
		b.t.Errorf("void parts: %+v", parts)
	}
	b.call("Strike", func() error { return s.Strike(ctx, purge, gone) })
	var left []store.Residue
	look := func() (err error) { left, err = s.Residue(ctx, north, gone); return err }
	b.call("Residue", look)
	if len(left) != 1 || left[0].Kind != store.OfPart {
		b.t.Errorf("residue before the part is forgotten: %+v", left)
	}
	b.call("Forget", func() error { return s.Forget(ctx, north, parts) })
	b.call("Residue", look)
	b.call("Scrub", func() error { return drop(s.Scrub(ctx)) })
	mended()
	if len(left) > 0 {
		b.t.Errorf("residue: %+v", left)
	}
	b.erased(kept)
	b.began(anew)
	b.breaks()
	b.call("Remove", func() error { return s.Remove(ctx, north, b.j.ID) })
	b.refused("End of who read before what went with its job", reading, "anybody")
	mended()
}

// exporting is a job of a plan that was done, of a unit that ended with a part
// of a patient, who is also a member, and of one that is at work.
func (b *broken) exporting(patient string) job.Job {
	b.t.Helper()
	ctx, j := b.t.Context(), newJob("phased"+b.kind)
	us := unitsOf(j, "plan", "x", "y")
	us[1].Phase, us[2].Phase = 1, 1
	if _, err := b.s.Create(ctx, j, us, store.Limit{}); err != nil {
		b.t.Fatal(err)
	}
	for i := range us {
		_, f, err := b.s.Claim(ctx, []string{j.Kind}, lease)
		end := job.UnitEnd{State: job.Succeeded}
		switch i {
		case 0:
			err = errors.Join(err, b.s.AddMembers(ctx, f, []string{patient, "other"}), b.s.End(ctx, f, end))
		case 1:
			err = errors.Join(err, b.s.End(ctx, f, holder(f, patient, "other")))
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return j
}

// began asserts that such a job began anew, once, and lost the member.
func (b *broken) began(j job.Job) {
	b.t.Helper()
	ctx := b.t.Context()
	now, err := b.s.Peek(ctx, north, j.ID)
	if err != nil || now.Restarts != 1 {
		b.t.Errorf("the job is %+v, %v", now, err)
	}
	tally, err := b.s.Tally(ctx, north, j.ID)
	if err != nil || tally.Queued != 2 || tally.Succeeded != 1 {
		b.t.Errorf("its tally is %+v, %v", tally, err)
	}
	parts, err := b.s.PartsOf(ctx, north, j.ID, "", 9)
	if err != nil || len(parts) > 0 {
		b.t.Errorf("its parts are %+v, %v", parts, err)
	}
	patients, err := b.s.Members(ctx, north, store.CohortID(j.ID), "", 9)
	if err != nil || !slices.Equal(patients, []string{"other"}) {
		b.t.Errorf("its members are %v, %v", patients, err)
	}
	us, err := b.s.UnitsOf(ctx, north, b.j.ID, "", 1)
	if err != nil || us[0].Total != (job.Erased{Versions: 3, Resources: 1}) || string(us[0].Result) != `{"n":1}` {
		b.t.Errorf("noted is %+v, %v", us, err)
	}
}

// refused asserts that a unit cannot end with a part that holds a patient.
func (b *broken) refused(what string, f store.Fence, patient string) {
	b.t.Helper()
	b.breaks()
	if _, err := again(b.t, what, func() error { return b.s.End(b.t.Context(), f, holder(f, patient)) }); !errors.Is(err, store.ErrErased) {
		b.t.Errorf("%s: %v", what, err)
	}
}

// erased asserts that each thing was done once, and to nobody else.
func (b *broken) erased(kept []store.VersionRef) {
	b.t.Helper()
	ctx := b.t.Context()
	tally, err := b.s.Tally(ctx, north, b.j.ID)
	if err != nil || tally.Erased != (job.Erased{Versions: 3, Resources: 1}) {
		b.t.Errorf("erased %+v, %v", tally.Erased, err)
	}
	absent(b.t, b.s, "erased-"+b.kind)
	if vs, err := b.s.History(ctx, north, kept[0].ID, 0, 1<<20); err != nil || len(vs) != len(kept) {
		b.t.Errorf("%d versions are kept, %v", len(vs), err)
	}
	if got := written(b.t, b.s, "erased-"+b.kind, 1)[0]; got.N != 1 {
		b.t.Errorf("the next version is number %d", got.N)
	}
}
