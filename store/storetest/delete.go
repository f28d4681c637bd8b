package storetest

import "firebreak/store"

func deleteCases() []testCase {
	return []testCase{
		{"a deletion leaves a tombstone in the compartments of the version before", deleteLeavesTombstone},
		{"a deletion of what is not there changes nothing", deleteAbsent},
		{"a deletion is refused where its expectation does not hold", deleteExpects},
		{"a put after a deletion counts on and says Created", deleteThenPut},
		{"the content before a deletion is written again", deleteThenSame},
	}
}

func deleteLeavesTombstone(e *env) {
	c := write("Appointment/1", "a", "p1", "p2")
	e.commit(c)
	a := e.commit(remove("Appointment/1"))[0]
	e.that(a.N == 2 && !a.Created && !a.Unchanged, "Applied is %+v", a)
	gone := remove("Appointment/1").by(c.owner)
	gone.patients = c.patients
	v := e.get("Appointment/1")
	e.that(v.Body == nil && v.To == store.Forever && v.From == a.At, "the tombstone is %+v", v)
	e.isVersion(v, gone, 2)
	e.isVersion(e.version("Appointment/1", 2), gone, 2)
	e.isVersion(e.version("Appointment/1", 1), c, 1)
}

func deleteAbsent(e *env) {
	other := write("Patient/2", "a")
	e.that(e.commit(remove("Patient/1"), other)[1].Created, "the put beside it was not applied")
	e.same("what was never there", e.get("Patient/1").N, int64(0))
	e.same("its history", e.history("Patient/1"), nil)
	e.commit(write("Patient/1", "a"))
	e.commit(remove("Patient/1"))
	before := e.get("Patient/1")
	e.commit(remove("Patient/1"))
	e.same("the tombstone", e.get("Patient/1"), before)
	e.same("history", numbers(e.history("Patient/1")), []int64{2, 1})
}

func deleteExpects(e *env) {
	c := write("Patient/1", "a")
	e.conflicts(remove("Patient/1").expecting(1))
	e.commit(c)
	e.conflicts(remove("Patient/1").expecting(2))
	e.conflicts(remove("Patient/1").expecting(store.Absent))
	e.isVersion(e.get("Patient/1"), c, 1)
	e.commit(remove("Patient/1").expecting(1))
	e.that(e.get("Patient/1").Deleted, "it was not deleted")
}

func deleteThenPut(e *env) {
	e.commit(write("Observation/1", "a", "p1"))
	e.commit(remove("Observation/1"))
	c := write("Observation/1", "b", "p2")
	a := e.commit(c)[0]
	e.that(a.Created && a.N == 3, "Applied is %+v", a)
	e.isVersion(e.get("Observation/1"), c, 3)
	e.same("history", numbers(e.history("Observation/1")), []int64{3, 2, 1})
}

func deleteThenSame(e *env) {
	c := write("Observation/1", "a", "p1")
	e.commit(c)
	e.commit(remove("Observation/1"))
	e.that(e.commit(c)[0].Created, "the same content after a tombstone was not written")
	e.isVersion(e.get("Observation/1"), c, 3)
}
