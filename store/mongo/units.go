package mongo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Add is store.Units.
func (s *Store) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.fenced(ctx, f, func(ctx context.Context) error {
		attempts, err := s.attempts(ctx, f)
		if err != nil {
			return err
		}
		if err := s.dropPlans(ctx, f); err != nil {
			return err
		}
		return insertMissing(ctx, s.db.Collection(units), unitRows(us, plannerOf(f), attempts))
	}))
}

func plannerOf(f store.Fence) planner {
	return planner{unit: key(string(f.Tenant), f.Job, f.Unit), attempt: f.Attempt}
}

// dropPlans removes what earlier attempts at the unit added. None of that was
// claimed: it is of later phases, and the unit has not succeeded.
func (s *Store) dropPlans(ctx context.Context, f store.Fence) error {
	by := plannerOf(f)
	_, err := s.db.Collection(units).DeleteMany(ctx, bson.D{
		{Key: "planner", Value: by.unit}, {Key: "planned_in", Value: field("$ne", by.attempt)},
	}, options.DeleteMany().SetHint(byPlanner))
	return err
}

// Renew is store.Units. A cancel is a write of the job's document, and so is
// this: none is acknowledged between the look at the job and the new lease.
func (s *Store) Renew(ctx context.Context, f store.Fence, lease time.Duration) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.underJob(ctx, key(string(f.Tenant), f.Job), isOpen(), func(ctx context.Context) error {
		return s.changeUnit(ctx, f, bson.D{{Key: "ready", Value: s.leaseEnd(lease)}})
	}))
}

// Note is store.Units.
func (s *Store) Note(ctx context.Context, f store.Fence, total job.Erased, result json.RawMessage) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.underJob(ctx, key(string(f.Tenant), f.Job), notEnded(), func(ctx context.Context) error {
		return s.changeUnit(ctx, f, bson.D{
			{Key: "total_versions", Value: total.Versions},
			{Key: "total_resources", Value: total.Resources},
			{Key: "result", Value: orRemoved(result)},
			{Key: "updated", Value: s.now()},
		})
	}))
}

// leaseEnd is when a lease from now ends, as an expression of an aggregation.
func (s *Store) leaseEnd(lease time.Duration) bson.D {
	return field("$add", bson.A{s.now(), lease.Milliseconds()})
}

// changeUnit sets members of the unit of a fence, which are expressions of an
// aggregation.
func (s *Store) changeUnit(ctx context.Context, f store.Fence, set bson.D) error {
	res, err := s.db.Collection(units).UpdateOne(ctx, current(f), mongo.Pipeline{field("$set", set)}, options.UpdateOne().SetHint(byID))
	if err == nil && res.MatchedCount == 0 {
		err = store.ErrFenced
	}
	return err
}

// End is store.Units.
func (s *Store) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	set, err := s.endOf(e)
	if err != nil {
		return err
	}
	err = s.underJob(ctx, key(string(f.Tenant), f.Job), notEnded(), func(ctx context.Context) error {
		if err := s.unerased(ctx, f, e); err != nil {
			return err
		}
		if err := s.changeUnit(ctx, f, set); err != nil {
			return err
		}
		if err := s.dropPlans(ctx, f); err != nil {
			return err
		}
		if e.State != job.Succeeded {
			return nil
		}
		if err := s.advance(ctx, key(string(f.Tenant), f.Job)); err != nil {
			return err
		}
		return s.endParts(ctx, f, e)
	})
	s.watch.Wake(err)
	return failed(ctx, err)
}

// removed takes the place of a member that a document is not to have.
const removed = "$$REMOVE"

// orRemoved is a document, or that there is to be none.
func orRemoved(doc []byte) any {
	if len(doc) == 0 {
		return removed
	}
	return doc
}

// endOf is what an end sets of a unit, as expressions of an aggregation.
func (s *Store) endOf(e job.UnitEnd) (bson.D, error) {
	var why, open, ready any = removed, removed, removed
	if e.Reason != nil {
		doc, err := json.Marshal(e.Reason)
		if err != nil {
			return nil, fmt.Errorf("mongo: encode a reason: %w", err)
		}
		why = doc
	}
	if e.State == job.Queued {
		open, ready = true, e.RunAt
	}
	set := bson.D{
		{Key: "state", Value: e.State},
		{Key: "run_at", Value: e.RunAt},
		{Key: "ended", Value: s.now()},
		{Key: "updated", Value: s.now()},
		{Key: "reason", Value: why},
		{Key: "open", Value: open},
		{Key: "ready", Value: ready},
	}
	if e.Erred {
		set = append(set, bson.E{Key: "errors", Value: field("$add", bson.A{"$errors", 1})})
	}
	if e.State == job.Succeeded {
		set = append(set, bson.D{
			{Key: "todo", Value: removed}, {Key: "resources", Value: e.Counts.Resources}, {Key: "bytes", Value: e.Counts.Bytes},
		}...)
		if len(e.Result) > 0 {
			set = append(set, bson.E{Key: "result", Value: []byte(e.Result)})
		}
	}
	return set, nil
}

// advance notes the lowest phase of a job that has a unit which has not
// succeeded, after one did. Two last units of a phase that end at once would
// each see the other under way; but both write the job's document first.
func (s *Store) advance(ctx context.Context, id string) error {
	var low struct {
		Phase int `bson:"phase"`
	}
	err := s.db.Collection(units).FindOne(ctx, bson.D{{Key: "of", Value: id}, {Key: "todo", Value: true}},
		options.FindOne().SetHint(byTodo).SetSort(ascending("of", "phase")).SetProjection(field("phase", 1))).Decode(&low)
	change := field("$set", field("phase", low.Phase))
	if isNone(err) {
		change, err = field("$unset", field("phase", "")), nil
	}
	if err == nil {
		_, err = s.db.Collection(jobs).UpdateOne(ctx, field("_id", id), change, options.UpdateOne().SetHint(byID))
	}
	return err
}

// UnitsOf is store.Units.
func (s *Store) UnitsOf(ctx context.Context, t store.Tenant, jobID, last string, n int) ([]job.Unit, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if n <= 0 {
		return nil, nil
	}
	rows, err := rowsOf[unitRow](ctx, s.db.Collection(units), after(prefix(string(t), jobID), last),
		options.Find().SetHint(byID).SetSort(field("_id", 1)).SetLimit(int64(n)).SetBatchSize(batchOf(n)))
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := make([]job.Unit, len(rows))
	for i, r := range rows {
		if out[i], err = r.decode(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
