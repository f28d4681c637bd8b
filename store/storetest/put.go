package storetest

import (
	"firebreak/operations/job"
	"firebreak/store"
)

func putCases() []testCase {
	return []testCase{
		{"the first put of a resource is version 1 and says Created", putCreates},
		{"an update is the next version and leaves the one before as it was", putUpdates},
		{"the same content writes nothing and says so", putUnchanged},
		{"content that was current before is a new version", putBackAndForth},
		{"a version says whether it was detached, and no other one of it does", putDetached},
		{"expecting Any goes through whatever is there", expectAny},
		{"expecting Absent refuses a version and a tombstone", expectAbsent},
		{"expecting a versionId refuses any other", expectNumber},
		{"the same content is refused where the expectation does not hold", expectUnchanged},
		{"a conflict leaves the whole batch unwritten", conflictIsWhole},
		{"a resource twice in a batch is a conflict", conflictTwice},
		{"results are in the order of the puts", putOrder},
		{"one batch has one tick", putOneTick},
		{"later versions keep the owner", putKeepsOwner},
	}
}

func putCreates(e *env) {
	c := write("Observation/1", "a", "p1", "p2")
	a := e.commit(c)[0]
	e.that(a.Created && a.N == 1 && a.Key != "", "Applied is %+v", a)
	v := e.get("Observation/1")
	e.isVersion(v, c, 1)
	e.that(v.Key == a.Key && v.From == a.At && v.To == store.Forever, "%+v is not where %+v was put", v, a)
}

func putUpdates(e *env) {
	first, second := write("Observation/1", "a", "p1"), write("Observation/1", "b", "p2")
	e.commit(first)
	a := e.commit(second)[0]
	e.that(!a.Created && a.N == 2, "Applied is %+v", a)
	e.isVersion(e.get("Observation/1"), second, 2)
	e.isVersion(e.version("Observation/1", 1), first, 1)
}

func putUnchanged(e *env) {
	c := write("Patient/1", "a")
	e.commit(c)
	before := e.get("Patient/1")
	a := e.commit(c, write("Patient/2", "a"))
	e.that(a[0].Unchanged && !a[0].Created && a[0].N == 1, "Applied is %+v", a[0])
	e.that(!a[1].Unchanged, "Applied of the other put is %+v", a[1])
	e.same("the current version", e.get("Patient/1"), before)
	e.same("history", numbers(e.history("Patient/1")), []int64{1})
}

func putBackAndForth(e *env) {
	for _, text := range []string{"a", "b", "a"} {
		e.commit(write("Patient/1", text))
	}
	e.same("history", numbers(e.history("Patient/1")), []int64{3, 2, 1})
}

func expectAny(e *env) {
	e.commit(write("Patient/1", "a").expecting(store.Any))
	e.commit(write("Patient/1", "b").expecting(store.Any))
	e.commit(remove("Patient/1").expecting(store.Any))
	e.commit(write("Patient/1", "c").expecting(store.Any))
	e.same("history", numbers(e.history("Patient/1")), []int64{4, 3, 2, 1})
}

func expectAbsent(e *env) {
	e.commit(write("Patient/1", "a").expecting(store.Absent))
	e.conflicts(write("Patient/1", "b").expecting(store.Absent))
	e.commit(remove("Patient/1"))
	e.conflicts(write("Patient/1", "b").expecting(store.Absent))
	e.same("history", numbers(e.history("Patient/1")), []int64{2, 1})
}

func expectNumber(e *env) {
	e.conflicts(write("Patient/1", "a").expecting(1))
	e.same("the resource", e.get("Patient/1").N, int64(0))
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.commit(write("Patient/1", "b").expecting(1))
	e.conflicts(write("Patient/1", "c").expecting(1))
	e.conflicts(write("Patient/1", "c").expecting(3))
	e.commit(write("Patient/1", "c").expecting(2))
	e.same("history", numbers(e.history("Patient/1")), []int64{3, 2, 1})
}

func expectUnchanged(e *env) {
	c := write("Patient/1", "a")
	e.commit(c)
	e.conflicts(c.expecting(store.Absent))
	e.conflicts(c.expecting(2))
	e.that(e.commit(c.expecting(1))[0].Unchanged, "the same content at its version is not Unchanged")
}

func conflictIsWhole(e *env) {
	kept, deleted := write("Patient/1", "a"), write("Patient/3", "a")
	e.commit(kept, deleted)
	e.conflicts(write("Patient/1", "b"), write("Patient/2", "b"), remove("Patient/3"),
		write("Patient/4", "b").expecting(7), write("Patient/5", "b"))
	e.isVersion(e.get("Patient/1"), kept, 1)
	e.isVersion(e.get("Patient/3"), deleted, 1)
	vs, err := e.Get(e.ctx, north, idsOf("Patient/2", "Patient/4", "Patient/5")...)
	e.ok("Get", err)
	e.same("the rest of the batch", numbers(vs), []int64{0, 0, 0})
	e.same("history", numbers(e.history("Patient/1")), []int64{1})
}

func conflictTwice(e *env) {
	there := write("Patient/2", "a")
	e.commit(there)
	e.conflicts(write("Patient/1", "a"), write("Patient/1", "b"))
	e.conflicts(write("Patient/1", "a"), write("Patient/1", "a"))
	e.conflicts(remove("Patient/2"), write("Patient/2", "b"))
	e.conflicts(there, there)
	e.same("the new one", e.get("Patient/1").N, int64(0))
	e.same("history", numbers(e.history("Patient/2")), []int64{1})
}

func putOrder(e *env) {
	e.commit(write("Patient/2", "a"), write("Organization/2", "a"))
	a := e.commit(write("Patient/3", "a"), write("Patient/2", "a"), write("Appointment/1", "a"),
		remove("Organization/2"), write("Organization/1", "a"))
	e.that(a[1].Unchanged && a[3].N == 2 && a[0].Created && a[2].Created && a[4].Created, "results are %+v", a)
	for i, ref := range []string{"Patient/3", "Patient/2", "Appointment/1", "Organization/2", "Organization/1"} {
		e.same("key of "+ref, a[i].Key, e.get(ref).Key)
	}
}

func putOneTick(e *env) {
	e.commit(write("Patient/2", "a"), write("Patient/3", "a"))
	a := e.commit(write("Patient/1", "a"), write("Patient/2", "b"), remove("Patient/3"))
	e.that(a[0].At == a[1].At && a[1].At == a[2].At, "ticks are %d, %d, %d", a[0].At, a[1].At, a[2].At)
}

func putKeepsOwner(e *env) {
	first := job.Owner{Client: "app", User: "ann"}
	e.commit(write("Patient/1", "a").by(first))
	for _, c := range []change{
		write("Patient/1", "b").by(job.Owner{Client: "app", User: "bob"}),
		remove("Patient/1").by(job.Owner{Client: "app"}),
		write("Patient/1", "c").by(job.Owner{Client: "load"}),
	} {
		e.commit(c)
		e.same("owner", e.get("Patient/1").Owner, first)
	}
	e.commit(write("Patient/2", "a").by(job.Owner{Client: "app"}))
	e.same("owner without a user", e.get("Patient/2").Owner, job.Owner{Client: "app"})
}

func putDetached(e *env) {
	e.commit(write("Patient/1", "a"))
	p := write("Patient/1", "b").put()
	p.Detached = true
	_, err := e.Commit(e.ctx, north, store.Batch{Puts: []store.Put{p}})
	e.ok("Commit", err)
	detached := func(what string, v store.Version, want bool) {
		e.Helper()
		e.that(v.Detached == want, "%s says Detached: %v of version %d", what, v.Detached, v.N)
	}
	detached("Get", e.get("Patient/1"), true)
	at := e.barrier()
	p = write("Patient/1", "c").put()
	_, err = e.Commit(e.ctx, north, store.Batch{Puts: []store.Put{p}})
	e.ok("Commit", err)
	for _, v := range e.history("Patient/1") {
		detached("History", v, v.N == 2)
	}
	for _, v := range e.allVersions(north, "Patient/1") {
		detached("Versions", v, v.N == 2)
	}
	one, err := e.Version(e.ctx, north, idOf("Patient/1"), 2)
	e.ok("Version", err)
	detached("Version", one, true)
	sel := store.Selection{At: at}
	for _, v := range e.walk(north, sel, e.wholeType(sel), "") {
		detached("Scan", v, true)
	}
}
