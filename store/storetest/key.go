package storetest

import (
	"fmt"

	"firebreak/store"
)

func keyCases() []testCase {
	return []testCase{
		{"keys are ASCII, in order of type and then of insertion", keyOrder},
		{"a key is never used again", keyOnce},
		{"every method gives a version the same key", keySame},
	}
}

// keyOrder does not know in which order a store has the types, but that keys
// of one type lie together.
func keyOrder(e *env) {
	types := []string{"Patient", "Appointment", "Organization", "Observation"}
	first, last := make(map[string]store.Key), make(map[string]store.Key)
	for i := range 16 {
		typ := types[i%len(types)]
		key := e.commit(write(fmt.Sprint(typ, "/", 20-i), "a"))[0].Key
		e.isASCII(key)
		e.that(key > last[typ], "key %q of %s after %q", key, typ, last[typ])
		if first[typ] == "" {
			first[typ] = key
		}
		last[typ] = key
	}
	for _, a := range types {
		for _, b := range types {
			e.that(a == b || last[a] < first[b] || last[b] < first[a], "keys of %s and %s are mixed", a, b)
		}
	}
}

func (e *env) isASCII(k store.Key) {
	e.Helper()
	for i := range len(k) {
		e.that(k[i] >= ' ' && k[i] <= '~', "key %q is not ASCII text", k)
	}
}

// keyOnce looks at each version's key, also while nothing later holds it.
func keyOnce(e *env) {
	last := store.Key("")
	for i := range 3 {
		for _, c := range []change{
			write("Patient/1", fmt.Sprint(i)), write("Patient/1", fmt.Sprint(i, " again")),
			remove("Patient/1"), write(fmt.Sprint("Patient/new", i), "a"),
		} {
			key := e.commit(c)[0].Key
			e.that(key > last, "key %q after %q", key, last)
			last = key
		}
	}
}

func keySame(e *env) {
	applied := []store.Applied{
		e.commit(write("Patient/1", "a"))[0],
		e.commit(remove("Patient/1"))[0],
		e.commit(write("Patient/1", "b"))[0],
	}
	past := e.history("Patient/1")
	for i, a := range applied {
		e.same("key of Version", e.version("Patient/1", a.N).Key, a.Key)
		e.same("key of History", past[len(past)-1-i].Key, a.Key)
	}
	e.same("key of Get", e.get("Patient/1").Key, applied[2].Key)
	found := e.scan(store.Selection{At: e.barrier()})
	e.that(len(found) == 1 && found[0].Key == applied[2].Key, "Scan gives %+v", found)
}
