package storetest

import (
	"fmt"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
)

// change is a write as a case words it: a Put, and what the suite knows of it
// without asking the code that it tests.
type change struct {
	id       fhir.ID
	body     string   // JSON of the resource; "" for a deletion
	patients []string // in whose compartments it will be
	expect   int64
	owner    store.Owner
}

// write puts a resource such as "Observation/1" that says text and is about
// the patients. A Patient is about those that it is linked to.
func write(ref, text string, patients ...string) change {
	id := idOf(ref)
	body := fmt.Sprintf(`{"resourceType":%q,"id":%q,"text":{"status":"generated","div":"<div>%s</div>"}%s}`,
		id.Type, id.ID, text, about(id.Type, patients))
	c := change{id: id, body: body, owner: somebody()}
	switch id.Type {
	case "Patient":
		c.patients = append([]string{id.ID}, patients...)
	case "Observation", "Appointment":
		c.patients = slices.Clone(patients)
	}
	return c
}

// exactly puts a resource that is this JSON and in no compartment.
func exactly(ref, body string) change {
	return change{id: idOf(ref), body: body, owner: somebody()}
}

// remove puts a deletion.
func remove(ref string) change { return change{id: idOf(ref)} }

func (c change) expecting(n int64) change { c.expect = n; return c }

func (c change) by(o store.Owner) change { c.owner = o; return c }

// put is the change as the store takes it.
func (c change) put() store.Put {
	p := store.Put{Expect: c.expect, Owner: c.owner}
	if c.body == "" {
		p.Delete, p.Resource.ID = true, c.id
		return p
	}
	p.Resource = c.resource()
	p.Terms = search.Terms(c.id.Type, c.id.ID, p.Resource.Body)
	return p
}

func (c change) resource() fhir.Resource {
	r, err := fhir.Reader{Known: r4.IsType}.Read([]byte(c.body))
	if err != nil {
		panic(fmt.Sprintf("storetest: a resource of the suite is refused: %v", err))
	}
	return r
}

func somebody() store.Owner { return job.Owner{Client: "loader"} }

func idOf(ref string) fhir.ID {
	typ, id, _ := strings.Cut(ref, "/")
	return fhir.ID{Type: typ, ID: id}
}

func idsOf(refs ...string) []fhir.ID {
	ids := make([]fhir.ID, len(refs))
	for i, ref := range refs {
		ids[i] = idOf(ref)
	}
	return ids
}

// about gives the members that refer to the patients.
func about(typ string, patients []string) string {
	if len(patients) == 0 {
		return ""
	}
	switch typ {
	case "Patient":
		return `,"link":[` + each(patients, `{"other":{"reference":"Patient/%s"},"type":"seealso"}`) + `]`
	case "Appointment":
		return `,"participant":[` + each(patients, `{"actor":{"reference":"Patient/%s"},"status":"accepted"}`) + `]`
	case "Observation":
		members := `,"subject":` + each(patients[:1], `{"reference":"Patient/%s"}`)
		if len(patients) > 1 {
			members += `,"performer":[` + each(patients[1:], `{"reference":"Patient/%s"}`) + `]`
		}
		return members
	}
	panic("storetest: no reference to a patient in " + typ)
}

func each(patients []string, format string) string {
	parts := make([]string, len(patients))
	for i, p := range patients {
		parts[i] = fmt.Sprintf(format, p)
	}
	return strings.Join(parts, ",")
}
