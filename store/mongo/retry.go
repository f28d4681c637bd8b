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
func (s *Store) Retry(ctx context.Context, t store.Tenant, jobID string, now time.Time) (job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer leave()
	var next job.Job
	err = s.transact(ctx, func(ctx context.Context) error {
		again := func(j job.Job) (job.Job, error) { return j.Retry(now) }
		var replaced bool
		var err error
		if next, replaced, err = s.replace(ctx, t, jobID, again); err != nil {
			return err
		}
		if !replaced {
			return errUnsettled
		}
		return s.requeue(ctx, key(string(t), jobID))
	})
	if err != nil {
		return job.Job{}, failed(ctx, err)
	}
	s.watch.Wake(nil)
	return next, nil
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
