package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ErrUnfit is what Open answers when the server cannot keep what Firebreak
// promises.
var ErrUnfit = errors.New("mongo: the server does not undo transactions: it must be a replica set (one member is enough to try out: start mongod with --replSet rs0 and run rs.initiate() once)")

// probes is the collection that a probe writes to.
const probes = "probe"

// probe writes in a transaction, undoes it, and looks whether it is gone. Some
// servers take the commands of a transaction and write all the same. A server
// that undoes it by itself, for another's sake, is asked again.
func probe(ctx context.Context, client *mongo.Client, db *mongo.Database) error {
	for end, retry := time.Now().Add(enduring), (backoff{}); ; {
		err := probeOnce(ctx, client, db)
		if !hasLabel(err, transientTransaction) || away(err) || time.Now().After(end) || !retry.wait(ctx) {
			return err
		}
	}
}

func probeOnce(ctx context.Context, client *mongo.Client, db *mongo.Database) error {
	c, id := db.Collection(probes), field("_id", ulid.Make().String())
	// The collection is made outside of the transaction, and the first write
	// shows whether the server can be written to at all.
	if _, err := c.InsertOne(ctx, field("_id", ulid.Make().String())); err != nil {
		return wrap("write to the database", err)
	}
	session, err := client.StartSession()
	if err != nil {
		return unfit(err)
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	if err := session.StartTransaction(); err != nil {
		return unfit(err)
	}
	in := mongo.NewSessionContext(ctx, session)
	if _, err := c.InsertOne(in, id); err != nil {
		return unfit(errors.Join(err, session.AbortTransaction(in)))
	}
	if err := session.AbortTransaction(in); err != nil {
		return unfit(err)
	}
	left, err := c.CountDocuments(ctx, id, options.Count().SetHint(byID))
	if err != nil {
		return wrap("read from the database", err)
	}
	_, err = c.DeleteMany(ctx, bson.D{}, options.DeleteMany().SetHint(byID))
	if left > 0 {
		return ErrUnfit
	}
	return wrap("write to the database", err)
}

// unfit keeps what the server said, where it is not that it is away.
func unfit(err error) error {
	if transient(err) {
		return wrap("try a transaction", err)
	}
	return fmt.Errorf("%w: %w", ErrUnfit, err)
}
