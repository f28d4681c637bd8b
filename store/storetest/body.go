package storetest

import (
	"fmt"
	"strings"

	"firebreak/store"
)

func bodyCases() []testCase {
	return []testCase{
		{"a body and its MetaAt come back byte for byte", bodyExact},
		{"a body of 5 MB comes back byte for byte", bodyLarge},
		{"bodies that were returned are the caller's to keep", bodyKept},
		{"ids differ by case, by zeros before, by length and by type", bodyIDs},
	}
}

// oddBodies are members of a resource that a store might make something else of.
func oddBodies() []string {
	return []string{
		`"name":"Zoë 🏥 \ud83c\udfe5"`,
		`"name":"e\u0301 is not é, \u2028 and \u2029 are in here"`,
		"\"name\":\"\u2028\u2029\ufeff\ufffd\u200d\u0301\U0010ffff\"",
		`"name":"\u0041\/\b\f\t\u001f\u007f\\ \" \u003c<>&amp;%s?$1"`,
		`"extension":[{"url":"u","valueDecimal":1.00},{"url":"u","valueDecimal":-0.0e+00},{"url":"u","valueDecimal":12345678901234567890.123456789012345678901234567890}]`,
		`"meta":{"tag":[{"code":"b"},{"code":"a"}]},"name":"meta"`,
		`"active":true,"_active":{"extension":[{"url":"z"}]},"alias":[null],"_alias":[{"id":"a"}]`,
		`"name":"'); DROP TABLE version; --"`,
	}
}

func bodyExact(e *env) {
	var changes []change
	for i, members := range oddBodies() {
		ref := fmt.Sprintf("Organization/odd%d", i)
		changes = append(changes, exactly(ref, fmt.Sprintf(`{"id":"odd%d",%s,"resourceType":"Organization"}`, i, members)))
	}
	e.commit(changes...)
	at := e.barrier()
	for _, c := range changes {
		e.isVersion(e.get(c.id.String()), c, 1)
		e.isVersion(e.version(c.id.String(), 1), c, 1)
		found := e.scan(store.Selection{At: at, IDs: []string{c.id.ID}})
		e.that(len(found) == 1, "Scan yields %d versions of one id", len(found))
		e.isVersion(found[0], c, 1)
	}
}

func bodyLarge(e *env) {
	large := exactly("Organization/1", `{"resourceType":"Organization","id":"1","name":"`+strings.Repeat("0123456789abcde\u00e9", 5<<20/17)+`"}`)
	e.commit(large, write("Organization/2", "beside it"))
	e.that(string(e.get("Organization/1").Body) == large.body, "Get gives another body")
	found := e.scan(store.Selection{At: e.barrier(), IDs: []string{"1"}})
	e.that(len(found) == 1 && string(found[0].Body) == large.body, "Scan gives another body")
	e.that(e.commit(large)[0].Unchanged, "the same 5 MB are not the same content")
}

func bodyKept(e *env) {
	c := write("Patient/1", "a")
	e.commit(c)
	got, old, past := e.get("Patient/1"), e.version("Patient/1", 1), e.history("Patient/1")
	for _, body := range [][]byte{got.Body, old.Body, past[0].Body} {
		clear(body)
	}
	e.isVersion(e.get("Patient/1"), c, 1)
	kept := e.get("Patient/1")
	for i := range 5 {
		e.commit(write("Patient/1", fmt.Sprint("later ", i)))
		e.get("Patient/1")
	}
	e.isVersion(kept, c, 1)
}

// likeIDs are ids that are not each other's.
func likeIDs() []string {
	return []string{
		"a", "A", "1", "01", "1.0", "1e0", "-", ".", "0x1", "a-", "null",
		"8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4d", "8F14E45F-CEEA-467F-A8F5-0E8A1D2C3B4D",
		"8f14e45fceea467fa8f50e8a1d2c3b4d", "8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4",
		strings.Repeat("x", 64), strings.Repeat("x", 63),
	}
}

func bodyIDs(e *env) {
	var changes []change
	for _, id := range likeIDs() {
		changes = append(changes, write("Patient/"+id, "patient"), write("Organization/"+id, "organization"),
			write("Observation/"+id, "observation", id))
	}
	e.commit(changes...)
	at := e.barrier()
	for _, c := range changes {
		e.isVersion(e.get(c.id.String()), c, 1)
	}
	for _, id := range likeIDs() {
		s := store.Selection{At: at, IDs: []string{id}}
		e.yields(s, "Observation/"+id+" v1", "Organization/"+id+" v1", "Patient/"+id+" v1")
		s = store.Selection{At: at, Cohort: e.cohort(id)}
		e.yields(s, "Observation/"+id+" v1", "Patient/"+id+" v1")
	}
}
