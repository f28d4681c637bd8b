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

// ms is an instant as a column; the zero time is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func msTime(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func (t *tx) addUnit(tenant int64, u job.Unit, planner string) error {
	return t.run(`INSERT OR IGNORE INTO unit
		(tenant, job, id, kind, phase, state, attempt, errors, lost, run_at, lease_until, planner, planned, args)
		VALUES (?1, ?2, ?, ?, ?, 'queued', (SELECT attempts FROM job WHERE tenant=?1 AND id=?2), 0, 0, ?, 0, ?, ?, ?)`,
		tenant, u.Job, u.ID, u.Kind, u.Phase, ms(u.RunAt), planner, u.Counts.Planned, string(u.Args))
}

// fenced returns the tenant's number if the fence holds.
func (t *tx) fenced(f store.Fence) (int64, error) {
	no := t.w.dict.tenants[string(f.Tenant)]
	holds := false
	err := each(t.conn, `SELECT 1 FROM unit u JOIN job j ON j.tenant=u.tenant AND j.id=u.job
		WHERE u.tenant=? AND u.job=? AND u.id=? AND u.attempt=? AND u.state='running' AND j.discard_at=0`,
		func(*sqlite.Stmt) { holds = true }, no, f.Job, f.Unit, f.Attempt)
	if err == nil && !holds {
		err = store.ErrFenced
	}
	return no, err
}

// Add is store.Units.
func (s *Store) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		if err := x.dropPlans(no, f); err != nil {
			return err
		}
		for _, u := range us {
			if err := x.addUnit(no, u, planner(f)); err != nil {
				return err
			}
		}
		return nil
	})
}

// planner names the attempt that adds units.
func planner(f store.Fence) string { return fmt.Sprintf("%s\n%d", f.Unit, f.Attempt) }

// dropPlans removes what earlier attempts at the unit added.
func (t *tx) dropPlans(tenant int64, f store.Fence) error {
	if f.Attempt == 1 { // the units of a job may be thousands
		return nil
	}
	by := f.Unit + "\n"
	return t.run(`DELETE FROM unit WHERE tenant=? AND job=? AND planner<>? AND substr(planner, 1, ?)=?`,
		tenant, f.Job, planner(f), len(by), by)
}

const unitColumns = `t.name, u.job, u.id, u.kind, u.phase, u.state, u.attempt, u.errors, u.lost, u.run_at,
	u.resources, u.bytes, u.planned, u.args, u.reason, u.erased_versions, u.erased_resources,
	u.total_versions, u.total_resources, u.result, u.updated`

// open is a unit whose turn it is, but for time; ?1 is the present instant and
// ?2 the kinds as a JSON array. What follows names the state: units are then
// read in the order of the index, and the first that is found is enough. With
// CASE the job is looked at before the other units: else each unit that a
// cancelled job has left would be held against all of them, at every claim.
const open = ` FROM unit u INDEXED BY unit_turn CROSS JOIN tenant t ON t.no = u.tenant
	WHERE u.state IN ('queued', 'running') AND u.kind IN (SELECT value FROM json_each(?2))
	AND CASE WHEN EXISTS (SELECT 1 FROM job j WHERE j.tenant=u.tenant AND j.id=u.job AND j.discard_at=0 AND NOT j.cancel)
	THEN NOT EXISTS (SELECT 1 FROM unit e INDEXED BY unit_left WHERE e.tenant=u.tenant AND e.job=u.job AND e.phase<u.phase AND e.state<>'succeeded') END`

// Units that can be claimed now: those whose worker is lost come first.
const (
	lostUnit   = `SELECT ` + unitColumns + open + ` AND u.state='running' AND u.run_at<=?1 AND u.lease_until<=?1` + inTurn
	queuedUnit = `SELECT ` + unitColumns + open + ` AND u.state='queued' AND u.run_at<=?1` + inTurn
	inTurn     = ` ORDER BY u.run_at, u.job, u.phase, u.id LIMIT 1`
)

// When one can be claimed that cannot be now.
const (
	nextLost   = `SELECT min(max(u.run_at, u.lease_until))` + open + ` AND u.state='running' AND max(u.run_at, u.lease_until)>?1`
	nextQueued = `SELECT u.run_at` + open + ` AND u.state='queued' AND u.run_at>?1` + inTurn
)

// Claim is store.Units.
func (s *Store) Claim(ctx context.Context, kinds []string, lease time.Duration) (job.Unit, store.Fence, error) {
	if err := s.anyClaimable(ctx, kinds); err != nil {
		return job.Unit{}, store.Fence{}, err
	}
	var u job.Unit
	err := s.w.do(ctx, 0, func(x *tx) error {
		now := s.cfg.Now()
		found, err := firstClaimable(x.conn, now, kinds)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		u = found[0]
		if u.State == job.Running {
			u.Lost++
		}
		u.State, u.Attempt = job.Running, u.Attempt+1
		u.Updated = msTime(ms(now))
		return x.run(`UPDATE unit SET state='running', attempt=?, lost=?, lease_until=?, updated=?,
			erasure=(SELECT erasure FROM tenant WHERE no=unit.tenant)
			WHERE tenant=? AND job=? AND id=?`,
			u.Attempt, u.Lost, ms(now.Add(lease)), ms(now), x.w.dict.tenants[u.Tenant], u.Job, u.ID)
	})
	if err != nil {
		return job.Unit{}, store.Fence{}, err
	}
	return u, store.Fence{Tenant: store.Tenant(u.Tenant), Job: u.Job, Unit: u.ID, Attempt: u.Attempt}, nil
}

// anyClaimable answers ErrNotFound if there is no unit to claim, so that
// looking for one in vain does not write.
func (s *Store) anyClaimable(ctx context.Context, kinds []string) error {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer put()
	found, err := firstClaimable(conn, s.cfg.Now(), kinds)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	return orContext(ctx, err)
}

func firstClaimable(conn *sqlite.Conn, now time.Time, kinds []string) ([]job.Unit, error) {
	names, err := json.Marshal(kinds)
	if err != nil {
		return nil, err
	}
	for _, query := range []string{lostUnit, queuedUnit} {
		found, err := units(conn, query, now.UnixMilli(), string(names))
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

func units(conn *sqlite.Conn, query string, args ...any) ([]job.Unit, error) {
	var out []job.Unit
	err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(st *sqlite.Stmt) error {
		u := job.Unit{
			Tenant: st.ColumnText(0), Job: st.ColumnText(1), ID: st.ColumnText(2), Kind: st.ColumnText(3),
			Phase: st.ColumnInt(4), State: job.State(st.ColumnText(5)), Attempt: st.ColumnInt(6),
			Errors: st.ColumnInt(7), Lost: st.ColumnInt(8), RunAt: msTime(st.ColumnInt64(9)),
			Counts:  job.Counts{Resources: st.ColumnInt64(10), Bytes: st.ColumnInt64(11), Planned: st.ColumnInt64(12)},
			Erased:  job.Erased{Versions: st.ColumnInt64(15), Resources: st.ColumnInt64(16)},
			Total:   job.Erased{Versions: st.ColumnInt64(17), Resources: st.ColumnInt64(18)},
			Updated: msTime(st.ColumnInt64(20)),
			Args:    document(st.ColumnText(13)), Result: document(st.ColumnText(19)),
		}
		var err error
		u.Reason, err = reason(st.ColumnText(14))
		out = append(out, u)
		return err
	}})
	return out, err
}

// document is JSON in a column; nil if there is none.
func document(doc string) json.RawMessage {
	if doc == "" {
		return nil
	}
	return json.RawMessage(doc)
}

func reason(doc string) (*job.Reason, error) {
	if doc == "" {
		return nil, nil //nolint:nilnil // no reason is not an error
	}
	r := &job.Reason{}
	if err := json.Unmarshal([]byte(doc), r); err != nil {
		return nil, fmt.Errorf("sqlite: decode a reason: %w", err)
	}
	return r, nil
}

// Renew is store.Units.
func (s *Store) Renew(ctx context.Context, f store.Fence, lease time.Duration) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		err = x.run(`UPDATE unit SET lease_until=? WHERE tenant=? AND job=? AND id=?
			AND EXISTS (SELECT 1 FROM job j WHERE j.tenant=unit.tenant AND j.id=unit.job AND NOT j.cancel)`,
			ms(s.cfg.Now().Add(lease)), no, f.Job, f.Unit)
		if err == nil && x.conn.Changes() == 0 {
			err = store.ErrFenced
		}
		return err
	})
}

// End is store.Units.
func (s *Store) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	err := s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		if err := x.unerased(no, f, e); err != nil {
			return err
		}
		if err := x.endUnit(no, f, e); err != nil {
			return err
		}
		if err := x.dropPlans(no, f); err != nil {
			return err
		}
		return x.endParts(no, f, e)
	})
	s.watch.Wake(err)
	return err
}

func (t *tx) endUnit(tenant int64, f store.Fence, e job.UnitEnd) error {
	why, erred := "", 0
	if e.Reason != nil {
		b, err := json.Marshal(e.Reason)
		if err != nil {
			return err
		}
		why = string(b)
	}
	if e.Erred {
		erred = 1
	}
	var done job.Counts
	var result string
	if e.State == job.Succeeded {
		done, result = e.Counts, string(e.Result)
	}
	return t.run(`UPDATE unit SET state=?1, errors=errors+?, run_at=?, lease_until=0, ended=?4, updated=?4,
		resources=?, bytes=?, done=CASE WHEN ?1='succeeded' THEN planned ELSE 0 END, reason=?,
		result=coalesce(nullif(?, ''), result)
		WHERE tenant=? AND job=? AND id=?`,
		string(e.State), erred, ms(e.RunAt), t.w.cfg.Now().UnixMilli(),
		done.Resources, done.Bytes, why, result, tenant, f.Job, f.Unit)
}

// Note is store.Units.
func (s *Store) Note(ctx context.Context, f store.Fence, total job.Erased, result json.RawMessage) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		return x.run(`UPDATE unit SET total_versions=?, total_resources=?, result=?, updated=? WHERE tenant=? AND job=? AND id=?`,
			total.Versions, total.Resources, string(result), s.cfg.Now().UnixMilli(), no, f.Job, f.Unit)
	})
}

// Tally is store.Units.
func (s *Store) Tally(ctx context.Context, t store.Tenant, jobID string) (job.Tally, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return job.Tally{}, err
	}
	defer put()
	out, err := s.tally(conn, s.w.committed.Load().tenants[string(t)], jobID)
	return out, orContext(ctx, err)
}

func (s *Store) tally(conn *sqlite.Conn, tenant int64, jobID string) (job.Tally, error) {
	var out job.Tally
	into := map[job.State]*int{
		job.Queued: &out.Queued, job.Running: &out.Running, job.Succeeded: &out.Succeeded,
		job.Failed: &out.Failed, job.Cancelled: &out.Cancelled,
	}
	err := each(conn, `SELECT CASE WHEN state='running' AND lease_until<=? THEN 'queued' ELSE state END,
		count(*), sum(resources), sum(bytes), sum(done), sum(planned), max(ended),
		sum(attempt), sum(errors), sum(lost), sum(erased_versions), sum(erased_resources) FROM unit
		WHERE tenant=? AND job=? GROUP BY 1`, func(st *sqlite.Stmt) {
		if n := into[job.State(st.ColumnText(0))]; n != nil {
			*n += st.ColumnInt(1)
		}
		out.Done = out.Done.Add(job.Counts{Resources: st.ColumnInt64(2), Bytes: st.ColumnInt64(3), Planned: st.ColumnInt64(4)})
		out.Planned += st.ColumnInt64(5)
		out.Attempts += st.ColumnInt(7)
		out.Errors += st.ColumnInt(8)
		out.Lost += st.ColumnInt(9)
		out.Erased = out.Erased.Add(job.Erased{Versions: st.ColumnInt64(10), Resources: st.ColumnInt64(11)})
		if end := msTime(st.ColumnInt64(6)); end.After(out.LastEnd) {
			out.LastEnd = end
		}
	}, s.cfg.Now().UnixMilli(), tenant, jobID)
	if err != nil || out.Errors == 0 && out.Failed == 0 {
		return out, err
	}
	erred, err := units(conn, `SELECT `+unitColumns+` FROM unit u JOIN tenant t ON t.no = u.tenant
		WHERE u.tenant=? AND u.job=? AND u.reason<>'' ORDER BY u.state<>'failed', u.id LIMIT ?`, tenant, jobID, job.MaxReasons)
	for _, u := range erred {
		if u.State == job.Failed && out.Reason == nil {
			out.Reason = u.Reason
		}
		out.Reasons = append(out.Reasons, job.UnitReason{Unit: u.ID, Attempt: u.Attempt, Reason: *u.Reason})
	}
	return out, err
}

// Retry is store.Units.
func (s *Store) Retry(ctx context.Context, t store.Tenant, jobID string, now time.Time, l store.Limit) (job.Job, error) {
	again := func(j job.Job) (job.Job, error) { return j.Retry(now) }
	return s.replace(ctx, t, jobID, again, func(x *tx, tenant int64, j job.Job) error {
		if err := x.limited(tenant, j, l); err != nil {
			return err
		}
		return x.run(`UPDATE unit SET state='queued', errors=0, lost=0, lease_until=0, reason='', updated=?,
			run_at=CASE WHEN attempt=0 THEN run_at ELSE 0 END
			WHERE tenant=? AND job=? AND state<>'succeeded'`, s.cfg.Now().UnixMilli(), tenant, jobID)
	})
}

// UnitsOf is store.Units.
func (s *Store) UnitsOf(ctx context.Context, t store.Tenant, jobID, after string, n int) ([]job.Unit, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	out, err := units(conn, `SELECT `+unitColumns+` FROM unit u JOIN tenant t ON t.no = u.tenant
		WHERE u.tenant=? AND u.job=? AND u.id>? ORDER BY u.id LIMIT ?`, s.tenantNo(t), jobID, after, n)
	return out, orContext(ctx, err)
}

// NextRun is store.Units.
func (s *Store) NextRun(ctx context.Context, kinds []string) (time.Time, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer put()
	names, err := json.Marshal(kinds)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	for _, query := range []string{nextLost, nextQueued} {
		err := each(conn, query, func(st *sqlite.Stmt) {
			if next := msTime(st.ColumnInt64(0)); at.IsZero() || !next.IsZero() && next.Before(at) {
				at = next
			}
		}, s.cfg.Now().UnixMilli(), string(names))
		if err != nil {
			return time.Time{}, orContext(ctx, err)
		}
	}
	return at, nil
}
