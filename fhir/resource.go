package fhir

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Resource is a resource as its bytes, with what must be known of it. Two
// resources have the same content when their Bodies are the same bytes.
type Resource struct {
	ID   ID     // ID.ID is "" where the JSON had no id
	Body []byte // compact JSON, without meta.versionId and meta.lastUpdated
	// MetaAt is where AppendShown puts those two back: within the braces of
	// meta, or behind the id where there is no meta. It is 0 without an id.
	MetaAt int
}

// MaxDepth is how deep objects and arrays of a resource may nest.
const MaxDepth = 100

// Reader reads resources strictly. The zero Reader refuses everything, as it
// knows no type.
type Reader struct {
	Known    func(typ string) bool // is it a resource type of R4?
	MaxBytes int                   // of one resource; 0: no limit
}

// Read takes one resource from its JSON. White space between tokens is
// dropped; each token, and the order of members, stays as sent, but for
// meta.versionId and meta.lastUpdated, which are the server's to say.
//
// It refuses, with an *Error that says where: anything but one JSON object,
// duplicate names, bad UTF-8, NUL in a string, escapes in a member's name,
// nesting over MaxDepth, an unknown resourceType, a bad id. data is not kept.
func (r Reader) Read(data []byte) (Resource, error) {
	if r.MaxBytes > 0 && len(data) > r.MaxBytes {
		return Resource{}, Errorf(TooLarge, "a resource may have %d bytes at most", r.MaxBytes)
	}
	body := jsontext.Value(append(make([]byte, 0, len(data)), data...))
	if err := body.Compact(jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false)); err != nil {
		return Resource{}, syntaxError(data, err)
	}
	o, err := outline(body)
	if err != nil {
		return Resource{}, err
	}
	return r.resource(o, body)
}

func (r Reader) resource(o members, body []byte) (Resource, error) {
	typ, err := text(body, o.typ, "resourceType")
	if err != nil {
		return Resource{}, err
	}
	if o.typ.zero() {
		return Resource{}, Errorf(Invalid, "resourceType is missing").With(CodeStructure).At("resourceType")
	}
	if r.Known == nil || !r.Known(typ) {
		return Resource{}, Errorf(Invalid, "resourceType is not a resource type of FHIR R4").With(CodeValue).At("resourceType")
	}
	id, err := text(body, o.id, "id")
	if err != nil {
		return Resource{}, err
	}
	if !o.id.zero() {
		if err := CheckID(id); err != nil {
			return Resource{}, Errorf(Invalid, "%v", err).With(CodeValue).At(typ + ".id")
		}
	}
	res := Resource{ID: ID{Type: typ, ID: id}}
	res.Body, res.MetaAt, err = withoutServerMeta(body, o)
	return res, err
}

// WithID gives the resource another id: the id member is replaced, or put
// behind resourceType where there was none. The id must be a valid one.
func (r Resource) WithID(id string) Resource {
	if r.ID.ID == id {
		return r
	}
	o, err := outline(r.Body)
	if err != nil { // Read made the body
		panic(err)
	}
	quoted := `"` + id + `"`
	var b []byte
	if o.id.zero() {
		b = splice(r.Body, o.typ.end, o.typ.end, `,"id":`+quoted)
	} else {
		b = splice(r.Body, o.id.start, o.id.end, quoted)
	}
	if o, err = outline(b); err != nil {
		panic(err)
	}
	return Resource{ID: ID{Type: r.ID.Type, ID: id}, Body: b, MetaAt: metaAt(o)}
}

// AppendShown appends the resource as a client sees it: the body with
// meta.versionId and meta.lastUpdated. metaAt is the MetaAt of that body,
// lastUpdated is in milliseconds since 1970.
func AppendShown(dst, body []byte, metaAt int, version, lastUpdated int64) []byte {
	dst = append(dst, body[:metaAt]...)
	inside := body[metaAt-1] == '{'
	if !inside {
		dst = append(dst, `,"meta":{`...)
	}
	dst = append(dst, `"versionId":"`...)
	dst = strconv.AppendInt(dst, version, 10)
	dst = append(dst, `","lastUpdated":"`...)
	dst = FormatInstant(dst, lastUpdated)
	dst = append(dst, '"')
	switch {
	case !inside:
		dst = append(dst, '}')
	case body[metaAt] != '}':
		dst = append(dst, ',')
	}
	return append(dst, body[metaAt:]...)
}

// withoutServerMeta drops meta.versionId and meta.lastUpdated, and meta itself
// if nothing else was in it.
func withoutServerMeta(body []byte, o members) ([]byte, int, error) {
	if !o.meta.zero() && body[o.meta.start] != '{' {
		return nil, 0, Errorf(Invalid, "meta is not an object").With(CodeStructure).At("meta")
	}
	if o.version.zero() && o.updated.zero() && !o.emptyMeta() {
		return body, metaAt(o), nil
	}
	rest := append([]byte(nil), body[o.meta.start:o.meta.end]...)
	for _, s := range o.serverMeta() { // the later one first
		rest = cut(rest, s.name-o.meta.start, s.end-o.meta.start)
	}
	var b []byte
	if len(rest) == len(`{}`) {
		b = cut(append([]byte(nil), body...), o.meta.name, o.meta.end)
	} else {
		b = splice(body, o.meta.start, o.meta.end, string(rest))
	}
	again, err := outline(b)
	return b, metaAt(again), err
}

// metaAt is the MetaAt of the body that was outlined.
func metaAt(o members) int {
	if !o.meta.zero() {
		return o.meta.start + 1
	}
	return o.id.end
}

// splice replaces b[from:to] with s, in a new slice.
func splice(b []byte, from, to int, s string) []byte {
	out := make([]byte, 0, len(b)+len(s)-(to-from))
	out = append(out, b[:from]...)
	out = append(out, s...)
	return append(out, b[to:]...)
}

// cut removes the member b[from:to] with one comma beside it, in place.
func cut(b []byte, from, to int) []byte {
	switch {
	case b[to] == ',':
		to++
	case b[from-1] == ',':
		from--
	}
	return append(b[:from], b[to:]...)
}

// text is the value of a member that must be a string; "" for an absent one.
func text(body []byte, s span, name string) (string, error) {
	if s.zero() {
		return "", nil
	}
	if body[s.start] != '"' {
		return "", Errorf(Invalid, "%s is not a string", name).With(CodeStructure).At(name)
	}
	return string(body[s.start+1 : s.end-1]), nil
}

// syntaxError words a jsontext error without repeating what was sent.
func syntaxError(data []byte, err error) *Error {
	e := Errorf(Invalid, "malformed JSON").With(CodeStructure)
	if s := (*jsontext.SyntacticError)(nil); errors.As(err, &s) {
		what := "malformed JSON"
		if errors.Is(s, jsontext.ErrDuplicateName) {
			what = "a member occurs twice in one object"
		}
		line, column := position(data, int(s.ByteOffset))
		e.Message = fmt.Sprintf("%s at line %d, column %d (byte %d)", what, line, column, s.ByteOffset)
		e.Expression = expression(string(s.JSONPointer))
	}
	return e
}
