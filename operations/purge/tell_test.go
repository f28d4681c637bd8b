package purge_test

import (
	"bufio"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// follower is a client that exports, and then what changed since.
type follower struct {
	*world
	client string
	call   export.Call
	since  string
}

// follows makes the first export of a client.
func (w *world) follows(client string, level selection.Level, params ...string) *follower {
	w.Helper()
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	f := &follower{world: w, client: client, call: export.Call{Level: level, URL: "u", Base: "b", Query: q, Body: true}}
	f.since = f.run().TransactionTime.UTC().Format("2006-01-02T15:04:05.000Z")
	return f
}

// run makes an export, in a second of its own, so that it need not wait for one.
func (f *follower) run() job.Job {
	f.Helper()
	f.ahead.Add(int64(2 * time.Second))
	p := auth.Local()
	p.Client = f.client
	j, err := f.exports.Kickoff(f.Context(), p, f.call)
	f.ok("export", err)
	if j = f.ended(j); j.State != job.Succeeded {
		f.Fatalf("the export is %s: %+v", j.State, j.Error)
	}
	return j
}

// hears asserts what the client is told that was deleted since its first export.
func (f *follower) hears(want ...string) {
	f.Helper()
	f.call.Query.Set("_since", f.since)
	j := f.run()
	parts, err := f.store.PartsOf(f.Context(), tenant, j.ID, "", 1000)
	f.ok("list the files", err)
	var got []string
	for _, p := range parts {
		if p.Category == job.Deleted {
			got = append(got, f.deletions(p.Name)...)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s hears (- want, + got):\n%s", f.client, diff)
	}
}

func (w *world) deletions(name string) (refs []string) {
	w.Helper()
	r, err := w.files.Open(w.Context(), name)
	w.ok("open a file", err)
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		for _, e := range gjson.GetBytes(lines.Bytes(), "entry.#.request").Array() {
			if e.Get("method").String() == "DELETE" {
				refs = append(refs, e.Get("url").String())
			}
		}
	}
	return refs
}

// kestrels is what goes with Kestrel.
func kestrels() []string {
	return strings.Fields(`Appointment/alone Binary/scan Bundle/message Device/pump DocumentReference/scanned Encounter/birth
		Observation/weight Patient/kestrel Provenance/ofWeight Task/call`)
}

func asIs(s store.Store) store.Store { return s }

// telling is a world in which the operator wants purges to be told.
func telling(t *testing.T, over func(store.Store) store.Store) *world {
	t.Helper()
	w := newWorldWith(t, over, purge.Config{Tell: true})
	w.put(family...)
	return w
}

func TestOwnersOfFilesThatHeldTheRecordHearOfItUntilTheyExpire(t *testing.T) {
	t.Parallel()
	w := telling(t, asIs)
	all := w.follows("all", selection.System)
	some := w.follows("some", selection.Patients, "_type", "Patient,Observation")
	none := w.follows("none", selection.System, "_type", "Organization")
	w.purged("kestrel")
	all.hears(kestrels()...)
	all.hears(kestrels()...)
	some.hears("Patient/kestrel", "Observation/weight")
	none.hears()
	none.call.Query.Del("_type")
	none.hears()
	all.client = "another"
	all.hears()
	all.client = "all"
	w.put(family[4], family[6])
	w.remove("Observation/weight")
	all.hears(slices.DeleteFunc(kestrels(), func(ref string) bool { return ref == "Patient/kestrel" })...)
	before := w.now()
	w.ahead.Add(int64(8 * 24 * time.Hour))
	some.hears("Observation/weight") // as its tombstone says
	w.ok("sweep", w.purge.Sweep(t.Context()))
	left, err := w.store.Told(t.Context(), tenant, store.Owner{Client: "all"}, before, fhir.ID{}, 9)
	if err != nil || len(left) > 0 {
		t.Errorf("after the expiry there is %v, %v", left, err)
	}
}

func TestNobodyHearsOfAPurgeIfTheOperatorDoesNotWantIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	all := w.follows("all", selection.System)
	w.purged("kestrel")
	all.hears()
}

// Each patient of a job is told of to those whose files held that patient.
func TestOfAListOfPatientsOwnersHearOfThoseThatTheyHeld(t *testing.T) {
	t.Parallel()
	w := telling(t, asIs)
	all := w.follows("all", selection.System, "_type", "Patient,Appointment,FamilyMemberHistory")
	one := w.follows("one", selection.Patients, "patient", "Patient/sibling", "_type", "Patient,Appointment,FamilyMemberHistory")
	one.call.Query.Del("patient")
	c := purge.Call{Bulk: true}
	for _, id := range []string{"mother", "sibling"} {
		c.Params = append(c.Params, fhir.Parameter{Name: "patientId", Type: "String", Value: id})
	}
	w.succeeded(w.start(c))
	all.hears("Patient/mother", "Patient/sibling", "FamilyMemberHistory/siblings")
	one.hears("Patient/sibling", "FamilyMemberHistory/siblings")
}

var errCrash = errors.New("the process is gone")

// dying fails the first of some calls, as if the process had died before it.
type dying struct {
	store.Store
	before string
	once   sync.Once
}

func (d *dying) dies(call string) (err error) {
	if call == d.before {
		d.once.Do(func() { err = errCrash })
	}
	return err
}

func (d *dying) Tell(ctx context.Context, f store.Fence, owner store.Owner, until time.Time, ids []fhir.ID) error {
	if err := d.dies("Tell"); err != nil {
		return err
	}
	return d.Store.Tell(ctx, f, owner, until, ids)
}

func (d *dying) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	if err := d.dies("Void"); err != nil {
		return nil, err
	}
	return d.Store.Void(ctx, f, patients, these...)
}

func (d *dying) Forget(ctx context.Context, t store.Tenant, parts []job.Part) error {
	if err := d.dies("Forget"); err != nil {
		return err
	}
	return d.Store.Forget(ctx, t, parts)
}

// What was erased before a crash is not found again, and yet is told: of a file,
// too, that is known by that alone.
func TestACrashKeepsNobodyFromHearing(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"Void", "Tell", "Forget"} {
		t.Run("before "+before, func(t *testing.T) {
			t.Parallel()
			w := telling(t, func(s store.Store) store.Store { return &dying{Store: s, before: before} })
			all := w.follows("all", selection.System)
			byItself := w.follows("by itself", selection.System, "_type", "Provenance")
			j := w.start(purge.Call{Patient: "kestrel"})
			w.succeeded(j)
			tally, err := w.store.Tally(t.Context(), tenant, j.ID)
			if err != nil || tally.Attempts != 3 {
				t.Errorf("there were %d attempts, %v", tally.Attempts, err)
			}
			all.hears(kestrels()...)
			byItself.hears("Provenance/ofWeight")
		})
	}
}
