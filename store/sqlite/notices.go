package sqlite

import (
	"context"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/store"
)

// noticePage is how many notices are written or removed in one commit.
const noticePage = 1000

// Tell is store.Notices.
func (s *Store) Tell(ctx context.Context, f store.Fence, owner store.Owner, until time.Time, ids []fhir.ID) error {
	for page := range slices.Chunk(ids, noticePage) {
		if err := s.w.do(ctx, 0, func(x *tx) error {
			no, err := x.fenced(f)
			if err != nil {
				return err
			}
			return x.tell(no, owner, until, page)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) tell(tenant int64, owner store.Owner, until time.Time, ids []fhir.ID) error {
	who, err := t.owner(owner)
	if err != nil {
		return err
	}
	stmt, err := t.conn.Prepare(`INSERT INTO notice (tenant, owner, type, id, until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET until=max(until, excluded.until)`)
	if err != nil {
		return err
	}
	for _, id := range ids {
		stmt.BindInt64(1, tenant)
		stmt.BindInt64(2, who)
		stmt.BindText(3, id.Type)
		stmt.BindText(4, id.ID)
		stmt.BindInt64(5, until.UnixMilli())
		if err := rows(stmt, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Told is store.Notices.
func (s *Store) Told(ctx context.Context, t store.Tenant, owner store.Owner, now time.Time, after fhir.ID, n int) ([]fhir.ID, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	stmt, err := conn.Prepare(`SELECT type, id FROM notice WHERE tenant=? AND owner=(SELECT no FROM owner WHERE client=? AND user=?)
		AND (type, id)>(?, ?) AND until>? ORDER BY type, id LIMIT ?`)
	if err != nil {
		return nil, orContext(ctx, err)
	}
	stmt.BindInt64(1, s.tenantNo(t))
	stmt.BindText(2, owner.Client)
	stmt.BindText(3, owner.User)
	stmt.BindText(4, after.Type)
	stmt.BindText(5, after.ID)
	stmt.BindInt64(6, now.UnixMilli())
	stmt.BindInt64(7, int64(n))
	var out []fhir.ID
	err = rows(stmt, func() error {
		out = append(out, fhir.ID{Type: stmt.ColumnText(0), ID: stmt.ColumnText(1)})
		return nil
	})
	return out, orContext(ctx, err)
}

// Untell is store.Notices.
func (s *Store) Untell(ctx context.Context, now time.Time) error {
	for more := true; more; {
		if err := s.w.do(ctx, 0, func(x *tx) error {
			err := x.run(`DELETE FROM notice WHERE (tenant, owner, type, id) IN
				(SELECT tenant, owner, type, id FROM notice WHERE until<=? LIMIT ?)`, now.UnixMilli(), noticePage)
			more = x.conn.Changes() == noticePage
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
