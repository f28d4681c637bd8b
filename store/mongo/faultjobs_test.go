package mongo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// lease is longer than any of these tests.
const lease = time.Hour

func TestAJobIsDoneOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	s := open(t, mongo.Config{URI: named(fresh(t, e))})
	for _, command := range breakable() {
		t.Run(command, func(t *testing.T) {
			f.t = t
			for i, how := range waysOf(command) {
				times := 1 + i%mostTimes
				b := &broken{t: t, s: s, kind: fmt.Sprint(command, i), breaks: func() { f.hit(times, how, with(command)...) }}
				b.job(f.off)
				if t.Failed() {
					t.Fatalf("%s, %d times", how.name, times)
				}
			}
		})
	}
}

// broken is a job during which each call meets something that breaks.
type broken struct {
	t      *testing.T
	s      *mongo.Store
	kind   string
	breaks func()

	j       job.Job
	claimed []store.Fence
	unsure  int // claims that may have been made
}

// call makes a call, as often as it answers ErrTransient.
func (b *broken) call(what string, f func() error, or ...error) (unsure int) {
	b.t.Helper()
	b.breaks()
	unsure, err := again(b.t, what, f)
	if err != nil && !slices.ContainsFunc(or, func(e error) bool { return errors.Is(err, e) }) {
		b.t.Errorf("%s: %v", what, err)
	}
	return unsure
}

// job lives a job's life, and looks at it when nothing breaks any more.
func (b *broken) job(mended func()) {
	b.t.Helper()
	b.j = newJob(b.kind)
	create := func() error {
		_, err := b.s.Create(b.t.Context(), b.j, unitsOf(b.j, "a", "b"), store.Limit{PerOwner: 1})
		return err
	}
	b.call("Create", create)
	b.call("Create of what is there", create)
	b.call("Update", func() error {
		_, err := b.s.Update(b.t.Context(), north, b.j.ID, func(j job.Job) (job.Job, error) { return j.Start(j.Created) })
		return err
	})
	b.claim()
	b.claim()
	if len(b.claimed) == 0 {
		b.t.Fatal("nobody has a unit")
	}
	f := b.claimed[0]
	b.call("Renew", func() error { return b.s.Renew(b.t.Context(), f, lease) })
	b.call("AddMembers", func() error { return b.s.AddMembers(b.t.Context(), f, []string{"1", "2"}) })
	b.call("Add", func() error { return b.s.Add(b.t.Context(), f, unitsOf(b.j, "later")) })
	// An end whose answer is lost has ended the attempt.
	unsure := b.call("End", func() error { return b.s.End(b.t.Context(), f, b.end()) }, store.ErrFenced)
	mended()
	b.stands(unsure)
	b.breaks()
	b.call("Remove", func() error { return b.s.Remove(b.t.Context(), north, b.j.ID) })
	mended()
	b.gone()
}

func newJob(kind string) job.Job {
	return job.Job{
		ID: ulid.Make().String(), Kind: kind, Tenant: string(north), Owner: job.Owner{Client: "app"}, State: job.Queued,
		Request: json.RawMessage(`{}`), Created: time.Now().UTC().Truncate(time.Millisecond), Lifetime: time.Hour,
	}
}

// unitsOf are units of one phase.
func unitsOf(j job.Job, ids ...string) []job.Unit {
	us := make([]job.Unit, len(ids))
	for i, id := range ids {
		us[i] = job.Unit{Job: j.ID, Tenant: j.Tenant, Kind: j.Kind, ID: id, State: job.Queued, Args: json.RawMessage(`{}`)}
	}
	return us
}

func (b *broken) claim() {
	b.t.Helper()
	var f store.Fence
	var got bool
	b.unsure += b.call("Claim", func() error {
		_, one, err := b.s.Claim(b.t.Context(), []string{b.kind}, lease)
		f, got = one, err == nil
		return err
	}, store.ErrNotFound)
	if got {
		b.claimed = append(b.claimed, f)
	}
	if !got && b.unsure == 0 {
		b.t.Errorf("there is no unit for worker %d", len(b.claimed))
	}
}

func (b *broken) end() job.UnitEnd {
	f := b.claimed[0]
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7, Bytes: 70}, Parts: []job.Part{{
		ID: "p", Job: f.Job, Unit: f.Unit, Category: job.Output, Type: "Patient", N: 1, Name: "p.ndjson", Count: 7, Size: 70,
		Patients: []string{"1", "2"},
	}}}
}

// stands asserts that each thing was done once.
func (b *broken) stands(unsure int) {
	b.t.Helper()
	ctx := b.t.Context()
	workers := map[string]bool{}
	for _, f := range b.claimed {
		if f.Attempt != 1 || workers[f.Unit] {
			b.t.Errorf("%s is claimed for the %d. time, and was by %v", f.Unit, f.Attempt, b.claimed)
		}
		workers[f.Unit] = true
	}
	tally, err := b.s.Tally(ctx, north, b.j.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	if tally.Attempts < len(b.claimed) || tally.Attempts > len(b.claimed)+b.unsure || tally.Lost+tally.Errors > 0 {
		b.t.Errorf("%d claims and %d that are not sure: %+v", len(b.claimed), b.unsure, tally)
	}
	if tally.Succeeded != 1 || tally.Done.Resources != 7 || tally.Queued+tally.Running+tally.Succeeded != 3 {
		b.t.Errorf("after one end, of which %d answers were lost: %+v", unsure, tally)
	}
	got, err := b.s.Peek(ctx, north, b.j.ID)
	if err != nil || got.State != job.Running {
		b.t.Errorf("the job is %+v, %v", got, err)
	}
	members, err := b.s.Members(ctx, north, store.CohortID(b.j.ID), "", 9)
	if err != nil {
		b.t.Error(err)
	}
	if diff := cmp.Diff([]string{"1", "2"}, members); diff != "" {
		b.t.Errorf("members (-want +got):\n%s", diff)
	}
	parts, err := b.s.PartsOf(ctx, north, b.j.ID, "", 9)
	if err != nil || len(parts) != 1 || parts[0].Size != 70 {
		b.t.Errorf("parts: %+v, %v", parts, err)
	}
	holding, err := b.s.PartsHolding(ctx, north, "2")
	holding = slices.DeleteFunc(holding, func(p job.Part) bool { return p.Job != b.j.ID })
	if err != nil || len(holding) != 1 {
		b.t.Errorf("parts of a patient: %+v, %v", holding, err)
	}
	open, err := b.s.List(ctx, north, b.j.Owner, "", 9)
	if err != nil || len(open) != 1 {
		b.t.Errorf("%d jobs were made of one: %v", len(open), err)
	}
}

// gone asserts that nothing of the job is left.
func (b *broken) gone() {
	b.t.Helper()
	ctx := b.t.Context()
	if _, err := b.s.Peek(ctx, north, b.j.ID); !errors.Is(err, store.ErrNotFound) {
		b.t.Errorf("the removed job: %v", err)
	}
	tally, err := b.s.Tally(ctx, north, b.j.ID)
	if err != nil || tally.Queued+tally.Running+tally.Succeeded > 0 {
		b.t.Errorf("units of the removed job: %+v, %v", tally, err)
	}
	members, err := b.s.Members(ctx, north, store.CohortID(b.j.ID), "", 9)
	if err != nil || len(members) > 0 {
		b.t.Errorf("members of the removed job: %v, %v", members, err)
	}
}

func TestABarrierIsRightWhateverBreaks(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	uri := fresh(t, e)
	s, other := open(t, mongo.Config{URI: named(uri)}), open(t, mongo.Config{URI: uri})
	var l ledger
	last := store.Tick(0)
	for _, command := range breakable() {
		ways := waysOf(command)
		if command != "find" {
			ways = append(ways, unheard(64), unheard(91))
		}
		for i, how := range ways {
			f.t = t
			for n, by := range []*mongo.Store{s, other} {
				if err := l.commit(t.Context(), by, patient(t, fmt.Sprint(command, i, "-", n), "a"), patient(t, fmt.Sprint("shared", n), fmt.Sprint(command, i))); err != nil {
					t.Fatal(err)
				}
			}
			f.hit(1+i%mostTimes, how, command)
			var at store.Tick
			if _, err := again(t, "Barrier", func() (err error) { at, err = s.Barrier(t.Context(), north, 0); return err }); err != nil {
				t.Fatalf("%s fails by %s: %v", command, how.name, err)
			}
			f.off()
			if at <= last {
				t.Fatalf("%s fails by %s: barrier %d after %d, and a commit between", command, how.name, at, last)
			}
			last = at
			covers(t, other, &l, at)
		}
	}
	l.holds(t, s)
}

// covers asserts that all that was acknowledged is in the snapshot of a barrier.
func covers(t *testing.T, s *mongo.Store, l *ledger, at store.Tick) {
	t.Helper()
	found, err := scanned(t.Context(), s, store.Selection{At: at})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]int64{}
	for _, v := range found {
		there[v.ID.ID] = v.N
	}
	for id, a := range l.acknowledged() {
		if a.At > at || there[id] < a.N {
			t.Errorf("version %d of %s was acknowledged at %d; at the barrier %d there is version %d", a.N, id, a.At, at, there[id])
		}
	}
}
