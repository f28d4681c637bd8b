package sqlite

import (
	"context"
	"errors"
	"slices"

	"firebreak/fhir"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// kinds is how many kinds of findings share the bound.
const kinds = 7

// Residue is store.Eraser.
func (s *Store) Residue(ctx context.Context, t store.Tenant, g store.Gone) (found []store.Residue, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	defer sqlitex.Transaction(conn)(&err) // or each look would be one, which costs as much again
	l := looking{naming: s.naming(conn, t), gone: g, left: map[store.ResidueKind]int{}}
	for _, look := range []func() error{l.versions, l.links, l.parts, l.rows} {
		if err := look(); err != nil {
			return nil, orContext(ctx, err)
		}
	}
	return l.found, nil
}

// looking is one call of Residue.
type looking struct {
	naming
	gone  store.Gone
	found []store.Residue
	left  map[store.ResidueKind]int // how many of a kind were found
}

// add keeps a finding, unless there are enough of its kind.
func (l *looking) add(r store.Residue) {
	if l.left[r.Kind] >= store.MaxResidue/kinds || len(l.found) > 0 && l.found[len(l.found)-1] == r {
		return
	}
	l.left[r.Kind]++
	l.found = append(l.found, r)
}

func (l *looking) enough(kind store.ResidueKind) bool { return l.left[kind] >= store.MaxResidue/kinds }

// versions looks for the resources themselves, and for pointers to nothing.
func (l *looking) versions() error {
	current, err := l.conn.Prepare(`SELECT EXISTS (SELECT 1 FROM version v WHERE v.key=c.key) FROM current c WHERE c.space=? AND c.id=?`)
	if err != nil {
		return err
	}
	closed, err := l.conn.Prepare(`SELECT 1 FROM version WHERE "to" IS NOT NULL AND space=? AND id=? LIMIT 1`)
	if err != nil {
		return err
	}
	for _, id := range l.gone.IDs {
		no, ok := l.d.types[id.Type]
		if !ok || l.tenant == 0 {
			continue
		}
		sp := spaceOf(l.tenant, no)
		if err := eachOf(current, sp, id.ID, func() {
			kind := store.OfIndex
			if current.ColumnBool(0) {
				kind = store.OfVersion
			}
			l.add(store.Residue{Kind: kind, ID: id})
		}); err != nil {
			return err
		}
		if err := eachOf(closed, sp, id.ID, func() { l.add(store.Residue{Kind: store.OfVersion, ID: id}) }); err != nil {
			return err
		}
	}
	return nil
}

// links looks for who names an erased resource, or is in a compartment.
func (l *looking) links() error {
	err := l.each(l.gone.IDs, func(m mention) error {
		switch {
		case m.by.IsZero():
			l.add(store.Residue{Kind: store.OfIndex, ID: m.target})
		case m.ref:
			l.add(store.Residue{Kind: store.OfReference, ID: m.by})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.each(l.patients(), func(m mention) error {
		switch {
		case m.by.IsZero():
			l.add(store.Residue{Kind: store.OfIndex, ID: m.target})
		case m.compartment:
			l.add(store.Residue{Kind: store.OfCompartment, ID: m.by})
		}
		return nil
	})
}

// patients are the patients as resources.
func (l *looking) patients() []fhir.ID {
	ids := make([]fhir.ID, len(l.gone.Patients))
	for i, p := range l.gone.Patients {
		ids[i] = fhir.ID{Type: "Patient", ID: p}
	}
	return ids
}

// parts looks for parts that hold a patient.
func (l *looking) parts() error {
	stmt, err := l.conn.Prepare(`SELECT job, part FROM part_patient WHERE tenant=? AND patient=? LIMIT ?`)
	if err != nil {
		return err
	}
	for _, id := range l.patients() {
		if l.enough(store.OfPart) {
			return nil
		}
		stmt.BindInt64(1, l.tenant)
		bindID(stmt, 2, id.ID)
		stmt.BindInt64(3, store.MaxResidue)
		if err := rows(stmt, func() error {
			l.add(store.Residue{Kind: store.OfPart, ID: id, Job: stmt.ColumnText(0), Part: stmt.ColumnText(1)})
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// jobs are the tenant's jobs, but for the one whose rows do not count. What a
// job keeps has no index by patient: there are more rows than jobs.
func (l *looking) jobs() (ids []string, err error) {
	err = each(l.conn, `SELECT id FROM job WHERE tenant=?`, func(st *sqlite.Stmt) { ids = append(ids, st.ColumnText(0)) }, l.tenant)
	return slices.DeleteFunc(ids, func(id string) bool { return id == l.gone.Job }), err
}

// kept is rows that jobs keep of resources.
type kept struct {
	kind store.ResidueKind
	from string // table and condition: tenant, job, and what bind binds
	ids  []fhir.ID
	bind func(*sqlite.Stmt, fhir.ID)
}

// keptRows are the rows that jobs may keep of what is gone.
func (l *looking) keptRows() []kept {
	return []kept{
		{store.OfMember, `cohort WHERE tenant=? AND job=? AND patient=?`, l.patients(), func(stmt *sqlite.Stmt, id fhir.ID) {
			bindID(stmt, 3, id.ID)
		}},
		{store.OfFind, `find WHERE tenant=? AND job=? AND type=? AND id=?`, l.gone.IDs, func(stmt *sqlite.Stmt, id fhir.ID) {
			stmt.BindText(3, id.Type)
			bindID(stmt, 4, id.ID)
		}},
	}
}

// rows looks for patients in cohorts, and resources in finds.
func (l *looking) rows() error {
	for _, k := range l.keptRows() {
		err := l.eachKept(k, func(jobID string, id fhir.ID) error {
			if l.add(store.Residue{Kind: k.kind, ID: id, Job: jobID}); l.enough(k.kind) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	return nil
}

// eachKept calls f for each row that is there, by a query for each job and
// resource.
func (l *looking) eachKept(k kept, f func(jobID string, id fhir.ID) error) error {
	jobs, err := l.jobs()
	if err != nil {
		return err
	}
	stmt, err := l.conn.Prepare(`SELECT 1 FROM ` + k.from)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		for _, id := range k.ids {
			there := false
			err := k.each(stmt, l.tenant, j, id, func() { there = true })
			if err == nil && there {
				err = f(j, id)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// each runs a statement about a row.
func (k kept) each(stmt *sqlite.Stmt, tenant int64, jobID string, id fhir.ID, f func()) error {
	stmt.BindInt64(1, tenant)
	stmt.BindText(2, jobID)
	k.bind(stmt, id)
	return rows(stmt, func() error { f(); return nil })
}
