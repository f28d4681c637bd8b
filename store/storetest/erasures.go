package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func announceCases() []testCase {
	return []testCase{
		{"a unit claimed before an announcement cannot end with a part that holds the patient", announceRefuses},
		{"a unit claimed before an announcement may end with what is not announced", announceOthers},
		{"a unit claimed after an announcement may end", announceLater},
		{"an announcement meets the patients of joined parts", announceJoins},
		{"announcing again changes nothing in the same job, and counts in another", announceAgain},
		{"announcements are their tenant's", announceTenants},
		{"a unit claimed before an announcement that went with its job meets every patient", announceRemoved},
		{"announcements are there after the store was opened again", announceDurable},
	}
}

// announce announces patients by a job of its own.
func (e *env) announce(patients ...string) (job.Job, store.Fence) {
	e.Helper()
	j, f := e.eraser()
	e.ok("Announce", e.Announce(e.ctx, f, patients))
	return j, f
}

// ends ends a unit with a part that holds the patients.
func (e *env) ends(f store.Fence, id string, patients ...string) error {
	return e.End(e.ctx, f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, id, 0, patients...)}})
}

func announceRefuses(e *env) {
	j := e.create("export", unit("a", 0), unit("b", 1))
	_, f := e.claim("export")
	e.announce("p1", "p2")
	before := e.tally(j)
	err := e.End(e.ctx, f, job.UnitEnd{
		State: job.Succeeded, Counts: job.Counts{Resources: 7}, Parts: []job.Part{part(f, "x", 1), part(f, "y", 2, "p0", "p2", "p9")},
	})
	e.is("End", err, store.ErrErased)
	e.same("parts", e.parts(j), nil)
	e.same("the tally", e.tally(j), before)
	e.noClaim("export")
	e.ok("Renew", e.Renew(e.ctx, f, lease))
	e.end(f, job.UnitEnd{State: job.Queued})
	u, f := e.claim("export")
	e.that(u.ID == "a" && u.Attempt == 2, "claimed %+v", u)
	e.ok("End of the next attempt", e.ends(f, "y", "p2"))
	e.same("parts of the patient", e.holding("p2"), []string{j.ID + "/y"})
}

func announceOthers(e *env) {
	e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 0))
	by := e.claimed()
	e.announce("p1")
	e.ok("End without patients", e.ends(by["a"], "x"))
	e.ok("End with others", e.ends(by["b"], "y", "p2", "P1", "p11", "p"))
	e.end(by["c"], job.UnitEnd{State: job.Failed, Parts: []job.Part{part(by["c"], "z", 0, "p1")}})
	e.end(by["d"], job.UnitEnd{State: job.Queued, Parts: []job.Part{part(by["d"], "z", 0, "p1")}})
}

func announceLater(e *env) {
	e.clock.stop()
	e.create("export", unit("a", 0), unit("b", 0))
	_, lost := e.claim("export")
	e.announce("p1")
	e.clock.advance(lease + time.Millisecond)
	by := e.claimed()
	e.is("End", e.ends(lost, "w", "p1"), store.ErrFenced)
	e.ok("End of what was lost", e.ends(by["a"], "x", "p1"))
	e.ok("End of what was new", e.ends(by["b"], "y", "p1"))
	e.same("parts of the patient", len(e.holding("p1")), 2)
}

func announceJoins(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 0, "p1"), part(f, "y", 0, "p2")}
	})
	_, f := e.claim("export")
	e.announce("p2")
	joined := part(f, "joined", 1)
	joined.Joins = []string{"x", "y"}
	end := job.UnitEnd{State: job.Succeeded, Parts: []job.Part{joined}, Drop: []job.Part{{ID: "x"}, {ID: "y"}}, Numbers: map[string]int{"joined": 1}}
	e.is("End", e.End(e.ctx, f, end), store.ErrErased)
	e.same("parts", partIDs(e.parts(j)), []string{"x", "y"})
	end.Parts[0].Joins, end.Drop = []string{"x"}, end.Drop[:1]
	e.end(f, end)
	e.same("parts", partIDs(e.parts(j)), []string{"joined", "y"})
}

func announceAgain(e *env) {
	e.create("export", unit("a", 0), unit("b", 0), unit("c", 0))
	_, purge := e.announce("p1")
	_, first := e.claim("export")
	e.ok("Announce", e.Announce(e.ctx, purge, []string{"p1", "p1"}))
	e.ok("Announce nobody", e.Announce(e.ctx, purge, nil))
	e.ok("End", e.ends(first, "x", "p1"))
	_, second := e.claim("export")
	e.ok("Announce", e.Announce(e.ctx, purge, []string{"p2", "p1"}))
	e.ok("End with the old one", e.ends(second, "y", "p1"))
	_, third := e.claim("export")
	e.announce("p1")
	e.is("End with one of another job", e.ends(third, "z", "p1"), store.ErrErased)
	e.is("End with one of the first", e.ends(third, "z", "p3", "p1"), store.ErrErased)
	e.ok("End", e.ends(third, "z", "p2"))
}

func announceTenants(e *env) {
	e.createIn(south, "export", unit("a", 0))
	_, f := e.claim("export")
	e.announce("p1")
	e.ok("End", e.ends(f, "x", "p1"))
}

func announceRemoved(e *env) {
	e.create("export", unit("a", 0), unit("b", 0), unit("c", 0), unit("d", 0))
	_, first := e.claim("export")
	purge, f := e.announce("p1")
	_, second := e.claim("export")
	e.announce("p2")
	e.ok("Remove", e.Remove(e.ctx, north, purge.ID))
	e.is("Announce", e.Announce(e.ctx, f, []string{"p3"}), store.ErrFenced)
	e.is("End with the announced", e.ends(first, "w", "p1"), store.ErrErased)
	e.is("End with any patient", e.ends(first, "w", "p9"), store.ErrErased)
	e.ok("End without patients", e.ends(first, "w"))
	_, third := e.claim("export")
	e.ok("End of a later one", e.ends(third, "y", "p1", "p2"))
	e.is("End with one that is still announced", e.ends(second, "x", "p2"), store.ErrErased)
	e.end(second, job.UnitEnd{State: job.Queued})
}

func announceDurable(e *env) {
	e.needReopen()
	e.create("export", unit("a", 0), unit("b", 0))
	by := e.claimed()
	purge, _ := e.announce("p1")
	e.reopen()
	e.is("End", e.ends(by["a"], "x", "p1"), store.ErrErased)
	e.ok("Remove", e.Remove(e.ctx, north, purge.ID))
	e.reopen()
	e.is("End with any patient", e.ends(by["b"], "y", "p2"), store.ErrErased)
}

func voidCases() []testCase {
	return []testCase{
		{"a voided part is gone from lists, and its place says so", voidHides},
		{"a voided part that was not public is so when it gets a number", voidNumbered},
		{"Void tells of which jobs the parts are, those that have not ended too", voidJobs},
		{"Void returns a part again until it is forgotten", voidAgain},
		{"nothing joins or drops a void part", voidJoins},
		{"Void announces anew", voidAnnounces},
		{"Forget takes only what is void, under its name", voidForget},
		{"void parts go with their job", voidRemoved},
		{"void parts are there after the store was opened again", voidDurable},
		{"many parts of many patients are voided at once", voidMany},
		{"parts are voided that hold nobody, as they were listed", voidThese},
	}
}

// void voids by a job of its own, and names what is to be removed.
func (e *env) void(patients ...string) []string {
	e.Helper()
	_, f := e.eraser()
	return e.voidBy(f, patients...)
}

func (e *env) voidBy(f store.Fence, patients ...string) []string {
	e.Helper()
	ps, err := e.Void(e.ctx, f, patients)
	e.ok("Void", err)
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Job + "/" + p.ID
		e.that(p.Name != "", "a part without the name of its file: %+v", p)
	}
	return sorted(names)
}

// place tells what the public name of a Patient part of a job answers.
func (e *env) place(j job.Job, n int) string {
	e.Helper()
	p, err := e.Part(e.ctx, store.Tenant(j.Tenant), j.ID, job.PartName{Category: job.Output, Type: "Patient", N: n})
	if err != nil {
		return err.Error()
	}
	return p.ID
}

func voidHides(e *env) {
	a, was := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 1, "p1", "p2"), part(f, "y", 2, "p2"), part(f, "z", 3), part(f, "w", 0, "p1")}
	})
	b, _ := e.written("import", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1")} })
	theirs := e.createIn(south, "theirs", unit("a", 0))
	_, f := e.claim("theirs")
	e.ok("End", e.ends(f, "x", "p1"))
	_, purge := e.eraser()
	ps, err := e.Void(e.ctx, purge, []string{"p1", "nobody"})
	e.ok("Void", err)
	slices.SortFunc(ps, func(p, q job.Part) int { return slices.Compare([]string{p.Job, p.ID}, []string{q.Job, q.ID}) })
	e.that(len(ps) == 3, "Void gives %+v", ps)
	e.same("a voided part", []string{ps[0].Job, ps[0].ID, ps[0].Name, ps[1].ID, ps[2].Job}, []string{a.ID, "w", was[3].Name, "x", b.ID})
	e.same("parts of the first", partIDs(e.parts(a)), []string{"y", "z"})
	e.same("parts of the second", e.parts(b), nil)
	e.same("their parts", partIDs(e.parts(theirs)), []string{"x"})
	e.same("places", []string{e.place(a, 1), e.place(a, 2), e.place(a, 3), e.place(a, 4), e.place(b, 1)},
		[]string{store.ErrGone.Error(), "y", "z", store.ErrNotFound.Error(), store.ErrGone.Error()})
	e.same("parts that hold p1", e.holding("p1"), nil)
	e.same("parts that hold p2", e.holding("p2"), []string{a.ID + "/y"})
	e.same("void parts of the first", e.voided(a), []string{"x"})
	e.same("void parts of the second", e.voided(b), []string{"x"})
	e.same("their void parts", e.voided(theirs), nil)
}

func voidNumbered(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 0, "p1"), part(f, "y", 0, "p1")} })
	_, purge := e.eraser()
	ps, err := e.Void(e.ctx, purge, []string{"p1"})
	e.ok("Void", err)
	e.ok("Forget", e.Forget(e.ctx, north, ps[:1]))
	_, f := e.claimAnew("export")
	e.end(f, job.UnitEnd{State: job.Succeeded, Numbers: map[string]int{"x": 1, "y": 2}})
	e.same("places", []string{e.place(j, 1), e.place(j, 2)}, []string{store.ErrGone.Error(), store.ErrGone.Error()})
	e.same("parts", e.parts(j), nil)
}

// voidJobs finds by the answer which exports lack something, and go on.
func voidJobs(e *env) {
	running, _ := e.written("running", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 0, "p1", "p2"), part(f, "y", 1, "p1"), part(f, "z", 0, "p2")}
	})
	e.written("untouched", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 0, "p2")} })
	ended, _ := e.written("ended", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1")} })
	e.update(ended, e.failsBecause)
	_, f := e.eraser()
	for range 2 { // whoever voided them
		ps, err := e.Void(e.ctx, f, []string{"p1"})
		e.ok("Void", err)
		var open []string
		for _, p := range ps {
			j, err := e.Peek(e.ctx, north, p.Job)
			e.ok("Peek", err)
			if !j.State.Final() {
				open = append(open, fmt.Sprint(j.ID, "/", p.ID, " ", p.N))
			}
		}
		e.same("void parts", len(ps), 3)
		e.same("those of a job that has not ended", sorted(open), []string{running.ID + "/x 0", running.ID + "/y 1"})
	}
	_, f = e.claimAnew("running")
	e.end(f, job.UnitEnd{State: job.Succeeded})
}

func voidAgain(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 1, "p1", "p2"), part(f, "y", 2, "p2"), part(f, "z", 3, "p3")}
	})
	x, y := j.ID+"/x", j.ID+"/y"
	_, f := e.eraser()
	e.same("voided", e.voidBy(f, "p1"), []string{x})
	e.same("again", e.voidBy(f, "p1"), []string{x})
	e.same("by another who shares it", e.void("p2"), []string{x, y})
	ps, err := e.Void(e.ctx, f, []string{"p1"})
	e.ok("Void", err)
	e.ok("Forget", e.Forget(e.ctx, north, ps))
	e.ok("Forget again", e.Forget(e.ctx, north, ps))
	e.same("after it was forgotten", e.voidBy(f, "p1"), nil)
	e.same("the other", e.void("p2", "p1"), []string{y})
	e.same("places", []string{e.place(j, 1), e.place(j, 2), e.place(j, 3)}, []string{store.ErrGone.Error(), store.ErrGone.Error(), "z"})
	e.same("nobody", e.void(), nil)
}

func voidJoins(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 0, "p1"), part(f, "y", 0, "p2")} })
	e.announce("p1")
	_, purge := e.eraser()
	ps, err := e.Void(e.ctx, purge, []string{"p1"})
	e.ok("Void", err)
	_, f := e.claimAnew("export")
	joined := part(f, "joined", 0)
	for _, forget := range [][]job.Part{nil, ps} {
		e.ok("Forget", e.Forget(e.ctx, north, forget))
		joined.Joins = []string{"x", "y"}
		e.is("End", e.End(e.ctx, f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{joined}}), store.ErrErased)
		e.is("End", e.End(e.ctx, f, job.UnitEnd{State: job.Succeeded, Drop: []job.Part{{ID: "x"}}}), store.ErrErased)
	}
	joined.Joins = []string{"y"}
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{joined}, Drop: []job.Part{{ID: "y"}}})
	e.same("parts", partIDs(e.parts(j)), []string{"joined"})
}

func voidAnnounces(e *env) {
	e.create("export", unit("a", 0), unit("b", 0), unit("c", 0))
	_, purge := e.announce("p1")
	_, f := e.claim("export")
	e.same("voided", e.voidBy(purge, "p1", "p2"), nil)
	e.is("End", e.ends(f, "x", "p1"), store.ErrErased)
	e.is("End", e.ends(f, "x", "p2"), store.ErrErased)
	_, later := e.claim("export")
	e.ok("End", e.ends(later, "y", "p1", "p2"))
	e.ok("Announce", e.Announce(e.ctx, purge, []string{"p1", "p2"}))
	_, later = e.claim("export")
	e.ok("End", e.ends(later, "z", "p1", "p2"))
}

func voidForget(e *env) {
	j, was := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1"), part(f, "y", 2, "p2")} })
	e.ok("Forget", e.Forget(e.ctx, north, append(was, job.Part{Job: j.ID, ID: "unknown"}, job.Part{Job: "unknown", ID: "x"})))
	e.ok("Forget nothing", e.Forget(e.ctx, north, nil))
	e.same("parts", e.parts(j), was)
	_, f := e.eraser()
	e.same("voided", e.voidBy(f, "p1"), []string{j.ID + "/x"})
	e.ok("Forget", e.Forget(e.ctx, south, was))
	other := was[0]
	other.Name = "another"
	e.ok("Forget", e.Forget(e.ctx, north, []job.Part{other}))
	e.same("voided still", e.voidBy(f, "p1"), []string{j.ID + "/x"})
	e.ok("Forget", e.Forget(e.ctx, north, was))
	e.same("forgotten", e.voidBy(f, "p1"), nil)
	e.same("the other", e.holding("p2"), []string{j.ID + "/y"})
}

func voidRemoved(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1"), part(f, "y", 2, "p2")} })
	e.void("p1")
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.same("voided", e.void("p1", "p2"), nil)
	e.same("places", []string{e.place(j, 1), e.place(j, 2)}, []string{store.ErrNotFound.Error(), store.ErrNotFound.Error()})
}

func voidDurable(e *env) {
	e.needReopen()
	j, _ := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1"), part(f, "y", 2, "p1")} })
	_, f := e.eraser()
	ps, err := e.Void(e.ctx, f, []string{"p1"})
	e.ok("Void", err)
	e.ok("Forget", e.Forget(e.ctx, north, ps[:1]))
	e.reopen()
	e.same("parts", e.parts(j), nil)
	e.same("places", []string{e.place(j, 1), e.place(j, 2)}, []string{store.ErrGone.Error(), store.ErrGone.Error()})
	e.same("to be removed", e.voidBy(f, "p1"), []string{ps[1].Job + "/" + ps[1].ID})
}

func voidMany(e *env) {
	var patients, want []string
	for i := range 1500 {
		patients = append(patients, fmt.Sprint("p", i))
	}
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		var ps []job.Part
		for i := range 30 {
			ps = append(ps, part(f, fmt.Sprintf("%02d", i), i+1, patients[i*50:i*50+50]...))
		}
		return ps
	})
	for i := range 20 {
		want = append(want, fmt.Sprintf("%s/%02d", j.ID, i))
	}
	e.announce(patients[:1000]...)
	e.same("voided", e.void(patients[:1000]...), want)
	e.same("parts", len(e.parts(j)), 10)
}

func voidThese(e *env) {
	a, was := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 1), part(f, "y", 2, "p2"), part(f, "z", 3)}
	})
	_, f := e.eraser()
	other := was[2]
	other.Name = "another"
	void := func(these ...job.Part) []string {
		ps, err := e.Void(e.ctx, f, nil, these...)
		e.ok("Void", err)
		return partIDs(ps)
	}
	e.same("voided", void(was[0], was[1], other, job.Part{Job: a.ID, ID: "unknown"}, job.Part{Job: "unknown", ID: "x"}), []string{"x", "y"})
	e.same("parts", partIDs(e.parts(a)), []string{"z"})
	e.same("places", []string{e.place(a, 1), e.place(a, 2), e.place(a, 3)}, []string{store.ErrGone.Error(), store.ErrGone.Error(), "z"})
	e.same("again", void(was[:2]...), []string{"x", "y"})
	e.ok("Forget", e.Forget(e.ctx, north, was[:1]))
	e.same("after it was forgotten", void(was[:2]...), []string{"y"})
	e.same("by the patient", e.voidBy(f, "p2"), []string{a.ID + "/y"})
	e.same("nothing", void(), nil)
}
