package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Create is store.Jobs.
func (s *Store) Create(ctx context.Context, j job.Job, units []job.Unit) error {
	err := s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.tenant(store.Tenant(j.Tenant))
		if err != nil {
			return err
		}
		if err := x.putJob(`INSERT INTO job (client, user, state, cancel, discard_at, doc, tenant, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, no, j); err != nil {
			return err
		}
		for _, u := range units {
			if err := x.addUnit(no, u, ""); err != nil {
				return err
			}
		}
		return nil
	})
	s.watch.wake(err)
	return err
}

// putJob runs an INSERT or UPDATE with the columns of a job in this order:
// client, user, state, cancel, discard_at, doc, tenant, id.
func (t *tx) putJob(query string, tenant int64, j job.Job) error {
	doc, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("sqlite: encode a job: %w", err)
	}
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return err
	}
	stmt.BindText(1, j.Owner.Client)
	stmt.BindText(2, j.Owner.User)
	stmt.BindText(3, string(j.State))
	stmt.BindBool(4, !j.CancelRequested.IsZero())
	stmt.BindInt64(5, discardAt(j))
	stmt.BindText(6, string(doc))
	stmt.BindInt64(7, tenant)
	stmt.BindText(8, j.ID)
	_, err = stmt.Step()
	return err
}

// discardAt is from when, in ms, a job may need the engine: 0 while it is not
// final.
func discardAt(j job.Job) int64 {
	switch {
	case !j.State.Final():
		return 0
	case !j.Dismissed.IsZero():
		return j.Dismissed.UnixMilli()
	}
	return j.Expires.UnixMilli()
}

// Job is store.Jobs.
func (s *Store) Job(ctx context.Context, t store.Tenant, who store.Owner, id string) (job.Job, error) {
	j, err := s.Peek(ctx, t, id)
	if err == nil && j.Owner != who {
		return job.Job{}, store.ErrNotFound
	}
	return j, err
}

// Peek is store.Jobs.
func (s *Store) Peek(ctx context.Context, t store.Tenant, id string) (job.Job, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer put()
	j, err := s.oneJob(conn, t, id)
	return j, orContext(ctx, err)
}

func (s *Store) oneJob(conn *sqlite.Conn, t store.Tenant, id string) (job.Job, error) {
	js, err := jobs(conn, `SELECT j.doc FROM job j JOIN tenant t ON t.no = j.tenant WHERE t.name=? AND j.id=?`, string(t), id)
	if err == nil && len(js) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return job.Job{}, err
	}
	return js[0], nil
}

func jobs(conn *sqlite.Conn, query string, args ...any) ([]job.Job, error) {
	var out []job.Job
	err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(st *sqlite.Stmt) error {
		var j job.Job
		if err := json.Unmarshal([]byte(st.ColumnText(0)), &j); err != nil {
			return fmt.Errorf("sqlite: decode a job: %w", err)
		}
		out = append(out, j)
		return nil
	}})
	return out, err
}

// Update is store.Jobs.
func (s *Store) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (job.Job, error) {
	var j job.Job
	err := s.w.do(ctx, 0, func(x *tx) error {
		old, err := s.oneJob(x.conn, t, id)
		if err != nil {
			return err
		}
		if j, err = f(old); err != nil {
			return err
		}
		no, err := x.tenant(t)
		if err != nil {
			return err
		}
		return x.putJob(`UPDATE job SET client=?, user=?, state=?, cancel=?, discard_at=?, doc=? WHERE tenant=? AND id=?`, no, j)
	})
	if err != nil {
		return job.Job{}, err
	}
	s.watch.wake(nil)
	return j, nil
}

// Attend is store.Jobs.
func (s *Store) Attend(ctx context.Context, now time.Time, after string, limit int) ([]job.Job, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	js, err := jobs(conn, `SELECT doc FROM job WHERE discard_at<=? AND id>? ORDER BY id LIMIT ?`, now.UnixMilli(), after, limit)
	return js, orContext(ctx, err)
}

// Remove is store.Jobs.
func (s *Store) Remove(ctx context.Context, t store.Tenant, id string) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, ok := x.w.dict.tenants[string(t)]
		if !ok {
			return nil
		}
		for _, from := range []string{"part_patient WHERE tenant=? AND job=?", "part WHERE tenant=? AND job=?", "cohort WHERE tenant=? AND job=?", "unit WHERE tenant=? AND job=?", "job WHERE tenant=? AND id=?"} {
			if err := x.run(`DELETE FROM `+from, no, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// run runs a statement whose arguments are integers and texts.
func (t *tx) run(query string, args ...any) error {
	return sqlitex.Execute(t.conn, query, &sqlitex.ExecOptions{Args: args})
}
