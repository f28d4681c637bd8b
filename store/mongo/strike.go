package mongo

import (
	"context"
	"slices"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Strike is store.Erasures. Each commit is about a page of names below a few
// jobs, so that it stays within bounds; the first one lists the jobs.
func (s *Store) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	g.Job = f.Job
	l := &looking{tenant: f.Tenant, gone: g}
	l.s = s
	var all []string
	if err := s.fenced(ctx, f, func(ctx context.Context) (err error) {
		all, err = l.jobs(ctx)
		return err
	}); err != nil {
		return failed(ctx, err)
	}
	for _, which := range []rowsNamed{l.memberRows(), l.findRows()} {
		if err := l.strikeAll(ctx, f, which, all); err != nil {
			return failed(ctx, err)
		}
	}
	return nil
}

func (l *looking) strikeAll(ctx context.Context, f store.Fence, which rowsNamed, all []string) error {
	for names := range slices.Chunk(which.names, pageOf) {
		for some := range slices.Chunk(all, jobsAtOnce) {
			err := l.s.fenced(ctx, f, func(ctx context.Context) error { return l.strike(ctx, which.collection, some, names) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// strike removes the documents of these names below some jobs.
func (l *looking) strike(ctx context.Context, collection string, jobs, names []string) error {
	for _, j := range jobs {
		ids := idsBelow(prefix(string(l.tenant), j), names)
		if _, err := l.s.db.Collection(collection).DeleteMany(ctx, field("_id", field("$in", ids)), options.DeleteMany().SetHint(byID)); err != nil {
			return err
		}
	}
	return nil
}

// idsBelow are the ids of documents of these names.
func idsBelow(of string, names []string) []string {
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = of + name
	}
	return ids
}
