package storetest

import (
	"firebreak/operations/job"
	"firebreak/store"
)

func ownedCases() []testCase {
	return []testCase{
		{"an Owner selection yields what belongs to exactly that client and user", ownedExactly},
		{"a resource is its first owner's, whoever updates it, deletes it or brings it back", ownedForGood},
		{"Owner goes with After, Types, Deleted and Every", ownedNarrow},
		{"a scan of what an owner has goes on after each key, over many of others", ownedMany},
		{"an erased id that another owner uses again is the other's", ownedAnew},
		{"what an owner has is its tenant's, and there after the store was opened again", ownedDurable},
	}
}

// of selects what belongs to an owner as of at.
func of(o store.Owner, at store.Tick) store.Selection { return store.Selection{At: at, Owner: &o} }

func ownedExactly(e *env) {
	alone, user := store.Owner{Client: "app"}, store.Owner{Client: "", User: "ann"}
	e.commit(write("Patient/1", "a").by(ann()), write("Patient/2", "a").by(bob()), write("Patient/3", "a").by(alone),
		write("Patient/4", "a").by(job.Owner{Client: "other", User: "ann"}), write("Patient/5", "a").by(job.Owner{Client: "ann", User: "app"}))
	at := e.barrier()
	e.yields(of(ann(), at), "Patient/1 v1")
	e.yields(of(alone, at), "Patient/3 v1")
	e.yields(of(user, at))
	e.yields(of(store.Owner{}, at))
	e.yields(of(store.Owner{Client: "App", User: "ann"}, at))
	e.yields(of(store.Owner{Client: "never-wrote"}, at))
	e.same("the owner", e.scan(of(bob(), at))[0].Owner, bob())
}

func ownedForGood(e *env) {
	e.commit(write("Patient/1", "a").by(ann()), write("Observation/1", "a", "1").by(bob()))
	e.commit(write("Patient/1", "b").by(bob()), remove("Observation/1").by(ann()))
	first := e.barrier()
	e.commit(remove("Patient/1").by(bob()), write("Observation/1", "back", "1").by(ann()))
	second := e.barrier()
	e.yields(of(ann(), first), "Patient/1 v2")
	e.yields(of(bob(), first))
	e.yields(of(ann(), second))
	e.yields(of(bob(), second), "Observation/1 v3")
}

func ownedNarrow(e *env) {
	e.commit(write("Patient/1", "a").by(ann()), write("Observation/1", "a").by(ann()), write("Observation/2", "a").by(bob()))
	first := e.barrier()
	e.commit(write("Observation/1", "b"), write("Observation/2", "b"), write("Observation/3", "a").by(ann()))
	e.commit(remove("Patient/1"), remove("Observation/2"))
	s := of(ann(), e.barrier())
	e.yields(s, "Observation/1 v2", "Observation/3 v1")
	s.After = first
	e.yields(s, "Observation/1 v2", "Observation/3 v1")
	s.Types = []string{"Patient"}
	e.yields(s)
	s.Deleted = true
	e.yields(s, "Patient/1 v2")
	s.Types = nil
	e.yields(s, "Patient/1 v2")
	s.Deleted, s.Every, s.After = false, true, 0
	e.yields(s, "Patient/1 v1", "Patient/1 v2", "Observation/1 v1", "Observation/1 v2", "Observation/3 v1")
	s.Types = []string{"Observation"}
	e.yields(s, "Observation/1 v1", "Observation/1 v2", "Observation/3 v1")
	s.After = first
	e.yields(s, "Observation/1 v2", "Observation/3 v1")
	e.agrees(s)
}

func ownedMany(e *env) {
	e.commit(write("Observation/first", "a").by(ann()))
	e.graves(2500)
	e.commit(write("Observation/middle", "a").by(ann()))
	for i := range 3 {
		e.commit(write("Observation/middle", string(rune('b'+i))))
	}
	s := of(ann(), e.barrier())
	s.Every = true
	all := e.walk(north, s, e.wholeType(s), "")
	e.same("versions", len(all), 5)
	for i, v := range all {
		e.same("the rest", labels(e.walk(north, s, e.wholeType(s), v.Key)), labels(all[i+1:]))
	}
	e.agrees(s)
}

func ownedAnew(e *env) {
	e.commit(write("Patient/1", "a").by(ann()))
	first := e.barrier()
	_, f := e.eraser()
	e.erase(f, e.refsTo("Patient/1"))
	e.commit(write("Patient/1", "b").by(bob()))
	second := e.barrier()
	e.yields(of(ann(), first))
	e.yields(of(ann(), second))
	e.yields(of(bob(), second), "Patient/1 v1")
}

func ownedDurable(e *env) {
	e.needReopen()
	e.commitIn(north, write("Patient/1", "a").by(ann()), write("Patient/2", "a").by(bob()))
	e.commitIn(south, write("Patient/1", "a").by(bob()))
	e.reopen()
	e.yieldsIn(north, of(ann(), e.barrierIn(north)), "Patient/1 v1")
	e.yieldsIn(south, of(ann(), e.barrierIn(south)))
	e.yieldsIn(south, of(bob(), e.barrierIn(south)), "Patient/1 v1")
}
