package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Files notes that an instance keeps its files in the place of an id, and
// returns the id of the place where the first one did: instances of one
// database need the same.
func (s *Store) Files(ctx context.Context, id string) (string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	var first struct {
		Place string `bson:"place"`
	}
	err = s.db.Collection(metas).FindOneAndUpdate(ctx, field("_id", "files"), field("$setOnInsert", field("place", id)),
		options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(&first)
	return first.Place, failed(ctx, err)
}

// Drop removes the database of a URI with all that is in it. It is for what
// was made to try something out.
func Drop(ctx context.Context, uri string) error {
	client, err := mongo.Connect(clientOptions(uri))
	if err != nil {
		return wrap("connect", err)
	}
	defer client.Disconnect(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is under way
	return wrap("drop the database", client.Database(databaseOf(uri)).RunCommand(ctx, bson.D{{Key: "dropDatabase", Value: 1}}).Err())
}
