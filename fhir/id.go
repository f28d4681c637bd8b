package fhir

import "errors"

// ID is the identity of a resource: its type and its logical id.
type ID struct {
	Type string
	ID   string
}

// String gives the identity as a relative reference: "Patient/1".
func (i ID) String() string { return i.Type + "/" + i.ID }

// IsZero tells whether no identity was set.
func (i ID) IsZero() bool { return i == ID{} }

// MaxID is the longest logical id, in characters
// (https://hl7.org/fhir/R4/datatypes.html#id).
const MaxID = 64

var errID = errors.New("an id has 1 to 64 characters: letters, digits, hyphens and dots")

// CheckID refuses a logical id outside [A-Za-z0-9\-.]{1,64}. The error does
// not repeat the id.
func CheckID(id string) error {
	if len(id) == 0 || len(id) > MaxID {
		return errID
	}
	for i := range len(id) {
		if !isIDByte(id[i]) {
			return errID
		}
	}
	return nil
}

func isIDByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.'
}
