package gateway

import (
	"bytes"
	"time"

	"mongodb-standin/internal/bsonx"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// nowVariable is the name by which expressions ask for the time.
const nowVariable = "$$NOW"

// fixNow puts the time of the command in the place of $$NOW, wherever an expression may stand. The extension would
// give the time at which the transaction began, rounded to the nearest millisecond, and refuses the variable in some
// stages. In MongoDB it is the time of the command, the same for all that the command does.
func (m *command) fixNow(at time.Time) {
	switch m.name {
	case "update", "delete", "findAndModify", "findandmodify", "find", "aggregate", "count", "distinct":
	default:
		return
	}
	n := now(bsoncore.Value{Type: bsoncore.TypeDateTime, Data: bsoncore.AppendDateTime(nil, at.UnixMilli())})
	if bytes.Contains(m.body, []byte(nowVariable)) {
		m.body = n.command(m.body)
	}
	for name, seq := range m.req.Sequences {
		if bytes.Contains(seq, []byte(nowVariable)) {
			var out []byte
			bsonx.Docs(seq, func(_ int, part bsoncore.Document) { out = append(out, n.command(part)...) })
			m.req.Sequences[name] = out
		}
	}
}

// now is a time as a BSON value.
type now bsoncore.Value

// command replaces the variable in a command, or in one of the updates or deletes of a command.
func (n now) command(doc bsoncore.Document) bsoncore.Document {
	return mapped(doc, func(key string, v bsoncore.Value) bsoncore.Value {
		switch key {
		case "pipeline", "let", "fields", "projection":
			return n.expression(v)
		case "u", "update": // a pipeline; what an update document sets is plain values
			if v.Type == bsoncore.TypeArray {
				return n.expression(v)
			}
		case "q", "query", "filter":
			return n.filter(v)
		case "updates", "deletes":
			return within(v, func(_ string, part bsoncore.Value) bsoncore.Value {
				if part.Type != bsoncore.TypeEmbeddedDocument {
					return part
				}
				return bsoncore.Value{Type: part.Type, Data: n.command(part.Data)}
			})
		}
		return v
	})
}

// expression replaces the variable in an expression, a stage or a list of either.
func (n now) expression(v bsoncore.Value) bsoncore.Value {
	if s, ok := v.StringValueOK(); ok && s == nowVariable {
		return bsoncore.Value(n)
	}
	return within(v, func(key string, v bsoncore.Value) bsoncore.Value {
		switch key {
		case "$literal":
			return v
		case "$match":
			return n.filter(v)
		}
		return n.expression(v)
	})
}

// filter replaces the variable in the expressions of a filter, where all else is plain values.
func (n now) filter(v bsoncore.Value) bsoncore.Value {
	return within(v, func(key string, v bsoncore.Value) bsoncore.Value {
		if key == "$expr" {
			return n.expression(v)
		}
		return n.filter(v)
	})
}

// within gives a document or an array with its values replaced, and any other value as it is.
func within(v bsoncore.Value, f func(key string, v bsoncore.Value) bsoncore.Value) bsoncore.Value {
	if v.Type != bsoncore.TypeEmbeddedDocument && v.Type != bsoncore.TypeArray {
		return v
	}
	return bsoncore.Value{Type: v.Type, Data: mapped(v.Data, f)}
}

func mapped(doc bsoncore.Document, f func(key string, v bsoncore.Value) bsoncore.Value) bsoncore.Document {
	return bsonx.Doc(func(d []byte) []byte {
		bsonx.Each(doc, func(key string, e bsoncore.Element) { d = bsoncore.AppendValueElement(d, key, f(key, e.Value())) })
		return d
	})
}
