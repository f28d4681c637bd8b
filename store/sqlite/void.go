package sqlite

import (
	"context"

	"firebreak/operations/job"
	"firebreak/store"
)

// Void is store.Erasures.
func (s *Store) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) (out []job.Part, err error) {
	anew := false
	err = s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		if err := x.announce(no, f, patients, `INSERT INTO erasure (tenant, job, patient, number) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET number=excluded.number`); err != nil {
			return err
		}
		v := voiding{tx: x, tenant: no, seen: map[place]bool{}}
		if err := v.find(patients); err != nil {
			return err
		}
		if err := v.look(these); err != nil {
			return err
		}
		anew, err = v.beginAnew(f.Job)
		if err != nil {
			return err
		}
		out = v.parts
		return v.mark()
	})
	if err != nil {
		return nil, err
	}
	if anew {
		s.watch.Wake(nil)
	}
	return out, nil
}

// voiding is one call of Void.
type voiding struct {
	*tx
	tenant int64
	parts  []job.Part // that hold a patient, void ones too
	live   []string   // jobs of those that are not void yet
	seen   map[place]bool
}

// place is where a part is.
type place struct{ job, id string }

// find finds the parts that hold the patients, and are not forgotten.
func (v *voiding) find(patients []string) error {
	stmt, err := v.conn.Prepare(partColumns + `JOIN part_patient h ON h.tenant=p.tenant AND h.job=p.job AND h.part=p.id
		WHERE p.void<>2 AND h.tenant=? AND h.patient=?`)
	if err != nil {
		return err
	}
	for _, patient := range patients {
		stmt.BindInt64(1, v.tenant)
		bindID(stmt, 2, patient)
		if err := rows(stmt, func() error {
			v.add(partOf(stmt), stmt.ColumnInt(10) == live)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// look finds some parts as they were listed, unless they are forgotten.
func (v *voiding) look(these []job.Part) error {
	stmt, err := v.conn.Prepare(partColumns + `WHERE p.void<>2 AND p.tenant=? AND p.job=? AND p.id=? AND p.name=?`)
	if err != nil {
		return err
	}
	for _, p := range these {
		stmt.BindInt64(1, v.tenant)
		stmt.BindText(2, p.Job)
		stmt.BindText(3, p.ID)
		stmt.BindText(4, p.Name)
		if err := rows(stmt, func() error {
			v.add(partOf(stmt), stmt.ColumnInt(10) == live)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (v *voiding) add(p job.Part, isLive bool) {
	if at := (place{p.Job, p.ID}); !v.seen[at] {
		v.seen[at] = true
		v.parts = append(v.parts, p)
		if isLive {
			v.live = append(v.live, p.Job)
		}
	}
}

// beginAnew has each job begin anew that loses a part, but for one. It tells
// whether there was any.
func (v *voiding) beginAnew(but string) (anew bool, err error) {
	done := map[string]bool{but: true}
	for _, id := range v.live {
		if done[id] {
			continue
		}
		done[id] = true
		began, err := v.tx.beginAnew(v.tenant, id)
		if err != nil {
			return false, err
		}
		anew = anew || began
	}
	return anew, nil
}

// mark voids the parts that are still on record.
func (v *voiding) mark() error {
	for _, p := range v.parts {
		if err := v.run(`UPDATE part SET void=? WHERE tenant=? AND job=? AND id=?`, voided, v.tenant, p.Job, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// beginAnew has a job begin anew; false if it has ended or is to stop.
func (t *tx) beginAnew(tenant int64, id string) (bool, error) {
	js, err := jobs(t.conn, `SELECT doc FROM job WHERE discard_at=0 AND NOT cancel AND tenant=? AND id=?`, tenant, id)
	if err != nil || len(js) == 0 {
		return false, err
	}
	j, err := js[0].BeginAnew()
	if err == nil {
		err = t.putJob(replaceJob, tenant, j)
	}
	if err != nil {
		return false, err
	}
	now := t.w.cfg.Now()
	if err := t.run(unitsAnew, tenant, id, now.UnixMilli(), now.Add(store.AnewAfter).UnixMilli()); err != nil {
		return false, err
	}
	for _, drop := range []string{attemptsAnew, dropHeldAnew, dropPartsAnew} {
		if err := t.run(drop, tenant, id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// What a job does that begins anew: ?1 is the tenant, ?2 the job, ?3 the present
// instant, ?4 that from which its units may be claimed.
const (
	unitsAnew = `UPDATE unit SET state='queued', errors=0, lost=0, lease_until=0, ended=0, resources=0, bytes=0, done=0,
		reason='', total_versions=0, total_resources=0, result=NULL, updated=?3, run_at=max(?4, CASE WHEN attempt=0 THEN run_at ELSE 0 END)
		WHERE tenant=?1 AND job=?2 AND phase>0`
	attemptsAnew = `UPDATE job SET attempts=max(attempts, coalesce((SELECT max(attempt) FROM unit WHERE tenant=?1 AND job=?2 AND phase>0), 0))
		WHERE tenant=?1 AND id=?2`
	dropHeldAnew  = `DELETE FROM part_patient WHERE tenant=?1 AND job=?2 AND part IN (SELECT id FROM part WHERE ` + partsAnew + `)`
	dropPartsAnew = `DELETE FROM part WHERE ` + partsAnew
	partsAnew     = `tenant=?1 AND job=?2 AND unit NOT IN (SELECT id FROM unit WHERE tenant=?1 AND job=?2 AND phase=0)`
)
