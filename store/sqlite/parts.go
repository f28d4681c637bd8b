package sqlite

import (
	"context"

	"firebreak/operations/job"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// endParts records what an attempt wrote, drops what it replaced, and makes
// public what it numbered.
func (t *tx) endParts(tenant int64, f store.Fence, e job.UnitEnd) error {
	if e.State != job.Succeeded {
		return nil
	}
	for _, p := range e.Parts {
		if err := t.addPart(tenant, f, p); err != nil {
			return err
		}
	}
	for _, p := range e.Drop {
		for _, from := range []string{"part_patient WHERE tenant=? AND job=? AND part=?", "part WHERE tenant=? AND job=? AND id=?"} {
			if err := t.run(`DELETE FROM `+from, tenant, f.Job, p.ID); err != nil {
				return err
			}
		}
	}
	for id, n := range e.Numbers {
		if err := t.run(`UPDATE part SET n=? WHERE tenant=? AND job=? AND id=?`, n, tenant, f.Job, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) addPart(tenant int64, f store.Fence, p job.Part) error {
	err := t.run(`INSERT OR REPLACE INTO part (tenant, job, id, unit, category, type, n, name, count, size, sha256)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tenant, f.Job, p.ID, f.Unit, string(p.Category), p.Type, p.N, p.Name, p.Count, p.Size, p.SHA256)
	if err != nil {
		return err
	}
	for _, from := range p.Joins {
		err := t.run(`INSERT OR IGNORE INTO part_patient (tenant, patient, job, part)
			SELECT tenant, patient, job, ? FROM part_patient WHERE tenant=? AND job=? AND part=?`, p.ID, tenant, f.Job, from)
		if err != nil {
			return err
		}
	}
	for _, patient := range p.Patients {
		stmt, err := t.conn.Prepare(`INSERT OR IGNORE INTO part_patient (tenant, patient, job, part) VALUES (?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		stmt.BindInt64(1, tenant)
		bindID(stmt, 2, patient)
		stmt.BindText(3, f.Job)
		stmt.BindText(4, p.ID)
		if _, err := stmt.Step(); err != nil {
			return err
		}
	}
	return nil
}

const partColumns = `SELECT p.id, p.job, p.unit, p.category, p.type, p.n, p.name, p.count, p.size, p.sha256, p.void FROM part p `

// parts runs a query that begins with partColumns.
func (s *Store) parts(ctx context.Context, query string, args ...any) ([]job.Part, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	var out []job.Part
	err = each(conn, query, func(st *sqlite.Stmt) { out = append(out, partOf(st)) }, args...)
	return out, orContext(ctx, err)
}

// partOf reads the row of partColumns that st stands on.
func partOf(st *sqlite.Stmt) job.Part {
	return job.Part{
		ID: st.ColumnText(0), Job: st.ColumnText(1), Unit: st.ColumnText(2),
		Category: job.Category(st.ColumnText(3)), Type: st.ColumnText(4), N: st.ColumnInt(5),
		Name: st.ColumnText(6), Count: st.ColumnInt64(7), Size: st.ColumnInt64(8), SHA256: st.ColumnText(9),
	}
}

func (s *Store) tenantNo(t store.Tenant) int64 { return s.w.committed.Load().tenants[string(t)] }

// PartsOf is store.Parts.
func (s *Store) PartsOf(ctx context.Context, t store.Tenant, jobID, after string, limit int) ([]job.Part, error) {
	return s.parts(ctx, partColumns+`WHERE NOT p.void AND p.tenant=? AND p.job=? AND p.id>? ORDER BY p.id LIMIT ?`, s.tenantNo(t), jobID, after, limit)
}

// Part is store.Parts.
func (s *Store) Part(ctx context.Context, t store.Tenant, jobID string, name job.PartName) (job.Part, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return job.Part{}, err
	}
	defer put()
	var p job.Part
	there := store.ErrNotFound
	err = each(conn, partColumns+`WHERE p.n>0 AND p.tenant=? AND p.job=? AND p.category=? AND p.type=? AND p.n=?`, func(st *sqlite.Stmt) {
		if p, there = partOf(st), nil; st.ColumnInt(10) != live {
			p, there = job.Part{}, store.ErrGone
		}
	}, s.tenantNo(t), jobID, string(name.Category), name.Type, name.N)
	if err != nil {
		return job.Part{}, orContext(ctx, err)
	}
	return p, there
}

// Voided is store.Parts.
func (s *Store) Voided(ctx context.Context, t store.Tenant, jobID string) ([]job.Part, error) {
	return s.parts(ctx, partColumns+`WHERE p.void AND p.n>0 AND p.tenant=? AND p.job=? ORDER BY p.id`, s.tenantNo(t), jobID)
}

// PartsHolding is store.Parts.
func (s *Store) PartsHolding(ctx context.Context, t store.Tenant, patient string) ([]job.Part, error) {
	id := any(patient)
	if u, ok := store.PackUUID(patient); ok {
		id = u[:]
	}
	return s.parts(ctx, partColumns+`JOIN part_patient h ON h.tenant=p.tenant AND h.job=p.job AND h.part=p.id
		WHERE NOT p.void AND h.tenant=? AND h.patient=? ORDER BY p.job, p.id`, s.tenantNo(t), id)
}
