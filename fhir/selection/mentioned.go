package selection

import (
	"bytes"

	"firebreak/fhir"
)

// Mentioned tells whether a body has the relative address of something of the
// record, Type/id, anywhere: as a reference, within an absolute URL, or in text.
// Only what is written with escapes is not seen. It costs far less than Concern.
func (r *Record) Mentioned(body []byte) bool {
	for at := 0; ; {
		i := bytes.IndexByte(body[at:], '/')
		if i < 0 {
			return false
		}
		at += i
		typ, id := lettersBefore(body, at), idAfter(body, at)
		at++
		if len(typ) > 0 && (r.has(typ, id) || r.has(typ, bytes.TrimRight(id, "."))) { // a sentence may end there
			return true
		}
	}
}

// has is Has without a copy.
func (r *Record) has(typ, id []byte) bool {
	return r.resources[fhir.ID{Type: string(typ), ID: string(id)}] || r.base != nil && r.base.has(typ, id)
}

func lettersBefore(b []byte, at int) []byte {
	from := at
	for from > 0 && isLetter(b[from-1]) {
		from--
	}
	return b[from:at]
}

func idAfter(b []byte, at int) []byte {
	to := at + 1
	for to < len(b) && (isLetter(b[to]) || b[to] >= '0' && b[to] <= '9' || b[to] == '-' || b[to] == '.') {
		to++
	}
	return b[at+1 : to]
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
