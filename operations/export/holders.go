package export

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/store"
)

// holders are those by whom an erasure finds a file: job.Part.Patients. What is
// erased with a patient is more than the compartment holds, so they are
//
//   - each patient in whose compartment a resource of the file is;
//   - each patient whom one names by a literal relative reference, wherever
//     that is: it may be of their record, as a Device is, or a later version
//     of it may have been detached from them;
//   - of a resource without any of these the resource itself, as "Type/id", if
//     it may be of a record by what it refers to, or by a later version: so it
//     is with a Provenance about an Observation alone;
//   - of a Binary, of a Bundle, and of what was deleted and was in no
//     compartment the resource itself.
//
// So each version in a file is found by any one of those whom it names, or else
// by itself. No id of a patient has a slash.
type holders map[string]struct{}

// version notes the holders of a version.
func (h holders) version(v *store.Version) {
	for _, p := range v.Patients {
		h.add(p)
	}
	anyone := h.named(v.Body) || len(v.Patients) > 0
	if opaque := v.ID.Type == "Binary" || v.ID.Type == "Bundle"; opaque || !anyone && mayBeOfRecord(v) {
		h.add(v.ID.String())
	}
}

// tombstone notes the holders of a deletion.
func (h holders) tombstone(v *store.Version) {
	for _, p := range v.Patients {
		h.add(p)
	}
	if len(v.Patients) == 0 {
		h.add(v.ID.String())
	}
}

// add does not allocate for one that is there.
func (h holders) add(id string) {
	if _, ok := h[id]; !ok {
		h[id] = struct{}{}
	}
}

// quotedPatient begins a relative reference to a patient.
var quotedPatient = []byte(`"Patient/`)

// named notes the patients that compact JSON names, and tells whether there are
// any. It takes any text for a reference that looks like one: a patient too
// many costs an owner an export at most.
func (h holders) named(doc []byte) (found bool) {
	if escapes(doc) {
		found = h.searched(doc)
	}
	for rest := doc; ; {
		i := bytes.Index(rest, quotedPatient)
		if i < 0 {
			return found
		}
		rest = rest[i+len(quotedPatient):]
		n := 0
		for n < len(rest) && isIDByte(rest[n]) {
			n++
		}
		if n == 0 {
			continue
		}
		found = true
		if _, ok := h[string(rest[:n])]; !ok { // does not allocate
			h[string(rest[:n])] = struct{}{}
		}
	}
}

// searched notes the patients that a search would find a document by.
func (h holders) searched(doc []byte) (found bool) {
	for _, id := range relative(search.Terms("", "", doc)) {
		if id.Type == "Patient" {
			h.add(id.ID)
			found = true
		}
	}
	return found
}

// escapes tells whether something that may be of a reference is written as an
// escape. JSON that is stored is valid: what begins an escape ends it.
func escapes(doc []byte) bool {
	for {
		i := bytes.IndexByte(doc, '\\')
		if i < 0 {
			return false
		}
		doc = doc[i+1:]
		if doc[0] == '/' || doc[0] == 'u' && ofReference(doc[1:5]) {
			return true
		}
		doc = doc[1:]
	}
}

// ofReference tells whether the character of a \u escape may be in a reference.
func ofReference(digits []byte) bool {
	c, err := strconv.ParseUint(string(digits), 16, 16)
	return err == nil && c < utf8.RuneSelf && (c == '/' || isIDByte(byte(c)))
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.'
}

// recorded are the types that can be of a patient's record though they are in
// no compartment.
var recorded = []string{"Binary", "Bundle", "Contract", "Device", "GuidanceResponse", "Task"}

func isRecorded(typ string) bool {
	return r4.CompartmentParams(typ) != nil || slices.Contains(recorded, typ)
}

// mayBeOfRecord tells whether a version that names no patient may be of a
// record, or refers to what may.
func mayBeOfRecord(v *store.Version) bool {
	return isRecorded(v.ID.Type) || slices.ContainsFunc(relative(search.Terms(v.ID.Type, v.ID.ID, v.Body)), func(id fhir.ID) bool {
		return isRecorded(id.Type)
	})
}
