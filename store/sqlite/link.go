package sqlite

import (
	"cmp"
	"encoding/binary"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/search"
)

// link is one thing that one version names, and by which parameters.
type link struct {
	key    int64
	target string
	params []search.Term // of one Value
}

func (l link) compare(m link) int {
	return cmp.Or(cmp.Compare(l.key>>segmentBits, m.key>>segmentBits),
		strings.Compare(l.target, m.target), cmp.Compare(l.key, m.key))
}

// terms are made from a body anew.
func terms(id fhir.ID, body []byte) []search.Term { return search.Terms(id.Type, id.ID, body) }

// compartments are the terms of a tombstone: in whose compartments the version
// before it was, as packPatients has them.
func compartments(patients []byte) []search.Term {
	var out []search.Term
	for _, p := range unpackPatients(patients) {
		out = append(out, search.Term{Kind: search.Reference, Param: search.Compartment, Value: "Patient/" + p})
	}
	return out
}

// appendLinks groups terms, which are sorted by Value, by what they name.
func appendLinks(links []link, key int64, terms []search.Term) []link {
	for i := 0; i < len(terms); {
		j := i + 1
		for j < len(terms) && terms[j].Value == terms[i].Value {
			j++
		}
		links = append(links, link{key, terms[i].Value, terms[i:j]})
		i = j
	}
	return links
}

func (t *tx) insertLink(l link) error {
	var buf [32]byte
	params := buf[:0]
	for _, p := range l.params {
		no, err := t.param(p.Param)
		if err != nil {
			return err
		}
		params = binary.AppendUvarint(params, uint64(no))
	}
	stmt, err := t.conn.Prepare(`INSERT INTO link (seg, target, key, params) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, l.key>>segmentBits)
	bindTarget(stmt, l.target)
	stmt.BindInt64(3, l.key)
	stmt.BindBytes(4, params)
	_, err = stmt.Step()
	return err
}

// deleteLink removes a link; its params do not matter.
func (t *tx) deleteLink(l link) error {
	stmt, err := t.conn.Prepare(`DELETE FROM link WHERE seg=? AND target=? AND key=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, l.key>>segmentBits)
	bindTarget(stmt, l.target)
	stmt.BindInt64(3, l.key)
	_, err = stmt.Step()
	return err
}

// hasParam tells whether a list of varints, as insertLink makes it, has no.
func hasParam(params []byte, no int64) bool {
	for len(params) > 0 {
		p, n := binary.Uvarint(params)
		if n <= 0 {
			return false
		}
		if int64(p) == no {
			return true
		}
		params = params[n:]
	}
	return false
}
