package sqlite

import (
	"context"

	"firebreak/fhir"
	"firebreak/store"
)

// strikePage is how many rows are struck in one commit.
const strikePage = 1000

// Strike is store.Erasures. The rows are looked for beside the writer, as most
// jobs have none.
func (s *Store) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer put()
	g.Job = f.Job
	l := looking{naming: s.naming(conn, f.Tenant), gone: g}
	for _, k := range l.keptRows() {
		k := striking{s: s, ctx: ctx, fence: f, kept: k}
		err := l.eachKept(k.kept, k.add)
		if err == nil {
			err = k.strike()
		}
		if err != nil {
			return orContext(ctx, err)
		}
	}
	return nil
}

// striking is rows that are going to be struck.
type striking struct {
	kept
	s     *Store
	ctx   context.Context //nolint:containedctx // of the one call that this is part of
	fence store.Fence
	found []keptRow
}

type keptRow struct {
	job string
	id  fhir.ID
}

func (k *striking) add(jobID string, id fhir.ID) error {
	if k.found = append(k.found, keptRow{jobID, id}); len(k.found) < strikePage {
		return nil
	}
	return k.strike()
}

// strike removes the rows, which may be none, under the fence.
func (k *striking) strike() error {
	err := k.s.w.do(k.ctx, 0, func(x *tx) error {
		no, err := x.fenced(k.fence)
		if err != nil {
			return err
		}
		stmt, err := x.conn.Prepare(`DELETE FROM ` + k.from)
		if err != nil {
			return err
		}
		for _, r := range k.found {
			if err := k.each(stmt, no, r.job, r.id, func() {}); err != nil {
				return err
			}
		}
		return nil
	})
	k.found = k.found[:0]
	return err
}
