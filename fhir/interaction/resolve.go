package interaction

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"firebreak/fhir"
	"firebreak/fhir/r4"

	"github.com/go-json-experiment/json/jsontext"
)

// urns is which resource a urn: stands for within one Bundle. One that stands
// for several has the zero ID, and resolves to none.
type urns map[string]fhir.ID

func urnsOf(entries []Entry) urns {
	known := urns{}
	for _, e := range entries {
		if e.Err != nil || !isURN(e.FullURL) {
			continue
		}
		name := strings.ToLower(e.FullURL)
		if other, ok := known[name]; ok && other != e.Resource.ID {
			known[name] = fhir.ID{}
			continue
		}
		known[name] = e.Resource.ID
	}
	return known
}

func (u urns) target(literal string) (fhir.ID, bool) {
	id := u[strings.ToLower(literal)]
	return id, !id.IsZero()
}

// attachments are the members whose values are Attachments.
var attachments = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	for _, name := range r4.Members("Attachment") {
		set[name] = true
	}
	return set
})

// resolve rewrites the references of the entry's resource.
func (e *Entry) resolve(r fhir.Reader, known urns) {
	body := e.Resource.Body
	if e.Resource.ID.Type == "Bundle" || !bytes.Contains(body, []byte(`"urn:`)) {
		return
	}
	w := rewriting{urns: known, body: body, dec: jsontext.NewDecoder(bytes.NewReader(body))}
	err := w.value("")
	if e.Unresolved = w.unresolved; err == nil && w.done > 0 {
		e.Resource, err = r.Read(append(w.out, body[w.done:]...))
	}
	if err != nil {
		e.Resource, e.Err = fhir.Resource{}, fhir.AsError(err)
	}
}

// rewriting copies a body, piece by piece, with references replaced.
type rewriting struct {
	urns       urns
	body       []byte
	dec        *jsontext.Decoder
	out        []byte
	done       int // how much of the body is in out
	unresolved []string
}

// value reads the value of a member.
func (w *rewriting) value(member string) error {
	switch w.dec.PeekKind() {
	case '{':
		return w.object(attachments()[member])
	case '[':
		_, err := w.dec.ReadToken()
		for err == nil && w.dec.PeekKind() != ']' {
			err = w.value(member)
		}
		if err == nil {
			_, err = w.dec.ReadToken()
		}
		return err
	}
	return w.dec.SkipValue()
}

func (w *rewriting) object(attachment bool) error {
	_, err := w.dec.ReadToken()
	for err == nil && w.dec.PeekKind() != '}' {
		var token jsontext.Token
		if token, err = w.dec.ReadToken(); err != nil {
			break
		}
		name := token.String()
		if w.dec.PeekKind() == '"' && (name == "reference" || attachment && name == "url") {
			err = w.literal()
		} else {
			err = w.value(name)
		}
	}
	if err == nil {
		_, err = w.dec.ReadToken()
	}
	return err
}

// literal reads a reference, and replaces it if it is the urn: of an entry.
func (w *rewriting) literal() error {
	raw, err := w.dec.ReadValue()
	if err != nil {
		return err
	}
	text := string(raw[1 : len(raw)-1])
	if !isURN(text) {
		return nil
	}
	id, ok := w.urns.target(text)
	if !ok {
		if !slices.Contains(w.unresolved, text) {
			w.unresolved = append(w.unresolved, text)
		}
		return nil
	}
	end := int(w.dec.InputOffset())
	w.out = append(w.out, w.body[w.done:end-len(raw)]...)
	w.out = append(w.out, `"`+id.String()+`"`...)
	w.done = end
	return nil
}
