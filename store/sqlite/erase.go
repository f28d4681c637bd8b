package sqlite

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Erase is store.Eraser.
func (s *Store) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (out store.Erased, err error) {
	rowids, err := rowidsOf(vs)
	if err != nil {
		return out, err
	}
	err = s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		if err := x.unheld(no, of); err != nil {
			return err
		}
		e := erasing{tx: x, tenant: no}
		if err := e.find(vs, rowids); err != nil {
			return err
		}
		if out, err = e.remove(); err != nil {
			return err
		}
		x.w.grown += pagesOfVersion * len(e.found) // it makes the WAL longer
		return x.count(no, f, out)
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// pagesOfVersion is about how many bytes of pages erasing a version changes.
const pagesOfVersion = 8 << 10

// rowidsOf are the keys as numbers.
func rowidsOf(vs []store.VersionRef) ([]int64, error) {
	out := make([]int64, len(vs))
	for i, v := range vs {
		var err error
		if out[i], err = keyRow(v.Key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// count adds what was erased to the unit of a fence.
func (t *tx) count(tenant int64, f store.Fence, e store.Erased) error {
	return t.run(`UPDATE unit SET erased_versions=erased_versions+?, erased_resources=erased_resources+?, updated=? WHERE tenant=? AND job=? AND id=?`,
		e.Versions, e.Resources, t.w.cfg.Now().UnixMilli(), tenant, f.Job, f.Unit)
}

// erasing is one batch of versions on its way out.
type erasing struct {
	*tx
	tenant int64
	found  []doomed // in order of key
	links  []link
}

// doomed is a version that is there and is to be erased.
type doomed struct {
	key     int64
	id      string
	current bool
	known   bool // its links are among erasing.links
}

func (d doomed) space() space { return space(d.key >> counterBits) }

// find looks which of the versions are there, and gathers their links.
func (e *erasing) find(vs []store.VersionRef, rowids []int64) error {
	order := make([]int, len(vs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rowids[a], rowids[b]) })
	for _, i := range order {
		if n := len(e.found); n > 0 && e.found[n-1].key == rowids[i] || space(rowids[i]>>counterBits).tenant() != e.tenant {
			continue
		}
		if err := e.look(vs[i], rowids[i]); err != nil {
			return err
		}
	}
	return nil
}

// look reads a version, if it is the one that is meant.
func (e *erasing) look(v store.VersionRef, key int64) error {
	stmt, err := e.conn.Prepare(`SELECT id, n, "to" IS NULL, deleted, extraction, patients, body FROM version WHERE key=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, key)
	return rows(stmt, func() error {
		d := doomed{key: key, id: columnID(stmt, 0), current: stmt.ColumnBool(2)}
		id := fhir.ID{Type: e.w.dict.typeNames[d.space().typ()], ID: d.id}
		if id != v.ID || stmt.ColumnInt64(1) != v.N {
			return nil
		}
		var named []search.Term
		switch {
		case stmt.ColumnBool(3):
			d.known, named = true, compartments(columnBytes(stmt, 5, nil))
		case stmt.ColumnInt64(4) == search.Extraction:
			d.known, named = true, terms(id, columnBytes(stmt, 6, nil))
		}
		e.links = appendLinks(e.links, key, named)
		e.found = append(e.found, d)
		return nil
	})
}

// remove removes what was found: links in the order of their index, versions
// in the order of their keys.
func (e *erasing) remove() (out store.Erased, err error) {
	slices.SortFunc(e.links, link.compare)
	for _, l := range e.links {
		runtime.Gosched() // who reads for a request goes first
		if err := e.deleteLink(l); err != nil {
			return out, err
		}
	}
	for _, d := range e.found {
		runtime.Gosched()
		if err := e.removeVersion(d); err != nil {
			return out, err
		}
	}
	out.Versions = int64(len(e.found))
	for _, d := range e.found {
		if !d.current {
			continue
		}
		if err := e.removeResource(d); err != nil {
			return out, err
		}
		out.Resources++
	}
	return out, nil
}

func (e *erasing) removeVersion(d doomed) error {
	if !d.known {
		// Its terms were extracted in another way, so all of its segment is
		// searched.
		if err := e.exec(`DELETE FROM link WHERE seg=? AND key=?`, d.key>>segmentBits, d.key); err != nil {
			return err
		}
	}
	return e.exec(`DELETE FROM version WHERE key=?`, d.key)
}

// removeResource removes what points to the current version; ErrConflict if
// another version is left.
func (e *erasing) removeResource(d doomed) error {
	left := false
	err := e.ofResource(`SELECT 1 FROM version WHERE "to" IS NOT NULL AND space=? AND id=? LIMIT 1`, d, func() { left = true })
	if err == nil && left {
		err = store.ErrConflict
	}
	if err != nil {
		return err
	}
	return e.ofResource(`DELETE FROM current WHERE space=? AND id=?`, d, func() {})
}

func (e *erasing) ofResource(query string, d doomed, f func()) error {
	stmt, err := e.conn.Prepare(query)
	if err != nil {
		return err
	}
	return eachOf(stmt, d.space(), d.id, f)
}

// eachOf runs a statement about a resource, and calls f for each row.
func eachOf(stmt *sqlite.Stmt, sp space, id string, f func()) error {
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, id)
	return rows(stmt, func() error { f(); return nil })
}
