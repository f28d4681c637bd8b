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

// Tally is store.Units.
func (s *Store) Tally(ctx context.Context, t store.Tenant, jobID string) (job.Tally, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Tally{}, err
	}
	defer leave()
	var out job.Tally
	// In a snapshot. Without one, the units that a plan adds could be missed, and
	// the end of the plan be seen: all would seem to have succeeded.
	err = s.transact(ctx, func(ctx context.Context) (err error) {
		out, err = s.tally(ctx, prefix(string(t), jobID))
		return err
	})
	return out, failed(ctx, err)
}

// stateSum is what the units in one state come to.
type stateSum struct {
	State     job.State `bson:"_id"`
	Units     int       `bson:"units"`
	Resources int64     `bson:"resources"`
	Bytes     int64     `bson:"bytes"`
	Done      int64     `bson:"done"`
	Planned   int64     `bson:"planned"`
	Attempts  int       `bson:"attempts"`
	Errors    int       `bson:"errors"`
	Lost      int       `bson:"lost"`
	Versions  int64     `bson:"erased_versions"`
	Erased    int64     `bson:"erased_resources"`
	Ended     time.Time `bson:"ended"`
}

// erredUnit is a unit that has a reason.
type erredUnit struct {
	ID      string    `bson:"id"`
	State   job.State `bson:"state"`
	Attempt int       `bson:"attempt"`
	Reason  []byte    `bson:"reason"`
}

func (s *Store) tally(ctx context.Context, units string) (out job.Tally, err error) {
	cursor, err := s.tallied(ctx, units)
	if err != nil {
		return out, err
	}
	var both []struct {
		States []stateSum  `bson:"states"`
		Erred  []erredUnit `bson:"erred"`
	}
	if err := cursor.All(ctx, &both); err != nil || len(both) == 0 {
		return out, err
	}
	for _, sum := range both[0].States {
		addSum(&out, sum)
	}
	if out.Errors == 0 && out.Failed == 0 {
		return out, nil
	}
	for _, u := range both[0].Erred {
		why, err := reason(u.Reason)
		if err != nil {
			return job.Tally{}, err
		}
		if u.State == job.Failed && out.Reason == nil {
			out.Reason = why
		}
		out.Reasons = append(out.Reasons, job.UnitReason{Unit: u.ID, Attempt: u.Attempt, Reason: *why})
	}
	return out, nil
}

func addSum(out *job.Tally, sum stateSum) {
	into := map[job.State]*int{
		job.Queued: &out.Queued, job.Running: &out.Running, job.Succeeded: &out.Succeeded,
		job.Failed: &out.Failed, job.Cancelled: &out.Cancelled,
	}
	if n := into[sum.State]; n != nil {
		*n += sum.Units
	}
	out.Done = out.Done.Add(job.Counts{Resources: sum.Resources, Bytes: sum.Bytes, Planned: sum.Done})
	out.Planned += sum.Planned
	out.Attempts += sum.Attempts
	out.Errors += sum.Errors
	out.Lost += sum.Lost
	out.Erased = out.Erased.Add(job.Erased{Versions: sum.Versions, Resources: sum.Erased})
	if sum.Ended.After(out.LastEnd) {
		out.LastEnd = sum.Ended
	}
}

// tallied asks for the sums and the reasons of the units with the prefix.
func (s *Store) tallied(ctx context.Context, of string) (*mongo.Cursor, error) {
	is := func(state job.State) bson.D { return field("$eq", bson.A{"$state", state}) }
	lapsed := field("$and", bson.A{is(job.Running), field("$lte", bson.A{"$ready", s.now()})})
	sum := func(member string) bson.E { return bson.E{Key: member, Value: field("$sum", "$"+member)} }
	return s.db.Collection(units).Aggregate(ctx, mongo.Pipeline{
		field("$match", under(of)),
		field("$project", bson.D{
			{Key: "counts_as", Value: field("$cond", bson.A{lapsed, job.Queued, "$state"})},
			{Key: "done", Value: field("$cond", bson.A{is(job.Succeeded), "$planned", 0})},
			{Key: "rank", Value: field("$cond", bson.A{is(job.Failed), 0, 1})},
			{Key: "id", Value: 1},
			{Key: "state", Value: 1},
			{Key: "attempt", Value: 1},
			{Key: "errors", Value: 1},
			{Key: "lost", Value: 1},
			{Key: "resources", Value: 1},
			{Key: "bytes", Value: 1},
			{Key: "planned", Value: 1},
			{Key: "erased_versions", Value: 1},
			{Key: "erased_resources", Value: 1},
			{Key: "ended", Value: 1},
			{Key: "reason", Value: 1},
		}),
		field("$facet", bson.D{
			{Key: "states", Value: mongo.Pipeline{field("$group", bson.D{
				{Key: "_id", Value: "$counts_as"},
				{Key: "units", Value: field("$sum", 1)},
				{Key: "attempts", Value: field("$sum", "$attempt")},
				sum("resources"), sum("bytes"), sum("done"), sum("planned"), sum("errors"), sum("lost"),
				sum("erased_versions"), sum("erased_resources"),
				{Key: "ended", Value: field("$max", "$ended")},
			})}},
			{Key: "erred", Value: mongo.Pipeline{
				field("$match", exists("reason")),
				field("$sort", ascending("rank", "id")),
				field("$limit", job.MaxReasons),
			}},
		}),
	}, options.Aggregate().SetHint(byID))
}
