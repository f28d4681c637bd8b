package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func anewCases() []testCase {
	return []testCase{
		{"a job under way that loses a part begins anew", anewBegins},
		{"what a job did that began anew ends with what it finds then", anewEnds},
		{"a job begins anew after its last unit ended, until it is settled", anewUnsettled},
		{"a job that has ended does not begin anew", anewEnded},
		{"a job that was asked to stop does not begin anew", anewCancelled},
		{"a job does not begin anew of which Void voids nothing, nor one of another tenant", anewOthers},
		{"the job that voids does not begin anew itself", anewOwn},
		{"a void part of a unit of phase 0 stays when its job begins anew", anewFirstPhase},
		{"what was void before goes when the job begins anew", anewVoidBefore},
		{"units of every state are put back when their job begins anew", anewStates},
		{"a unit that is added again counts on, so that no fence of before holds", anewAdded},
		{"a part of the new attempt holds whom it says, and no one of before", anewHolds},
		{"a job may begin anew again", anewAgain},
		{"a job of many units and parts begins anew", anewMany},
		{"Watch wakes when a job begins anew", anewWakes},
		{"that a job began anew is there after the store was opened again", anewDurable},
	}
}

// claimAnew claims a unit of a job that began anew.
func (e *env) claimAnew(kind string) (job.Unit, store.Fence) {
	e.Helper()
	e.clock.advance(store.AnewAfter)
	return e.claim(kind)
}

// phased makes a job of a plan, of units a and b after that, and of c after
// those. The plan has ended, with these parts, and a and b are at work.
func (e *env) phased(kind string, parts ...job.Part) (job.Job, map[string]store.Fence) {
	e.Helper()
	j := e.create(kind, unit("plan", 0))
	_, f := e.claim(kind)
	e.add(f, j, unit("a", 1), unit("b", 1), unit("c", 2))
	for i, p := range parts {
		parts[i] = part(f, p.ID, p.N, p.Patients...)
	}
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: parts, Counts: job.Counts{Resources: 1}})
	return j, e.claimedOf(kind)
}

// holds ends a unit with a part that is named like it.
func (e *env) holds(f store.Fence, n int, patients ...string) {
	e.Helper()
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, f.Unit, n, patients...)}, Counts: job.Counts{Resources: 5, Bytes: 7}})
}

// isAnew asserts that a job of a plan, a, b and c began anew for the nth time.
func (e *env) isAnew(j job.Job, n int) {
	e.Helper()
	was := e.peek(j)
	e.same("restarts", was.Restarts, n)
	was.Restarts, j.Restarts = 0, 0
	e.same("the job", was, j)
	got := e.tally(j)
	e.same("units", e.states(j), []int{3, 0, 1, 0, 0})
	e.same("what is done", got.Done, job.Counts{Resources: 1})
	e.that(got.Errors == 0 && got.Lost == 0 && len(got.Reasons) == 0 && got.Reason == nil, "the tally is %+v", got)
}

func anewBegins(e *env) {
	e.clock.stop()
	j, by := e.phased("export", job.Part{ID: "first", N: 1, Patients: []string{"p2"}})
	e.end(by["a"], job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(by["a"], "x", 2, "p1", "p2"), part(by["a"], "y", 3, "p3"), part(by["a"], "z", 0)}})
	_, purge := e.eraser()
	ps, err := e.Void(e.ctx, purge, []string{"p1", "nobody"})
	e.ok("Void", err)
	e.that(len(ps) == 1 && ps[0].Job == j.ID && ps[0].ID == "x" && ps[0].Name == part(by["a"], "x", 2).Name, "Void gives %+v", ps)
	e.isAnew(j, 1)
	e.fenced(by["a"])
	e.fenced(by["b"])
	e.same("parts", partIDs(e.parts(j)), []string{"first"})
	e.same("void parts", e.voided(j), nil)
	e.same("places", []string{e.place(j, 1), e.place(j, 2), e.place(j, 3)}, []string{"first", store.ErrNotFound.Error(), store.ErrNotFound.Error()})
	for patient, want := range map[string][]string{"p1": nil, "p2": {j.ID + "/first"}, "p3": nil} {
		e.same("parts that hold "+patient, e.holding(patient), want)
	}
	e.same("residue", e.residue(store.Gone{Patients: []string{"p1", "p3"}}), nil)
	e.same("voided again", e.voidBy(purge, "p1"), nil)
	e.ok("Forget", e.Forget(e.ctx, north, ps))
	e.isAnew(j, 1)
	e.noClaim("export")
	at := e.clock.Now().Add(store.AnewAfter)
	e.that(e.nextRun("export").Equal(at), "NextRun is %v, want %v", e.nextRun("export"), at)
	e.clock.advance(store.AnewAfter - time.Millisecond)
	e.noClaim("export")
}

func anewEnds(e *env) {
	e.clock.stop()
	j, by := e.phased("export")
	e.holds(by["a"], 0, "p1", "p2")
	e.holds(by["b"], 0, "p3")
	_, f := e.claim("export")
	e.void("p1")
	e.fenced(f)
	e.clock.advance(store.AnewAfter)
	for range 2 {
		u, f := e.claim("export")
		e.that(u.Attempt == 2 && u.Errors == 0 && u.Lost == 0 && u.Counts == (job.Counts{}) && u.Updated.Equal(e.clock.Now()), "claimed %+v", u)
		e.holds(f, 0, map[string]string{"a": "p2", "b": "p3"}[u.ID])
	}
	for _, f := range by {
		e.fenced(f)
	}
	u, f := e.claim("export")
	e.that(u.ID == "c" && u.Attempt == 2, "claimed %+v", u)
	joined := part(f, "joined", 1)
	joined.Joins = []string{"a", "b"}
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{joined}, Drop: []job.Part{{ID: "a"}, {ID: "b"}}})
	e.same("parts", partIDs(e.parts(j)), []string{"joined"})
	for patient, want := range map[string][]string{"p1": nil, "p2": {j.ID + "/joined"}, "p3": {j.ID + "/joined"}} {
		e.same("parts that hold "+patient, e.holding(patient), want)
	}
	e.same("units", e.states(j), []int{0, 0, 4, 0, 0})
	e.same("done", e.tally(j).Done, job.Counts{Resources: 11, Bytes: 14})
	e.update(j, e.start)
	e.update(j, e.succeedsJob)
}

func anewUnsettled(e *env) {
	j, by := e.phased("export")
	j = e.update(j, e.start)
	e.holds(by["a"], 0, "p1")
	e.succeed(by["b"])
	_, f := e.claim("export")
	e.end(f, job.UnitEnd{State: job.Succeeded, Numbers: map[string]int{"a": 1}})
	e.same("all of it", e.states(j), []int{0, 0, 4, 0, 0})
	counted := e.tally(j)
	e.same("voided", e.void("p1"), []string{j.ID + "/a"})
	e.isAnew(j, 1)
	// Whoever counted before sees by the job that it was before.
	e.update(j, func(now job.Job) (job.Job, error) {
		if now.Restarts != j.Restarts {
			return now, nil
		}
		return now.Settle(counted, e.clock.Now())
	})
	e.isAnew(j, 1)
	u, _ := e.claimAnew("export")
	e.that(u.ID == "a" || u.ID == "b", "claimed %+v", u)
}

func anewEnded(e *env) {
	for kind, end := range map[string]func(job.Job) (job.Job, error){"succeeded": e.succeedsJob, "failed": e.failsBecause} {
		patient := "p-" + kind
		j, by := e.phased(kind)
		e.update(j, e.start)
		e.holds(by["a"], 1, patient, "p2")
		e.holds(by["b"], 2, "p2")
		j = e.update(j, end)
		before := e.tally(j)
		e.same("voided", e.void(patient), []string{j.ID + "/a"})
		e.same("the job", e.peek(j), j)
		e.same("its units", e.tally(j), before)
		e.same("its parts", partIDs(e.parts(j)), []string{"b"})
		e.same("places", []string{e.place(j, 1), e.place(j, 2)}, []string{store.ErrGone.Error(), "b"})
		e.same("voided still", e.void(patient), []string{j.ID + "/a"})
	}
}

func anewCancelled(e *env) {
	j, by := e.phased("export")
	e.holds(by["a"], 1, "p1")
	j = e.update(j, e.requestStop)
	before := e.tally(j)
	e.same("voided", e.void("p1"), []string{j.ID + "/a"})
	e.same("the job", e.peek(j), j)
	e.same("its units", e.tally(j), before)
	e.same("its place", e.place(j, 1), store.ErrGone.Error())
	e.end(by["b"], job.UnitEnd{State: job.Cancelled})
	e.update(j, e.stopped)
}

func anewOthers(e *env) {
	j, by := e.phased("export")
	e.holds(by["a"], 1, "p2")
	theirs := e.createIn(south, "theirs", unit("plan", 0), unit("a", 1))
	_, f := e.claim("theirs")
	e.succeed(f)
	_, f = e.claim("theirs")
	e.holds(f, 1, "p1")
	before, there := e.tally(j), e.tally(theirs)
	e.same("voided", e.void("p1"), nil)
	e.same("its units", e.tally(j), before)
	e.same("their units", e.tally(theirs), there)
	e.same("their parts", partIDs(e.parts(theirs)), []string{"a"})
	e.holds(by["b"], 2, "p2")
}

func anewOwn(e *env) {
	j, by := e.phased("retention")
	e.holds(by["a"], 1, "p1")
	other, theirs := e.phased("export")
	e.holds(theirs["a"], 1, "p1")
	e.same("voided", e.voidBy(by["b"], "p1"), sorted([]string{j.ID + "/a", other.ID + "/a"}))
	e.isAnew(other, 1)
	e.same("the place of its own", e.place(j, 1), store.ErrGone.Error())
	e.same("restarts of its own", e.peek(j).Restarts, 0)
	e.succeed(by["b"])
}

func anewFirstPhase(e *env) {
	j, by := e.phased("export", job.Part{ID: "first", N: 1, Patients: []string{"p1"}}, job.Part{ID: "second", N: 2, Patients: []string{"p2"}})
	e.holds(by["a"], 3, "p2")
	_, f := e.eraser()
	for range 2 { // it begins anew once
		e.same("voided", e.voidBy(f, "p1"), []string{j.ID + "/first"})
		e.isAnew(j, 1)
	}
	e.same("places", []string{e.place(j, 1), e.place(j, 2), e.place(j, 3)}, []string{store.ErrGone.Error(), "second", store.ErrNotFound.Error()})
	e.same("void parts", e.voided(j), []string{"first"})
	e.same("parts that hold p2", e.holding("p2"), []string{j.ID + "/second"})
}

func anewVoidBefore(e *env) {
	j, by := e.phased("export")
	e.holds(by["a"], 1, "p1", "p3")
	e.holds(by["b"], 2, "p2")
	j = e.update(j, e.failsBecause)
	e.same("voided", e.void("p1"), []string{j.ID + "/a"})
	j = e.retry(j)
	e.same("void parts", e.voided(j), []string{"a"})
	e.same("voided, and before", e.void("p2", "p3"), []string{j.ID + "/a", j.ID + "/b"})
	e.isAnew(j, 1)
	e.same("void parts", e.voided(j), nil)
	e.same("voided", e.void("p1", "p2", "p3"), nil)
}

// anewStates has units that succeeded, failed, erred, were lost, are at work,
// and wait for their instant or their phase.
func anewStates(e *env) {
	e.clock.stop()
	e.commit(write("Patient/9", "a"))
	late, waits := unit("late", 1), unit("waits", 1)
	late.RunAt, waits.RunAt = e.clock.Now().Add(time.Hour), e.clock.Now().Add(time.Millisecond)
	late.Counts.Planned = 30
	j := e.create("export", unit("plan", 0), unit("done", 1), unit("erred", 1), unit("failed", 1), late, unit("lost", 1), unit("then", 2), unit("works", 1), waits)
	_, f := e.claim("export")
	e.succeed(f)
	by := e.claimed()
	e.note(by["done"], 4, didThis)
	e.erase(by["done"], e.refsTo("Patient/9"))
	e.end(by["done"], job.UnitEnd{State: job.Succeeded, Result: json.RawMessage(didThat), Parts: []job.Part{part(by["done"], "x", 0, "p1")}})
	e.errs(by["erred"], "once")
	e.fails(by["failed"], "for good")
	e.clock.advance(lease + time.Millisecond)
	e.ok("Renew", e.Renew(e.ctx, by["works"], lease))
	e.void("p1")
	at := e.clock.Now().Add(store.AnewAfter)
	want := unitsOf(j, unit("done", 1), unit("erred", 1), unit("failed", 1), late, unit("lost", 1))
	for i := range want {
		want[i].State, want[i].Attempt, want[i].RunAt, want[i].Updated = job.Queued, 1, at, e.clock.Now()
	}
	want[0].Erased = job.Erased{Versions: 1, Resources: 1}
	want[3].Attempt, want[3].RunAt = 0, late.RunAt
	us := e.unitsOf(j, 20)
	e.same("units", us[:5], want)
	e.that(us[5].ID == "plan" && us[5].State == job.Succeeded && us[5].RunAt.IsZero(), "the plan is %+v", us[5])
	e.same("the tally", e.tally(j), job.Tally{Queued: 8, Succeeded: 1, Planned: 30, Attempts: 6, Erased: want[0].Erased, LastEnd: us[5].Updated})
	e.clock.advance(store.AnewAfter)
	ids, _ := e.claimAll("export")
	e.same("claimed", ids, []string{"done", "erred", "failed", "lost", "waits", "works"})
}

func anewAdded(e *env) {
	j := e.create("export", unit("plan", 0), unit("p", 1))
	_, f := e.claim("export")
	e.succeed(f)
	for round := range 3 {
		_, f = e.claim("export")
		e.add(f, j, unit("q", 2), unit(fmt.Sprint("only-", round), 2))
		e.holds(f, 0, "p1")
		by := e.claimed()
		e.same("claimed", len(by), 2)
		e.same("voided", e.void("p1"), []string{j.ID + "/p"})
		for _, f := range by {
			e.fenced(f)
		}
		_, again := e.claimAnew("export")
		e.add(again, j, unit("q", 2))
		e.holds(again, 0, "p2")
		u, now := e.claim("export")
		e.that(u.ID == "q" && u.Attempt > by["q"].Attempt, "claimed %+v after %+v", u, by["q"])
		for _, f := range by {
			e.fenced(f)
		}
		e.noClaim("export")
		e.ok("Renew", e.Renew(e.ctx, now, lease))
		e.same("voided", e.void("p2"), []string{j.ID + "/p"})
		e.clock.advance(store.AnewAfter)
	}
}

func anewHolds(e *env) {
	j, by := e.phased("export")
	e.holds(by["a"], 0, "p1", "p2", "p3")
	e.holds(by["b"], 0, "p4")
	e.void("p1")
	e.clock.advance(store.AnewAfter)
	by = e.claimed()
	e.holds(by["a"], 0, "p2")
	for patient, want := range map[string][]string{"p1": nil, "p2": {j.ID + "/a"}, "p3": nil, "p4": nil} {
		e.same("parts that hold "+patient, e.holding(patient), want)
	}
	e.same("residue", e.residue(store.Gone{Patients: []string{"p1", "p3", "p4"}}), nil)
	e.same("voided", e.void("p3", "p4"), nil)
	e.holds(by["b"], 0, "p5")
	e.same("residue", e.residue(store.Gone{Patients: []string{"p4", "p5"}}), []string{"part Patient/p5 " + j.ID + "/b"})
}

func anewAgain(e *env) {
	j, by := e.phased("export")
	for n := 1; n <= 3; n++ {
		patient := fmt.Sprint("p", n)
		e.holds(by["a"], 1, patient)
		e.same("voided", e.void(patient), []string{j.ID + "/a"})
		e.isAnew(j, n)
		e.clock.advance(store.AnewAfter)
		by = e.claimed()
		e.that(by["a"].Attempt == n+1 && by["b"].Attempt == n+1, "claimed %+v", by)
	}
}

func anewMany(e *env) {
	us := manyUnits(2500, 1)
	j := e.create("export", append(us, unit("plan", 0))...)
	_, f := e.claim("export")
	e.succeed(f)
	for i := range 20 {
		_, f := e.claim("export")
		var ps []job.Part
		for n := range 60 {
			ps = append(ps, part(f, fmt.Sprintf("%s-%d", f.Unit, n), i*60+n+1, "p1", fmt.Sprint("p", i, "-", n)))
		}
		e.end(f, job.UnitEnd{State: job.Succeeded, Parts: ps})
	}
	_, f = e.claim("export")
	_, purge := e.eraser()
	e.same("voided", len(e.voidBy(purge, "p1")), 1200)
	e.same("units", e.states(j), []int{2500, 0, 1, 0, 0})
	e.same("parts", e.parts(j), nil)
	e.fenced(f)
	e.same("residue", e.residue(store.Gone{Patients: []string{"p1", "p3-7"}}), nil)
}

func anewWakes(e *env) {
	_, by := e.phased("export")
	e.holds(by["a"], 1, "p1")
	_, f := e.eraser()
	ch := e.watch(e.ctx)
	e.voidBy(f, "p1")
	e.wakes(ch)
}

func anewDurable(e *env) {
	e.needReopen()
	j, by := e.phased("export")
	e.holds(by["a"], 1, "p1", "p2")
	e.void("p1")
	e.reopen()
	e.isAnew(j, 1)
	e.fenced(by["b"])
	e.same("parts", e.parts(j), nil)
	e.clock.advance(store.AnewAfter)
	by = e.claimed()
	e.that(len(by) == 2 && by["a"].Attempt == 2, "claimed %+v", by)
	e.holds(by["a"], 1, "p2")
	e.same("parts that hold p2", e.holding("p2"), []string{j.ID + "/a"})
}
