package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

func noticeCases() []testCase {
	return []testCase{
		{"what an owner is told is listed in order of type and id, in pages", noticesPages},
		{"notices of every form of id are listed once", noticesForms},
		{"an owner hears until the instant, and of two instants the later one counts", noticesExpire},
		{"an owner hears of no other owner's and no other tenant's", noticesApart},
		{"Tell goes through under a fence that holds, and no other", noticesFenced},
		{"a notice does not ask whether the resource is there, and is none in any other way", noticesOnly},
		{"Untell removes what has expired, of all tenants, and nothing else", noticesUntell},
		{"notices stay when their job is removed", noticesStay},
		{"many notices are told, listed and removed", noticesMany},
		{"notices are there after the store was opened again", noticesDurable},
	}
}

// tell tells an owner by a job of its own.
func (e *env) tell(t store.Tenant, owner store.Owner, until time.Time, refs ...string) {
	e.Helper()
	_, f := e.planner(t)
	e.ok("Tell", e.Tell(e.ctx, f, owner, until, idsOf(refs...)))
}

// told lists what an owner is told at an instant, in pages of n.
func (e *env) told(t store.Tenant, owner store.Owner, now time.Time, n int) []string {
	e.Helper()
	var all []string
	for after := (fhir.ID{}); ; {
		page, err := e.Told(e.ctx, t, owner, now, after, n)
		e.ok("Told", err)
		e.that(len(page) <= n, "%d notices in a page of %d", len(page), n)
		if len(page) == 0 {
			return all
		}
		all, after = append(all, refsOf(page)...), page[len(page)-1]
	}
}

func noticesPages(e *env) {
	now := e.clock.Now()
	e.tell(north, ann(), now.Add(time.Hour), "Patient/b", "Observation/z", "Group/1")
	e.tell(north, ann(), now.Add(time.Minute), "Observation/1", "Patient/B", "MedicationRequest/1", "Medication/m", "Observation/10")
	want := []string{
		"Group/1", "Medication/m", "MedicationRequest/1", "Observation/1", "Observation/10", "Observation/z", "Patient/B", "Patient/b",
	}
	for _, n := range []int{1, 2, 3, 8, 100} {
		e.same(fmt.Sprintf("notices in pages of %d", n), e.told(north, ann(), now, n), want)
	}
	for _, after := range []string{"Medication/m", "Medication/n", "MedicationRequest/0"} {
		page, err := e.Told(e.ctx, north, ann(), now, idOf(after), 2)
		e.ok("Told", err)
		e.same("two after "+after, refsOf(page), want[2:4])
	}
	none, err := e.Told(e.ctx, north, ann(), now, fhir.ID{}, 0)
	e.ok("Told", err)
	e.same("none", none, nil)
}

func noticesForms(e *env) {
	now := e.clock.Now()
	var want []string
	for _, id := range likeIDs() {
		want = append(want, "Patient/"+id, "Observation/"+id)
	}
	e.tell(north, ann(), now.Add(time.Hour), want...)
	for _, n := range []int{1, 4, 100} {
		e.same(fmt.Sprintf("notices in pages of %d", n), e.told(north, ann(), now, n), sorted(want))
	}
}

func noticesExpire(e *env) {
	now := e.clock.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	e.tell(north, ann(), in(time.Hour), "Patient/1", "Patient/2", "Patient/1")
	e.tell(north, ann(), in(time.Minute), "Patient/1", "Patient/3")
	e.tell(north, ann(), in(2*time.Hour), "Patient/2")
	for _, c := range []struct {
		at   time.Duration
		want []string
	}{
		{0, []string{"Patient/1", "Patient/2", "Patient/3"}},
		{time.Minute - time.Millisecond, []string{"Patient/1", "Patient/2", "Patient/3"}},
		{time.Minute, []string{"Patient/1", "Patient/2"}},
		{time.Hour, []string{"Patient/2"}},
		{2 * time.Hour, nil},
	} {
		e.same(fmt.Sprint("after ", c.at), e.told(north, ann(), in(c.at), 1), c.want)
	}
}

func noticesApart(e *env) {
	now := e.clock.Now()
	owners := []store.Owner{ann(), bob(), {Client: "app"}, {Client: "app/ann"}, {Client: "ap", User: "p/ann"}, {Client: "app", User: "%2Fann"}, {Client: "app", User: "ann/Patient"}}
	for i, who := range owners {
		e.tell(north, who, now.Add(time.Hour), fmt.Sprint("Patient/", i))
	}
	e.tell(south, ann(), now.Add(time.Hour), "Patient/theirs")
	for i, who := range owners {
		e.same(fmt.Sprintf("notices of %v", who), e.told(north, who, now, 9), []string{fmt.Sprint("Patient/", i)})
	}
	e.same("notices in the other tenant", e.told(south, ann(), now, 9), []string{"Patient/theirs"})
	for _, who := range []store.Owner{{}, {Client: "nobody"}, {User: "ann"}} {
		e.same(fmt.Sprintf("notices of %v", who), e.told(north, who, now, 9), nil)
	}
	e.same("notices in an unknown tenant", e.told("nowhere", ann(), now, 9), nil)
}

func noticesFenced(e *env) {
	e.clock.stop()
	now := e.clock.Now()
	e.create("purge", unit("a", 0))
	_, lost := e.claim("purge")
	tell := func(f store.Fence, ref string) error { return e.Tell(e.ctx, f, ann(), now.Add(time.Hour), idsOf(ref)) }
	e.clock.advance(lease + time.Millisecond)
	e.ok("Tell of an attempt whose lease has run out", tell(lost, "Patient/1"))
	_, f := e.claim("purge")
	e.is("Tell of one that is lost", tell(lost, "Patient/2"), store.ErrFenced)
	e.ok("Tell", tell(f, "Patient/3"))
	e.end(f, job.UnitEnd{State: job.Succeeded})
	e.is("Tell of one that has ended", tell(f, "Patient/4"), store.ErrFenced)
	e.ok("Tell of nothing", e.Tell(e.ctx, f, ann(), now.Add(time.Hour), nil))
	e.same("notices", e.told(north, ann(), now, 9), []string{"Patient/1", "Patient/3"})
}

func noticesOnly(e *env) {
	now := e.clock.Now()
	e.commit(write("Patient/1", "a"))
	j, f := e.eraser()
	e.ok("Tell", e.Tell(e.ctx, f, ann(), now.Add(time.Hour), idsOf("Patient/1", "Patient/2", "NoSuchType/1")))
	e.same("notices", e.told(north, ann(), now, 9), []string{"NoSuchType/1", "Patient/1", "Patient/2"})
	e.same("finds", e.found(j, 9), nil)
	e.same("residue", e.residue(store.Gone{IDs: idsOf("Patient/2"), Patients: []string{"2"}}), nil)
	e.commit(write("Patient/2", "a"))
	e.same("notices", e.told(north, ann(), now, 9), []string{"NoSuchType/1", "Patient/1", "Patient/2"})
}

// noticesUntell sees what is there by asking as of before.
func noticesUntell(e *env) {
	now := e.clock.Now()
	for _, t := range []store.Tenant{north, south} {
		e.tell(t, ann(), now.Add(time.Minute), "Patient/1", "Patient/2", "Patient/3")
		e.tell(t, bob(), now.Add(time.Hour), "Patient/1")
		e.tell(t, ann(), now.Add(time.Hour), "Patient/2")
	}
	check := func(what string, ofAnn, ofBob []string) {
		e.Helper()
		for _, t := range []store.Tenant{north, south} {
			e.same(fmt.Sprint(what, " of ann in ", t), e.told(t, ann(), now, 9), ofAnn)
			e.same(fmt.Sprint(what, " of bob in ", t), e.told(t, bob(), now, 9), ofBob)
		}
	}
	e.ok("Untell", e.Untell(e.ctx, now.Add(time.Minute-time.Millisecond)))
	check("notices", []string{"Patient/1", "Patient/2", "Patient/3"}, []string{"Patient/1"})
	for range 2 {
		e.ok("Untell", e.Untell(e.ctx, now.Add(time.Minute)))
		check("what is left", []string{"Patient/2"}, []string{"Patient/1"})
	}
	e.ok("Untell", e.Untell(e.ctx, now.Add(time.Hour)))
	check("nothing is left", nil, nil)
	e.tell(north, ann(), now.Add(time.Second), "Patient/1")
	e.same("told anew", e.told(north, ann(), now, 9), []string{"Patient/1"})
}

func noticesStay(e *env) {
	now := e.clock.Now()
	j, f := e.planner(north)
	e.ok("Tell", e.Tell(e.ctx, f, ann(), now.Add(time.Hour), idsOf("Patient/1")))
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.is("Tell", e.Tell(e.ctx, f, ann(), now.Add(time.Hour), idsOf("Patient/2")), store.ErrFenced)
	e.same("notices", e.told(north, ann(), now, 9), []string{"Patient/1"})
}

func noticesMany(e *env) {
	now := e.clock.Now()
	var refs []string
	for i := range 2500 {
		refs = append(refs, fmt.Sprintf("%s/%04d", []string{"Observation", "Patient"}[i%2], i))
	}
	e.tell(north, ann(), now.Add(time.Minute), refs...)
	e.tell(north, ann(), now.Add(time.Hour), refs[0])
	slices.Sort(refs)
	for _, n := range []int{500, 1000, 5000} {
		e.same(fmt.Sprintf("notices in pages of %d", n), e.told(north, ann(), now, n), refs)
	}
	e.ok("Untell", e.Untell(e.ctx, now.Add(time.Minute)))
	e.same("what is left", e.told(north, ann(), now, 9), refs[:1])
}

func noticesDurable(e *env) {
	e.needReopen()
	now := e.clock.Now()
	e.tell(north, ann(), now.Add(time.Hour), "Patient/1", "Patient/2")
	e.tell(north, ann(), now.Add(time.Minute), "Patient/3")
	e.ok("Untell", e.Untell(e.ctx, now.Add(time.Minute)))
	e.reopen()
	e.same("notices", e.told(north, ann(), now, 9), []string{"Patient/1", "Patient/2"})
	e.tell(north, ann(), now.Add(time.Hour), "Patient/0")
	e.same("notices", e.told(north, ann(), now, 9), []string{"Patient/0", "Patient/1", "Patient/2"})
}
