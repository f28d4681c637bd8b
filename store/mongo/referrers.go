package mongo

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Referrers is store.Referrers. A closed version keeps what it names, so those
// as of an instant are found as the current ones are.
func (s *Store) Referrers(ctx context.Context, t store.Tenant, at store.Tick, typ string, targets []fhir.ID) ([]fhir.ID, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	sp, ok, err := s.spaceAt(ctx, t, typ, at)
	if err != nil || !ok {
		return nil, failed(ctx, err)
	}
	var out []fhir.ID
	for page := range slices.Chunk(targets, pointPage) {
		named := make([][]byte, len(page))
		for i, id := range page {
			named[i] = sp.referenceTo(id.String())
		}
		filter := append(bson.D{{Key: "r", Value: in(named)}}, meant(store.Selection{At: at, After: -1})...)
		cur, err := s.local(versions).Find(ctx, filter, options.Find().SetHint(byReference).
			SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "h", Value: 1}}).SetSort(field("_id", 1)).SetBatchSize(placeBatch))
		if err != nil {
			return nil, failed(ctx, err)
		}
		if err := each(ctx, cur, func(raw bson.Raw) error {
			d, err := decode(raw)
			out = append(out, fhir.ID{Type: typ, ID: d.id})
			return err
		}); err != nil {
			return nil, failed(ctx, err)
		}
	}
	return out, nil
}
