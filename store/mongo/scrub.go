package mongo

import (
	"context"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Scrub is store.Eraser. There is nothing that a client could overwrite. What
// was inserted stands in the oplog as well, until that is cut off at its
// beginning: as it reaches so far back now, it is taken to reach as far back
// when the last of it goes. Who may not read the oplog does not know.
func (s *Store) Scrub(ctx context.Context) (store.Traces, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Traces{}, err
	}
	defer leave()
	now, err := s.clock(ctx)
	if err != nil {
		return store.Traces{}, failed(ctx, err)
	}
	var first struct {
		At bson.Timestamp `bson:"ts"`
	}
	err = s.client.Database("local").Collection("oplog.rs").
		FindOne(ctx, bson.D{}, options.FindOne().SetSort(field("$natural", 1)).SetProjection(field("ts", 1))).Decode(&first)
	if err != nil && (ctx.Err() != nil || transient(err)) {
		return store.Traces{}, failed(ctx, err)
	}
	if err != nil || first.At.T == 0 {
		return store.Traces{Unknown: true}, nil
	}
	return store.Traces{Until: now.Add(now.Sub(time.Unix(int64(first.At.T), 0))).UTC()}, nil
}
