package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// keep inserts the versions into another database with the same indexes.
func (m *mongoEngine) keep(ctx context.Context, p place) (place, error) {
	to, file := m.place(filepath.Dir(p.data), "kept"), p.data+".bson"
	err := m.capture(ctx, p, file)
	if err == nil {
		_, err = m.insertInto(ctx, to, p, file, 2)
	}
	return to, errors.Join(err, os.Remove(file))
}

func (m *mongoEngine) removeGone(ctx context.Context, kept, p place) (n int64, took time.Duration, err error) {
	left := map[string]bool{}
	if err := m.eachKey(ctx, p, func(key bson.Binary) { left[string(key.Data)] = true }); err != nil {
		return 0, 0, err
	}
	var gone []bson.Binary
	if err := m.eachKey(ctx, kept, func(key bson.Binary) {
		if !left[string(key.Data)] {
			gone = append(gone, bson.Binary{Subtype: key.Subtype, Data: slices.Clone(key.Data)})
		}
	}); err != nil {
		return 0, 0, err
	}
	from := m.in(kept).Collection(versions)
	began := time.Now()
	for batch := range slices.Chunk(gone, removeBatch) {
		done, err := from.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: batch}}}})
		if err != nil {
			return n, time.Since(began), err
		}
		n += done.DeletedCount
	}
	return n, time.Since(began), allRemoved(n, int64(len(gone)))
}

// eachKey calls f with the keys of all versions; one is valid until f returns.
func (m *mongoEngine) eachKey(ctx context.Context, p place, f func(key bson.Binary)) error {
	return m.eachVersion(ctx, p, bson.D{{Key: "_id", Value: 1}}, func(raw bson.Raw) error {
		subtype, data, ok := raw.Lookup("_id").BinaryOK()
		if !ok {
			return errors.New("the key of a version is not binary")
		}
		f(bson.Binary{Subtype: subtype, Data: data})
		return nil
	})
}
