// Package search says what a FHIR R4 resource is found by, and how it is
// searched for.
//
// A resource's terms are taken from its bytes when it is written (Terms), by
// the official expressions of its type's search parameters. Stores keep them
// beside the resource and know nothing of FHIR. The parameters _id and
// _lastUpdated have no terms: a store serves them from its own columns.
package search

import (
	"bytes"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/tidwall/gjson"
)

// Extraction is the number of this way of extracting terms; it changes when
// the terms of any resource would.
const Extraction = 2

// Kind says what a term's value is and how it is compared.
type Kind uint8

// The kinds of terms.
const (
	// Reference is a literal reference, or a canonical or plain URI, compared
	// byte by byte.
	Reference Kind = 1
)

// The parameters of terms that no search parameter of the standard has.
const (
	// Compartment has the patients in whose compartments the resource is, by
	// the CompartmentDefinition of R4 and nothing else.
	Compartment = "_compartment"
	// Ref has every literal reference of the resource wherever it is, the url of
	// every Attachment, and of a Bundle the resources that it holds.
	Ref = "_ref"
)

// Term is one thing that a resource is found by.
type Term struct {
	Kind  Kind
	Param string // the code of a search parameter, Compartment or Ref
	Value string
}

const patientPrefix = "Patient/"

// Terms gives the terms of a resource, sorted by Value and then by Param,
// without duplicates. The body is the resource as strictly valid, compact
// JSON: no white space between tokens, no duplicate names, valid UTF-8, no
// deeper than decoders allow (10,000). Type and id are its identity; the body
// need not hold them. A type that R4 does not know has Ref terms alone.
//
// The value of a literal reference is its text without "/_history/…", so
// relative references are "Type/id", absolute ones stay URLs, and "urn:" stays
// as it is. References to contained resources ("#…"), logical references (an
// identifier without a literal) and data: URLs give no term. A search
// parameter may also point to a canonical or uri; that is the value as sent.
//
// "resolve() is Patient" is judged by the type that the literal reference
// names, so that a urn: passes no such test, and a Reference's own type
// element is not asked.
//
// The values share memory with each other, never with body. Terms may be
// called from many goroutines at once.
func Terms(typ, id string, body []byte) []Term {
	w := newWalk(planOf(typ), body)
	defer w.release()
	if typ == "Patient" {
		w.add([]byte(patientPrefix+id), w.plan.compartment)
	}
	w.resource()
	if typ == "Bundle" {
		w.holds(gjson.ParseBytes(body))
	}
	return w.terms()
}

// holds adds the resources of a Bundle's entries, and of Bundles among them.
func (w *walk) holds(bundle gjson.Result) {
	bundle.Get("entry").ForEach(func(_, entry gjson.Result) bool {
		held := entry.Get("resource")
		typ, id := held.Get("resourceType").String(), held.Get("id").String()
		if typ == "Bundle" {
			w.holds(held)
		}
		if typ != "" && fhir.CheckID(id) == nil {
			w.add([]byte(typ+"/"+id), w.plan.ref)
		}
		return true
	})
}

// Compartments gives the ids of the patients in whose compartments the
// resource of these terms is, sorted as the terms are.
func Compartments(terms []Term) []string {
	var ids []string
	for _, t := range terms {
		if t.Param == Compartment {
			ids = append(ids, strings.TrimPrefix(t.Value, patientPrefix))
		}
	}
	return ids
}

// candidate is a term before sorting: the value points into the body.
type candidate struct {
	value []byte
	param int // in the order of plan.params
}

func compareCandidates(a, b candidate) int {
	if by := bytes.Compare(a.value, b.value); by != 0 {
		return by
	}
	return a.param - b.param
}

func sameCandidate(a, b candidate) bool { return a.param == b.param && bytes.Equal(a.value, b.value) }

// terms makes terms of what was found. All values are cut from one string, so that
// two allocations serve any resource.
func (w *walk) terms() []Term {
	slices.SortFunc(w.found, compareCandidates)
	found := slices.CompactFunc(w.found, sameCandidate)
	if len(found) == 0 {
		return nil
	}
	size := 0
	for i, c := range found {
		if i == 0 || !bytes.Equal(c.value, found[i-1].value) {
			size += len(c.value)
		}
	}
	var text strings.Builder
	text.Grow(size)
	terms := make([]Term, 0, len(found))
	value := ""
	for i, c := range found {
		if i == 0 || !bytes.Equal(c.value, found[i-1].value) {
			start := text.Len()
			text.Write(c.value)
			value = text.String()[start:]
		}
		if c.param == w.plan.compartment && fhir.CheckID(value[len(patientPrefix):]) != nil {
			continue
		}
		terms = append(terms, Term{Kind: Reference, Param: w.plan.params[c.param], Value: value})
	}
	return terms
}
