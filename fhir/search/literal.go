package search

import (
	"bytes"
	"strings"

	"firebreak/fhir"
)

const history = "/_history/"

// literal gives the value of a literal reference or an Attachment's url: its
// text without the version; nil for what refers to nothing outside of the
// resource.
func literal(text []byte) []byte {
	if len(text) == 0 || text[0] == '#' || bytes.HasPrefix(text, []byte("data:")) {
		return nil
	}
	if bytes.IndexByte(text, '_') < 0 || bytes.HasPrefix(text, []byte("urn:")) {
		return text
	}
	cut := bytes.LastIndex(text, []byte(history))
	if cut <= 0 || bytes.IndexByte(text[cut+len(history):], '/') >= 0 {
		return text
	}
	return text[:cut]
}

// typeOf gives the type that the value of a literal reference names, relative
// or absolute; nil where it names none.
func typeOf(value []byte) []byte {
	if bytes.HasPrefix(value, []byte("urn:")) {
		return nil
	}
	slash := bytes.LastIndexByte(value, '/')
	if slash < 0 {
		return nil
	}
	path := value[:slash]
	return path[bytes.LastIndexByte(path, '/')+1:]
}

// Target is what a relative literal reference names by type and id; false if it
// names nothing in that way. Its version, which is anything without a slash, and
// its fragment do not matter.
func Target(reference string) (fhir.ID, bool) {
	reference, _, _ = strings.Cut(reference, "#")
	if i := strings.LastIndex(reference, history); i > 0 && !strings.Contains(reference[i+len(history):], "/") {
		reference = reference[:i]
	}
	typ, id, ok := strings.Cut(reference, "/")
	return fhir.ID{Type: typ, ID: id}, ok && fhir.CheckID(id) == nil
}
