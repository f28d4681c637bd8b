package sqlite

import (
	"bytes"
	"runtime"
	"slices"
	"sort"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// naming looks for links to targets, in all of a tenant's types.
type naming struct {
	conn             *sqlite.Conn
	d                *dictionary
	tenant           int64
	ref, compartment int64 // numbers of parameters
}

func (s *Store) naming(conn *sqlite.Conn, t store.Tenant) naming {
	d := s.w.committed.Load()
	return naming{conn, d, d.tenants[string(t)], d.params[search.Ref], d.params[search.Compartment]}
}

// mention is a link to a target. by is zero if there is no version behind it.
type mention struct {
	target           fhir.ID
	by               fhir.ID
	ref, compartment bool
}

// sought is a target as the index of links has it: packed ones come after all
// texts.
type sought struct {
	id     fhir.ID
	key    []byte
	packed bool
}

func seek(id fhir.ID) sought {
	ref := id.String()
	if key, ok := packTarget(nil, ref); ok {
		return sought{id, key, true}
	}
	return sought{id, []byte(ref), false}
}

func (s sought) compare(other sought) int {
	if s.packed != other.packed {
		if s.packed {
			return 1
		}
		return -1
	}
	return bytes.Compare(s.key, other.key)
}

// each calls f for each link to one of the targets.
func (n naming) each(targets []fhir.ID, f func(mention) error) error {
	spaces, err := n.spaces()
	if err != nil {
		return err
	}
	all := make([]sought, len(targets))
	for i, id := range targets {
		all[i] = seek(id)
	}
	slices.SortFunc(all, sought.compare)
	for _, sp := range spaces {
		for seg := range segments(sp.first, sp.next) {
			if err := n.segment(seg, all, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment calls f for each link of a segment to one of the targets, which are in
// order. Most types name few others, so it goes from each target to the first
// link that is there, and on from the first target that this may be to: what it
// costs follows the links, not the targets.
func (n naming) segment(seg segment, targets []sought, f func(mention) error) error {
	for len(targets) > 0 {
		runtime.Gosched() // who reads for a request goes first
		at, ok, err := n.from(seg, targets[0])
		if err != nil || !ok {
			return err
		}
		skip := sort.Search(len(targets), func(i int) bool { return targets[i].compare(at) >= 0 })
		if targets = targets[skip:]; len(targets) == 0 || targets[0].compare(at) != 0 {
			continue
		}
		if err := n.in(seg, targets[0].id, f); err != nil {
			return err
		}
		targets = targets[1:]
	}
	return nil
}

// from is the first target of a link that is not before the one sought.
func (n naming) from(seg segment, t sought) (at sought, ok bool, err error) {
	stmt, err := n.conn.Prepare(`SELECT target FROM link WHERE seg=? AND target>=? ORDER BY target LIMIT 1`)
	if err != nil {
		return at, false, err
	}
	stmt.BindInt64(1, seg.from>>segmentBits)
	bindTarget(stmt, t.id.String())
	err = rows(stmt, func() error {
		at, ok = sought{key: columnBytes(stmt, 0, nil), packed: stmt.ColumnType(0) == sqlite.TypeBlob}, true
		return nil
	})
	return at, ok, err
}

// used is the range of keys that a space has given out.
type used struct{ first, next int64 }

func (n naming) spaces() (out []used, err error) {
	err = each(n.conn, `SELECT no, next FROM space WHERE no>=? AND no<?`, func(st *sqlite.Stmt) {
		out = append(out, used{space(st.ColumnInt64(0)).first(), st.ColumnInt64(1)})
	}, n.tenant<<typeBits, (n.tenant+1)<<typeBits)
	return out, err
}

// in calls f for each link of a segment to the target.
func (n naming) in(seg segment, target fhir.ID, f func(mention) error) error {
	stmt, err := n.conn.Prepare(`SELECT v.id, l.params, v.key IS NULL FROM link l LEFT JOIN version v ON v.key=l.key WHERE l.seg=? AND l.target=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, seg.from>>segmentBits)
	bindTarget(stmt, target.String())
	typ := n.d.typeNames[space(seg.from>>counterBits).typ()]
	var buf [64]byte
	return rows(stmt, func() error {
		params := columnBytes(stmt, 1, buf[:0])
		m := mention{target: target, ref: hasParam(params, n.ref), compartment: hasParam(params, n.compartment)}
		if !stmt.ColumnBool(2) {
			m.by = fhir.ID{Type: typ, ID: columnID(stmt, 0)}
		}
		return f(m)
	})
}
