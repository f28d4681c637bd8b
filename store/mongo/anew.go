package mongo

import (
	"context"
	"errors"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// beginAnew has a job begin anew; false if it has ended or is to stop. It is
// part of a transaction, which stays within bounds: units and parts are
// thousands at most, and go with one statement each. Patients of the parts may
// be millions, so they stay. They count for nothing without their part, and go
// when it comes again, or with the job.
func (s *Store) beginAnew(ctx context.Context, t store.Tenant, id string) (bool, error) {
	_, replaced, err := s.replace(ctx, t, id, job.Job.BeginAnew)
	switch {
	case errors.Is(err, job.ErrTransition), errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !replaced:
		return false, errUnsettled
	}
	of := prefix(string(t), id)
	if err := s.keepAttempts(ctx, key(string(t), id), of); err != nil {
		return false, err
	}
	if err := s.putBack(ctx, of); err != nil {
		return false, err
	}
	if err := s.dropWritten(ctx, of); err != nil {
		return false, err
	}
	return true, s.advance(ctx, key(string(t), id))
}

// inLaterPhase selects the units of a job that are done again when it begins anew.
func inLaterPhase(of string) bson.D {
	return append(under(of), bson.E{Key: "phase", Value: field("$gt", 0)})
}

// keepAttempts notes how often a unit was claimed at most.
func (s *Store) keepAttempts(ctx context.Context, id, of string) error {
	var most struct {
		Attempt int `bson:"attempt"`
	}
	err := s.db.Collection(units).FindOne(ctx, inLaterPhase(of),
		options.FindOne().SetHint(byID).SetSort(field("attempt", -1)).SetProjection(field("attempt", 1))).Decode(&most)
	if err != nil || most.Attempt == 0 {
		return orNone(err)
	}
	_, err = s.db.Collection(jobs).UpdateOne(ctx, field("_id", id), field("$max", field("attempts", most.Attempt)), options.UpdateOne().SetHint(byID))
	return err
}

// attempts is what attempts at units that are added to the job of a fence count
// on from; 0 if none of it may be at work still.
func (s *Store) attempts(ctx context.Context, f store.Fence) (int, error) {
	var r struct {
		Attempts int `bson:"attempts"`
	}
	err := s.db.Collection(jobs).FindOne(ctx, field("_id", key(string(f.Tenant), f.Job)),
		options.FindOne().SetHint(byID).SetProjection(field("attempts", 1))).Decode(&r)
	return r.Attempts, orNone(err)
}

// putBack puts the later units of a job back. One that was never claimed waits
// for its own instant too.
func (s *Store) putBack(ctx context.Context, of string) error {
	own := field("$cond", bson.A{field("$eq", bson.A{"$attempt", 0}), "$run_at", time.Time{}})
	at := field("$max", bson.A{own, field("$add", bson.A{s.now(), store.AnewAfter.Milliseconds()})})
	set := bson.D{
		{Key: "state", Value: job.Queued},
		{Key: "errors", Value: 0},
		{Key: "lost", Value: 0},
		{Key: "run_at", Value: at},
		{Key: "ready", Value: at},
		{Key: "open", Value: true},
		{Key: "todo", Value: true},
		{Key: "resources", Value: int64(0)},
		{Key: "bytes", Value: int64(0)},
		{Key: "updated", Value: s.now()},
	}
	for _, member := range []string{"ended", "reason", "total_versions", "total_resources", "result"} {
		set = append(set, bson.E{Key: member, Value: removed})
	}
	_, err := s.db.Collection(units).UpdateMany(ctx, inLaterPhase(of), mongo.Pipeline{field("$set", set)}, options.UpdateMany().SetHint(byID))
	return err
}

// dropWritten drops the parts of a job but those of its first phase.
func (s *Store) dropWritten(ctx context.Context, of string) error {
	first, err := rowsOf[struct {
		Unit string `bson:"id"`
	}](ctx, s.db.Collection(units), append(under(of), bson.E{Key: "phase", Value: 0}),
		options.Find().SetHint(byID).SetProjection(field("id", 1)).SetBatchSize(placeBatch))
	if err != nil {
		return err
	}
	by := make([]string, len(first))
	for i, u := range first {
		by[i] = u.Unit
	}
	_, err = s.db.Collection(parts).DeleteMany(ctx, append(under(of), bson.E{Key: "unit", Value: field("$nin", by)}), options.DeleteMany().SetHint(byID))
	return err
}
