package sqlite

import (
	"context"
	"maps"
	"slices"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Ledgers is store.Ledgers.
func (s *Store) Ledgers(ctx context.Context) (out []store.Ledger, err error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	err = each(conn, `SELECT id, "from", "to" FROM ledger ORDER BY id`, func(st *sqlite.Stmt) {
		out = append(out, store.Ledger{ID: st.ColumnText(0), From: st.ColumnInt64(1), To: st.ColumnInt64(2)})
	})
	return out, orContext(ctx, err)
}

// Reserve is store.Ledgers.
func (s *Store) Reserve(ctx context.Context, l store.Ledger) error {
	return s.w.do(ctx, 0, func(x *tx) error {
		noted := store.Ledger{ID: l.ID}
		err := each(x.conn, `SELECT "from", "to" FROM ledger WHERE id=?`, func(st *sqlite.Stmt) {
			noted.From, noted.To = st.ColumnInt64(0), st.ColumnInt64(1)
		}, l.ID)
		switch {
		case err != nil:
			return err
		case noted == l && l.To > l.From:
			return nil
		case noted.To != l.From || l.To <= l.From:
			return store.ErrConflict
		}
		return x.run(`INSERT OR REPLACE INTO ledger (id, "from", "to") VALUES (?, ?, ?)`, l.ID, l.From, l.To)
	})
}

// Tenants is store.Ledgers.
func (s *Store) Tenants(ctx context.Context) ([]store.Tenant, error) {
	_, put, err := s.reader(ctx) // ErrClosed, and the context's own end
	if err != nil {
		return nil, err
	}
	defer put()
	var out []store.Tenant
	for _, name := range slices.Sorted(maps.Keys(s.w.committed.Load().tenants)) {
		out = append(out, store.Tenant(name))
	}
	return out, nil
}
