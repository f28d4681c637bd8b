package sqlite

import (
	"context"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

const certificateColumns = `SELECT number, job, doc FROM certificate WHERE tenant=? `

// Certify is store.Certificates.
func (s *Store) Certify(ctx context.Context, f store.Fence, number int64, doc []byte) (c store.Certificate, err error) {
	err = s.w.do(ctx, len(doc), func(x *tx) error {
		no, err := x.fenced(f)
		if err != nil {
			return err
		}
		there, err := certificates(x.conn, certificateColumns+`AND job=?`, no, f.Job)
		if err != nil || len(there) > 0 {
			c = append(there, c)[0]
			return err
		}
		last := int64(0)
		err = each(x.conn, `SELECT max(number) FROM certificate WHERE tenant=?`, func(st *sqlite.Stmt) { last = st.ColumnInt64(0) }, no)
		if err == nil && number != last+1 {
			err = store.ErrConflict
		}
		if err != nil {
			return err
		}
		c = store.Certificate{Number: number, Job: f.Job, Doc: doc}
		return x.run(`INSERT INTO certificate (tenant, number, job, doc) VALUES (?, ?, ?, ?)`, no, number, f.Job, doc)
	})
	if err != nil {
		return store.Certificate{}, err
	}
	return c, nil
}

// certificates are those that a query selects.
func certificates(conn *sqlite.Conn, query string, args ...any) (out []store.Certificate, err error) {
	err = each(conn, query, func(st *sqlite.Stmt) {
		out = append(out, store.Certificate{Number: st.ColumnInt64(0), Job: st.ColumnText(1), Doc: columnBytes(st, 2, nil)})
	}, args...)
	return out, err
}

// Certificate is store.Certificates.
func (s *Store) Certificate(ctx context.Context, t store.Tenant, jobID string) (store.Certificate, error) {
	found, err := s.certificates(ctx, certificateColumns+`AND job=?`, s.tenantNo(t), jobID)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Certificate{}, err
	}
	return found[0], nil
}

// Certificates is store.Certificates.
func (s *Store) Certificates(ctx context.Context, t store.Tenant, before int64, n int) ([]store.Certificate, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	return s.certificates(ctx, certificateColumns+`AND number<? ORDER BY number DESC LIMIT ?`, s.tenantNo(t), before, max(n, 0))
}

func (s *Store) certificates(ctx context.Context, query string, args ...any) ([]store.Certificate, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer put()
	found, err := certificates(conn, query, args...)
	return found, orContext(ctx, err)
}
