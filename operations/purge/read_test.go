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
)

func TestAFullLookNamesWhatHasAnAddressOfTheErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"Basic","id":"url","code":{"text":"x"},"extension":[{"url":"http://a.example","valueUri":"https://here.example/fhir/Observation/weight/_history/1"}]}`,
		`{"resourceType":"Basic","id":"prose","code":{"text":"As was said of Patient/kestrel."}}`,
		`{"resourceType":"Basic","id":"prose","code":{"text":"Nothing was said."}}`,
		`{"resourceType":"Basic","id":"another","code":{"text":"https://here.example/fhir/Patient/kestrel-2 and NotPatient/kestrel"}}`)
	said := w.purged("kestrel", "_verify", "full")
	w.says(said, "Basic/url has the address", "Basic/prose has the address", "each was read for it")
	for _, other := range []string{"Basic/another", "Observation/"} {
		if n := strings.Count(said, other+" has the address"); n > 0 {
			t.Errorf("%s is said to have an address in\n%s", other, said)
		}
	}
}

// forgetful is a store whose indexes have lost a resource.
type forgetful struct {
	store.Store
	lost fhir.ID
}

func (f forgetful) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	ids, err := f.Store.Mentions(ctx, t, targets)
	return slices.DeleteFunc(ids, func(id fhir.ID) bool { return id == f.lost }), err
}

func (f forgetful) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	found, err := f.Store.Residue(ctx, t, g)
	return slices.DeleteFunc(found, func(r store.Residue) bool { return r.ID == f.lost }), err
}

func TestAFullLookSeesAReplacedVersionThatNoIndexHas(t *testing.T) {
	t.Parallel()
	for _, params := range [][]fhir.Parameter{nil, {{Name: "_verify", Value: "full"}}} {
		lost := fhir.ID{Type: "Observation", ID: "lost"}
		w := newWorldWith(t, func(s store.Store) store.Store { return forgetful{s, lost} }, purge.Config{})
		w.put(family...)
		w.put(`{"resourceType":"Observation","id":"lost","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/kestrel"}}`,
			`{"resourceType":"Observation","id":"lost","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mother"}}`)
		j := w.ended(w.start(purge.Call{Patient: "kestrel", Params: params}))
		switch {
		case params == nil && j.State != job.Succeeded:
			t.Errorf("without a full look the job is %s: %+v", j.State, j.Error)
		case params != nil && j.State != job.Failed:
			t.Errorf("with a full look the job is %s", j.State)
		case params != nil:
			w.says(w.outcome(j), "Observation/lost was read", "incomplete")
		}
	}
}

// broken is a store whose scans fail once, some of them on.
type broken struct {
	store.Store
	after  int64
	scans  *atomic.Int64
	ranges *[]store.Range
}

func (b broken) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	if sel.Every {
		*b.ranges = append(*b.ranges, r)
		if b.scans.Add(1) == b.after {
			return errors.New("the disk is gone for a moment")
		}
	}
	return b.Store.Scan(ctx, t, sel, r, after, yield)
}

func TestAFullLookGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	b := broken{after: 4, scans: new(atomic.Int64), ranges: new([]store.Range)}
	w := newWorldWith(t, func(s store.Store) store.Store { b.Store = s; return b }, purge.Config{})
	w.put(family...)
	w.purged("kestrel", "_verify", "full")
	read := *b.ranges
	if len(read) < 6 || read[3] != read[4] {
		t.Fatalf("what failed is not read next: %+v", read)
	}
	read = slices.Delete(read, 3, 4)
	if !slices.IsSortedFunc(read, func(a, b store.Range) int {
		if a.To <= b.From {
			return -1
		}
		return 1
	}) {
		t.Errorf("something was read twice: %+v", read)
	}
}

// brokenOff is a store of which the scans from one on end as a test says.
type brokenOff struct {
	store.Store
	after int64
	scans *atomic.Int64
	ends  func(ctx context.Context) error
}

func (c brokenOff) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	if sel.Every && c.scans.Add(1) >= c.after {
		return c.ends(ctx)
	}
	return c.Store.Scan(ctx, t, sel, r, after, yield)
}

func TestAFullLookThatDidNotEndIsToldOfInThePast(t *testing.T) {
	t.Parallel()
	const now, past = "is being read for what was erased", "not every version of every resource was read for what was erased: it came to 0 of 0 MiB"
	full := []fhir.Parameter{{Name: "_verify", Value: "full"}}
	reading, goOn := make(chan struct{}), make(chan struct{})
	fails := func(context.Context) error {
		close(reading)
		<-goOn
		return &job.Failure{Permanent: true, Reason: job.Reason{Code: "exception", Message: "the disk is gone"}}
	}
	c := brokenOff{after: 4, scans: new(atomic.Int64), ends: fails}
	w := newWorldWith(t, func(s store.Store) store.Store { c.Store = s; return c }, purge.Config{})
	w.put(family...)
	j := w.start(purge.Call{Patient: "kestrel", Params: full})
	<-reading
	running, err := w.store.Peek(t.Context(), tenant, j.ID)
	w.ok("look at the job", err)
	w.says(w.outcome(running), now)
	stopped, err := running.RequestCancel(w.now())
	w.ok("stop the job", err)
	for end, j := range map[string]job.Job{"stopped": stopped, "failed": func() job.Job { close(goOn); return w.ended(j) }()} {
		said := w.outcome(j)
		if w.says(said, past); strings.Contains(said, now) {
			t.Errorf("a job that was %s says that it goes on: %s", end, said)
		}
	}
}
