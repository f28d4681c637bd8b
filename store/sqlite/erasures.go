package sqlite

import (
	"context"

	"firebreak/operations/job"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// What the column void of a part says.
const (
	live      = 0
	voided    = 1 // its bytes may be there
	forgotten = 2 // only its place is kept
)

// Announce is store.Erasures.
func (s *Store) Announce(ctx context.Context, f store.Fence, patients []string) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		return x.announce(no, f, patients, `INSERT OR IGNORE INTO erasure (tenant, job, patient, number) VALUES (?, ?, ?, ?)`)
	})
}

// announce gives patients the next number of the tenant, by a statement.
func (t *tx) announce(tenant int64, f store.Fence, patients []string, insert string) error {
	if len(patients) == 0 {
		return nil
	}
	if err := t.exec(`UPDATE tenant SET erasure=erasure+1 WHERE no=?`, tenant); err != nil {
		return err
	}
	number, err := t.number(`SELECT erasure FROM tenant WHERE no=?`, tenant)
	if err != nil {
		return err
	}
	stmt, err := t.conn.Prepare(insert)
	if err != nil {
		return err
	}
	for _, p := range patients {
		stmt.BindInt64(1, tenant)
		stmt.BindText(2, f.Job)
		bindID(stmt, 3, p)
		stmt.BindInt64(4, number)
		if err := rows(stmt, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// number runs a query that gives one number; 0 if it gives none.
func (t *tx) number(query string, args ...any) (n int64, err error) {
	err = each(t.conn, query, func(st *sqlite.Stmt) { n = st.ColumnInt64(0) }, args...)
	return n, err
}

// removeAnnounced removes the announcements of a job. That there were some,
// the tenant remembers.
func (t *tx) removeAnnounced(tenant int64, id string) error {
	last, err := t.number(`SELECT max(number) FROM erasure WHERE tenant=? AND job=?`, tenant, id)
	if err != nil || last == 0 {
		return err
	}
	if err := t.exec(`UPDATE tenant SET erasure_removed=max(erasure_removed, ?) WHERE no=?`, last, tenant); err != nil {
		return err
	}
	return t.run(`DELETE FROM erasure WHERE tenant=? AND job=?`, tenant, id)
}

// unerased answers ErrErased if what a unit ends with holds what was announced
// since it was claimed, or touches a void part.
func (t *tx) unerased(tenant int64, f store.Fence, e job.UnitEnd) error {
	if e.State != job.Succeeded {
		return nil
	}
	for _, p := range e.Drop {
		if err := t.isLive(tenant, f.Job, p.ID); err != nil {
			return err
		}
	}
	claimed, err := t.number(`SELECT erasure FROM unit WHERE tenant=? AND job=? AND id=?`, tenant, f.Job, f.Unit)
	if err != nil {
		return err
	}
	last, err := t.number(`SELECT erasure FROM tenant WHERE no=?`, tenant)
	if err != nil {
		return err
	}
	removed, err := t.number(`SELECT erasure_removed FROM tenant WHERE no=?`, tenant)
	for _, p := range e.Parts {
		if err == nil {
			err = t.joinsLive(tenant, f, p)
		}
		switch {
		case err != nil:
			return err
		case removed > claimed && len(p.Patients)+len(p.Joins) > 0:
			return store.ErrErased
		case last > claimed:
			err = t.unannounced(tenant, claimed, f, p)
		}
	}
	return err
}

func (t *tx) joinsLive(tenant int64, f store.Fence, p job.Part) error {
	for _, id := range p.Joins {
		if err := t.isLive(tenant, f.Job, id); err != nil {
			return err
		}
	}
	return nil
}

// isLive answers ErrErased of a part that is void.
func (t *tx) isLive(tenant int64, jobID, id string) error {
	is, err := t.number(`SELECT void FROM part WHERE tenant=? AND job=? AND id=?`, tenant, jobID, id)
	if err == nil && is != live {
		err = store.ErrErased
	}
	return err
}

// unannounced answers ErrErased if a part holds a patient of an announcement
// after a number.
func (t *tx) unannounced(tenant, after int64, f store.Fence, p job.Part) error {
	met := false
	for _, id := range p.Joins {
		err := each(t.conn, `SELECT 1 FROM part_patient h JOIN erasure e ON e.tenant=h.tenant AND e.patient=h.patient AND e.number>?
			WHERE h.tenant=? AND h.job=? AND h.part=? LIMIT 1`, func(*sqlite.Stmt) { met = true }, after, tenant, f.Job, id)
		if err != nil {
			return err
		}
	}
	stmt, err := t.conn.Prepare(`SELECT 1 FROM erasure WHERE tenant=? AND patient=? AND number>? LIMIT 1`)
	if err != nil {
		return err
	}
	for _, patient := range p.Patients {
		stmt.BindInt64(1, tenant)
		bindID(stmt, 2, patient)
		stmt.BindInt64(3, after)
		if err := rows(stmt, func() error { met = true; return nil }); err != nil {
			return err
		}
	}
	if met {
		return store.ErrErased
	}
	return nil
}

// Forget is store.Erasures.
func (s *Store) Forget(ctx context.Context, t store.Tenant, parts []job.Part) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no := x.w.dict.tenants[string(t)]
		for _, p := range parts {
			err := x.run(`UPDATE part SET void=?, name='', count=0, size=0, sha256='' WHERE tenant=? AND job=? AND id=? AND name=? AND void=?`,
				forgotten, no, p.Job, p.ID, p.Name, voided)
			if err != nil {
				return err
			}
			if x.conn.Changes() == 0 {
				continue
			}
			if err := x.run(`DELETE FROM part_patient WHERE tenant=? AND job=? AND part=?`, no, p.Job, p.ID); err != nil {
				return err
			}
		}
		return nil
	})
}
