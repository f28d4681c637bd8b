package sqlite

import (
	"context"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// AddMembers is store.Cohorts.
func (s *Store) AddMembers(ctx context.Context, f store.Fence, patients []string) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		for _, p := range patients {
			stmt, err := x.conn.Prepare(`INSERT OR IGNORE INTO cohort (tenant, job, patient) VALUES (?, ?, ?)`)
			if err != nil {
				return err
			}
			stmt.BindInt64(1, no)
			stmt.BindText(2, f.Job)
			bindID(stmt, 3, p)
			if _, err := stmt.Step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Members is store.Cohorts.
func (s *Store) Members(ctx context.Context, t store.Tenant, c store.CohortID, after string, n int) ([]string, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	out, err := s.members(conn, t, c, after, n)
	return out, orContext(ctx, err)
}

func (s *Store) members(conn *sqlite.Conn, t store.Tenant, c store.CohortID, after string, n int) ([]string, error) {
	no, ok := s.w.committed.Load().tenants[string(t)]
	if !ok {
		return nil, nil
	}
	stmt, err := conn.Prepare(`SELECT patient FROM cohort WHERE tenant=? AND job=? AND patient>? ORDER BY patient LIMIT ?`)
	if err != nil {
		return nil, err
	}
	stmt.BindInt64(1, no)
	stmt.BindText(2, string(c))
	bindID(stmt, 3, after)
	stmt.BindInt64(4, int64(n))
	var out []string
	err = rows(stmt, func() error {
		out = append(out, columnID(stmt, 0))
		return nil
	})
	return out, err
}

// memberPage is how many members are held in memory at a time.
const memberPage = 1000

// eachMember calls f for each member of a cohort.
func (s *Store) eachMember(conn *sqlite.Conn, t store.Tenant, c store.CohortID, f func(patient string) error) error {
	for after := ""; ; {
		page, err := s.members(conn, t, c, after, memberPage)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := f(p); err != nil {
				return err
			}
		}
		if len(page) < memberPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

// anyMember tells whether one of the patients is in the cohort.
func (s *Store) anyMember(conn *sqlite.Conn, c cohortOf, patients []string) (bool, error) {
	no := s.w.committed.Load().tenants[string(c.tenant)]
	stmt, err := conn.Prepare(`SELECT 1 FROM cohort WHERE tenant=? AND job=? AND patient=?`)
	if err != nil {
		return false, err
	}
	for _, p := range patients {
		stmt.BindInt64(1, no)
		stmt.BindText(2, string(c.sel.Cohort))
		bindID(stmt, 3, p)
		found := false
		err := rows(stmt, func() error { found = true; return nil })
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}
