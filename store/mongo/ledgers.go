package mongo

import (
	"context"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ledgerRow is a document of ledger.
type ledgerRow struct {
	ID   string `bson:"_id"`
	From int64  `bson:"from"`
	To   int64  `bson:"to"`
}

// Ledgers is store.Ledgers.
func (s *Store) Ledgers(ctx context.Context) ([]store.Ledger, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	rows, err := rowsOf[ledgerRow](ctx, s.db.Collection(ledgers), bson.D{}, options.Find().SetHint(byID).SetSort(field("_id", 1)))
	out := make([]store.Ledger, len(rows))
	for i, r := range rows {
		out[i] = store.Ledger(r)
	}
	return out, failed(ctx, err)
}

// Reserve is store.Ledgers. It may be sent again: what it then finds is what it
// wrote.
func (s *Store) Reserve(ctx context.Context, l store.Ledger) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if l.To <= l.From {
		return store.ErrConflict
	}
	if l.From == 0 {
		_, err := s.db.Collection(ledgers).InsertOne(ctx, ledgerRow(l))
		if !mongo.IsDuplicateKeyError(err) {
			return failed(ctx, err)
		}
	}
	from := bson.A{field("to", l.From), bson.D{{Key: "from", Value: l.From}, {Key: "to", Value: l.To}}}
	done, err := s.db.Collection(ledgers).UpdateOne(ctx, bson.D{{Key: "_id", Value: l.ID}, {Key: "$or", Value: from}},
		field("$set", bson.D{{Key: "from", Value: l.From}, {Key: "to", Value: l.To}}), options.UpdateOne().SetHint(byID))
	if err == nil && done.MatchedCount == 0 {
		return store.ErrConflict
	}
	return failed(ctx, err)
}

// Tenants is store.Ledgers.
func (s *Store) Tenants(ctx context.Context) ([]store.Tenant, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	rows, err := rowsOf[bareRow](ctx, s.db.Collection(tenants), bson.D{}, options.Find().SetHint(byID).SetSort(field("_id", 1)).SetProjection(field("_id", 1)))
	out := make([]store.Tenant, len(rows))
	for i, r := range rows {
		out[i] = store.Tenant(r.ID)
	}
	return out, failed(ctx, err)
}
