package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func eraseCases() []testCase {
	return []testCase{
		{"Erase removes exactly the versions that it is given, with all that finds them", eraseExactly},
		{"an erased tombstone is gone, and one may be all that is left", eraseTombstone},
		{"after all versions are erased an id is as if it had never been used", eraseWhole},
		{"a resource is left with its current version or with nothing", eraseConflict},
		{"what is not there, or does not belong together, is not erased and not counted", eraseAbsent},
		{"Erase counts on the unit, and nothing twice", eraseCounts},
		{"what was erased is counted whatever becomes of the unit and the job", eraseCountsStay},
		{"Erase is its tenant's", eraseTenants},
		{"a thousand versions are erased at once", eraseMany},
		{"a scan under way does not fail for what is erased", eraseUnderScan},
		{"history goes on across what was erased", eraseHistory},
		{"what was erased stays so after the store was opened again, and keys go on", eraseDurable},
		{"Scrub leaves all that was not erased", scrubKeeps},
		{"UnitsOf lists units as they stand, in order of id, in pages", unitsOfPages},
	}
}

// refsTo names versions of a resource; all that there are if no number is given.
func (e *env) refsTo(ref string, ns ...int64) []store.VersionRef {
	e.Helper()
	var out []store.VersionRef
	for _, v := range e.history(ref) {
		if len(ns) == 0 || slices.Contains(ns, v.N) {
			out = append(out, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		}
	}
	e.that(len(ns) == 0 || len(out) == len(ns), "%s has no versions %v", ref, ns)
	return out
}

// eraser is a running unit to erase under.
func (e *env) eraser() (job.Job, store.Fence) { e.Helper(); return e.planner(e.tenant) }

func (e *env) erase(f store.Fence, vs ...[]store.VersionRef) job.Erased {
	e.Helper()
	all := slices.Concat(vs...)
	got, err := e.Erase(e.ctx, f, all)
	e.ok("Erase", err)
	e.model(f.Tenant).erase(all)
	return got
}

// erase forgets versions.
func (m *model) erase(vs []store.VersionRef) {
	m.all = slices.DeleteFunc(m.all, func(v store.Version) bool {
		return slices.Contains(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
	})
}

func eraseExactly(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "1"), write("Patient/1", "a"), write("Patient/2", "a"))
	first := e.barrier()
	e.commit(write("Observation/1", "b", "2"), write("Patient/2", "b", "1"))
	second := e.barrier()
	e.commit(write("Observation/1", "c", "3"), write("Patient/2", "c"))
	last := e.barrier()
	_, f := e.eraser()
	kept := e.history("Observation/1")
	e.same("erased", e.erase(f, e.refsTo("Observation/1", 2), e.refsTo("Patient/2", 2)), job.Erased{Versions: 2})
	e.same("history", numbers(e.history("Observation/1")), []int64{3, 1})
	e.same("the current one", e.get("Observation/1"), kept[0])
	e.same("the first one", e.version("Observation/1", 1), kept[2])
	e.is("Version", drop(e.Version(e.ctx, north, idOf("Observation/1"), 2)), store.ErrNotFound)
	e.same("versions", labels(e.allVersions(north, "Observation/1")), []string{"Observation/1 v3", "Observation/1 v1"})
	for _, at := range []store.Tick{first, second, last} {
		e.agrees(store.Selection{At: at})
		e.agrees(store.Selection{At: at, Compartments: true})
		e.agrees(store.Selection{At: at, IDs: []string{"1", "2"}})
		e.agrees(store.Selection{At: at, Cohort: e.cohort("1", "2")}, "1", "2")
	}
	e.same("who names 2", e.mentions("Patient/2"), []string{"Patient/2"})
	e.same("who names 1", e.mentions("Patient/1"), []string{"Observation/1", "Observation/2", "Patient/1"})
	e.referrers(second, "Observation", []string{"Patient/2"}, nil)
	e.referrers(second, "Patient", []string{"Patient/1"}, nil)
	e.referrers(first, "Observation", []string{"Patient/1"}, []string{"Observation/1", "Observation/2"})
}

func eraseTombstone(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "1"), write("Observation/3", "a", "1"))
	e.commit(remove("Observation/1"), remove("Observation/2"), remove("Observation/3"))
	e.commit(write("Observation/3", "b", "2"))
	_, f := e.eraser()
	got := e.erase(f, e.refsTo("Observation/1"), e.refsTo("Observation/2", 1), e.refsTo("Observation/3", 2))
	e.same("erased", got, job.Erased{Versions: 4, Resources: 1})
	e.same("the first", e.get("Observation/1").N, int64(0))
	e.that(e.get("Observation/2").Deleted, "the second has no tombstone")
	e.same("the third", numbers(e.history("Observation/3")), []int64{3, 1})
	at := e.barrier()
	e.agrees(deleted(at))
	e.agrees(store.Selection{At: at, Deleted: true, Cohort: e.cohort("1")}, "1")
	e.same("mentions", e.mentions("Patient/1"), []string{"Observation/2", "Observation/3"})
	e.erase(f, e.refsTo("Observation/2"), e.refsTo("Observation/3", 1))
	e.same("mentions", e.mentions("Patient/1"), nil)
}

func eraseWhole(e *env) {
	a := e.commit(write("Patient/1", "a").by(ann()), write("Observation/1", "a", "1"))
	e.commit(write("Patient/1", "b"))
	last := e.commit(write("Patient/1", "c"))[0]
	before := e.barrier()
	_, f := e.eraser()
	e.same("erased", e.erase(f, e.refsTo("Patient/1"), e.refsTo("Observation/1")), job.Erased{Versions: 4, Resources: 2})
	for _, ref := range []string{"Patient/1", "Observation/1"} {
		e.same(ref, e.get(ref).N, int64(0))
		e.same("history of "+ref, e.history(ref), nil)
		e.is("Version", drop(e.Version(e.ctx, north, idOf(ref), 1)), store.ErrNotFound)
	}
	e.yields(store.Selection{At: before})
	e.same("mentions", e.mentions("Patient/1"), nil)
	e.conflicts(write("Patient/1", "d").expecting(3))
	e.that(e.commit(remove("Observation/1"))[0].Unchanged, "a deletion of what was erased wrote something")
	again := e.commit(write("Patient/1", "c").expecting(store.Absent).by(bob()))[0]
	e.that(again.N == 1 && again.Created && !again.Unchanged, "Applied is %+v", again)
	e.that(again.Key > last.Key && again.Key > a[0].Key, "key %q after %q", again.Key, last.Key)
	e.same("whom it was created for", e.get("Patient/1").Owner, bob())
	e.yields(store.Selection{At: before})
	e.yields(store.Selection{At: e.barrier()}, "Patient/1 v1")
}

func eraseConflict(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Patient/3", "a"))
	e.commit(write("Patient/1", "b"), remove("Patient/2"))
	j, f := e.eraser()
	for _, wrong := range [][]store.VersionRef{
		e.refsTo("Patient/1", 2), e.refsTo("Patient/2", 2), slices.Concat(e.refsTo("Patient/3"), e.refsTo("Patient/1", 2)),
		slices.Concat(e.refsTo("Patient/1", 2), e.refsTo("Patient/1", 2)),
	} {
		e.is("Erase", drop(e.Erase(e.ctx, f, wrong)), store.ErrConflict)
	}
	e.same("versions", labels(e.allVersions(north, "Patient/1", "Patient/2", "Patient/3")),
		[]string{"Patient/1 v2", "Patient/1 v1", "Patient/2 v2", "Patient/2 v1", "Patient/3 v1"})
	e.same("the tally", e.tally(j).Erased, job.Erased{})
	all := e.refsTo("Patient/1")
	e.commit(write("Patient/1", "c"))
	e.same("what has been replaced meanwhile", e.erase(f, all), job.Erased{Versions: 2})
	e.same("the one of meanwhile", e.get("Patient/1").N, int64(3))
	e.same("oldest first", e.erase(f, e.refsTo("Patient/2", 1)), job.Erased{Versions: 1})
	e.same("and then the rest", e.erase(f, e.refsTo("Patient/2")), job.Erased{Versions: 1, Resources: 1})
}

func eraseAbsent(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a"))
	e.commitIn(south, write("Patient/1", "a"))
	j, f := e.eraser()
	one, two, other := e.refsTo("Patient/1")[0], e.refsTo("Patient/2")[0], e.refsTo("Observation/1")[0]
	theirs := e.getIn(south, "Patient/1")
	wrong := []store.VersionRef{
		{Key: two.Key, ID: one.ID, N: 1},
		{Key: one.Key, ID: one.ID, N: 2},
		{Key: other.Key, ID: one.ID, N: 1},
		{Key: one.Key, ID: other.ID, N: 1},
		{Key: theirs.Key, ID: theirs.ID, N: 1},
		{Key: one.Key, ID: idOf("NoSuchType/1"), N: 1},
	}
	e.same("erased", e.erase(f, wrong), job.Erased{})
	e.same("erased of nothing", e.erase(f), job.Erased{})
	e.same("versions", len(e.allVersions(north, "Patient/1", "Patient/2", "Observation/1")), 3)
	e.same("theirs", e.getIn(south, "Patient/1").N, int64(1))
	gone := e.refsTo("Patient/1")
	e.erase(f, gone)
	e.commit(write("Patient/1", "b"))
	e.same("a key of a life before", e.erase(f, gone, gone), job.Erased{})
	e.same("the life after", e.get("Patient/1").N, int64(1))
	e.same("the tally", e.tally(j).Erased, job.Erased{Versions: 1, Resources: 1})
}

func eraseCounts(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Patient/3", "a"))
	e.commit(write("Patient/1", "b"), write("Patient/2", "b"))
	j, f := e.eraser()
	first := slices.Concat(e.refsTo("Patient/1"), e.refsTo("Patient/2", 1))
	e.same("erased", e.erase(f, first, first), job.Erased{Versions: 3, Resources: 1})
	got := e.tally(j)
	e.that(got.Running == 1 && got.Done == (job.Counts{}), "the tally is %+v", got)
	e.same("the tally", got.Erased, job.Erased{Versions: 3, Resources: 1})
	e.same("again", e.erase(f, first), job.Erased{})
	e.same("the rest", e.erase(f, first, e.refsTo("Patient/2"), e.refsTo("Patient/3")), job.Erased{Versions: 2, Resources: 2})
	e.same("the tally", e.tally(j).Erased, job.Erased{Versions: 5, Resources: 3})
	e.same("the unit", e.unitsOf(j, 9)[0].Erased, job.Erased{Versions: 5, Resources: 3})
}

// eraseCountsStay erases in attempts that are lost, put back, failed and
// succeed.
func eraseCountsStay(e *env) {
	e.clock.stop()
	for i := range 6 {
		e.commit(write(fmt.Sprint("Patient/", i), "a"))
	}
	j := e.create("purge", unit("a", 0), unit("b", 0))
	by := e.claimedOf("purge")
	e.erase(by["a"], e.refsTo("Patient/0"))
	e.erase(by["b"], e.refsTo("Patient/1"))
	e.fails(by["b"], "for good")
	e.same("with one that failed", e.tally(j).Erased, job.Erased{Versions: 2, Resources: 2})
	e.clock.advance(lease + time.Millisecond)
	u, f := e.claim("purge")
	e.same("a unit that was lost", u.Erased, job.Erased{Versions: 1, Resources: 1})
	e.is("Erase", drop(e.Erase(e.ctx, by["a"], e.refsTo("Patient/2"))), store.ErrFenced)
	e.erase(f, e.refsTo("Patient/2"))
	e.end(f, job.UnitEnd{State: job.Queued, Erred: true})
	_, f = e.claim("purge")
	e.erase(f, e.refsTo("Patient/3"))
	e.end(f, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7}})
	got := e.tally(j)
	e.same("the tally", got.Erased, job.Erased{Versions: 4, Resources: 4})
	e.same("done", got.Done, job.Counts{Resources: 7})
	us := e.unitsOf(j, 9)
	e.same("by unit", []int64{us[0].Erased.Versions, us[1].Erased.Versions}, []int64{3, 1})
	e.is("Erase", drop(e.Erase(e.ctx, f, e.refsTo("Patient/4"))), store.ErrFenced)
	e.same("what was not erased", e.get("Patient/4").N+e.get("Patient/5").N, int64(2))
	e.update(j, e.failsBecause)
	e.retry(j)
	e.same("after a retry", e.tally(j).Erased, got.Erased)
	_, f = e.claim("purge")
	e.erase(f, e.refsTo("Patient/4"))
	e.same("and on", e.unitsOf(j, 9)[1].Erased, job.Erased{Versions: 2, Resources: 2})
}

// claimedOf is the fences of all of a kind that can be claimed, by unit.
func (e *env) claimedOf(kind string) map[string]store.Fence {
	e.Helper()
	_, fences := e.claimAll(kind)
	by := make(map[string]store.Fence)
	for _, f := range fences {
		by[f.Unit] = f
	}
	return by
}

func eraseTenants(e *env) {
	for _, t := range []store.Tenant{north, south} {
		e.commitIn(t, write("Patient/1", "a"), write("Observation/1", "a", "1"))
	}
	_, f := e.planner(south)
	e.erase(f, e.refsTo("Patient/1")) // north's keys
	e.same("north's", e.get("Patient/1").N, int64(1))
	e.same("south's", e.getIn(south, "Patient/1").N, int64(1))
}

func eraseMany(e *env) {
	e.loadCrowd(1000)
	var refs []store.VersionRef
	for i := range 1000 {
		if i%2 == 0 {
			e.commit(write(fmt.Sprint("Observation/", i), "b", "p1"))
		}
		refs = append(refs, e.refsTo(fmt.Sprint("Observation/", i))...)
	}
	_, f := e.eraser()
	e.same("erased", e.erase(f, refs), job.Erased{Versions: 1500, Resources: 1000})
	e.agrees(store.Selection{At: e.barrier()})
	e.same("mentions", e.mentions("Patient/p1", "Patient/p2"), nil)
}

func eraseUnderScan(e *env) {
	s := store.Selection{At: e.loadCrowd(2500)}
	s.Cohort = e.cohort("p1", "p2", "p3", "p4")
	for _, s := range []store.Selection{{At: s.At, IDs: []string{"2400", "1", "2499"}}, s, {At: s.At}} {
		_, f := e.eraser()
		vs, seen := []store.VersionRef{}, 0
		for _, v := range e.scan(store.Selection{At: s.At, IDs: s.IDs, Cohort: s.Cohort}) {
			vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		}
		e.ok("Scan", e.Scan(e.ctx, north, s, e.wholeType(s), "", func(*store.Version) error {
			if seen++; seen == 1 {
				e.erase(f, vs[len(vs)/2:])
			}
			return nil
		}))
		e.that(seen >= len(vs)/2 && seen <= len(vs), "%d of %d versions were seen", seen, len(vs))
		e.agrees(s, "p1", "p2", "p3", "p4")
	}
}

func eraseHistory(e *env) {
	for i := range 9 {
		e.commit(write("Patient/1", fmt.Sprint(i)))
	}
	_, f := e.eraser()
	e.erase(f, e.refsTo("Patient/1", 1, 4, 5, 8))
	e.same("history", numbers(e.history("Patient/1")), []int64{9, 7, 6, 3, 2})
	for before, want := range map[int64][]int64{9: {7, 6, 3, 2}, 8: {7, 6, 3, 2}, 6: {3, 2}, 5: {3, 2}, 3: {2}, 2: nil, 1: nil, 99: {9, 7, 6, 3, 2}} {
		page, err := e.History(e.ctx, north, idOf("Patient/1"), before, 1<<20)
		e.ok("History", err)
		e.same(fmt.Sprint("history before ", before), numbers(page), want)
	}
	page, err := e.History(e.ctx, north, idOf("Patient/1"), 6, 1)
	e.ok("History", err)
	e.same("one at least", numbers(page), []int64{3})
	e.same("versions", len(e.allVersions(north, "Patient/1")), 5)
	e.same("the next", e.commit(write("Patient/1", "next"))[0].N, int64(10))
	e.same("of another", e.commit(write("Patient/2", "first"), write("Patient/1", "last"))[0].N, int64(1))
}

func eraseDurable(e *env) {
	e.needReopen()
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	last := e.commit(write("Patient/3", "a"))[0].Key
	j, f := e.eraser()
	e.erase(f, e.refsTo("Patient/1"), e.refsTo("Patient/2"), e.refsTo("Patient/3"))
	e.reopen()
	e.same("the tally", e.tally(j).Erased, job.Erased{Versions: 3, Resources: 3})
	e.same("the resource", e.get("Patient/3").N, int64(0))
	again := e.commit(write("Patient/3", "a"))[0]
	e.that(again.N == 1 && again.Key > last, "written at %+v after the key %q", again, last)
	_, err := e.Scrub(e.ctx)
	e.ok("Scrub", err)
	e.reopen()
	e.same("the resource", e.get("Patient/3").Key, again.Key)
}

func scrubKeeps(e *env) {
	first, second, _ := e.world()
	_, f := e.eraser()
	e.erase(f, e.refsTo("Patient/1"), e.refsTo("Observation/o2", 1), e.refsTo("Appointment/a3"))
	for range 2 {
		traces, err := e.Scrub(e.ctx)
		e.ok("Scrub", err)
		e.that(traces.Until.IsZero() || !traces.Unknown && !traces.Until.Before(e.clock.Now().Add(-soon)), "traces are %+v", traces)
		for _, at := range []store.Tick{first, second} {
			e.agrees(store.Selection{At: at})
		}
		e.commit(write("Patient/1", "after"))
	}
}

// unitsOf pages through the units of a job.
func (e *env) unitsOf(j job.Job, n int) []job.Unit {
	e.Helper()
	var all []job.Unit
	for after := ""; ; after = all[len(all)-1].ID {
		page, err := e.UnitsOf(e.ctx, store.Tenant(j.Tenant), j.ID, after, n)
		e.ok("UnitsOf", err)
		e.that(len(page) <= n, "%d units in a page of %d", len(page), n)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func unitsOfPages(e *env) {
	e.clock.stop()
	j := e.create("export", unit("c", 0), unit("a", 0), unit("b", 1), unit("e", 0), unit("d", 0))
	e.createIn(south, "export", unit("f", 9))
	e.create("export", unit("g", 9))
	by := e.claimed()
	e.end(by["a"], job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 3, Bytes: 4}})
	e.fails(by["c"], "for good")
	e.errs(by["d"], "once")
	want := unitsOf(j, unit("a", 0), unit("b", 1), unit("c", 0), unit("d", 0), unit("e", 0))
	gaveUp, once := why("for good"), why("once")
	for i, is := range []job.Unit{
		{State: job.Succeeded, Attempt: 1, Counts: job.Counts{Resources: 3, Bytes: 4}},
		{State: job.Queued},
		{State: job.Failed, Attempt: 1, Errors: 1, Reason: &gaveUp},
		{State: job.Queued, Attempt: 1, Errors: 1, Reason: &once},
		{State: job.Running, Attempt: 1},
	} {
		want[i].State, want[i].Attempt, want[i].Errors, want[i].Reason, want[i].Counts = is.State, is.Attempt, is.Errors, is.Reason, is.Counts
		if is.Attempt > 0 {
			want[i].Updated = e.clock.Now()
		}
	}
	for _, n := range []int{1, 2, 5, 9} {
		e.same(fmt.Sprintf("units in pages of %d", n), e.unitsOf(j, n), want)
	}
	us, err := e.UnitsOf(e.ctx, north, "unknown", "", 9)
	e.ok("UnitsOf", err)
	e.same("units of no job", us, nil)
}
