package storetest

import (
	"errors"
	"fmt"

	"firebreak/store"
)

func tombstoneCases() []testCase {
	return []testCase{
		{"a Deleted selection yields whole tombstones and nothing else", tombstoneWhole},
		{"tombstones as of T are not changed by later writes", tombstoneAsOf},
		{"After leaves out tombstones of before", tombstoneAfter},
		{"Types and IDs narrow tombstones", tombstoneNarrow},
		{"tombstones of every form of id are told apart", tombstoneIDs},
		{"the compartments of a tombstone are those of the version before", tombstoneCompartments},
		{"a cohort's tombstones are its patients' and those in their compartments", tombstoneCohort},
		{"a Patient's tombstone is in a cohort by its own id only", tombstoneLinked},
		{"all members of a selection narrow tombstones together", tombstoneAll},
		{"a scan of tombstones goes on after each key with exactly the rest", tombstoneResumes},
		{"a scan of many tombstones goes on across its chunks", tombstoneMany},
		{"a scan of tombstones ends with the error that yield returns", tombstoneYieldError},
		{"tombstones are their tenant's", tombstoneTenants},
		{"tombstones are there after the store was opened again", tombstoneDurable},
	}
}

// deleted selects the tombstones as of at.
func deleted(at store.Tick) store.Selection { return store.Selection{At: at, Deleted: true} }

func tombstoneWhole(e *env) {
	e.commit(write("Appointment/1", "a", "p1", "p2").by(ann()), write("Organization/1", "a"), write("Organization/2", "a"), write("Patient/1", "a"))
	e.commit(write("Appointment/1", "b", "p2", "p3").by(bob()))
	applied := e.commit(remove("Appointment/1"), remove("Organization/1"), remove("Organization/not-there"))
	s := deleted(e.barrier())
	e.yields(s, "Appointment/1 v3", "Organization/1 v2")
	e.agrees(s)
	found := e.scan(s)
	e.same("the tombstone and Get's", found[0], e.get("Appointment/1"))
	e.that(found[0].Key == applied[0].Key && found[0].Deleted && found[0].Body == nil, "the tombstone is %+v", found[0])
	e.yields(store.Selection{At: s.At}, "Organization/2 v1", "Patient/1 v1")
}

func tombstoneAsOf(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Patient/3", "a"))
	before := e.barrier()
	e.commit(remove("Patient/1"), remove("Patient/2"))
	gone := e.barrier()
	for _, later := range [][]change{
		{write("Patient/1", "a"), remove("Patient/3")},
		{remove("Patient/1"), remove("Patient/2"), write("Patient/3", "again")},
		{write("Patient/4", "a")},
		{remove("Patient/4")},
	} {
		e.commit(later...)
		e.yields(deleted(before))
		e.yields(deleted(gone), "Patient/1 v2", "Patient/2 v2")
	}
	e.yields(deleted(e.barrier()), "Patient/1 v4", "Patient/2 v2", "Patient/4 v2")
}

func tombstoneAfter(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Patient/3", "a"))
	e.commit(remove("Patient/1"), remove("Patient/2"))
	first := e.barrier()
	e.commit(remove("Patient/3"), write("Patient/2", "b"), write("Patient/4", "a"))
	e.commit(remove("Patient/2"), remove("Patient/4"))
	second := e.barrier()
	s := deleted(second)
	e.yields(s, "Patient/1 v2", "Patient/2 v4", "Patient/3 v2", "Patient/4 v2")
	s.After = first
	e.yields(s, "Patient/2 v4", "Patient/3 v2", "Patient/4 v2")
	at := e.version("Patient/3", 2).From
	s.After = at
	e.yields(s, "Patient/2 v4", "Patient/4 v2")
	s.After = at - 1
	e.yields(s, "Patient/2 v4", "Patient/3 v2", "Patient/4 v2")
	s.After = second
	e.yields(s)
}

func tombstoneNarrow(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "2"), write("Organization/1", "a"))
	e.commit(remove("Patient/1"), remove("Patient/2"), remove("Observation/1"))
	at := e.barrier()
	of := func(types, ids []string, want ...string) {
		e.Helper()
		e.yields(store.Selection{At: at, Deleted: true, Types: types, IDs: ids}, want...)
	}
	of([]string{"Patient"}, nil, "Patient/1 v2", "Patient/2 v2")
	of([]string{"Organization", "Medication"}, nil)
	of(nil, []string{"1", "not-there", "1"}, "Patient/1 v2", "Observation/1 v2")
	of([]string{"Observation"}, []string{"1", "2"}, "Observation/1 v2")
	of([]string{"Organization"}, []string{"1"})
	of(nil, []string{})
	of([]string{}, nil)
}

func tombstoneIDs(e *env) {
	for _, id := range likeIDs() {
		e.commit(write("Patient/"+id, "a"), write("Observation/"+id, "a", id))
		e.commit(remove("Patient/"+id), remove("Observation/"+id))
	}
	at := e.barrier()
	for _, id := range likeIDs() {
		e.yields(store.Selection{At: at, Deleted: true, IDs: []string{id}}, "Observation/"+id+" v2", "Patient/"+id+" v2")
		e.yields(store.Selection{At: at, Deleted: true, Cohort: e.cohort(id)}, "Observation/"+id+" v2", "Patient/"+id+" v2")
	}
}

func tombstoneCompartments(e *env) {
	e.commit(write("Observation/stays", "a", "1"), write("Observation/moves", "a", "1"), write("Observation/leaves", "a", "1"),
		write("Observation/joins", "of nobody"), write("Organization/1", "a"), write("Patient/1", "a"))
	e.commit(write("Observation/moves", "b", "2"), write("Observation/leaves", "of nobody"), write("Observation/joins", "b", "1"))
	e.commit(remove("Observation/stays"), remove("Observation/moves"), remove("Observation/leaves"),
		remove("Observation/joins"), remove("Organization/1"), remove("Patient/1"))
	at := e.barrier()
	e.commit(write("Observation/leaves", "c", "1"), write("Observation/stays", "c", "2"))
	e.yields(store.Selection{At: at, Deleted: true, Compartments: true},
		"Observation/stays v2", "Observation/moves v3", "Observation/joins v3", "Patient/1 v2")
	e.yields(store.Selection{At: at, Deleted: true, Cohort: e.cohort("1")}, "Observation/stays v2", "Observation/joins v3", "Patient/1 v2")
	e.yields(store.Selection{At: at, Deleted: true, Cohort: e.cohort("2")}, "Observation/moves v3")
}

func tombstoneCohort(e *env) {
	e.commit(write("Appointment/1", "a", "1", "2"), write("Appointment/2", "a", "2", "3"), write("Appointment/3", "a", "3"),
		write("Observation/1", "a", "never-there"), write("Patient/1", "a"), write("Patient/3", "a"), write("Organization/1", "a"))
	e.commit(remove("Appointment/1"), remove("Appointment/2"), remove("Appointment/3"),
		remove("Observation/1"), remove("Patient/1"), remove("Patient/3"), remove("Organization/1"))
	s := deleted(e.barrier())
	for _, c := range []struct{ members, want []string }{
		{[]string{"1", "2"}, []string{"Appointment/1 v2", "Appointment/2 v2", "Patient/1 v2"}},
		{[]string{"3"}, []string{"Appointment/2 v2", "Appointment/3 v2", "Patient/3 v2"}},
		{[]string{"never-there"}, []string{"Observation/1 v2"}},
		{[]string{"nobody"}, nil},
		{nil, nil},
	} {
		s.Cohort = e.cohort(c.members...)
		e.yields(s, c.want...)
	}
	s.Cohort = "unknown"
	e.yields(s)
}

func tombstoneLinked(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "linked to 1", "1"), write("Patient/3", "linked to 1 and 2", "1", "2"))
	e.commit(remove("Patient/1"), remove("Patient/2"), remove("Patient/3"))
	e.same("compartments of the linked one", sorted(e.get("Patient/3").Patients), []string{"1", "2", "3"})
	at := e.barrier()
	e.yields(store.Selection{At: at, Deleted: true, Cohort: e.cohort("1")}, "Patient/1 v2")
	e.yields(store.Selection{At: at, Deleted: true, Cohort: e.cohort("3", "2")}, "Patient/2 v2", "Patient/3 v2")
}

func tombstoneAll(e *env) {
	e.commit(write("Observation/1", "a", "1"), write("Observation/2", "a", "1"), write("Observation/3", "a", "2"), write("Patient/1", "a"))
	e.commit(remove("Observation/1"))
	first := e.barrier()
	e.commit(remove("Observation/2"), remove("Observation/3"), remove("Patient/1"))
	s := store.Selection{
		At: e.barrier(), After: first, Deleted: true, Compartments: true, Cohort: e.cohort("1", "2"),
		Types: []string{"Observation", "Organization"}, IDs: []string{"1", "2", "not-there"},
	}
	e.yields(s, "Observation/2 v2")
	s.Types = append(s.Types, "Patient")
	e.yields(s, "Observation/2 v2", "Patient/1 v2")
	s.Deleted = false
	e.yields(s)
}

// graves writes and deletes n resources, some of which come back.
func (e *env) graves(n int) store.Tick {
	e.Helper()
	for i := 0; i < n; i += 50 {
		var puts, deletions []change
		for j := i; j < min(n, i+50); j++ {
			ref := fmt.Sprint("Observation/", j)
			puts, deletions = append(puts, write(ref, "a", fmt.Sprint("p", j%10))), append(deletions, remove(ref))
		}
		e.commit(puts...)
		e.commit(deletions...)
		e.commit(write(fmt.Sprint("Observation/", i), "back", "p0"))
	}
	return e.barrier()
}

func tombstoneResumes(e *env) {
	s := deleted(e.graves(12))
	cohort := e.cohort("p2", "p5", "p1")
	for _, s := range []store.Selection{s, {At: s.At, Deleted: true, Cohort: cohort}, {At: s.At, Deleted: true, IDs: []string{"3", "5", "11"}}} {
		r := e.wholeType(s)
		all := e.walk(north, s, r, "")
		e.that(len(all) > 2, "too few to go on: %v", labels(all))
		for i, v := range all {
			e.same(fmt.Sprintf("the rest after %d of %+v", i+1, s), e.walk(north, s, r, v.Key), all[i+1:])
		}
		cut := store.Range{Type: r.Type, From: all[1].Key, To: all[len(all)-1].Key}
		e.same("from included, to not", e.walk(north, s, cut, ""), all[1:len(all)-1])
	}
}

func tombstoneMany(e *env) {
	s := deleted(e.graves(2500))
	e.same("tombstones", len(e.walk(north, s, e.wholeType(s), "")), 2450)
	s.Cohort = e.cohort("p0", "p3")
	e.same("tombstones of a cohort", len(e.walk(north, s, e.wholeType(s), "")), 450)
	e.agrees(s, "p0", "p3")
}

func tombstoneYieldError(e *env) {
	s := deleted(e.graves(20))
	stop, calls := errors.New("stop"), 0
	err := e.Scan(e.ctx, north, s, e.wholeType(s), "", func(*store.Version) error {
		if calls++; calls == 7 {
			return stop
		}
		return nil
	})
	e.is("Scan", err, stop)
	e.same("calls", calls, 7)
}

func tombstoneTenants(e *env) {
	for _, t := range []store.Tenant{north, south} {
		e.commitIn(t, write("Patient/1", "a"), write("Observation/1", "a", "1"))
	}
	e.commitIn(south, remove("Patient/1"), remove("Observation/1"))
	cohort := e.cohortIn(south, "1")
	at := e.barrierIn(north)
	there := e.barrierIn(south)
	e.yieldsIn(south, deleted(there), "Patient/1 v2", "Observation/1 v2")
	e.yieldsIn(south, store.Selection{At: there, Deleted: true, Cohort: cohort}, "Patient/1 v2", "Observation/1 v2")
	e.yieldsIn(north, deleted(at))
	e.yieldsIn("nowhere", deleted(at))
	e.commitIn(north, remove("Observation/1"))
	at = e.barrier()
	e.yieldsIn(north, deleted(at), "Observation/1 v2")
	e.yieldsIn(north, store.Selection{At: at, Deleted: true, Cohort: cohort})
}

func tombstoneDurable(e *env) {
	first, second, last := e.world()
	cohort := e.cohort("2", "4")
	e.reopen()
	for _, at := range []store.Tick{first, second, last} {
		e.agrees(deleted(at))
		e.agrees(store.Selection{At: at, Deleted: true, Cohort: cohort}, "2", "4")
	}
}
