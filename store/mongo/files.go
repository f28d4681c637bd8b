package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Files notes that an instance keeps its files in the place of an id, and
// returns the id of the place where the first one did: instances of one
// database need the same.
func (s *Store) Files(ctx context.Context, id string) (string, error) {
	var first struct {
		Place string `bson:"place"`
	}
	err := s.first(ctx, "files", field("place", id), &first)
	return first.Place, err
}

// LinkKey returns the key of signed links that the instances of this database
// have in common: fresh, if there was none.
func (s *Store) LinkKey(ctx context.Context, fresh []byte) ([]byte, error) {
	var first struct {
		Key []byte `bson:"key"`
	}
	err := s.first(ctx, "links", field("key", fresh), &first)
	return first.Key, err
}

// first writes what an instance would have, unless one did before, and reads
// what the first one wrote.
func (s *Store) first(ctx context.Context, id string, mine bson.D, into any) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.db.Collection(metas).FindOneAndUpdate(ctx, field("_id", id), field("$setOnInsert", mine),
		options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(into))
}

// Drop removes the database of a URI with all that is in it. It is for what
// was made to try something out.
func Drop(ctx context.Context, uri string) error {
	client, err := connect(clientOptions(uri))
	if err != nil {
		return err
	}
	defer client.Disconnect(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is under way
	return wrap("drop the database", client.Database(databaseOf(uri)).RunCommand(ctx, bson.D{{Key: "dropDatabase", Value: 1}}).Err())
}
