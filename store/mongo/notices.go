package mongo

import (
	"context"
	"slices"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A notice's _id is the key of tenant, client, user, type and id, and there is
// nothing else in it but until when it is one.

// Tell is store.Notices.
func (s *Store) Tell(ctx context.Context, f store.Fence, owner store.Owner, until time.Time, ids []fhir.ID) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	of := noticesOf(f.Tenant, owner)
	for page := range slices.Chunk(ids, pageOf) {
		models := make([]mongo.WriteModel, len(page))
		for i, id := range page {
			models[i] = mongo.NewUpdateOneModel().SetFilter(field("_id", of+key(id.Type, id.ID))).
				SetUpdate(field("$max", field("until", until))).SetUpsert(true).SetHint(byID)
		}
		err := s.fenced(ctx, f, func(ctx context.Context) error {
			_, err := s.db.Collection(notices).BulkWrite(ctx, models)
			return err
		})
		if err != nil {
			return failed(ctx, err)
		}
	}
	return nil
}

// noticesOf is what the _id of each notice for an owner begins with.
func noticesOf(t store.Tenant, owner store.Owner) string {
	return prefix(string(t), owner.Client, owner.User)
}

// Told is store.Notices. They are in order for the reason that finds are.
func (s *Store) Told(ctx context.Context, t store.Tenant, owner store.Owner, now time.Time, last fhir.ID, n int) ([]fhir.ID, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if n <= 0 {
		return nil, nil // a limit of 0 would be none
	}
	of := noticesOf(t, owner)
	rows, err := rowsOf[bareRow](ctx, s.db.Collection(notices),
		append(after(of, key(last.Type, last.ID)), bson.E{Key: "until", Value: field("$gt", now)}),
		options.Find().SetHint(byID).SetSort(field("_id", 1)).SetLimit(int64(n)).SetBatchSize(batchOf(n)).SetProjection(field("_id", 1)))
	out := make([]fhir.ID, len(rows))
	for i, r := range rows {
		out[i].Type, out[i].ID, _ = strings.Cut(r.ID[len(of):], "/")
	}
	return out, failed(ctx, err)
}

// Untell is store.Notices.
func (s *Store) Untell(ctx context.Context, now time.Time) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = s.db.Collection(notices).DeleteMany(ctx, field("until", field("$lte", now)), options.DeleteMany().SetHint(byUntil))
	return failed(ctx, err)
}
