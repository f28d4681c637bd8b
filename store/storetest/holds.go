package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func holdCases() []testCase {
	return []testCase{
		{"holds are listed as they were set, in order of id, in pages", holdsPages},
		{"a hold stands until its instant, and is listed after it", holdsExpire},
		{"a hold that was lifted stands no more, and keeps who lifted it first", holdsLifted},
		{"a hold of an id that is there changes nothing", holdsAgain},
		{"HeldAmong has the holds on patients of every form of id, and on the tenant", holdsAmong},
		{"a hold on a Group is on the patients that are given, many or none", holdsOnGroups},
		{"holds are their tenant's", holdsApart},
		{"Erase on account of a held patient removes nothing, and names the hold", holdsStopErase},
		{"a hold on the tenant stops every erasure of the tenant, and no other", holdsStopTenant},
		{"a hold that has ended stops no erasure", holdsEndedErase},
		{"holds are there after the store was opened again", holdsDurable},
	}
}

// hold sets a hold that is called id; more of it is for change to say.
func (e *env) hold(t store.Tenant, id string, change func(*store.Hold), patients ...string) store.Hold {
	e.Helper()
	h := store.Hold{ID: id, On: store.OnPatient, Subject: "1", By: "Ann", Why: "because of " + id, Set: e.clock.Now().UTC().Truncate(time.Millisecond)}
	change(&h)
	e.ok("SetHold", e.SetHold(e.ctx, t, h, patients...))
	return h
}

// on is what a hold is on.
func on(what store.HoldOn, subject string) func(*store.Hold) {
	return func(h *store.Hold) { h.On, h.Subject = what, subject }
}

// until ends a hold on Patient/1.
func until(at time.Time) func(*store.Hold) {
	return func(h *store.Hold) { h.Until = at.UTC().Truncate(time.Millisecond) }
}

// holdsOf lists the holds of a tenant, in pages of n.
func (e *env) holdsOf(t store.Tenant, standing time.Time, n int) []store.Hold {
	e.Helper()
	var all []store.Hold
	for after := ""; ; {
		page, err := e.Holds(e.ctx, t, standing, after, n)
		e.ok("Holds", err)
		e.that(len(page) <= n, "%d holds in a page of %d", len(page), n)
		if len(page) == 0 {
			return all
		}
		all, after = append(all, page...), page[len(page)-1].ID
	}
}

// heldNow says of patients which holds are on them: "patient: hold".
func (e *env) heldNow(t store.Tenant, at time.Time, patients ...string) []string {
	e.Helper()
	held, err := e.HeldAmong(e.ctx, t, at, patients)
	e.ok("HeldAmong", err)
	var out []string
	for _, h := range held {
		out = append(out, h.Patient+": "+h.Hold.ID)
	}
	return out
}

// onHold asserts that an erasure is refused by a hold.
func (e *env) onHold(f store.Fence, id string, vs []store.VersionRef, of ...string) {
	e.Helper()
	got, err := e.Erase(e.ctx, f, vs, of...)
	e.is("Erase", err, store.ErrOnHold)
	held := (*store.OnHold)(nil)
	e.that(errors.As(err, &held) && held.Hold.ID == id && strings.Contains(err.Error(), id), "the error is %v, of %+v", err, held)
	e.same("erased", got, job.Erased{})
}

func holdsPages(e *env) {
	now := e.clock.Now()
	want := []store.Hold{
		e.hold(north, "a", until(now.Add(time.Hour))),
		e.hold(north, "b", on(store.OnTenant, "")),
		e.hold(north, "b.1", on(store.OnGroup, "g"), "1", "2"),
		e.hold(north, "b1", on(store.OnPatient, "00000000-0000-4000-8000-000000000001")),
		e.hold(north, "c", func(h *store.Hold) { h.Why, h.By = "line\nof ü's", "<O'Neil>" }),
	}
	for _, n := range []int{1, 2, 5, 100} {
		e.same(fmt.Sprintf("holds in pages of %d", n), e.holdsOf(north, time.Time{}, n), want)
		e.same(fmt.Sprintf("standing ones in pages of %d", n), e.holdsOf(north, now, n), want)
		e.same(fmt.Sprintf("those that stand later in pages of %d", n), e.holdsOf(north, now.Add(time.Hour), n), want[1:])
	}
	page, err := e.Holds(e.ctx, north, now, "b.0", 2)
	e.ok("Holds", err)
	e.same("two after b.0", page, want[2:4])
	none, err := e.Holds(e.ctx, north, now, "", 0)
	e.ok("Holds", err)
	e.same("none", none, nil)
}

func holdsExpire(e *env) {
	e.clock.stop()
	now := e.clock.Now()
	end := now.Add(time.Hour).Truncate(time.Millisecond)
	h := e.hold(north, "a", until(end))
	for at, want := range map[time.Time][]string{now: {"1: a"}, end.Add(-time.Millisecond): {"1: a"}, end: nil, end.Add(time.Hour): nil} {
		e.same(fmt.Sprint("at ", at.Sub(now)), e.heldNow(north, at, "1"), want)
		e.same(fmt.Sprint("standing at ", at.Sub(now)), len(e.holdsOf(north, at, 9)), len(want))
		e.that(h.Stands(at) == (len(want) > 0), "Stands at %v is %v", at.Sub(now), h.Stands(at))
	}
	e.same("all", e.holdsOf(north, time.Time{}, 9), []store.Hold{h})
}

func holdsLifted(e *env) {
	now := e.clock.Now().UTC().Truncate(time.Millisecond)
	h, other := e.hold(north, "a", on(store.OnGroup, "g"), "1", "2"), e.hold(north, "b", on(store.OnPatient, "2"))
	e.same("held", e.heldNow(north, now, "1", "2"), []string{"1: a", "2: a", "2: b"})
	for i, by := range []string{"Bob", "Cid"} {
		got, err := e.LiftHold(e.ctx, north, "a", by, now.Add(time.Duration(i)*time.Hour))
		e.ok("LiftHold", err)
		h.Lifted, h.LiftedBy = now, "Bob"
		e.same("the hold", got, h)
		e.same("held", e.heldNow(north, now, "1", "2"), []string{"2: b"})
	}
	e.that(!h.Stands(now), "it stands")
	e.same("all", e.holdsOf(north, time.Time{}, 9), []store.Hold{h, other})
	e.same("standing", e.holdsOf(north, now, 9), []store.Hold{other})
	_, err := e.LiftHold(e.ctx, north, "c", "Bob", now)
	e.is("LiftHold", err, store.ErrNotFound)
	_, err = e.LiftHold(e.ctx, "nowhere", "a", "Bob", now)
	e.is("LiftHold in an unknown tenant", err, store.ErrNotFound)
}

func holdsAgain(e *env) {
	now := e.clock.Now()
	h := e.hold(north, "a", until(now.Add(time.Hour)))
	e.hold(north, "a", on(store.OnPatient, "2"))
	e.hold(north, "a", on(store.OnGroup, "g"), "3")
	e.same("all", e.holdsOf(north, time.Time{}, 9), []store.Hold{h})
	e.same("held", e.heldNow(north, now, "1", "2", "3"), []string{"1: a"})
	_, err := e.LiftHold(e.ctx, north, "a", "Bob", now)
	e.ok("LiftHold", err)
	e.hold(north, "a", until(now.Add(time.Hour)))
	e.same("held", e.heldNow(north, now, "1"), nil)
}

func holdsAmong(e *env) {
	now := e.clock.Now()
	var want, ids []string
	for i, id := range likeIDs() {
		e.hold(north, fmt.Sprintf("h%02d", i), on(store.OnPatient, id))
		ids, want = append(ids, id), append(want, fmt.Sprintf("%s: h%02d", id, i))
	}
	e.hold(north, "z", on(store.OnPatient, ids[0]))
	want = sorted(append(want, ids[0]+": z"))
	e.same("held", sorted(e.heldNow(north, now, append(ids, ids...)...)), want)
	e.same("nobody of", e.heldNow(north, now), nil)
	e.same("another", e.heldNow(north, now, "another"), nil)
	e.hold(north, "t", on(store.OnTenant, ""))
	e.same("nobody of, and the tenant", e.heldNow(north, now), []string{": t"})
	e.same("another, and the tenant", e.heldNow(north, now, "another"), []string{": t"})
	e.same("one", e.heldNow(north, now, ids[0]), []string{": t", ids[0] + ": h00", ids[0] + ": z"})
}

func holdsOnGroups(e *env) {
	now := e.clock.Now()
	var many, want []string
	for i := range 2500 {
		many = append(many, fmt.Sprintf("p%04d", i))
		want = append(want, many[i]+": a")
	}
	e.hold(north, "a", on(store.OnGroup, "g"), append(many, many[:9]...)...)
	e.hold(north, "b", on(store.OnGroup, "none"))
	e.same("held", e.heldNow(north, now, append(many, "none", "g")...), want)
	_, err := e.LiftHold(e.ctx, north, "a", "Bob", now)
	e.ok("LiftHold", err)
	e.same("held", e.heldNow(north, now, many...), nil)
}

func holdsApart(e *env) {
	now := e.clock.Now()
	n := e.hold(north, "a", on(store.OnPatient, "1"))
	s := e.hold(south, "a", on(store.OnPatient, "2"))
	e.same("north's", e.holdsOf(north, time.Time{}, 9), []store.Hold{n})
	e.same("south's", e.holdsOf(south, now, 9), []store.Hold{s})
	e.same("an unknown tenant's", e.holdsOf("nowhere", now, 9), nil)
	e.same("held in north", e.heldNow(north, now, "1", "2"), []string{"1: a"})
	e.same("held in south", e.heldNow(south, now, "1", "2"), []string{"2: a"})
	e.same("held in an unknown tenant", e.heldNow("nowhere", now, "1", "2"), nil)
	e.hold(south, "t", on(store.OnTenant, ""))
	e.same("held in north", e.heldNow(north, now, "1", "2"), []string{"1: a"})
	_, err := e.LiftHold(e.ctx, south, "a", "Bob", now)
	e.ok("LiftHold", err)
	e.same("north's", e.holdsOf(north, now, 9), []store.Hold{n})
}

func holdsStopErase(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "1"))
	j, f := e.eraser()
	e.hold(north, "a", on(store.OnPatient, "1"))
	e.hold(north, "b", on(store.OnGroup, "g"), "2", "3")
	e.onHold(f, "a", e.refsTo("Observation/1"), "9", "1")
	e.onHold(f, "b", e.refsTo("Patient/2"), "2")
	e.onHold(f, "a", nil, "1", "2")
	e.same("counted", e.unitsOf(j, 9)[0].Erased, job.Erased{})
	e.same("history", numbers(e.history("Observation/1")), []int64{1})
	got, err := e.Erase(e.ctx, f, e.refsTo("Observation/1"), "9", "4")
	e.ok("Erase on account of others", err)
	e.same("erased", got, job.Erased{Versions: 1, Resources: 1})
	got, err = e.Erase(e.ctx, f, e.refsTo("Patient/1"))
	e.ok("Erase on nobody's account", err)
	e.same("erased", got, job.Erased{Versions: 1, Resources: 1})
	e.same("the rest", numbers(e.history("Patient/2")), []int64{1})
}

func holdsStopTenant(e *env) {
	for _, t := range []store.Tenant{north, south} {
		e.commitIn(t, write("Patient/1", "a"))
	}
	_, f := e.eraser()
	_, other := e.planner(south)
	e.hold(north, "t", on(store.OnTenant, ""))
	e.onHold(f, "t", e.refsTo("Patient/1"))
	e.onHold(f, "t", e.refsTo("Patient/1"), "1")
	theirs := e.getIn(south, "Patient/1")
	e.same("south's", e.erase(other, []store.VersionRef{{Key: theirs.Key, ID: theirs.ID, N: 1}}), job.Erased{Versions: 1, Resources: 1})
	e.that(e.get("Patient/1").N == 1, "it is gone")
}

func holdsEndedErase(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	_, f := e.eraser()
	end := e.clock.Now().Add(time.Minute).Truncate(time.Millisecond)
	e.hold(north, "a", until(end))
	e.hold(north, "b", on(store.OnPatient, "2"))
	e.clock.advance(end.Sub(e.clock.Now()) - time.Millisecond)
	e.onHold(f, "a", e.refsTo("Patient/1"), "1")
	e.clock.advance(time.Millisecond)
	_, err := e.Erase(e.ctx, f, e.refsTo("Patient/1"), "1")
	e.ok("Erase after the instant", err)
	e.onHold(f, "b", e.refsTo("Patient/2"), "2")
	_, err = e.LiftHold(e.ctx, north, "b", "Bob", e.clock.Now())
	e.ok("LiftHold", err)
	_, err = e.Erase(e.ctx, f, e.refsTo("Patient/2"), "2")
	e.ok("Erase after it was lifted", err)
	e.same("what is left", len(e.history("Patient/1"))+len(e.history("Patient/2")), 0)
}

func holdsDurable(e *env) {
	e.needReopen()
	now := e.clock.Now().UTC().Truncate(time.Millisecond)
	e.commit(write("Patient/1", "a"))
	want := []store.Hold{e.hold(north, "a", until(now.Add(time.Hour))), e.hold(north, "b", on(store.OnGroup, "g"), "2"), e.hold(north, "c", on(store.OnTenant, ""))}
	_, err := e.LiftHold(e.ctx, north, "c", "Bob", now)
	e.ok("LiftHold", err)
	want[2].Lifted, want[2].LiftedBy = now, "Bob"
	e.reopen()
	e.same("holds", e.holdsOf(north, time.Time{}, 9), want)
	e.same("held", e.heldNow(north, now, "1", "2"), []string{"1: a", "2: b"})
	_, f := e.eraser()
	e.onHold(f, "a", e.refsTo("Patient/1"), "1")
}
