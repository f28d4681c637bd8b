package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestSpeed measures; it runs when MONGODB_STANDIN_SPEED is set, and prints lines for a table.
func TestSpeed(t *testing.T) {
	if os.Getenv("MONGODB_STANDIN_SPEED") == "" {
		t.Skip("MONGODB_STANDIN_SPEED is not set")
	}
	_, uri := own(t)
	if ext := os.Getenv("MONGODB_STANDIN_URI"); ext != "" {
		uri = ext
	}
	c := connectTo(t, uri)
	coll := collection(t, c)
	const total, batch = 20_000, 1000
	bare := coll.Database().Collection("bare")
	fmt.Printf("| insertMany, no secondary index | %s |\n", insertRate(t, bare, total, batch))
	for _, keys := range []bson.D{
		{{Key: "tenant", Value: 1}, {Key: "type", Value: 1}, {Key: "_id", Value: 1}},
		{{Key: "updated", Value: 1}},
		{{Key: "tenant", Value: 1}, {Key: "version", Value: 1}},
		{{Key: "tokens", Value: 1}},
	} {
		_, err := coll.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: keys})
		must(t, err)
	}
	fmt.Printf("| insertMany, 4 secondary indexes, one of 10 strings | %s |\n", insertRate(t, coll, total, batch))
	fmt.Printf("| full scan | %s |\n", scanRate(t, coll, bson.D{}, nil))
	fmt.Printf("| scan of an index range, sorted by it | %s |\n", scanRate(t, coll, bson.D{{Key: "tenant", Value: "t1"}, {Key: "type", Value: "Observation"}},
		bson.D{{Key: "tenant", Value: 1}, {Key: "type", Value: 1}, {Key: "_id", Value: 1}}))
	fmt.Printf("| findOne by _id, 8 clients | %s |\n", rate(t, 8, func(int) error {
		return coll.FindOne(context.Background(), bson.M{"_id": fmt.Sprintf("%08d", rand.IntN(total))}).Err()
	}))
	fmt.Printf("| findOne by _id, 1 client | %s |\n", rate(t, 1, func(int) error {
		return coll.FindOne(context.Background(), bson.M{"_id": fmt.Sprintf("%08d", rand.IntN(total))}).Err()
	}))
	fmt.Printf("| find by one token, limit 10, 8 clients | %s |\n", rate(t, 8, func(int) error {
		cur, err := coll.Find(context.Background(), bson.M{"tokens": fmt.Sprint("token-", rand.IntN(5000))}, options.Find().SetLimit(10))
		if err != nil {
			return err
		}
		return cur.All(context.Background(), &[]bson.Raw{})
	}))
	fmt.Printf("| updateOne by _id, 8 clients | %s |\n", rate(t, 8, func(int) error {
		_, err := coll.UpdateByID(context.Background(), fmt.Sprintf("%08d", rand.IntN(total)), bson.M{"$inc": bson.M{"version": 1}})
		return err
	}))
	fmt.Printf("| insertOne, 8 clients | %s |\n", rate(t, 8, func(int) error {
		_, err := bare.InsertOne(context.Background(), bson.M{"a": 1})
		return err
	}))
	var n atomic.Int64
	fmt.Printf("| transactions of 10 inserts, 4 clients | %s |\n", rate(t, 4, func(int) error {
		s, err := c.StartSession()
		if err != nil {
			return err
		}
		defer s.EndSession(context.Background())
		_, err = s.WithTransaction(context.Background(), func(ctx context.Context) (any, error) {
			for range 10 {
				if _, err := bare.InsertOne(ctx, bson.M{"_id": fmt.Sprint("x", n.Add(1)), "a": 1}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		return err
	}))
}

// sample makes a document of about 1.5 KB.
func sample(i int) bson.D {
	tokens := bson.A{}
	for range 10 {
		tokens = append(tokens, fmt.Sprint("token-", rand.IntN(5000)))
	}
	return bson.D{
		{Key: "_id", Value: fmt.Sprintf("%08d", i)},
		{Key: "tenant", Value: fmt.Sprint("t", i%4)},
		{Key: "type", Value: []string{"Patient", "Observation"}[i/4%2]},
		{Key: "version", Value: 1},
		{Key: "updated", Value: time.Now()},
		{Key: "tokens", Value: tokens},
		{Key: "body", Value: strings.Repeat(fmt.Sprintf("%x,", rand.Uint64()), 70)},
	}
}

func insertRate(t *testing.T, coll *mongo.Collection, total, batch int) string {
	t.Helper()
	var took time.Duration
	size := 0
	for i := 0; i < total; i += batch {
		docs := make([]any, batch)
		for j := range docs {
			b, err := bson.Marshal(sample(i + j))
			must(t, err)
			size += len(b)
			docs[j] = bson.Raw(b)
		}
		began := time.Now()
		_, err := coll.InsertMany(context.Background(), docs)
		must(t, err)
		took += time.Since(began)
	}
	return fmt.Sprintf("%.0f documents/s (%.1f MB/s)", float64(total)/took.Seconds(), float64(size)/1e6/took.Seconds())
}

func scanRate(t *testing.T, coll *mongo.Collection, filter, sort bson.D) string {
	t.Helper()
	opts := options.Find()
	if sort != nil {
		opts.SetSort(sort).SetHint(sort)
	}
	began := time.Now()
	cur, err := coll.Find(context.Background(), filter, opts)
	must(t, err)
	size, n := 0, 0
	var first time.Duration
	for cur.Next(context.Background()) {
		if n == 0 {
			first = time.Since(began)
		}
		size += len(cur.Current)
		n++
	}
	must(t, cur.Err())
	took := time.Since(began)
	return fmt.Sprintf("%.0f MB/s, %.0f documents/s, the first after %v", float64(size)/1e6/took.Seconds(), float64(n)/took.Seconds(), first.Round(time.Millisecond))
}

// rate runs f again and again in several goroutines for three seconds.
func rate(t *testing.T, clients int, f func(client int) error) string {
	t.Helper()
	var wg sync.WaitGroup
	var n atomic.Int64
	began := time.Now()
	for c := range clients {
		wg.Go(func() {
			for time.Since(began) < 3*time.Second {
				if err := f(c); err != nil {
					t.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%.0f/s", float64(n.Load())/time.Since(began).Seconds())
}
