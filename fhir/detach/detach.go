// Package detach takes the mention of some resources out of another one, which
// stays.
//
// What refers to them is replaced by an extension that says that something was
// there and is masked:
//
//	{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}
//
// An element that must be there (a Reference with min = 1, such as
// Group.member.entity) still is: rule ele-1 of R4 wants a value or children of
// every element, and an extension is one. So no cardinality is broken.
//
// Taken out is what search.Ref finds a resource by and nothing else. A person
// may also be known by an absolute URL of this very server, by an identifier
// without a reference, by a contained copy, or by a name in a text: FreeText
// says whether there is text.
package detach

import (
	"bytes"
	"errors"
	"io"

	"firebreak/fhir"
	"firebreak/fhir/search"

	"github.com/go-json-experiment/json/jsontext"
)

// Masked is what a masked element has, as it is written: a body that has it was
// detached from something.
const Masked = `"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]`

// Detach masks each Reference whose literal is relative and names a target,
// something that of is true for, and each Attachment whose url does so. A
// version of the target and a fragment count as the target. It looks
// everywhere: in contained resources, in the entries of Bundles, in extensions
// and in elements that R4 does not know.
//
// A masked element keeps its id and nothing else. Every other byte of the body
// stays as it is. n is how many elements were masked; where it is 0, out is
// body itself. A place in the body, such as fhir.Resource's MetaAt, must be
// found anew in out.
//
// search.Terms of out has no term of search.Ref or search.Compartment for a
// target, except that a Patient is in its own compartment. A body that is not
// JSON comes back as it is.
func Detach(body []byte, of func(fhir.ID) bool) (out []byte, n int) {
	d := detaching{of: of, body: body, dec: jsontext.NewDecoder(bytes.NewReader(body),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	err := d.value(search.Resource)
	if err == nil {
		_, err = d.dec.ReadToken()
	}
	if len(d.cuts) == 0 || !errors.Is(err, io.EOF) {
		return body, 0
	}
	return d.masked(), len(d.cuts)
}

// detaching is one pass over a body.
type detaching struct {
	of   func(fhir.ID) bool
	body []byte
	dec  *jsontext.Decoder
	cuts []object // those to be masked, in their order, none within another
}

// object is an object of the body, as far as it was read.
type object struct {
	start, end int
	id         []byte // as written, with its quotes; nil where it has none
	typed      bool   // it has a resourceType
	referring  bool   // its reference names a target
	attached   bool   // its url does, and it is an Attachment
}

// value reads a value that stands at a place.
func (d *detaching) value(is search.Place) error {
	switch d.dec.PeekKind() {
	case '{':
		return d.object(is)
	case '[':
		_, err := d.dec.ReadToken()
		for err == nil && d.dec.PeekKind() != ']' {
			err = d.value(is)
		}
		if err == nil {
			_, err = d.dec.ReadToken()
		}
		return err
	}
	return d.dec.SkipValue()
}

func (d *detaching) object(is search.Place) error {
	_, err := d.dec.ReadToken()
	o := object{start: d.offset() - 1}
	for err == nil && d.dec.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = d.dec.ReadToken(); err == nil {
			err = d.member(&o, name.String(), is)
		}
	}
	if err == nil {
		_, err = d.dec.ReadToken()
	}
	o.end = d.offset()
	if o.attached || o.referring && (is&search.MaybeResource == 0 || !o.typed) {
		d.cut(o)
	}
	return err
}

// member reads the value of an object's member.
func (d *detaching) member(o *object, name string, is search.Place) error {
	if d.dec.PeekKind() != '"' {
		return d.value(search.PlaceOf(name))
	}
	raw, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	switch {
	case name == "id":
		o.id = d.body[d.offset()-len(raw) : d.offset()]
	case name == "resourceType":
		o.typed = true
	case name == "reference" && is&(search.PlainURI|search.Resource) == 0:
		o.referring = o.referring || d.names(raw)
	case name == "url" && is&search.Attachment != 0:
		o.attached = o.attached || d.names(raw)
	}
	return nil
}

// offset is how far the body was read.
func (d *detaching) offset() int { return int(d.dec.InputOffset()) }

// names tells whether a literal, with its quotes, names a target.
func (d *detaching) names(quoted []byte) bool {
	literal, _ := jsontext.AppendUnquote(nil, quoted) // bad UTF-8 is no part of an id
	id, ok := search.Target(string(literal))
	return ok && d.of(id)
}

// cut marks an object, and forgets those within it.
func (d *detaching) cut(o object) {
	n := len(d.cuts)
	for n > 0 && d.cuts[n-1].start > o.start {
		n--
	}
	d.cuts = append(d.cuts[:n], o)
}

// masked writes the body without what is cut.
func (d *detaching) masked() []byte {
	out, done := make([]byte, 0, len(d.body)+len(d.cuts)*len(Masked)), 0
	for _, o := range d.cuts {
		out = append(append(out, d.body[done:o.start]...), '{')
		if o.id != nil {
			out = append(append(append(out, `"id":`...), o.id...), ',')
		}
		out = append(append(out, Masked...), '}')
		done = o.end
	}
	return append(out, d.body[done:]...)
}
