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
func (s *Store) Create(ctx context.Context, j job.Job, units []job.Unit, l store.Limit) (job.Job, error) {
	var out job.Job
	err := s.w.do(ctx, 0, func(x *tx) error {
		out = j
		no, err := x.tenant(store.Tenant(j.Tenant))
		if err != nil {
			return err
		}
		if same, ok, err := x.keyed(no, j); ok || err != nil {
			out = same
			return err
		}
		if err := x.limited(no, j, l); err != nil {
			return err
		}
		if err := x.putJob(`INSERT INTO job (client, user, state, cancel, discard_at, doc, kind, dismissed, idem, tenant, id)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, no, j); err != nil {
			return err
		}
		for _, u := range units {
			if err := x.addUnit(no, u, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return job.Job{}, err
	}
	s.watch.Wake(nil)
	return out, nil
}

// keyed finds the job that has the key of j already.
func (t *tx) keyed(tenant int64, j job.Job) (same job.Job, ok bool, err error) {
	if j.Key == "" {
		return same, false, nil
	}
	js, err := jobs(t.conn, `SELECT doc FROM job WHERE idem<>'' AND NOT dismissed AND tenant=? AND client=? AND user=? AND kind=? AND idem=?`,
		tenant, j.Owner.Client, j.Owner.User, j.Kind, j.Key)
	if err != nil || len(js) == 0 {
		return same, false, err
	}
	if js[0].Digest != j.Digest {
		return same, false, store.ErrKeyReused
	}
	return js[0], true, nil
}

// limited answers ErrLimit if one more job of the kind is one too many.
func (t *tx) limited(tenant int64, j job.Job, l store.Limit) error {
	over := false
	count := func(limit int, query string, args ...any) error {
		if limit == 0 {
			return nil
		}
		return each(t.conn, `SELECT count(*) FROM job WHERE discard_at=0 AND NOT cancel AND kind=?`+query,
			func(st *sqlite.Stmt) { over = over || st.ColumnInt(0) >= limit }, append([]any{j.Kind}, args...)...)
	}
	if err := count(l.PerOwner, ` AND tenant=? AND client=? AND user=?`, tenant, j.Owner.Client, j.Owner.User); err != nil {
		return err
	}
	if err := count(l.All, ""); err != nil || !over {
		return err
	}
	return store.ErrLimit
}

const replaceJob = `UPDATE job SET client=?, user=?, state=?, cancel=?, discard_at=?, doc=?, kind=?, dismissed=?, idem=? WHERE tenant=? AND id=?`

// putJob runs an INSERT or UPDATE with the columns of a job in this order:
// client, user, state, cancel, discard_at, doc, kind, dismissed, idem, tenant, id.
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
	stmt.BindInt64(5, ms(j.DiscardAt()))
	stmt.BindText(6, string(doc))
	stmt.BindText(7, j.Kind)
	stmt.BindBool(8, !j.Dismissed.IsZero())
	stmt.BindText(9, j.Key)
	stmt.BindInt64(10, tenant)
	stmt.BindText(11, j.ID)
	_, err = stmt.Step()
	return err
}

// Job is store.Jobs.
func (s *Store) Job(ctx context.Context, t store.Tenant, who store.Owner, id string) (job.Job, error) {
	j, err := s.Peek(ctx, t, id)
	if err == nil && j.Owner != who {
		return job.Job{}, store.ErrNotFound
	}
	return j, err
}

// List is store.Jobs.
func (s *Store) List(ctx context.Context, t store.Tenant, who store.Owner, before string, n int) ([]job.Job, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	if before == "" {
		before = "~" // after every id
	}
	js, err := jobs(conn, `SELECT doc FROM job WHERE tenant=? AND id<? AND client=? AND user=? AND NOT dismissed ORDER BY id DESC LIMIT ?`,
		s.tenantNo(t), before, who.Client, who.User, n)
	return js, orContext(ctx, err)
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
	return s.replace(ctx, t, id, f, func(*tx, int64, job.Job) error { return nil })
}

// replace replaces a job by f of it. What goes with that is done before, while
// the old one stands: with gets the new one.
func (s *Store) replace(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error), with func(x *tx, tenant int64, next job.Job) error) (job.Job, error) {
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
		if err := with(x, no, j); err != nil {
			return err
		}
		return x.putJob(replaceJob, no, j)
	})
	if err != nil {
		return job.Job{}, err
	}
	s.watch.Wake(nil)
	return j, nil
}

// Attend is store.Jobs.
func (s *Store) Attend(ctx context.Context, now time.Time, all bool, after string, limit int) ([]job.Job, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	query := attendNeedy
	if all {
		query = attendAll
	}
	js, err := jobs(conn, query, now.UnixMilli(), after, limit)
	return js, orContext(ctx, err)
}

// What Attend reads. Those under way are not touched unless they are asked for.
const (
	attendAll   = `SELECT doc FROM job WHERE discard_at<=?1 AND id>?2 ORDER BY id LIMIT ?3`
	attendNeedy = `SELECT doc FROM (SELECT id, doc FROM job INDEXED BY job_stop WHERE discard_at=0 AND cancel AND id>?2
		UNION ALL SELECT id, doc FROM job INDEXED BY job_attend WHERE discard_at>0 AND discard_at<=?1 AND id>?2) ORDER BY id LIMIT ?3`
)

// Remove is store.Jobs.
func (s *Store) Remove(ctx context.Context, t store.Tenant, id string) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, ok := x.w.dict.tenants[string(t)]
		if !ok {
			return nil
		}
		if err := x.removeAnnounced(no, id); err != nil {
			return err
		}
		for _, from := range []string{"part_patient WHERE tenant=? AND job=?", "part WHERE tenant=? AND job=?", "cohort WHERE tenant=? AND job=?", "find WHERE tenant=? AND job=?", "unit WHERE tenant=? AND job=?", "job WHERE tenant=? AND id=?"} {
			if err := x.run(`DELETE FROM `+from, no, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// CountJobs is store.Jobs.
func (s *Store) CountJobs(ctx context.Context) ([]store.JobCount, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	// Beside min(id), SQLite takes doc from the row that has it.
	var out []store.JobCount
	err = sqlitex.Execute(conn, `SELECT kind, state, count(*), min(id), doc FROM job GROUP BY kind, state ORDER BY kind, state`,
		&sqlitex.ExecOptions{ResultFunc: func(st *sqlite.Stmt) error {
			var oldest struct{ Created time.Time }
			if err := json.Unmarshal([]byte(st.ColumnText(4)), &oldest); err != nil {
				return fmt.Errorf("sqlite: decode a job: %w", err)
			}
			out = append(out, store.JobCount{
				Kind: st.ColumnText(0), State: job.State(st.ColumnText(1)), Jobs: st.ColumnInt(2), Oldest: oldest.Created,
			})
			return nil
		}})
	return out, orContext(ctx, err)
}

// run runs a statement whose arguments are integers and texts.
func (t *tx) run(query string, args ...any) error {
	return sqlitex.Execute(t.conn, query, &sqlitex.ExecOptions{Args: args})
}
