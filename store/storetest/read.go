package storetest

import (
	"slices"

	"firebreak/store"
)

func readCases() []testCase {
	return []testCase{
		{"Get answers in the order of the ids, with N 0 where there is none", getOrder},
		{"Get answers an id asked twice twice, and no id with nothing", getTwice},
		{"Get returns the tombstone", getTombstone},
		{"Version returns each version, and ErrNotFound for any other", versionEach},
		{"History is the latest first, tombstones among them", historyOrder},
		{"History goes on below a version", historyBefore},
		{"History returns as many as fit, and at least one", historyLimit},
		{"History of what was never there is empty", historyAbsent},
	}
}

func getOrder(e *env) {
	changes := []change{write("Patient/1", "a"), write("Observation/1", "a", "1"), write("Patient/2", "b"), write("Organization/9", "a")}
	e.commit(changes...)
	asked := idsOf("Patient/2", "Patient/3", "Organization/9", "Observation/2", "Observation/1", "Patient/1")
	vs, err := e.Get(e.ctx, north, asked...)
	e.ok("Get", err)
	e.same("numbers", numbers(vs), []int64{1, 0, 1, 0, 1, 1})
	e.isVersion(vs[0], changes[2], 1)
	e.isVersion(vs[2], changes[3], 1)
	e.isVersion(vs[4], changes[1], 1)
	e.isVersion(vs[5], changes[0], 1)
}

func getTwice(e *env) {
	c := write("Patient/1", "a")
	e.commit(c)
	vs, err := e.Get(e.ctx, north, idsOf("Patient/1", "Patient/2", "Patient/1")...)
	e.ok("Get", err)
	e.same("numbers", numbers(vs), []int64{1, 0, 1})
	e.isVersion(vs[2], c, 1)
	vs, err = e.Get(e.ctx, north)
	e.ok("Get", err)
	e.same("no ids", vs, nil)
}

func getTombstone(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.commit(remove("Patient/1"))
	v := e.get("Patient/1")
	e.that(v.Deleted && v.N == 2, "Get gives %+v", v)
	e.that(!e.get("Patient/2").Deleted, "the other one is deleted too")
}

func versionEach(e *env) {
	first, third := write("Patient/1", "a"), write("Patient/1", "c")
	e.commit(first)
	e.commit(remove("Patient/1"))
	e.commit(third)
	e.isVersion(e.version("Patient/1", 1), first, 1)
	e.that(e.version("Patient/1", 2).Deleted, "version 2 is not the tombstone")
	e.isVersion(e.version("Patient/1", 3), third, 3)
	for _, n := range []int64{0, -1, 4, 1 << 40} {
		_, err := e.Version(e.ctx, north, idOf("Patient/1"), n)
		e.is("Version", err, store.ErrNotFound)
	}
	for _, ref := range []string{"Patient/2", "Organization/1", "Patient/"} {
		_, err := e.Version(e.ctx, north, idOf(ref), 1)
		e.is("Version of "+ref, err, store.ErrNotFound)
	}
}

func historyOrder(e *env) {
	first, third := write("Observation/1", "a", "p1"), write("Observation/1", "c", "p2")
	e.commit(first, write("Observation/2", "other", "p1"))
	e.commit(remove("Observation/1"))
	e.commit(third)
	vs := e.history("Observation/1")
	e.same("numbers", numbers(vs), []int64{3, 2, 1})
	e.isVersion(vs[0], third, 3)
	e.that(vs[1].Deleted && vs[1].Body == nil, "version 2 is %+v", vs[1])
	e.same("patients of the tombstone", vs[1].Patients, []string{"p1"})
	e.isVersion(vs[2], first, 1)
}

func historyBefore(e *env) {
	e.versions("Patient/1", "a", "b", "c", "d")
	for before, want := range map[int64][]int64{0: {4, 3, 2, 1}, 5: {4, 3, 2, 1}, 4: {3, 2, 1}, 2: {1}, 1: nil} {
		vs, err := e.History(e.ctx, north, idOf("Patient/1"), before, 1<<20)
		e.ok("History", err)
		e.same("numbers", numbers(vs), want)
	}
}

func historyLimit(e *env) {
	e.versions("Patient/1", "a", "b", "c", "d")
	size := len(e.get("Patient/1").Body)
	for limit, want := range map[int][]int64{1: {4}, size - 1: {4}, size: {4}, 2*size - 1: {4}, 2 * size: {4, 3}, 4 * size: {4, 3, 2, 1}} {
		vs, err := e.History(e.ctx, north, idOf("Patient/1"), 0, limit)
		e.ok("History", err)
		e.same("numbers", numbers(vs), want)
	}
	var all []int64
	for before := int64(0); ; before = all[len(all)-1] {
		vs, err := e.History(e.ctx, north, idOf("Patient/1"), before, 1)
		e.ok("History", err)
		if len(vs) == 0 {
			break
		}
		all = slices.Concat(all, numbers(vs))
	}
	e.same("page by page", all, []int64{4, 3, 2, 1})
}

func historyAbsent(e *env) {
	e.commit(write("Patient/1", "a"))
	e.same("another id", e.history("Patient/2"), nil)
	e.same("another type", e.history("Organization/1"), nil)
}

// versions writes texts of the same length one after the other.
func (e *env) versions(ref string, texts ...string) {
	e.Helper()
	for _, text := range texts {
		e.commit(write(ref, text))
	}
}
