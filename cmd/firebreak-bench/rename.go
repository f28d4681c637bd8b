package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/r4"
)

// renamer makes another copy of a set: the same resources under ids of its
// own, which refer to each other as the first ones do. The ids follow from the
// number of the copy. A UUID stays one, of the same version, as stores keep
// them in another way than other ids.
type renamer struct {
	mask   [16]byte // what is changed of a UUID
	suffix string   // of any other id
}

func newRenamer(number int) renamer {
	sum := sha256.Sum256(fmt.Appendf(nil, "copy %d", number))
	r := renamer{suffix: fmt.Sprintf("-%d-%x", number, sum[16:20])}
	copy(r.mask[:], sum[:])
	r.mask[6] &= 0x0f // the version
	r.mask[8] &= 0x3f // and the variant stay
	return r
}

// id gives an id of the copy.
func (r renamer) id(id string) string {
	if u, ok := r.uuid(id); ok {
		return u
	}
	if len(id)+len(r.suffix) > fhir.MaxID {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:16])
	}
	return id + r.suffix
}

func (r renamer) uuid(id string) (string, bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' || strings.ToLower(id) != id {
		return "", false
	}
	u, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(u) != len(r.mask) {
		return "", false
	}
	for i := range u {
		u[i] ^= r.mask[i]
	}
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}

// resource appends a resource of the copy.
func (r renamer) resource(dst, line []byte) ([]byte, error) {
	res, err := fhir.Reader{Known: r4.IsType}.Read(line)
	if err != nil {
		return dst, err
	}
	return r.references(dst, res.WithID(r.id(res.ID.ID)).Body), nil
}

// referring are the members whose value may be a literal reference, as they
// stand in compact JSON; url is an attachment's. Within a string the quotes
// would be escaped, so that these bytes are members wherever they occur.
var referring = [][]byte{[]byte(`"reference":"`), []byte(`"url":"`)}

// references appends a body in which each relative reference to a resource is
// to the one of the copy. It may have no white space between tokens.
func (r renamer) references(dst, body []byte) []byte {
	for {
		at := nextReference(body)
		if at < 0 {
			return append(dst, body...)
		}
		dst, body = append(dst, body[:at]...), body[at:]
		end := bytes.IndexByte(body, '"')
		ref := fhir.ParseReference(string(body[:end]), r4.IsType)
		if ref.Local() {
			ref.ID = r.id(ref.ID)
		}
		dst, body = append(dst, ref.String()...), body[end:]
	}
}

// nextReference is where the next value of a referring member begins, or -1.
func nextReference(body []byte) int {
	first := -1
	for _, member := range referring {
		if i := bytes.Index(body, member); i >= 0 && (first < 0 || i+len(member) < first) {
			first = i + len(member)
		}
	}
	return first
}

// writeCopy writes a copy of the set into one file, resource by resource.
func (b *bench) writeCopy(path string, number int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, fileBuffer)
	r := newRenamer(number)
	var made []byte
	for _, p := range b.set.paths {
		err := eachLine(p, func(line []byte) error {
			if made, err = r.resource(made[:0], line); err != nil {
				return err
			}
			_, err := out.Write(append(made, '\n'))
			return err
		})
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// all are other ids.
func (r renamer) all(ids []string) (out []string) {
	for _, id := range ids {
		out = append(out, r.id(id))
	}
	return out
}
