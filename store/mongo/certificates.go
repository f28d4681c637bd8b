package mongo

import (
	"context"
	"fmt"
	"math"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// certificateRow is a certificate. Its _id is the key of tenant and number, so
// no two have one number; the number is written in as many digits as the
// greatest has, so that they are in order. Of is the key of tenant and job.
type certificateRow struct {
	ID     string `bson:"_id"`
	Of     string `bson:"of"`
	Number int64  `bson:"number"`
	Job    string `bson:"job"`
	Doc    []byte `bson:"doc"`
}

func (r certificateRow) certificate() store.Certificate {
	return store.Certificate{Number: r.Number, Job: r.Job, Doc: r.Doc}
}

func certificateKey(t store.Tenant, number int64) string {
	return key(string(t), fmt.Sprintf("%019d", number))
}

// Certify is store.Certificates. Of two that append at once, both of which have
// seen the last one, one cannot insert: there is a document of that _id.
func (s *Store) Certify(ctx context.Context, f store.Fence, number int64, doc []byte) (store.Certificate, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Certificate{}, err
	}
	defer leave()
	row := certificateRow{ID: certificateKey(f.Tenant, number), Of: key(string(f.Tenant), f.Job), Number: number, Job: f.Job, Doc: doc}
	out := row
	err = s.fenced(ctx, f, func(ctx context.Context) error {
		there, err := s.certificateOf(ctx, f.Tenant, f.Job)
		if !isNone(err) {
			out = there
			return err
		}
		out = row
		last, err := s.chain(ctx, f.Tenant, 0, 1)
		if err == nil && number != following(last) {
			err = store.ErrConflict
		}
		if err != nil {
			return err
		}
		_, err = s.db.Collection(certified).InsertOne(ctx, row)
		return err
	})
	if mongo.IsDuplicateKeyError(err) {
		err = store.ErrConflict
	}
	if err != nil {
		return store.Certificate{}, failed(ctx, err)
	}
	return out.certificate(), nil
}

// following is the number after the last one.
func following(last []certificateRow) int64 {
	if len(last) == 0 {
		return 1
	}
	return last[0].Number + 1
}

func (s *Store) certificateOf(ctx context.Context, t store.Tenant, jobID string) (row certificateRow, err error) {
	err = s.db.Collection(certified).FindOne(ctx, field("of", key(string(t), jobID)), options.FindOne().SetHint(byJob)).Decode(&row)
	return row, err
}

// chain are up to n certificates with numbers below before, the latest first.
func (s *Store) chain(ctx context.Context, t store.Tenant, before int64, n int) ([]certificateRow, error) {
	if n <= 0 {
		return nil, nil // a limit of 0 would be none
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	return rowsOf[certificateRow](ctx, s.db.Collection(certified), field("_id", bson.D{
		{Key: "$gt", Value: prefix(string(t))}, {Key: "$lt", Value: certificateKey(t, before)},
	}), options.Find().SetHint(byID).SetSort(field("_id", -1)).SetLimit(int64(n)))
}

// Certificate is store.Certificates.
func (s *Store) Certificate(ctx context.Context, t store.Tenant, jobID string) (store.Certificate, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Certificate{}, err
	}
	defer leave()
	row, err := s.certificateOf(ctx, t, jobID)
	if isNone(err) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Certificate{}, failed(ctx, err)
	}
	return row.certificate(), nil
}

// Certificates is store.Certificates.
func (s *Store) Certificates(ctx context.Context, t store.Tenant, before int64, n int) ([]store.Certificate, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	rows, err := s.chain(ctx, t, before, n)
	out := make([]store.Certificate, len(rows))
	for i, r := range rows {
		out[i] = r.certificate()
	}
	return out, failed(ctx, err)
}
