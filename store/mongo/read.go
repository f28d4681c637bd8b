package mongo

import (
	"context"
	"errors"

	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// getPage is how many resources are asked for at once.
const getPage = 500

// Get is store.Reader.
func (s *Store) Get(ctx context.Context, t store.Tenant, ids ...fhir.ID) ([]store.Version, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	out := make([]store.Version, len(ids))
	wanted := map[string][]int{}
	for i, id := range ids {
		sp, ok, err := s.space(ctx, t, id.Type)
		if err != nil {
			return nil, failed(ctx, err)
		}
		if h := string(sp.resourceOf(id.ID)); ok {
			wanted[h] = append(wanted[h], i)
		}
	}
	err = s.eachCurrent(ctx, wanted, func(d versionDoc, places []int) error {
		v, err := s.version(ctx, d)
		for _, i := range places {
			out[i] = v
		}
		return err
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	return out, nil
}

// eachCurrent reads the current versions, tombstones too, of resources as
// resourceOf names them.
func (s *Store) eachCurrent(ctx context.Context, wanted map[string][]int, f func(d versionDoc, places []int) error) error {
	page := make([][]byte, 0, min(len(wanted), getPage))
	read := func() error {
		if len(page) == 0 {
			return nil
		}
		cur, err := s.db.Collection(versions).Find(ctx, currentOf(page), options.Find().SetHint(byResource))
		if err != nil {
			return err
		}
		page = page[:0]
		return each(ctx, cur, func(raw bson.Raw) error {
			d, err := decode(raw)
			if err != nil {
				return err
			}
			return f(d, wanted[string(d.space.resourceOf(d.id))])
		})
	}
	for h := range wanted {
		if page = append(page, []byte(h)); len(page) == getPage {
			if err := read(); err != nil {
				return err
			}
		}
	}
	return read()
}

func currentOf(resources [][]byte) bson.D {
	return bson.D{{Key: "h", Value: in(resources)}, {Key: "t", Value: int64(store.Forever)}}
}

// in is the condition of being one of the values.
func in(values [][]byte) bson.D {
	a := make(bson.A, len(values))
	for i, v := range values {
		a[i] = bson.Binary{Data: v}
	}
	return field("$in", a)
}

// each calls f with each document of a cursor, whose memory is f's to keep.
func each(ctx context.Context, cur *mongo.Cursor, f func(bson.Raw) error) error {
	defer cur.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all that is read is there already
	for cur.Next(ctx) {
		if err := f(append(bson.Raw(nil), cur.Current...)); err != nil {
			return err
		}
	}
	return cur.Err()
}

// Version is store.Reader.
func (s *Store) Version(ctx context.Context, t store.Tenant, id fhir.ID, n int64) (store.Version, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Version{}, err
	}
	defer leave()
	sp, ok, err := s.space(ctx, t, id.Type)
	if err != nil || !ok {
		return store.Version{}, failed(ctx, orNotFound(err))
	}
	raw, err := s.db.Collection(versions).FindOne(ctx, bson.D{
		{Key: "h", Value: bson.Binary{Data: sp.resourceOf(id.ID)}}, {Key: "n", Value: n},
	}, options.FindOne().SetHint(byResource)).Raw()
	if err != nil {
		return store.Version{}, failed(ctx, orNotFound(err))
	}
	d, err := decode(raw)
	if err != nil {
		return store.Version{}, err
	}
	v, err := s.version(ctx, d)
	return v, failed(ctx, err)
}

// orNotFound is ErrNotFound where there was no error, or none but no document.
func orNotFound(err error) error {
	if err == nil || isNone(err) {
		return store.ErrNotFound
	}
	return err
}

// History is store.Reader.
func (s *Store) History(ctx context.Context, t store.Tenant, id fhir.ID, before int64, limit int) ([]store.Version, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	sp, ok, err := s.space(ctx, t, id.Type)
	if err != nil || !ok {
		return nil, failed(ctx, err)
	}
	out, err := history(ctx, s.db.Collection(versions), named{sp, id}, before, limit)
	return out, failed(ctx, err)
}

// named is a resource and where its versions are.
type named struct {
	space space
	id    fhir.ID
}

// history is History, of a collection that is read in some way.
func history(ctx context.Context, c *mongo.Collection, of named, before int64, limit int) ([]store.Version, error) {
	filter := bson.D{{Key: "h", Value: bson.Binary{Data: of.space.resourceOf(of.id.ID)}}}
	if before > 0 {
		filter = append(filter, bson.E{Key: "n", Value: field("$lt", before)})
	}
	cur, err := c.Find(ctx, filter,
		options.Find().SetHint(byResource).SetSort(bson.D{{Key: "h", Value: 1}, {Key: "n", Value: -1}}).SetBatchSize(historyBatch))
	if err != nil {
		return nil, err
	}
	var out []store.Version
	bytes := 0
	err = each(ctx, cur, func(raw bson.Raw) error {
		d, err := decode(raw)
		if err != nil {
			return err
		}
		if bytes += len(d.body); bytes > limit && len(out) > 0 {
			return errEnough
		}
		v, err := d.version(of.id.Type)
		out = append(out, v)
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return out, nil
}

// historyBatch is how many versions are fetched at a time, as the caller's
// limit may be reached by the first.
const historyBatch = 20

// errEnough ends the reading of a cursor.
var errEnough = errors.New("mongo: enough")
