package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// An instance says every heartbeat that it is there. When it has been silent
// for a lapse, the others end what it has under way; when for long, they forget
// it.
const (
	heartbeat = 2 * time.Second
	lapse     = 3 * heartbeat
	silence   = time.Minute
)

// beat says that this instance is there, and which sessions are its own. Two
// beats may come in another order than they began, so none is ever taken out.
// It counts, so that it writes though nothing else changes: see abreast.
func (s *Store) beat(ctx context.Context) error {
	before := field("$ifNull", bson.A{"$sessions", bson.A{}})
	_, err := s.db.Collection(instances).UpdateOne(ctx, field("_id", s.instance), bson.A{field("$set", bson.D{
		{Key: "beat", Value: "$$NOW"},
		{Key: "beats", Value: field("$add", bson.A{field("$ifNull", bson.A{"$beats", 0}), 1})},
		{Key: "sessions", Value: field("$setUnion", bson.A{before, field("$literal", s.sessions.all())})},
	})}, options.UpdateOne().SetUpsert(true))
	return wrap("write to the database", err)
}

// silent are the instances that have not been heard of for so long.
func (s *Store) silent(ctx context.Context, d time.Duration) (map[string]bool, error) {
	pipeline := bson.A{
		field("$set", field("silent", field("$gt", bson.A{field("$subtract", bson.A{"$$NOW", "$beat"}), d.Milliseconds()}))),
		field("$match", field("silent", true)),
		field("$project", field("_id", 1)),
	}
	cur, err := s.db.Collection(instances).Aggregate(ctx, pipeline, options.Aggregate().SetHint(byID))
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	err = each(ctx, cur, func(raw bson.Raw) error {
		out[raw.Lookup("_id").StringValue()] = true
		return nil
	})
	return out, err
}

// tend beats until the store is closed, and clears up after instances that are
// gone.
func (s *Store) tend() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	last := time.Now()
	for n := 1; ; n++ {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(s.life, lapse)
		// An error shows in the calls that need the database.
		if err := s.beat(ctx); err == nil {
			// What kept this instance from it may have kept the others.
			if time.Since(last) < lapse {
				_ = s.clear(ctx, lapse, s.halt)
			}
			if n%int(silence/heartbeat) == 0 {
				_ = s.clear(ctx, silence, s.forget)
			}
			last = time.Now()
		}
		cancel()
	}
}

// clear does something about the instances that have been silent for so long.
func (s *Store) clear(ctx context.Context, d time.Duration, do func(ctx context.Context, instance string) error) error {
	gone, err := s.silent(ctx, d)
	if err != nil {
		return err
	}
	for instance := range gone {
		if err := do(ctx, instance); err != nil {
			return err
		}
	}
	return nil
}

// halt ends what an instance has under way: its transactions, and its lanes. If
// it was only asleep, it begins others.
func (s *Store) halt(ctx context.Context, instance string) error {
	var its struct {
		Sessions []bson.Raw `bson:"sessions"`
	}
	err := s.db.Collection(instances).FindOne(ctx, field("_id", instance), options.FindOne().SetHint(byID)).Decode(&its)
	if err == nil && len(its.Sessions) > 0 {
		err = s.kill(ctx, its.Sessions...)
	}
	if err := orNone(err); err != nil {
		return err
	}
	return s.endLanes(ctx, instance)
}

func (s *Store) endLanes(ctx context.Context, instance string) error {
	cur, err := s.db.Collection(lanes).Find(ctx, bson.D{{Key: "instance", Value: instance}, {Key: "ended", Value: nil}},
		options.Find().SetHint(byInstance))
	if err != nil {
		return err
	}
	var open []laneDoc
	if err := cur.All(ctx, &open); err != nil {
		return err
	}
	for _, l := range open {
		if err := s.end(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// forget ends what an instance has under way, and removes what says that it is
// there.
func (s *Store) forget(ctx context.Context, instance string) error {
	if err := s.halt(ctx, instance); err != nil {
		return err
	}
	_, err := s.db.Collection(instances).DeleteOne(ctx, field("_id", instance))
	return err
}

// leave takes this instance out of the database.
func (s *Store) leave(ctx context.Context) error {
	err := s.forget(ctx, s.instance)
	if err != nil && (transient(err) || errors.Is(err, mongo.ErrClientDisconnected)) {
		return nil // others find that it is silent
	}
	return err
}
