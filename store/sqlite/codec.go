package sqlite

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Bits of a key, from the right: the counter, the type, the tenant.
const (
	counterBits = 40
	typeBits    = 8
	segmentBits = 16
	maxTenant   = 1<<15 - 1
	maxType     = 1<<typeBits - 1
)

// space is a tenant's resources of one type.
type space int64

func spaceOf(tenant, typ int64) space { return space(tenant<<typeBits | typ) }

func (s space) tenant() int64 { return int64(s) >> typeBits }
func (s space) typ() int64    { return int64(s) & maxType }
func (s space) first() int64  { return int64(s) << counterBits }
func (s space) end() int64    { return (int64(s) + 1) << counterBits }

// keyText shows a rowid as a store.Key: 16 hexadecimal digits, which sort as
// the number does.
func keyText(rowid int64) store.Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(rowid))
	return store.Key(hex.EncodeToString(b[:]))
}

func keyRow(k store.Key) (int64, error) {
	n, err := strconv.ParseInt(string(k), 16, 64)
	if err != nil || len(k) != 16 {
		return 0, fmt.Errorf("sqlite: %q is no key of this store", k)
	}
	return n, nil
}

// bindID binds a logical id: a UUID as 16 bytes, any other as text.
func bindID(stmt *sqlite.Stmt, param int, id string) {
	if u, ok := store.PackUUID(id); ok {
		stmt.BindBytes(param, u[:])
		return
	}
	stmt.BindText(param, id)
}

func columnID(stmt *sqlite.Stmt, col int) string {
	if stmt.ColumnType(col) != sqlite.TypeBlob {
		return stmt.ColumnText(col)
	}
	var u [16]byte
	stmt.ColumnBytes(col, u[:])
	return store.UnpackUUID(u[:])
}

// target is the parameter that a literal reference is bound to, after its
// segment.
const target = 2

// bindTarget binds a literal reference to it: Type/UUID as bytes with the UUID
// packed, any other as text.
func bindTarget(stmt *sqlite.Stmt, ref string) {
	var buf [64]byte
	if b, ok := packTarget(buf[:0], ref); ok {
		stmt.BindBytes(target, b)
		return
	}
	stmt.BindText(target, ref)
}

// packTarget appends Type/UUID with the UUID packed; false of any other.
func packTarget(to []byte, ref string) ([]byte, bool) {
	slash := strings.IndexByte(ref, '/')
	if slash < 0 {
		return to, false
	}
	u, ok := store.PackUUID(ref[slash+1:])
	if !ok {
		return to, false
	}
	return append(append(to, ref[:slash+1]...), u[:]...), true
}

// packedUUID marks an id in a list of patients that is a packed UUID; without
// it the byte is the length of the id as text.
const packedUUID = 0x80

// packPatients makes one value of a list of ids; nil of an empty one.
func packPatients(ids []string) []byte {
	var b []byte
	for _, id := range ids {
		if u, ok := store.PackUUID(id); ok {
			b = append(append(b, packedUUID), u[:]...)
			continue
		}
		b = append(append(b, byte(len(id))), id...)
	}
	return b
}

func unpackPatients(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	ids := make([]string, 0, 1)
	for len(b) > 0 {
		if b[0] == packedUUID {
			ids, b = append(ids, store.UnpackUUID(b[1:17])), b[17:]
			continue
		}
		n := int(b[0])
		ids, b = append(ids, string(b[1:1+n])), b[1+n:]
	}
	return ids
}
