package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// SetHold is store.Holds.
func (s *Store) SetHold(ctx context.Context, t store.Tenant, h store.Hold, patients ...string) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		no, err := x.tenant(t)
		if err != nil {
			return err
		}
		err = x.run(`INSERT OR IGNORE INTO hold (tenant, id, kind, subject, by, why, begun, until, lifted, lifted_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			no, h.ID, string(h.On), h.Subject, h.By, h.Why, ms(h.Set), ms(h.Until), ms(h.Lifted), h.LiftedBy)
		if err != nil || x.conn.Changes() == 0 {
			return err
		}
		return x.holdAll(no, h, patients)
	})
}

// holdAll writes whom a hold is on.
func (t *tx) holdAll(tenant int64, h store.Hold, patients []string) error {
	if h.On != store.OnGroup {
		patients = []string{h.Subject}
	}
	stmt, err := t.conn.Prepare(`INSERT OR IGNORE INTO held (tenant, patient, hold) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	for _, p := range patients {
		stmt.BindInt64(1, tenant)
		bindID(stmt, 2, p)
		stmt.BindText(3, h.ID)
		if err := rows(stmt, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// LiftHold is store.Holds.
func (s *Store) LiftHold(ctx context.Context, t store.Tenant, id, by string, now time.Time) (h store.Hold, err error) {
	err = s.w.do(ctx, 0, func(x *tx) error {
		no := x.w.dict.tenants[string(t)]
		if err := x.run(`UPDATE hold SET lifted=?, lifted_by=? WHERE tenant=? AND id=? AND lifted=0`, ms(now), by, no, id); err != nil {
			return err
		}
		if err := x.run(`DELETE FROM held WHERE tenant=? AND hold=?`, no, id); err != nil {
			return err
		}
		found := store.ErrNotFound
		err := each(x.conn, holdColumns+`WHERE h.tenant=? AND h.id=?`, func(st *sqlite.Stmt) { h, found = holdOf(st), nil }, no, id)
		if err == nil {
			err = found
		}
		return err
	})
	return h, err
}

// holdColumns reads holds; what comes after it says which.
const holdColumns = `SELECT h.id, h.kind, h.subject, h.by, h.why, h.begun, h.until, h.lifted, h.lifted_by FROM hold h `

// holdOf is the hold of a row of holdColumns.
func holdOf(st *sqlite.Stmt) store.Hold {
	return store.Hold{
		ID: st.ColumnText(0), On: store.HoldOn(st.ColumnText(1)), Subject: st.ColumnText(2), By: st.ColumnText(3), Why: st.ColumnText(4),
		Set: msTime(st.ColumnInt64(5)), Until: msTime(st.ColumnInt64(6)), Lifted: msTime(st.ColumnInt64(7)), LiftedBy: st.ColumnText(8),
	}
}

// stands is the condition that a hold stands at an instant, which it needs once.
const stands = `h.lifted=0 AND (h.until=0 OR h.until>?)`

// Holds is store.Holds.
func (s *Store) Holds(ctx context.Context, t store.Tenant, standing time.Time, after string, n int) (out []store.Hold, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	which, args := ``, []any{s.tenantNo(t), after}
	if !standing.IsZero() {
		which, args = ` AND `+stands, append(args, ms(standing))
	}
	err = each(conn, holdColumns+`WHERE h.tenant=? AND h.id>?`+which+` ORDER BY h.id LIMIT ?`,
		func(st *sqlite.Stmt) { out = append(out, holdOf(st)) }, append(args, n)...)
	return out, orContext(ctx, err)
}

// HeldAmong is store.Holds.
func (s *Store) HeldAmong(ctx context.Context, t store.Tenant, at time.Time, patients []string) ([]store.Held, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	out, err := heldAmong(conn, s.tenantNo(t), at, patients)
	return out, orContext(ctx, err)
}

// heldAmong is HeldAmong on a connection. Where nothing is held, that is one
// look.
func heldAmong(conn *sqlite.Conn, tenant int64, at time.Time, patients []string) (out []store.Held, err error) {
	some := false
	if err := each(conn, `SELECT 1 FROM held WHERE tenant=? LIMIT 1`, func(*sqlite.Stmt) { some = true }, tenant); err != nil || !some {
		return nil, err
	}
	stmt, err := conn.Prepare(holdColumns + `JOIN held p ON p.tenant=h.tenant AND p.hold=h.id WHERE ` + stands + ` AND p.tenant=? AND p.patient=? ORDER BY h.id`)
	if err != nil {
		return nil, err
	}
	for _, p := range withTenant(patients) {
		stmt.BindInt64(1, ms(at))
		stmt.BindInt64(2, tenant)
		bindID(stmt, 3, p)
		if err := rows(stmt, func() error {
			out = append(out, store.Held{Hold: holdOf(stmt), Patient: p})
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// withTenant are the patients in order, once each, with what stands for the
// tenant before them.
func withTenant(patients []string) []string {
	all := append([]string{""}, patients...)
	slices.SortFunc(all, cmp.Compare)
	return slices.Compact(all)
}

// unheld answers ErrOnHold if a hold is on one of the patients, or on the
// tenant. It is in the transaction of the writer, so no hold comes in between.
func (t *tx) unheld(tenant int64, patients []string) error {
	held, err := heldAmong(t.conn, tenant, t.w.cfg.Now(), patients)
	if err == nil && len(held) > 0 {
		err = &store.OnHold{Held: held[0]}
	}
	return err
}
