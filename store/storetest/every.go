package storetest

import "firebreak/store"

func everyCases() []testCase {
	return []testCase{
		{"an Every selection yields all versions up to T, replaced ones and tombstones too", everyVersion},
		{"After and Types narrow an Every selection", everyNarrow},
		{"an Every selection goes on after each key, over many chunks", everyMany},
		{"an Every selection has no version that was erased", everyErased},
	}
}

// every selects all versions up to at.
func every(at store.Tick) store.Selection { return store.Selection{At: at, Every: true} }

func everyVersion(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "1"))
	first := e.barrier()
	e.commit(write("Patient/1", "b"), remove("Patient/2"))
	e.commit(remove("Patient/1"))
	e.commit(write("Patient/1", "c"))
	second := e.barrier()
	e.commit(write("Patient/1", "d"), remove("Observation/1"))
	e.yields(every(first), "Patient/1 v1", "Patient/2 v1", "Observation/1 v1")
	all := []string{"Patient/1 v1", "Patient/1 v2", "Patient/1 v3", "Patient/1 v4", "Patient/2 v1", "Patient/2 v2", "Observation/1 v1"}
	e.yields(every(second), all...)
	e.yields(every(e.barrier()), append(all, "Patient/1 v5", "Observation/1 v2")...)
	e.agrees(every(second))
	e.yieldsIn(south, every(e.barrierIn(south)))
}

func everyNarrow(e *env) {
	e.commit(write("Patient/1", "a"), write("Observation/1", "a", "1"))
	e.commit(write("Patient/1", "b"), remove("Observation/1"))
	first := e.barrier()
	e.commit(write("Patient/1", "c"), write("Observation/1", "c"))
	s := every(e.barrier())
	s.After = first
	e.yields(s, "Patient/1 v3", "Observation/1 v3")
	s.Types = []string{"Observation", "Medication"}
	e.yields(s, "Observation/1 v3")
	s.After = 0
	e.yields(s, "Observation/1 v1", "Observation/1 v2", "Observation/1 v3")
}

func everyMany(e *env) {
	s := every(e.graves(2500))
	all := e.walk(north, s, e.wholeType(s), "")
	e.same("versions", len(all), 2500+2500+50)
	for _, i := range []int{0, 1, 2047, 2048, 4999, len(all) - 1} {
		e.same("the rest", labels(e.walk(north, s, e.wholeType(s), all[i].Key)), labels(all[i+1:]))
	}
	e.agrees(s)
}

func everyErased(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"))
	e.commit(write("Patient/1", "b"), remove("Patient/2"))
	e.yields(every(e.barrier()), "Patient/1 v1", "Patient/1 v2", "Patient/2 v1", "Patient/2 v2")
	_, f := e.eraser()
	e.erase(f, e.refsTo("Patient/1", 1), e.refsTo("Patient/2"))
	e.yields(every(e.barrier()), "Patient/1 v2")
}
