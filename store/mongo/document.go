package mongo

import (
	"context"
	"fmt"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// A version is one document, written once; only "to" is ever set again. The
// members, in this order, so that what a scan asks for comes before the body:
//
//	_id  its key
//	h    its resource: tenant, type, id
//	n    versionId
//	f t  from, to
//	d    true: a tombstone; absent otherwise
//	k    true: something was detached from it; absent otherwise
//	o u  client and user of the owner; absent if empty
//	x    which way its references were extracted
//	m    where meta is spliced in
//	z    how many bytes the body has
//	p    in whose compartments, each with tenant and type
//	r    what it names, each with tenant and type
//	b    the body, byte by byte
type versionDoc struct {
	key      versionKey
	space    space
	id       string
	n        int64
	from, to store.Tick
	deleted  bool
	detached bool
	owner    store.Owner
	metaAt   int
	patients [][]byte
	refs     [][]byte
	body     []byte
}

const overhead = 256 // bytes of a document besides its body, patients and references, at most, but for the owner

// size is no less than the bytes of the document.
func (d *versionDoc) size() int {
	n := overhead + len(d.body) + len(d.owner.Client) + len(d.owner.User) + len(d.id)
	for _, list := range [][][]byte{d.patients, d.refs} {
		for _, v := range list {
			n += len(v) + 16
		}
	}
	return n
}

func (d *versionDoc) encode() bson.Raw {
	at, b := bsoncore.AppendDocumentStart(make([]byte, 0, d.size()))
	b = bsoncore.AppendBinaryElement(b, "_id", 0, d.key[:])
	b = bsoncore.AppendBinaryElement(b, "h", 0, d.space.resourceOf(d.id))
	b = bsoncore.AppendInt64Element(b, "n", d.n)
	b = bsoncore.AppendInt64Element(b, "f", int64(d.from))
	b = bsoncore.AppendInt64Element(b, "t", int64(d.to))
	if d.deleted {
		b = bsoncore.AppendBooleanElement(b, "d", true)
	}
	if d.detached {
		b = bsoncore.AppendBooleanElement(b, "k", true)
	}
	if d.owner.Client != "" {
		b = bsoncore.AppendStringElement(b, "o", d.owner.Client)
	}
	if d.owner.User != "" {
		b = bsoncore.AppendStringElement(b, "u", d.owner.User)
	}
	b = bsoncore.AppendInt32Element(b, "x", search.Extraction)
	b = bsoncore.AppendInt32Element(b, "m", int32(d.metaAt))
	b = bsoncore.AppendInt32Element(b, "z", int32(len(d.body)))
	b = appendList(b, "p", d.patients)
	b = appendList(b, "r", d.refs)
	if !d.deleted {
		b = bsoncore.AppendBinaryElement(b, "b", 0, d.body)
	}
	b, _ = bsoncore.AppendDocumentEnd(b, at) // it has a length
	return bson.Raw(b)
}

func appendList(b []byte, name string, list [][]byte) []byte {
	if len(list) == 0 {
		return b
	}
	at, b := bsoncore.AppendArrayElementStart(b, name)
	for i, v := range list {
		b = bsoncore.AppendBinaryElement(b, fmt.Sprint(i), 0, v)
	}
	b, _ = bsoncore.AppendArrayEnd(b, at) // it has a length
	return b
}

// decode reads a document; what it gives shares raw's memory.
func decode(raw bson.Raw) (d versionDoc, err error) {
	elements, err := raw.Elements()
	if err != nil {
		return d, fmt.Errorf("mongo: read a version: %w", err)
	}
	d.to = store.Forever
	for _, e := range elements {
		v := e.Value()
		switch e.Key() {
		case "_id":
			_, b := v.Binary()
			copy(d.key[:], b)
		case "h":
			_, b := v.Binary()
			if len(b) < 3 {
				return d, fmt.Errorf("mongo: a version names no resource")
			}
			d.space = space{uint16(b[0])<<8 | uint16(b[1]), b[2]}
			if d.id, err = idOf(b[3:]); err != nil {
				return d, err
			}
		case "n":
			d.n = v.Int64()
		case "f":
			d.from = store.Tick(v.Int64())
		case "t":
			d.to = store.Tick(v.Int64())
		case "d":
			d.deleted = v.Boolean()
		case "k":
			d.detached = v.Boolean()
		case "o":
			d.owner.Client = v.StringValue()
		case "u":
			d.owner.User = v.StringValue()
		case "m":
			d.metaAt = int(v.Int32())
		case "p":
			d.patients = list(v.Array())
		case "b":
			_, d.body = v.Binary()
		}
	}
	return d, nil
}

func list(array bson.RawArray) (out [][]byte) {
	values, err := array.Values()
	if err != nil {
		return nil
	}
	for _, v := range values {
		_, b := v.Binary()
		out = append(out, b)
	}
	return out
}

// version is the document as the contract has it; it shares the memory.
func (s *Store) version(ctx context.Context, d versionDoc) (store.Version, error) {
	typ, err := s.typeName(ctx, d.space.typ)
	if err != nil {
		return store.Version{}, err
	}
	return d.version(typ)
}

// version is the document as the contract has it, of a type that is known.
func (d *versionDoc) version(typ string) (store.Version, error) {
	v := store.Version{
		Key: d.key.text(), ID: fhir.ID{Type: typ, ID: d.id}, N: d.n, From: d.from, To: d.to,
		Deleted: d.deleted, Detached: d.detached, Owner: d.owner, Body: d.body, MetaAt: d.metaAt,
	}
	for _, p := range d.patients {
		id, err := idOf(p[3:])
		if err != nil {
			return store.Version{}, err
		}
		v.Patients = append(v.Patients, id)
	}
	return v, nil
}
