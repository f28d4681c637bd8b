package purge_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// proofs are what certificates were made of.
type proofs struct {
	all  []purge.Proof
	fail error // of the first call
}

func (p *proofs) certify(_ context.Context, _ store.Fence, one purge.Proof) error {
	p.all = append(p.all, one)
	err := p.fail
	p.fail = nil
	return err
}

// last is the one of a job that has succeeded.
func (p *proofs) last(t *testing.T) purge.Proof {
	t.Helper()
	if len(p.all) == 0 {
		t.Fatal("the job succeeded and was not certified")
	}
	return p.all[len(p.all)-1]
}

// ofKestrel is what of the family is erased with Kestrel.
func ofKestrel() map[string]job.Erased {
	one, version := job.Erased{Versions: 1, Resources: 1}, job.Erased{Versions: 1}
	return map[string]job.Erased{
		"Patient": {Versions: 2, Resources: 1}, "Encounter": one, "Observation": {Versions: 3, Resources: 1}, "Binary": one,
		"DocumentReference": one, "Provenance": {Versions: 2, Resources: 1}, "Appointment": {Versions: 2, Resources: 1}, "Group": version,
		"Device": one, "Task": one, "FamilyMemberHistory": version, "Bundle": one,
	}
}

func sumOf(types map[string]job.Erased) (sum job.Erased) {
	for _, n := range types {
		sum = sum.Add(n)
	}
	return sum
}

func TestACertificateSaysWhatWasErasedByType(t *testing.T) {
	t.Parallel()
	var p proofs
	w := newWorldWith(t, asIs, purge.Config{Certify: p.certify})
	w.put(family...)
	w.succeeded(w.start(purge.Call{Bulk: true, Params: patientIDs("kestrel", "nobody")}))
	got := p.last(t)
	if diff := cmp.Diff(ofKestrel(), got.ByType); diff != "" {
		t.Errorf("erased (- want, + got)\n%s", diff)
	}
	if sum := sumOf(ofKestrel()); got.Erased != sum || got.Before != sum {
		t.Errorf("%+v of %+v were erased, and by type %+v", got.Erased, got.Before, sum)
	}
	if len(p.all) != 1 || got.Detached != 7 || !slices.Equal(got.Patients, []string{"kestrel", "nobody"}) || got.Traces != (store.Traces{}) ||
		got.Job.Started.IsZero() || got.Ended.Before(got.Job.Started) || got.Request.Shared != purge.Detach {
		t.Errorf("%d certificates; %+v", len(p.all), got)
	}
}

// cutOff is a store where an erasure goes through and is not heard of, once.
type cutOff struct {
	store.Store
	unit string
	cut  atomic.Bool
}

var errCut = errors.New("the connection was cut")

func (c *cutOff) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	n, err := c.Store.Erase(ctx, f, vs, of...)
	if err == nil && f.Unit == c.unit && c.cut.CompareAndSwap(false, true) {
		err = errCut
	}
	return n, err
}

func TestWhatAnAttemptErasedThatWasCutOffIsCountedByTypeToo(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"1-000001", "2-finish"} {
		t.Run(unit, func(t *testing.T) {
			t.Parallel()
			var p proofs
			c := &cutOff{unit: unit}
			w := newWorldWith(t, func(s store.Store) store.Store { c.Store = s; return c }, purge.Config{Certify: p.certify})
			w.put(family...)
			w.purged("kestrel")
			if !c.cut.Load() {
				t.Fatal("nothing was cut off")
			}
			got := p.last(t)
			if diff := cmp.Diff(ofKestrel(), got.ByType); diff != "" {
				t.Errorf("erased (- want, + got)\n%s", diff)
			}
			if sum := sumOf(ofKestrel()); got.Erased != sum || got.Before != sum {
				t.Errorf("%+v of %+v were erased", got.Erased, got.Before)
			}
		})
	}
}

func TestAPurgeDoesNotSucceedBeforeItIsCertified(t *testing.T) {
	t.Parallel()
	p := proofs{fail: errors.New("no keys")}
	w := newWorldWith(t, asIs, purge.Config{Certify: p.certify})
	w.put(family...)
	w.purged("kestrel")
	if len(p.all) != 2 {
		t.Fatalf("certified %d times", len(p.all))
	}
	if diff := cmp.Diff(p.all[0].ByType, p.all[1].ByType); diff != "" || p.all[0].Erased != p.all[1].Erased {
		t.Errorf("tried again, it says otherwise\n%s", diff)
	}
}

func TestAFullLookIsCertifiedAfterItAndOnce(t *testing.T) {
	t.Parallel()
	var p proofs
	w := newWorldWith(t, asIs, purge.Config{Certify: p.certify})
	w.put(family...)
	w.put(strings.Replace(family[6], "3.10", "3.20", 1))
	w.succeeded(w.start(purge.Call{Group: "family"}))
	got := p.last(t)
	if len(p.all) != 1 || !got.Request.Full || !slices.Equal(got.Patients, []string{"kestrel", "mother"}) || got.Erased != sumOf(got.ByType) {
		t.Errorf("%d certificates; %+v", len(p.all), got)
	}
	// Of the rest both units may erase some, as it is in nobody's compartment.
	one := job.Erased{Versions: 1, Resources: 1}
	for typ, want := range map[string]job.Erased{"Patient": one.Add(one), "Encounter": one, "DocumentReference": one.Add(one)} {
		if got.ByType[typ] != want {
			t.Errorf("%s: %+v, want %+v", typ, got.ByType[typ], want)
		}
	}
}

// patientIDs are the parameters of a purge of a list.
func patientIDs(ids ...string) (params []fhir.Parameter) {
	for _, id := range ids {
		params = append(params, fhir.Parameter{Name: "patientId", Type: "String", Value: id})
	}
	return params
}

func TestThePurgeOfAHoldingIsCertifiedWithWhatWentOfEachType(t *testing.T) {
	t.Parallel()
	var proofs []purge.Proof
	w := newWorldWith(t, asIs, purge.Config{Certify: func(_ context.Context, _ store.Fence, p purge.Proof) error {
		proofs = append(proofs, p)
		return nil
	}})
	ann := as("app", "ann")
	w.owns(ann, `{"resourceType":"Patient","id":"b"}`, `{"resourceType":"Patient","id":"a"}`, note("n", "1"), note("n", "2"))
	w.owns(as("app", "bob"), note("bobs", "1"), `{"resourceType":"Patient","id":"c"}`)
	w.succeeded(w.holding(ann, "_type", "Patient,Observation", "_before", "2999-01-01"))
	if len(proofs) != 1 {
		t.Fatalf("it was certified %d times", len(proofs))
	}
	p := proofs[0]
	want := map[string]job.Erased{"Patient": {Versions: 2, Resources: 2}, "Observation": {Versions: 2, Resources: 1}}
	if diff := cmp.Diff(want, p.ByType); diff != "" {
		t.Errorf("by type (- want, + got):\n%s", diff)
	}
	all := job.Erased{Versions: 4, Resources: 3}
	if p.Erased != all || p.Before != all || !slices.Equal(p.Patients, []string{"a", "b"}) || p.Holding.Before != "2999-01-01" || p.Job.Kind != purge.HoldingKind {
		t.Errorf("it says %+v", p)
	}
}
