package mongo

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"firebreak/store"
)

// key is a version's place: tenant, type, tick, lane and place within the
// commit, in 2, 1, 6, 4 and 3 bytes, each the greatest first. A lane gives
// each tick to one commit, so no key is ever used again, whoever writes; and
// an instant is a place in a space, so that "after" and "as of" are ranges.
type versionKey [16]byte

// space is a tenant's resources of one type.
type space struct {
	tenant uint16
	typ    uint8
}

const (
	maxTick = 1<<48 - 1
	maxSeq  = 1<<24 - 1
)

func (s space) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, s.tenant), s.typ)
}

// at is the first key that a version from this tick on may have.
func (s space) at(t store.Tick) versionKey { return s.key(t, 0, 0) }

func (s space) key(t store.Tick, lane uint32, seq int) (k versionKey) {
	b := s.append(k[:0])
	b = binary.BigEndian.AppendUint64(b, uint64(min(max(t, 0), maxTick))<<16)[:9]
	binary.BigEndian.AppendUint32(b, lane)
	k[13], k[14], k[15] = byte(seq>>16), byte(seq>>8), byte(seq)
	return k
}

// within is the keys of a space from the tick after one to another, both of
// the tenant's clock.
func (s space) within(after, at store.Tick) (from, to versionKey) {
	if after > 0 {
		after++
	}
	if at >= maxTick {
		return s.at(after), s.end()
	}
	return s.at(after), s.at(at + 1)
}

// end is past all keys of the space.
func (s space) end() versionKey {
	return s.key(maxTick, math.MaxUint32, maxSeq)
}

// lastKey is past all keys.
var lastKey = versionKey{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

// next is the least key after k.
func (k versionKey) next() versionKey {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i]++; k[i] != 0 {
			break
		}
	}
	return k
}

func (k versionKey) text() store.Key { return store.Key(hex.EncodeToString(k[:])) }

func parseKey(text store.Key) (k versionKey, err error) {
	if n, err := hex.Decode(k[:], []byte(text)); err != nil || n != len(k) || len(text) != 2*len(k) {
		return versionKey{}, fmt.Errorf("mongo: %q is no key of this store", text)
	}
	return k, nil
}

// A logical id within a place of an index: a UUID in its usual form as 16
// bytes, any other as text.
const (
	asUUID byte = iota
	asText
)

func appendID(b []byte, id string) []byte {
	if u, ok := store.PackUUID(id); ok {
		return append(append(b, asUUID), u[:]...)
	}
	return append(append(b, asText), id...)
}

func idOf(b []byte) (string, error) {
	switch {
	case len(b) == 17 && b[0] == asUUID:
		return store.UnpackUUID(b[1:]), nil
	case len(b) > 1 && b[0] == asText:
		return string(b[1:]), nil
	}
	return "", fmt.Errorf("mongo: a version has no readable id")
}

// resourceOf names a resource in the index of resources.
func (s space) resourceOf(id string) []byte { return appendID(s.append(make([]byte, 0, 24)), id) }

// patientOf names a patient's compartment among the resources of one type.
func (s space) patientOf(patient string) []byte { return s.resourceOf(patient) }

// referenceTo names a literal reference among the resources of one type.
func (s space) referenceTo(ref string) []byte {
	return append(s.append(make([]byte, 0, 4+len(ref))), ref...)
}
