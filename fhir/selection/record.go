package selection

import (
	"cmp"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/search"

	"github.com/tidwall/gjson"
)

// Concern is what one version of a resource has to do with a Record. A greater
// one is a closer one.
type Concern uint8

// What a version can have to do with a Record.
const (
	None  Concern = iota // nothing that can be seen
	Names                // it is about somebody else, or about nobody, and names something of the record
	About                // it is about patients of the record and about no other patient
)

// Record is the record of one patient or of several: the Patients themselves
// and the resources that were added. It says of any version of a resource what
// it has to do with them. Its methods may be called from many goroutines at
// once, Add aside.
type Record struct {
	resources map[fhir.ID]bool
	base      *Record // what this one began as; nil: nothing
}

// NewRecord starts the record of patients, given by their ids. The Patients
// are of the record.
func NewRecord(patients []string) *Record {
	r := &Record{resources: make(map[fhir.ID]bool, len(patients))}
	for _, id := range patients {
		r.Add(fhir.ID{Type: patient, ID: id})
	}
	return r
}

// More starts a record as this one is, which must not grow any more. What is
// added to the new one is of that alone.
func (r *Record) More() *Record { return &Record{map[fhir.ID]bool{}, r} }

const patient = "Patient"

// Add says that these resources are of the record; a Patient among them is a
// patient of the record. Whoever adds a resource, because a version of it is
// About, asks again for what may only refer to that: Provenances, Bundles,
// Binaries and whatever was None.
func (r *Record) Add(ids ...fhir.ID) {
	for _, id := range ids {
		r.resources[id] = true
	}
}

// Has tells whether a resource is of the record.
func (r *Record) Has(id fhir.ID) bool { return r.resources[id] || r.base != nil && r.base.Has(id) }

// Concern says what one version of a resource has to do with the record. Type
// and id are its identity, body is its JSON as stored. More patients, or more
// resources, in the record never make it less.
//
// A version is About by what its type is about: see the table of subjects.
// Elements that refer to no Patient do not count, so that an Appointment of a
// patient and a practitioner is about the patient. Every Patient among the
// subjects must be of the record: one of another server, or contained, or known
// by its identifier alone, may be somebody else.
//
//   - A Patient is About if it is of the record, whomever it links to.
//   - A Provenance is About if a target is of the record, and each other one
//     too or detached from another record.
//   - A Binary is About if its security context is of the record.
//   - An AuditEvent is About if it is in the compartment of a patient of the
//     record. Whether AuditEvents go with a record is for the caller to say.
//   - A Bundle is About if the resource of an entry is of the record, or is
//     About itself, Bundles in Bundles included.
//   - A Group and a Linkage are never About.
//
// Any other version Names if a reference in it, or the url of an Attachment, is
// relative and refers to something of the record, to a version of it too, and
// wherever it stands: what search.Ref has, whatever its fragment. Absolute URLs,
// urn: and contained references and identifiers name nothing.
func (r *Record) Concern(typ, id string, body []byte) Concern {
	switch {
	case r.about(typ, id, gjson.ParseBytes(body)):
		return About
	case r.named(body):
		return Names
	}
	return None
}

// Binaries lists the Binary resources that a version names, sorted and once
// each, whether they are of the record or not.
func (r *Record) Binaries(body []byte) []fhir.ID {
	var ids []fhir.ID
	for _, term := range search.Terms("", "", body) {
		if id, ok := search.Target(term.Value); ok && id.Type == "Binary" {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b fhir.ID) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(ids)
}

// named tells whether anything in a body refers to the record. A body without
// its type has the terms of search.Ref and no other.
func (r *Record) named(body []byte) bool {
	return slices.ContainsFunc(search.Terms("", "", body), func(term search.Term) bool {
		id, ok := search.Target(term.Value)
		return ok && r.Has(id)
	})
}
