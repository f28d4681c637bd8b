package purge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// hold is a hold on "Patient/x", "Group/x" or "tenant".
func hold(id, on string) store.Hold {
	h := store.Hold{ID: id, By: "Ann", Why: "a secret reason", Set: time.Now()}
	typ, subject, _ := strings.Cut(on, "/")
	h.On, h.Subject = store.HoldOn(strings.ToLower(typ)), subject
	return h
}

func (w *world) hold(id, on string, patients ...string) {
	w.Helper()
	w.ok("set a hold", w.store.SetHold(w.Context(), tenant, hold(id, on), patients...))
}

func (w *world) lift(id string) {
	w.Helper()
	_, err := w.store.LiftHold(w.Context(), tenant, id, "Bob", w.now())
	w.ok("lift a hold", err)
}

// bulk is a call for a list of patients.
func bulk(patients ...string) purge.Call {
	c := purge.Call{Bulk: true}
	for _, id := range patients {
		c.Params = append(c.Params, fhir.Parameter{Name: "patientId", Type: "String", Value: id})
	}
	return c
}

// refused asserts that a call is answered with a conflict that says some things,
// and that nothing was written.
func (w *world) refused(c purge.Call, says ...string) {
	w.Helper()
	before, err := w.store.Clock(w.Context(), tenant)
	w.ok("look at the clock", err)
	_, err = w.purge.Kickoff(w.Context(), auth.Local(), c)
	if fhir.KindOf(err) != fhir.Conflict {
		w.Fatalf("the kick-off: %v", err)
	}
	w.says(err.Error(), says...)
	if strings.Contains(err.Error(), "secret") {
		w.Errorf("it tells why: %v", err)
	}
	after, err := w.store.Clock(w.Context(), tenant)
	w.ok("look at the clock", err)
	jobs, err := w.store.List(w.Context(), tenant, store.Owner{Client: "local"}, "", 9)
	w.ok("list the jobs", err)
	if after != before || len(jobs) > 0 {
		w.Errorf("something was written: %d jobs, %v", len(jobs), after != before)
	}
}

// stopped asserts that a job failed, and says why.
func (w *world) stopped(j job.Job, says ...string) {
	w.Helper()
	if j = w.ended(j); j.State != job.Failed {
		w.Fatalf("the job is %s", j.State)
	}
	w.says(w.outcome(j), says...)
}

// again has what failed tried again.
func (w *world) again(j job.Job) job.Job {
	w.Helper()
	j, err := w.store.Retry(w.Context(), tenant, j.ID, w.now(), store.Limit{})
	w.ok("try again", err)
	return j
}

// has asserts the numbers of the versions that there are, the latest first.
func (w *world) has(ref string, versions ...int64) {
	w.Helper()
	if diff := cmp.Diff(versions, w.versions(ref)); diff != "" {
		w.Errorf("versions of %s (- want, + got):\n%s", ref, diff)
	}
}

func TestAPurgeThatMeetsAHoldIsRefusedWhole(t *testing.T) {
	t.Parallel()
	for on, says := range map[string]string{
		"Patient/kestrel": "the legal hold h1 is on Patient/kestrel, until it is lifted",
		"Group/family":    "the legal hold h1 is on Group/family, of which Patient/kestrel is, until it is lifted",
		"tenant":          "the legal hold h1 is on the whole tenant, until it is lifted",
	} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(family...)
			w.hold("h1", on)
			w.refused(purge.Call{Patient: "kestrel"}, says, "nothing was purged")
			w.refused(purge.Call{Group: "family"}, says)
			w.refused(bulk("sibling", "kestrel"), says)
			w.has("Patient/kestrel", 1)
		})
	}
}

func TestAHoldOnSomebodyElseOrThatHasEndedStopsNoPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.hold("other", "Patient/other")
	w.hold("lifted", "Patient/kestrel")
	w.lift("lifted")
	ended := hold("ended", "tenant")
	ended.Until = w.now().Add(-time.Second)
	w.ok("set a hold", w.store.SetHold(w.Context(), tenant, ended))
	w.ok("set a hold", w.store.SetHold(w.Context(), "elsewhere", hold("h", "tenant")))
	w.purged("kestrel")
	w.gone("Patient/kestrel", "Observation/weight")
}

func TestARefusalNamesTheFirstTwentyOfTheHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("p%02d", i))
		if i < 25 {
			w.hold("of-"+all[i], "Patient/"+all[i])
		}
	}
	w.refused(bulk(all...), "the legal hold of-p00 is on Patient/p00", "of-p19", "and 5 more")
	_, err := w.purge.Kickoff(t.Context(), auth.Local(), bulk(all...))
	if strings.Contains(err.Error(), "p20") {
		t.Errorf("it names more: %v", err)
	}
}

func TestAHoldOnAGroupIsOnItsMembersAsTheyAreAndAsTheyWere(t *testing.T) {
	t.Parallel()
	const of = `{"resourceType":"Group","id":"%s","type":"person","actual":true,"member":[{"entity":{"reference":"%s"}}]}`
	w := newWorld(t)
	w.put(fmt.Sprintf(of, "outer", "Group/inner"), fmt.Sprintf(of, "inner", "Patient/left"))
	w.hold("h1", "Group/outer", "left")
	w.put(fmt.Sprintf(of, "inner", "Patient/joined"))
	w.refused(purge.Call{Patient: "joined"}, "Group/outer, of which Patient/joined is")
	w.refused(purge.Call{Patient: "left"}, "Group/outer, of which Patient/left is")
	w.refused(purge.Call{Group: "inner"}, "Patient/joined")
	w.purged("nobody")
	w.lift("h1")
	w.purged("joined")
	w.purged("left")
}

// setting is a store that sets a hold at some moment, once.
type setting struct {
	store.Store
	on string
	mu sync.Mutex
	at func(call string, f store.Fence) bool // nil: the moment was there
}

func (s *setting) come(ctx context.Context, call string, f store.Fence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil || !s.at(call, f) {
		return nil
	}
	s.at = nil
	return s.SetHold(ctx, tenant, hold("late", s.on))
}

func (s *setting) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	if err := s.come(ctx, "before Erase", f); err != nil {
		return store.Erased{}, err
	}
	n, err := s.Store.Erase(ctx, f, vs, of...)
	if err == nil {
		err = s.come(ctx, "Erase", f)
	}
	return n, err
}

func (s *setting) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	if b.Puts[0].Detached {
		if err := s.come(ctx, "detach", store.Fence{}); err != nil {
			return nil, err
		}
	}
	return s.Store.Commit(ctx, t, b)
}

func (s *setting) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	if err := s.come(ctx, "End", f); err != nil {
		return err
	}
	return s.Store.End(ctx, f, e)
}

// newSetting is a world in which a hold is set at some moment.
func newSetting(t *testing.T, on string, at func(call string, f store.Fence) bool) *world {
	t.Helper()
	return newWorldWith(t, func(s store.Store) store.Store { return &setting{Store: s, at: at, on: on} }, purge.Config{Requests: func() int { return 5000 }})
}

func TestAHoldThatIsSetWhileAPurgeRunsStopsItAtTheNextCommit(t *testing.T) {
	t.Parallel()
	w := newSetting(t, "Patient/long", func(call string, f store.Fence) bool { return call == "Erase" && f.Unit == "1-000001" })
	w.put(`{"resourceType":"Patient","id":"long"}`, `{"resourceType":"Patient","id":"short"}`)
	left := func() (n int) {
		for i := range 300 {
			n += len(w.versions(fmt.Sprintf("Observation/o%d", i)))
		}
		return n
	}
	for i := range 300 {
		w.put(fmt.Sprintf(`{"resourceType":"Observation","id":"o%d","status":"final","subject":{"reference":"Patient/long"}}`, i))
	}
	j := w.start(bulk("long", "short"))
	w.stopped(j, `"status","valueCode":"error"`, "the legal hold late is on the patient, until it is lifted: nothing more was removed", `"valueId":"short"},`, `"valueCode":"completed"`)
	if n := left(); n != 300-50 {
		t.Errorf("%d resources are left", n)
	}
	w.has("Patient/long", 1)
	w.gone("Patient/short")
	w.stopped(w.again(j), "the legal hold late is on the patient")
	w.has("Patient/long", 1)
	w.lift("late")
	w.succeeded(w.again(j))
	w.gone("Patient/long")
	if n := left(); n != 0 {
		t.Errorf("%d resources are left", n)
	}
}

func TestAHoldOnTheTenantThatIsSetWhileAPurgeRunsStopsIt(t *testing.T) {
	t.Parallel()
	w := newSetting(t, "tenant", func(call string, _ store.Fence) bool { return call == "before Erase" })
	w.put(family...)
	j := w.start(purge.Call{Patient: "kestrel"})
	w.stopped(j, "the legal hold late is on the whole tenant, until it is lifted")
	w.has("Observation/weight", 1)
	w.lift("late")
	w.succeeded(w.again(j))
	w.gone("Patient/kestrel", "Observation/weight")
}

func TestAHoldOnTheMotherKeepsWhatIsHersFromThePurgeOfTheChild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	before := map[string]string{}
	for _, ref := range []string{"Observation/mothers", "Patient/mother", "Appointment/together", "Patient/kestrel", "Observation/weight", "Group/family"} {
		before[ref] = w.body(ref)
	}
	w.hold("h1", "Patient/mother")
	j := w.start(purge.Call{Patient: "kestrel"})
	w.stopped(j, "the legal hold h1 is on another patient", "try the purge again")
	if strings.Contains(w.outcome(w.ended(j)), "Patient/mother") {
		t.Error("the outcome names the mother")
	}
	for ref, body := range before {
		if diff := cmp.Diff(body, w.body(ref)); diff != "" {
			t.Errorf("%s: %s", ref, diff)
		}
		w.has(ref, 1)
	}
	w.lift("h1")
	w.succeeded(w.again(j))
	w.gone("Patient/kestrel")
	w.has("Observation/mothers", 2)
}

func TestAHoldOnTheMotherDoesNotStopAPurgeThatKeepsWhatIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.hold("h1", "Patient/mother")
	w.purged("kestrel", "_shared", "keep")
	w.gone("Patient/kestrel", "Observation/weight")
	w.has("Observation/mothers", 1)
	w.says(w.body("Observation/mothers"), "Encounter/birth")
}

// R4 leaves Device and Task out of the compartment, and they have a patient.
func TestAHoldKeepsWhatIsAboutThePatientAndInNoCompartment(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"resourceType":"Task","id":"x","status":"requested","intent":"order","for":{"reference":"Patient/b"},"focus":{"reference":"Observation/a"}}`,
		`{"resourceType":"Device","id":"x","patient":{"reference":"Patient/b"},"extension":[{"url":"http://example.org","valueReference":{"reference":"Patient/a"}}]}`,
	} {
		w := newWorld(t)
		w.put(`{"resourceType":"Patient","id":"a"}`, `{"resourceType":"Observation","id":"a","status":"final","subject":{"reference":"Patient/a"}}`, body)
		w.hold("h1", "Patient/b")
		w.stopped(w.start(purge.Call{Patient: "a"}), "the legal hold h1 is on another patient")
		w.has("Observation/a", 1)
	}
}

// Else the hold on one member would keep each other one in the Group.
func TestAHoldOnAnotherMemberDoesNotKeepAPatientInTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(
		`{"resourceType":"Patient","id":"a"}`, `{"resourceType":"Patient","id":"b"}`,
		`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Patient/b"}}]}`,
	)
	w.hold("h1", "Patient/b")
	w.purged("a")
	w.gone("Patient/a")
	w.has("Group/g", 2)
	w.says(w.body("Group/g"), "masked", "Patient/b")
}

// The version that named the child is evidence, and is there still.
func TestAHoldThatComesBetweenTheLookAndTheDetachingKeepsTheVersionBefore(t *testing.T) {
	t.Parallel()
	w := newSetting(t, "Patient/mother", func(call string, _ store.Fence) bool { return call == "detach" })
	w.put(family...)
	j := w.start(purge.Call{Patient: "kestrel"})
	w.stopped(j, "the legal hold late is on another patient")
	w.has("Observation/mothers", 2, 1)
	w.has("Observation/weight", 1)
	w.lift("late")
	w.succeeded(w.again(j))
	w.has("Observation/mothers", 2)
	w.gone("Patient/kestrel")
	w.canary("Kestrel")
}

func TestAHoldThatComesWhenTheRecordIsGoneKeepsThePatientInGroups(t *testing.T) {
	t.Parallel()
	w := newSetting(t, "Patient/kestrel", func(call string, f store.Fence) bool { return call == "End" && f.Unit == "1-000001" })
	w.put(family...)
	j := w.start(purge.Call{Patient: "kestrel"})
	w.stopped(j, "the legal hold late is on a patient of the purge, and was set when the record was gone")
	w.gone("Patient/kestrel")
	w.has("Group/family", 1)
	w.lift("late")
	w.succeeded(w.again(j))
	w.has("Group/family", 2)
}
