// Package sample makes synthetic patients, for the demo and for tests: FHIR R4
// resources of people who do not exist, whose names, addresses and stories are
// made up by a generator of numbers. No real person's data went into it, and
// nothing medical may be concluded from it.
//
// What may be relied on: the same number of patients and the same seed give the
// same bytes; every reference resolves within the set; ids have the shape of a
// UUID, except those of the Groups "all" and "first-10"; each patient comes
// with 50 to 100 resources; and the record of the nth patient of a seed is the
// same however many others there are, the appointment it shares with its
// neighbour aside.
package sample

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// The ids of the two Groups of every set.
const (
	GroupAll     = "all"      // every patient
	GroupFirst10 = "first-10" // the first ten patients, or as many as there are
)

// Types lists the types of resource in a set, in the order of the alphabet.
// Every one occurs in a set of one patient or more.
func Types() []string {
	return []string{
		"AllergyIntolerance", "Appointment", "Binary", "CarePlan", "Claim", "Condition", "Coverage",
		"DiagnosticReport", "DocumentReference", "Encounter", "Group", "Immunization", "Location",
		"MedicationRequest", "Observation", "Organization", "Patient", "Practitioner", "Procedure", "Provenance",
	}
}

// Write hands a set to w, one resource at a time as compact JSON, which w may
// keep: first the organizations and their staff, then patient by patient, last
// the Groups. The first error of w ends it and is returned.
func Write(w func(resource []byte) error, patients int, seed uint64) error {
	s := &set{write: w, seed: seed}
	s.staff()
	for i := range patients {
		p := newPatient(s, i)
		p.record()
		if i%2 == 1 || i == patients-1 {
			p.appointment(max(0, i-i%2))
		}
	}
	s.groups(patients)
	return s.err
}

// PatientID is the id of the nth patient, counted from 0, of a seed.
func PatientID(seed uint64, n int) string { return uuid(seed, "Patient", n, 0) }

// uuid makes an id from what it names: version 8 of RFC 9562, whose bits are
// the maker's own.
func uuid(seed uint64, name string, owner, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d/%d", seed, name, owner, n))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// object and list keep the literals of resources short enough to read.
type (
	object = map[string]any
	list   = []any
)

// set is one run of Write. After the first error it writes nothing more.
type set struct {
	write func([]byte) error
	seed  uint64
	err   error
}

// put writes a resource, its type and id first.
func (s *set) put(name, id string, content object) {
	if s.err != nil {
		return
	}
	rest, err := json.Marshal(content)
	if err != nil {
		s.err = fmt.Errorf("sample: %w", err)
		return
	}
	head := fmt.Appendf(nil, `{"resourceType":%q,"id":%q,`, name, id)
	s.err = s.write(append(head, rest[1:]...))
}

// random gives each patient its own source of numbers.
func (s *set) random(patient int) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed, uint64(patient))) //nolint:gosec // not a secret: the same numbers are wanted again
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// decimal is a number written with so many digits after the point, zeros at
// its end included, as a laboratory sends it.
func decimal(v float64, digits int) json.Number {
	return json.Number(strconv.FormatFloat(v, 'f', digits, 64))
}

func ref(name, id string) object { return object{"reference": name + "/" + id} }

func coding(system, code, display string) object {
	return object{"system": system, "code": code, "display": display}
}

func concept(system, code, display string) object {
	return object{"coding": list{coding(system, code, display)}, "text": display}
}

// hl7 is a concept of one of HL7's own code systems.
func hl7(system, code, display string) object {
	return concept("http://terminology.hl7.org/CodeSystem/"+system, code, display)
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

func instant(t time.Time) string { return t.Format(time.RFC3339) }
