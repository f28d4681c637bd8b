package mongo

import (
	"context"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Retry is store.Units. It writes the job's document, as every write under a
// fence does: one of before is done before, or finds that its attempt is over.
func (s *Store) Retry(ctx context.Context, t store.Tenant, jobID string, now time.Time, l store.Limit) (job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer leave()
	r, err := s.jobRow(ctx, t, jobID)
	if err != nil {
		return job.Job{}, failed(ctx, err)
	}
	give, err := s.turns.take(ctx, limits, r.Columns.Kind)
	if err != nil {
		return job.Job{}, failed(ctx, err)
	}
	defer give()
	next, err := s.retry(ctx, r, func(ctx context.Context, j job.Job) (job.Job, error) {
		next, err := j.Retry(now)
		if err == nil {
			err = s.limited(ctx, j, l)
		}
		return next, err
	})
	if err != nil {
		return job.Job{}, failed(ctx, err)
	}
	s.watch.Wake(nil)
	return next, nil
}

// retry replaces a job by again of it, and puts back its units.
func (s *Store) retry(ctx context.Context, r jobRow, again func(context.Context, job.Job) (job.Job, error)) (next job.Job, err error) {
	end := time.Now().Add(enduring)
	// A duplicate key is the document of the limit, which another made first.
	for range 3 {
		err = s.transactUntil(ctx, end, func(ctx context.Context) (err error) {
			var replaced bool
			next, replaced, err = s.replace(ctx, store.Tenant(r.Tenant), r.Job, func(j job.Job) (job.Job, error) { return again(ctx, j) })
			switch {
			case err != nil:
				return err
			case !replaced:
				return errUnsettled
			}
			return s.requeue(ctx, r.ID)
		})
		if !mongo.IsDuplicateKeyError(err) {
			break
		}
	}
	return next, err
}

// requeue puts back the units of a job that have not succeeded. One that was
// claimed before does not wait for the instant that it was put back to.
func (s *Store) requeue(ctx context.Context, id string) error {
	at := field("$cond", bson.A{field("$eq", bson.A{"$attempt", 0}), "$run_at", time.Time{}})
	_, err := s.db.Collection(units).UpdateMany(ctx, bson.D{{Key: "of", Value: id}, {Key: "todo", Value: true}}, mongo.Pipeline{
		field("$set", bson.D{
			{Key: "state", Value: job.Queued},
			{Key: "errors", Value: 0},
			{Key: "lost", Value: 0},
			{Key: "reason", Value: removed},
			{Key: "run_at", Value: at},
			{Key: "ready", Value: at},
			{Key: "open", Value: true},
			{Key: "updated", Value: s.now()},
		}),
	}, options.UpdateMany().SetHint(byTodo))
	return err
}
