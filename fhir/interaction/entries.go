package interaction

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"firebreak/fhir"

	"github.com/go-json-experiment/json/jsontext"
)

// Entry is one entry of a Bundle: a Resource with an id, or an Err.
type Entry struct {
	Index    int    // from 0, as in Bundle.entry[0]
	FullURL  string // "" for none
	Resource fhir.Resource
	Err      error // why there is no Resource: an *fhir.Error that names the entry
	// Unresolved are the urn: references of the resource that no entry
	// answers. They are left in it as they are.
	Unresolved []string
}

// EntriesOf takes a Bundle of any type apart, to store each entry's resource
// under its own id. A reference or an attachment's url that is the urn:uuid: or
// urn:oid: by which one entry is known (its fullUrl) becomes Type/id; every
// other token stays. The entries of a Bundle within the Bundle are its own.
//
// An entry that cannot be stored has an Err and does not stop the others. The
// error is for what is no Bundle, or no JSON.
func EntriesOf(r fhir.Reader, bundle []byte) ([]Entry, error) {
	s := bundleScan{reader: r, dec: jsontext.NewDecoder(bytes.NewBuffer(bundle),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))} // of an entry's resource, reader judges
	if err := s.bundle(); err != nil {
		return nil, bundleError(bundle, err)
	}
	urns := urnsOf(s.entries)
	for i := range s.entries {
		if e := &s.entries[i]; e.Err == nil {
			e.resolve(r, urns)
		}
	}
	return s.entries, nil
}

// bundleScan reads a Bundle from the left.
type bundleScan struct {
	reader  fhir.Reader
	dec     *jsontext.Decoder
	typ     string
	entries []Entry
}

var errShape = errors.New("not of this shape")

func (s *bundleScan) bundle() error {
	seen := map[string]bool{}
	err := s.object(func(name string) error {
		if seen[name] {
			return errShape
		}
		seen[name] = true
		switch name {
		case "resourceType":
			return s.text(&s.typ)
		case "entry":
			return s.array(s.entry)
		}
		return s.dec.SkipValue()
	})
	if err == nil && s.typ != "Bundle" {
		err = errShape
	}
	if err != nil {
		return err
	}
	if _, err = s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errShape
	}
	return nil
}

func (s *bundleScan) entry() error {
	e := Entry{Index: len(s.entries)}
	var resource jsontext.Value
	err := s.object(func(name string) error {
		switch name {
		case "fullUrl":
			return s.text(&e.FullURL)
		case "resource":
			raw, err := s.dec.ReadValue()
			resource = raw.Clone()
			return err
		}
		return s.dec.SkipValue()
	})
	if err != nil {
		return err
	}
	e.read(s.reader, resource)
	s.entries = append(s.entries, e)
	return nil
}

// object calls member for each member's name; that has to read the value.
func (s *bundleScan) object(member func(name string) error) error {
	if s.dec.PeekKind() != '{' {
		return errShape
	}
	_, err := s.dec.ReadToken()
	for err == nil && s.dec.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = s.dec.ReadToken(); err == nil {
			err = member(name.String())
		}
	}
	if err == nil {
		_, err = s.dec.ReadToken()
	}
	return err
}

// array calls item for each item of an array; that has to read it.
func (s *bundleScan) array(item func() error) error {
	if s.dec.PeekKind() != '[' {
		return errShape
	}
	_, err := s.dec.ReadToken()
	for err == nil && s.dec.PeekKind() != ']' {
		err = item()
	}
	if err == nil {
		_, err = s.dec.ReadToken()
	}
	return err
}

func (s *bundleScan) text(to *string) error {
	if s.dec.PeekKind() != '"' {
		return errShape
	}
	token, err := s.dec.ReadToken()
	if err == nil {
		*to = token.String()
	}
	return err
}

// bundleError words what is wrong with a Bundle as a whole, without repeating
// what is in it.
func bundleError(bundle []byte, err error) error {
	whole := fhir.Reader{Known: func(typ string) bool { return typ == "Bundle" }}
	if _, strict := whole.Read(bundle); strict != nil && !errors.Is(err, errShape) {
		return fhir.AsError(strict).At("Bundle")
	}
	return fhir.Errorf(fhir.Invalid, "not a Bundle with an array of entries").With(fhir.CodeStructure).At("Bundle")
}

// read takes the entry's resource, or says why it cannot.
func (e *Entry) read(r fhir.Reader, raw []byte) {
	if raw == nil {
		e.Err = fhir.Errorf(fhir.Invalid, "%s has no resource", e.name()).With(fhir.CodeRequired).At(e.path())
		return
	}
	resource, err := r.Read(raw)
	if err != nil {
		known := *fhir.AsError(err)
		known.Message, known.Expression = fmt.Sprintf("%s: within its resource, %s", e.name(), known.Error()), e.path()
		e.Err = &known
		return
	}
	if e.Resource = resource; resource.ID.ID == "" {
		e.Err = fhir.Errorf(fhir.Invalid, "%s has a resource without an id", e.name()).With(fhir.CodeRequired).At(e.path())
		e.Resource = fhir.Resource{}
	}
}

func (e *Entry) path() string { return fmt.Sprintf("Bundle.entry[%d]", e.Index) }

// name is what an error calls the entry. A fullUrl is repeated where it is a
// urn, which means nothing outside of the Bundle.
func (e *Entry) name() string {
	if isURN(e.FullURL) && fhir.CheckID(strings.ReplaceAll(e.FullURL, ":", "-")) == nil {
		return fmt.Sprintf("entry %d (%s)", e.Index, e.FullURL)
	}
	return fmt.Sprintf("entry %d", e.Index)
}

func isURN(s string) bool {
	return fhir.ParseReference(s, func(string) bool { return false }).URN()
}
