package storetest

import "firebreak/store"

func asOfCases() []testCase {
	return []testCase{
		{"a scan as of T is not changed by later writes", asOfLaterWrites},
		{"an earlier T is still there behind a later one", asOfTwice},
		{"After leaves out what was current by then", asOfAfter},
		{"IDs and Types narrow each other", asOfNarrow},
		{"IDs and Cohort narrow each other", asOfNarrowCohort},
		{"Compartments are those in any patient's compartment at T", asOfCompartments},
	}
}

func asOfLaterWrites(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "1"), write("Organization/1", "a"))
	e.commit(write("Patient/2", "b"), remove("Organization/1"))
	at := e.barrier()
	for _, later := range [][]change{
		{write("Patient/1", "b"), write("Patient/2", "a")},
		{remove("Patient/1"), remove("Observation/1")},
		{write("Patient/3", "a"), write("Appointment/1", "a", "1")},
		{write("Patient/1", "c"), write("Organization/1", "again")},
	} {
		e.commit(later...)
		e.yields(store.Selection{At: at}, "Patient/1 v1", "Patient/2 v2", "Observation/1 v1")
	}
	e.agrees(store.Selection{At: e.barrier()})
}

func asOfTwice(e *env) {
	var ts []store.Tick
	for _, text := range []string{"a", "b", "c"} {
		e.commit(write("Patient/1", text))
		ts = append(ts, e.barrier())
	}
	e.commit(remove("Patient/1"))
	gone := e.barrier()
	e.commit(write("Patient/1", "d"))
	for i, want := range []string{"Patient/1 v1", "Patient/1 v2", "Patient/1 v3"} {
		e.yields(store.Selection{At: ts[i]}, want)
	}
	e.yields(store.Selection{At: gone})
	e.yields(store.Selection{At: e.barrier()}, "Patient/1 v5")
}

func asOfAfter(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Patient/3", "a"))
	first := e.barrier()
	e.commit(write("Patient/1", "b"), write("Patient/2", "a"), remove("Patient/3"), write("Patient/4", "a"))
	second := e.barrier()
	e.commit(write("Patient/5", "a"), write("Patient/4", "b"))
	third := e.barrier()
	e.yields(store.Selection{At: first}, "Patient/1 v1", "Patient/2 v1", "Patient/3 v1")
	e.yields(store.Selection{At: second, After: first}, "Patient/1 v2", "Patient/4 v1")
	e.yields(store.Selection{At: third, After: second}, "Patient/5 v1", "Patient/4 v2")
	e.yields(store.Selection{At: third, After: first}, "Patient/1 v2", "Patient/5 v1", "Patient/4 v2")
	e.yields(store.Selection{At: third, After: third})
	at := e.version("Patient/1", 2).From
	e.yields(store.Selection{At: second, After: at})
	e.yields(store.Selection{At: second, After: at - 1}, "Patient/1 v2", "Patient/4 v1")
}

func asOfNarrow(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "a"), write("Observation/1", "a", "2"), write("Organization/2", "a"))
	at := e.barrier()
	e.commit(write("Patient/1", "b"), remove("Observation/1"))
	e.yields(store.Selection{At: at, IDs: []string{"1"}}, "Patient/1 v1", "Observation/1 v1")
	e.yields(store.Selection{At: at, IDs: []string{"1", "2", "1"}, Types: []string{"Patient", "Patient"}}, "Patient/1 v1", "Patient/2 v1")
	e.yields(store.Selection{At: at, Types: []string{"Organization"}, IDs: []string{"1"}})
	e.yields(store.Selection{At: at, Types: []string{"Observation"}}, "Observation/1 v1")
}

func asOfNarrowCohort(e *env) {
	e.commit(write("Patient/1", "a"), write("Patient/2", "linked", "1"), write("Observation/1", "a", "1"),
		write("Observation/2", "a", "2"), write("Observation/3", "a", "1"))
	at := e.barrier()
	s := store.Selection{At: at, Cohort: e.cohort("1"), IDs: []string{"1", "2"}}
	e.yields(s, "Patient/1 v1", "Observation/1 v1")
	e.commit(write("Patient/1", "b"), write("Patient/2", "b", "1"), write("Observation/1", "b", "2"), write("Observation/2", "b", "1"))
	e.yields(s, "Patient/1 v1", "Observation/1 v1")
	s.At = e.barrier()
	e.yields(s, "Patient/1 v2", "Observation/2 v2")
}

func asOfCompartments(e *env) {
	e.commit(write("Patient/1", "a"), write("Organization/1", "a"), write("Observation/1", "a", "1"),
		write("Observation/2", "of nobody"), write("Observation/3", "a", "1"), write("Observation/4", "of nobody"))
	at := e.barrier()
	e.commit(write("Observation/3", "of nobody now"), write("Observation/4", "of one now", "not-there"), remove("Observation/1"))
	e.yields(store.Selection{At: at, Compartments: true}, "Patient/1 v1", "Observation/1 v1", "Observation/3 v1")
	e.yields(store.Selection{At: e.barrier(), Compartments: true}, "Patient/1 v1", "Observation/4 v2")
}
