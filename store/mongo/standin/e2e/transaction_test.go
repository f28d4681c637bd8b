package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// session opens a session of the client for one test.
func session(t *testing.T, c *mongo.Client) (*mongo.Session, context.Context) {
	t.Helper()
	s, err := c.StartSession()
	must(t, err)
	t.Cleanup(func() { s.EndSession(context.Background()) })
	return s, mongo.NewSessionContext(context.Background(), s)
}

func hasLabel(err error, label string) bool {
	var e mongo.LabeledError
	return errors.As(err, &e) && e.HasErrorLabel(label)
}

func hasCode(err error, code int) bool {
	var e mongo.ServerError
	return errors.As(err, &e) && e.HasErrorCode(code)
}

func TestAbortLeavesNothing(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	other := coll.Database().Collection("other")
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 1})
	must(t, err)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err = coll.InsertOne(ctx, bson.M{"_id": 2})
	must(t, err)
	_, err = coll.UpdateByID(ctx, 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	_, err = other.InsertOne(ctx, bson.M{"_id": 3})
	must(t, err)
	n, err := coll.CountDocuments(ctx, bson.M{})
	must(t, err)
	equal(t, "seen inside", n, 2)
	n, err = coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "seen outside", n, 1)
	must(t, s.AbortTransaction(ctx))
	cur, err := coll.Find(t.Context(), bson.M{})
	left := all(t, cur, err)
	equal(t, "documents after abort", len(left), 1)
	equal(t, "n after abort", left[0]["n"], 1)
	n, err = other.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "other collection", n, 0)
}

func TestCommitSpansCollections(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	db := coll.Database()
	s, ctx := session(t, c)
	_, err := s.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		for i := range 3 {
			if _, err := db.Collection(fmt.Sprint("c", i)).InsertOne(ctx, bson.M{"_id": t.Name() + time.Now().String()}); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	must(t, err)
	for i := range 3 {
		n, err := db.Collection(fmt.Sprint("c", i)).CountDocuments(t.Context(), bson.M{})
		must(t, err)
		if n == 0 {
			t.Errorf("collection %d is empty", i)
		}
	}
}

func TestSnapshotIsTakenAtTheFirstOperation(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 1})
	must(t, err)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	// Written after StartTransaction, but before the first operation: visible.
	_, err = coll.UpdateByID(t.Context(), 1, bson.M{"$set": bson.M{"n": 2}})
	must(t, err)
	read := func() int32 {
		var d struct{ N int32 }
		must(t, coll.FindOne(ctx, bson.M{"_id": 1}).Decode(&d))
		return d.N
	}
	equal(t, "first read", read(), 2)
	_, err = coll.UpdateByID(t.Context(), 1, bson.M{"$set": bson.M{"n": 3}})
	must(t, err)
	_, err = coll.InsertOne(t.Context(), bson.M{"_id": 2})
	must(t, err)
	equal(t, "second read", read(), 2)
	n, err := coll.CountDocuments(ctx, bson.M{})
	must(t, err)
	equal(t, "count", n, 1)
	must(t, s.CommitTransaction(ctx))
}

func TestWriteConflicts(t *testing.T) {
	writes := map[string]func(context.Context, *mongo.Collection) error{
		"update": func(ctx context.Context, c *mongo.Collection) error {
			_, err := c.UpdateByID(ctx, 1, bson.M{"$inc": bson.M{"n": 1}})
			return err
		},
		"updateMany": func(ctx context.Context, c *mongo.Collection) error {
			_, err := c.UpdateMany(ctx, bson.M{"n": bson.M{"$gte": 0}}, bson.M{"$inc": bson.M{"n": 1}})
			return err
		},
		"delete": func(ctx context.Context, c *mongo.Collection) error {
			_, err := c.DeleteOne(ctx, bson.M{"_id": 1})
			return err
		},
		"findAndModify": func(ctx context.Context, c *mongo.Collection) error {
			return c.FindOneAndUpdate(ctx, bson.M{"_id": 1}, bson.M{"$inc": bson.M{"n": 1}}).Err()
		},
		"insert": func(ctx context.Context, c *mongo.Collection) error {
			_, err := c.InsertOne(ctx, bson.M{"_id": 2})
			return err
		},
	}
	for name, write := range writes {
		for _, before := range []string{"open", "committed"} {
			t.Run(name+" against one "+before, func(t *testing.T) {
				c := connect(t)
				coll := collection(t, c)
				_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 1})
				must(t, err)
				s1, ctx1 := session(t, c)
				s2, ctx2 := session(t, c)
				must(t, s1.StartTransaction())
				must(t, s2.StartTransaction())
				must(t, coll.FindOne(ctx2, bson.M{"_id": 1}).Err())
				must(t, write(ctx1, coll))
				if before == "committed" {
					must(t, s1.CommitTransaction(ctx1))
				}
				began := time.Now()
				err = write(ctx2, coll)
				if !hasCode(err, 112) || !hasLabel(err, "TransientTransactionError") {
					t.Errorf("got %v, want a WriteConflict with TransientTransactionError", err)
				}
				if d := time.Since(began); d > 500*time.Millisecond {
					t.Errorf("the conflict took %v", d)
				}
				// The transaction is over.
				err = coll.FindOne(ctx2, bson.M{"_id": 1}).Err()
				if !hasCode(err, 251) || !hasLabel(err, "TransientTransactionError") {
					t.Errorf("after the conflict: %v", err)
				}
				_ = s2.AbortTransaction(ctx2)
				if before == "open" {
					must(t, s1.CommitTransaction(ctx1))
				}
			})
		}
	}
}

func TestWritersOutsideWaitForTransactions(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 0})
	must(t, err)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err = coll.UpdateByID(ctx, 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := coll.UpdateByID(t.Context(), 1, bson.M{"$inc": bson.M{"n": 1}})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the writer did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	must(t, s.CommitTransaction(ctx))
	must(t, <-done)
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 2)
}

// TestClock has writers take numbers from one document and insert under them. No number may be lost or given twice,
// and whoever sees a number sees all smaller ones.
func TestClock(t *testing.T) {
	const writers, each = 8, 200
	c := connect(t)
	coll := collection(t, c)
	log := coll.Database().Collection("log")
	must(t, log.Drop(t.Context()))
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": "clock", "n": 0})
	must(t, err)
	done := make(chan struct{})
	watched := make(chan error, 1)
	go func() { watched <- watchOrder(log, done) }()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s, err := c.StartSession()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.EndSession(context.Background())
			for range each {
				if err := tickOnce(s, coll, log, w); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(done)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": "clock"}).Decode(&d))
	equal(t, "clock", d.N, writers*each)
	n, err := log.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "log", n, writers*each)
}

func tickOnce(s *mongo.Session, coll, log *mongo.Collection, writer int) error {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	_, err := s.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		var d struct{ N int }
		err := coll.FindOneAndUpdate(ctx, bson.M{"_id": "clock"}, bson.M{"$inc": bson.M{"n": 1}},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&d)
		if err != nil {
			return nil, err
		}
		_, err = log.InsertOne(ctx, bson.M{"_id": d.N, "writer": writer})
		return nil, err
	})
	return err
}

// watchOrder reads while others write: the numbers seen must be 1 to their count, at every moment.
func watchOrder(log *mongo.Collection, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		var d struct{ N, Max int }
		cur, err := log.Aggregate(context.Background(), bson.A{bson.M{"$group": bson.M{
			"_id": nil, "n": bson.M{"$sum": 1}, "max": bson.M{"$max": "$_id"},
		}}})
		if err != nil {
			return err
		}
		if cur.Next(context.Background()) {
			if err := cur.Decode(&d); err != nil {
				return err
			}
		}
		_ = cur.Close(context.Background())
		if d.N != d.Max {
			return fmt.Errorf("%d documents up to number %d", d.N, d.Max)
		}
	}
}

func TestErrorAbortsTheTransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1})
	must(t, err)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err = coll.InsertOne(ctx, bson.M{"_id": 2})
	must(t, err)
	_, err = coll.InsertOne(ctx, bson.M{"_id": 1})
	if !mongo.IsDuplicateKeyError(err) {
		t.Fatalf("got %v", err)
	}
	if err := s.CommitTransaction(ctx); !hasCode(err, 251) {
		t.Errorf("commit: %v", err)
	}
	n, err := coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "documents", n, 1)
}

func TestCommitMaySentAgain(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.InsertOne(ctx, bson.M{"_id": 1})
	must(t, err)
	must(t, s.CommitTransaction(ctx))
	must(t, s.CommitTransaction(ctx))
	// The driver tries again by itself when the connection breaks.
	must(t, s.StartTransaction())
	_, err = coll.InsertOne(ctx, bson.M{"_id": 2})
	must(t, err)
	failCommand(t, c, bson.M{"times": 1}, bson.D{
		{Key: "failCommands", Value: bson.A{"commitTransaction"}}, {Key: "closeConnection", Value: true},
	})
	must(t, s.CommitTransaction(ctx))
	n, err := coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "documents", n, 2)
}

func TestUnknownCommitResult(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.InsertOne(ctx, bson.M{"_id": 1})
	must(t, err)
	failCommand(t, c, bson.M{"times": 2}, bson.D{
		{Key: "failCommands", Value: bson.A{"commitTransaction"}}, {Key: "closeConnection", Value: true},
	})
	err = s.CommitTransaction(ctx)
	if !hasLabel(err, "UnknownTransactionCommitResult") {
		t.Fatalf("got %v", err)
	}
	must(t, s.CommitTransaction(ctx))
}

func TestEndedSessionAborts(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 1})
	must(t, err)
	// A client of its own, whose end sends endSessions without abortTransaction.
	c2 := connect(t)
	s, err := c2.StartSession()
	must(t, err)
	lsid := s.ID()
	must(t, s.StartTransaction())
	_, err = c2.Database(coll.Database().Name()).Collection("c").UpdateByID(mongo.NewSessionContext(t.Context(), s), 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	must(t, c.Database("admin").RunCommand(t.Context(), bson.D{{Key: "endSessions", Value: bson.A{lsid}}}).Err())
	ctx := within(t, 2*time.Second)
	_, err = coll.UpdateByID(ctx, 1, bson.M{"$inc": bson.M{"n": 10}})
	must(t, err)
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 11)
}

func TestTransactionOutlivesItsConnection(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.InsertOne(ctx, bson.M{"_id": 1})
	must(t, err)
	failCommand(t, c, bson.M{"times": 1}, bson.D{
		{Key: "failCommands", Value: bson.A{"ping"}}, {Key: "closeConnection", Value: true},
	})
	_ = c.Ping(t.Context(), nil)
	_, err = coll.InsertOne(ctx, bson.M{"_id": 2})
	must(t, err)
	must(t, s.CommitTransaction(ctx))
	n, err := coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "documents", n, 2)
}

func TestCursorInTransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	var docs []any
	for i := range 1000 {
		docs = append(docs, bson.M{"_id": i, "x": 1000 - i})
	}
	_, err := coll.InsertMany(t.Context(), docs)
	must(t, err)
	for name, opts := range map[string]*options.FindOptionsBuilder{
		"unsorted": options.Find().SetBatchSize(100),
		"sorted":   options.Find().SetBatchSize(100).SetSort(bson.M{"x": 1}),
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := session(t, c)
			must(t, s.StartTransaction())
			cur, err := coll.Find(ctx, bson.M{}, opts)
			must(t, err)
			n := 0
			for cur.Next(ctx) {
				n++
				if n == 150 {
					_, err := coll.DeleteMany(t.Context(), bson.M{"_id": bson.M{"$gte": 990}})
					must(t, err)
				}
			}
			must(t, cur.Err())
			equal(t, "documents", n, 1000)
			must(t, s.CommitTransaction(ctx))
			for i := 990; i < 1000; i++ {
				_, err := coll.InsertOne(t.Context(), bson.M{"_id": i, "x": 1000 - i})
				must(t, err)
			}
		})
	}
}

func TestCreateInTransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	must(t, coll.Database().CreateCollection(ctx, "made"))
	_, err := coll.Database().Collection("made").Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}})
	must(t, err)
	_, err = coll.Database().Collection("made").InsertOne(ctx, bson.M{"a": 1})
	must(t, err)
	must(t, s.AbortTransaction(ctx))
	names, err := coll.Database().ListCollectionNames(t.Context(), bson.M{})
	must(t, err)
	equal(t, "collections", names, []string{})
}

func TestCountIsRefusedInTransactions(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.EstimatedDocumentCount(ctx)
	if !hasCode(err, 263) {
		t.Errorf("got %v", err)
	}
	_ = s.AbortTransaction(ctx)
}

func TestSnapshotSession(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1})
	must(t, err)
	s, err := c.StartSession(options.Session().SetSnapshot(true))
	must(t, err)
	defer s.EndSession(context.Background())
	ctx := mongo.NewSessionContext(t.Context(), s)
	count := func() int { cur, err := coll.Find(ctx, bson.M{}); return len(all(t, cur, err)) }
	equal(t, "first", count(), 1)
	_, err = coll.InsertOne(t.Context(), bson.M{"_id": 2})
	must(t, err)
	equal(t, "second", count(), 1)
	cur, err := coll.Aggregate(ctx, bson.A{bson.M{"$match": bson.M{}}})
	equal(t, "aggregate", len(all(t, cur, err)), 1)
	cur, err = coll.Find(t.Context(), bson.M{})
	equal(t, "outside", len(all(t, cur, err)), 2)
}

func TestCausalConsistencyAndMajority(t *testing.T) {
	c := connect(t, options.Client().SetReadConcern(readconcern.Majority()))
	coll := collection(t, c)
	s, err := c.StartSession(options.Session().SetCausalConsistency(true))
	must(t, err)
	defer s.EndSession(context.Background())
	ctx := mongo.NewSessionContext(t.Context(), s)
	last := s.OperationTime()
	for i := range 20 {
		_, err := coll.InsertOne(ctx, bson.M{"_id": i})
		must(t, err)
		now := s.OperationTime()
		if now == nil || last != nil && !now.After(*last) {
			t.Fatalf("operation time went from %v to %v", last, now)
		}
		last = now
		must(t, coll.FindOne(ctx, bson.M{"_id": i}).Err())
	}
}

func TestTransactionsExpire(t *testing.T) {
	_, uri := own(t)
	c := connectTo(t, uri)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 1})
	must(t, err)
	must(t, c.Database("admin").RunCommand(t.Context(), d{e("setParameter", 1), e("transactionLifetimeLimitSeconds", 1)}).Err())
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err = coll.UpdateByID(ctx, 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	// It waits for the transaction, which nobody ends.
	_, err = coll.UpdateByID(within(t, 5*time.Second), 1, bson.M{"$inc": bson.M{"n": 10}})
	must(t, err)
	err = coll.FindOne(ctx, bson.M{"_id": 1}).Err()
	if !hasCode(err, 251) || !hasLabel(err, "TransientTransactionError") {
		t.Errorf("got %v", err)
	}
	var m struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&m))
	equal(t, "n", m.N, 11)
}
