package search

import (
	"bytes"
	"encoding/json"
	"sync"
)

// walk is one pass over a resource's bytes. Its methods take the index of a
// value's first byte and give the index after its last. They do not check the
// JSON, but end on any bytes.
type walk struct {
	body    []byte
	plan    *plan
	places  *table[Place]
	escapes bool // whether there is a backslash in body
	found   []candidate
}

// walks keeps the memory of walks that are over for those to come.
var walks = sync.Pool{New: func() any { return &walk{places: places()} }}

// newWalk prepares a walk that must be released after use.
func newWalk(p *plan, body []byte) *walk {
	w := walks.Get().(*walk) //nolint:errcheck // the pool holds nothing else
	w.plan, w.body, w.escapes = p, body, bytes.IndexByte(body, '\\') >= 0
	return w
}

const keep = 1024 // candidates; a walk with room for more is left to the garbage collector

func (w *walk) release() {
	if cap(w.found) > keep {
		return
	}
	clear(w.found)
	w.found, w.body = w.found[:0], nil
	walks.Put(w)
}

func (w *walk) add(value []byte, param int) {
	w.found = append(w.found, candidate{value: value, param: param})
}

// resource walks all of the body.
func (w *walk) resource() {
	if len(w.body) > 0 && w.body[0] == '{' {
		w.object(0, w.plan.root, Resource)
	}
}

func (w *walk) object(i int, at *node, is Place) int {
	b, start := w.body, i
	if at != nil && at.by != "" {
		at = w.choose(i, at)
	}
	for i++; i < len(b) && b[i] == '"'; {
		from := i + 1
		i = stringEnd(b, i)
		key := w.key(b[from:max(from, i-1)])
		i++ // the colon
		if i >= len(b) {
			break
		}
		switch b[i] {
		case '"':
			from := i
			i = stringEnd(b, i)
			w.member(at, is, key, b[from:i], start)
		case '{':
			i = w.object(i, at.find(key), w.places.find(key))
		case '[':
			i = w.array(i, at.find(key), w.places.find(key))
		default:
			i = scalarEnd(b, i)
		}
		if i < len(b) && b[i] == ',' {
			i++
		}
	}
	return i + 1
}

func (w *walk) array(i int, at *node, is Place) int {
	b := w.body
	for i++; i < len(b) && b[i] != ']'; {
		switch b[i] {
		case '"':
			from := i
			i = stringEnd(b, i)
			if at != nil && at.texts != nil {
				w.text(at, b[from:i])
			}
		case '{':
			i = w.object(i, at, is)
		case '[':
			i = w.array(i, at, is)
		default:
			i = scalarEnd(b, i)
		}
		if i < len(b) && b[i] == ',' {
			i++
		}
	}
	return i + 1
}

// member takes what is wanted of a member whose value is a string, in the
// object that starts at start.
func (w *walk) member(at *node, is Place, key, quoted []byte, start int) {
	switch {
	case string(key) == "reference":
		w.reference(at, is, quoted, start)
	case is&Attachment != 0 && string(key) == "url":
		if value := literal(w.unquote(quoted)); value != nil {
			w.add(value, w.plan.ref)
		}
	}
	if to := at.find(key); to != nil && to.texts != nil {
		w.text(to, quoted)
	}
}

// reference takes the literal of a Reference.
func (w *walk) reference(at *node, is Place, quoted []byte, start int) {
	if is&(PlainURI|Resource) != 0 || is&MaybeResource != 0 && w.lookup(start, "resourceType") != nil {
		return
	}
	value := literal(w.unquote(quoted))
	if value == nil {
		return
	}
	w.add(value, w.plan.ref)
	if at == nil || at.refs == nil {
		return
	}
	typ := typeOf(value)
	for _, a := range at.refs {
		if a.target != "" && a.target != string(typ) {
			continue
		}
		w.add(value, a.param)
		if a.compartment && bytes.HasPrefix(value, []byte(patientPrefix)) {
			w.add(value, w.plan.compartment)
		}
	}
}

// text takes a canonical or uri as it was sent.
func (w *walk) text(at *node, quoted []byte) {
	value := w.unquote(quoted)
	if len(value) == 0 {
		return
	}
	for _, a := range at.texts {
		w.add(value, a.param)
	}
}

// choose gives the case of a node for the object at i, the node itself where
// there is none.
func (w *walk) choose(i int, at *node) *node {
	if one := at.cases[string(w.lookup(i, at.by))]; one != nil {
		return one
	}
	return at
}

// lookup gives the string in a member of the object at i; nil where there is
// none.
func (w *walk) lookup(i int, name string) []byte {
	b := w.body
	for i++; i < len(b) && b[i] == '"'; {
		from := i + 1
		i = stringEnd(b, i)
		key := w.key(b[from:max(from, i-1)])
		from = min(i+1, len(b))
		i = valueEnd(b, from)
		if string(key) == name && from < len(b) && b[from] == '"' {
			return w.unquote(b[from:i])
		}
		if i < len(b) && b[i] == ',' {
			i++
		}
	}
	return nil
}

func (w *walk) key(raw []byte) []byte {
	if w.escapes && bytes.IndexByte(raw, '\\') >= 0 {
		return unescape(raw)
	}
	return raw
}

// unquote gives what a string says.
func (w *walk) unquote(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	return w.key(quoted[1 : len(quoted)-1])
}

// unescape resolves the escapes in a string without its quotes. It is called
// for the few strings that are wanted and have any.
func unescape(raw []byte) []byte {
	quoted := append(append([]byte{'"'}, raw...), '"')
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}
