package mongo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

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
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if n <= 0 {
		return nil, nil // a limit of 0 would be none
	}
	if before == "" {
		before = "~" // after every id
	}
	js, err := s.jobDocs(ctx, bson.D{
		{Key: "tenant", Value: string(t)},
		{Key: "client", Value: who.Client},
		{Key: "user", Value: who.User},
		{Key: "job", Value: field("$lt", before)},
		{Key: "dismissed", Value: false},
	}, options.Find().SetHint(byOwner).SetSort(field("job", -1)).SetLimit(int64(n)))
	return js, failed(ctx, err)
}

// Peek is store.Jobs.
func (s *Store) Peek(ctx context.Context, t store.Tenant, id string) (job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer leave()
	r, err := s.jobRow(ctx, t, id)
	if err != nil {
		return job.Job{}, failed(ctx, err)
	}
	return r.decode()
}

// Update is store.Jobs. It needs no transaction: the job is one document, and
// what was written of its units since it was read is no reason to run f again.
func (s *Store) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer leave()
	for {
		next, replaced, err := s.replace(ctx, t, id, f)
		if err != nil {
			return job.Job{}, failed(ctx, err)
		}
		if replaced {
			s.watch.Wake(nil)
			return next, nil
		}
	}
}

// replace runs f once; false if another was faster.
func (s *Store) replace(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (next job.Job, replaced bool, err error) {
	r, err := s.jobRow(ctx, t, id)
	if err != nil {
		return next, false, err
	}
	old, err := r.decode()
	if err != nil {
		return next, false, err
	}
	if next, err = f(old); err != nil {
		return next, false, err
	}
	c, err := columnsOf(next)
	if err != nil {
		return next, false, err
	}
	change := bson.D{{Key: "$set", Value: c}}
	if c.Idem == nil {
		change = append(change, bson.E{Key: "$unset", Value: field("idem", "")})
	}
	res, err := s.db.Collection(jobs).UpdateOne(ctx, bson.D{{Key: "_id", Value: r.ID}, {Key: "v", Value: r.Columns.Version}},
		change, options.UpdateOne().SetHint(byID))
	return next, err == nil && res.MatchedCount == 1, err
}

// Attend is store.Jobs.
func (s *Store) Attend(ctx context.Context, now time.Time, all bool, after string, limit int) ([]job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if limit <= 0 {
		return nil, nil
	}
	following := bson.E{Key: "job", Value: field("$gt", after)}
	due := bson.D{{Key: "discard_at", Value: bson.D{{Key: "$gt", Value: int64(0)}, {Key: "$lte", Value: now.UnixMilli()}}}, following}
	under := bson.D{{Key: "discard_at", Value: int64(0)}, {Key: "cancel", Value: true}, following}
	if all {
		under = bson.D{{Key: "discard_at", Value: int64(0)}, {Key: "cancel", Value: field("$in", bson.A{false, true})}, following}
	}
	var js []job.Job
	for _, which := range []bson.D{under, due} {
		found, err := s.jobDocs(ctx, which, options.Find().SetHint(byDiscard).SetSort(ascending("job", "tenant")).SetLimit(int64(limit)))
		if err != nil {
			return nil, failed(ctx, err)
		}
		js = append(js, found...)
	}
	slices.SortFunc(js, func(a, b job.Job) int { return strings.Compare(a.ID, b.ID) })
	return js[:min(limit, len(js))], nil
}

// Remove is store.Jobs. What a job left may be much, so it goes in steps. With
// the first one the job is absent to all but Attend, its fences are void, and
// nothing can be added to it. Its document goes last: after a crash in between
// Attend lists it still, and Remove goes on.
func (s *Store) Remove(ctx context.Context, t store.Tenant, id string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.remove(ctx, t, id))
}

func (s *Store) remove(ctx context.Context, t store.Tenant, id string) error {
	// A transaction under a fence of the job has written this document: it is
	// done before, or undone by this.
	which := field("_id", key(string(t), id))
	res, err := s.db.Collection(jobs).UpdateOne(ctx, which, bson.D{
		{Key: "$set", Value: bson.D{
			{Key: "gone", Value: true},
			{Key: "discard_at", Value: int64(1)},
			{Key: "cancel", Value: true},
			{Key: "dismissed", Value: true},
			{Key: "v", Value: ulid.Make().String()},
		}},
		{Key: "$unset", Value: bson.D{{Key: "idem", Value: ""}, {Key: "phase", Value: ""}}},
	}, options.UpdateOne().SetHint(byID))
	if err != nil || res.MatchedCount == 0 {
		return err
	}
	if err := s.removeAnnounced(ctx, t, id); err != nil {
		return wrap("remove a job's announcements", err)
	}
	for _, c := range []string{holders, parts, members, finds, units} {
		if _, err := s.db.Collection(c).DeleteMany(ctx, under(prefix(string(t), id)), options.DeleteMany().SetHint(byID)); err != nil {
			return wrap("remove what belongs to a job", err)
		}
	}
	_, err = s.db.Collection(jobs).DeleteOne(ctx, append(which, bson.E{Key: "gone", Value: true}), options.DeleteOne().SetHint(byID))
	return err
}

// CountJobs is store.Jobs.
func (s *Store) CountJobs(ctx context.Context) ([]store.JobCount, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []store.JobCount
	// In a snapshot, as else a job that goes on to another state meanwhile could
	// be counted twice, or not at all.
	err = s.transact(ctx, func(ctx context.Context) (err error) {
		out, err = s.countJobs(ctx)
		return err
	})
	return out, failed(ctx, err)
}

func (s *Store) countJobs(ctx context.Context) ([]store.JobCount, error) {
	cursor, err := s.db.Collection(jobs).Aggregate(ctx, mongo.Pipeline{
		field("$sort", ascending("kind", "state", "job")),
		field("$group", bson.D{
			{Key: "_id", Value: bson.D{{Key: "kind", Value: "$kind"}, {Key: "state", Value: "$state"}}},
			{Key: "n", Value: field("$sum", 1)},
			{Key: "oldest", Value: field("$first", "$doc")},
		}),
		field("$sort", ascending("_id.kind", "_id.state")),
	}, options.Aggregate().SetHint(byState))
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Of struct {
			Kind  string    `bson:"kind"`
			State job.State `bson:"state"`
		} `bson:"_id"`
		N      int    `bson:"n"`
		Oldest []byte `bson:"oldest"`
	}
	if err := cursor.All(ctx, &rows); err != nil {
		return nil, err
	}
	var out []store.JobCount
	for _, r := range rows {
		oldest, err := decodeJob(r.Oldest)
		if err != nil {
			return nil, fmt.Errorf("mongo: count the jobs: %w", err)
		}
		out = append(out, store.JobCount{Kind: r.Of.Kind, State: r.Of.State, Jobs: r.N, Oldest: oldest.Created})
	}
	return out, nil
}
