package e2e_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// killSession ends what runs in a session, from another client.
func killSession(t *testing.T, s *mongo.Session) {
	t.Helper()
	began := time.Now()
	must(t, connect(t).Database("admin").RunCommand(t.Context(), d{e("killSessions", a{s.ID()})}).Err())
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("killSessions took %v", took)
	}
}

func TestKillSessionsAbortsAnIdleTransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 2)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.UpdateByID(ctx, 1, d{e("$set", d{e("x", "lost")})})
	must(t, err)

	waited := make(chan error, 1)
	go func() {
		_, err := coll.UpdateByID(context.Background(), 1, d{e("$set", d{e("y", "kept")})})
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("the update did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	killSession(t, s)
	must(t, <-waited)
	doc := one(t, coll, d{e("_id", 1)})
	equal(t, "of the killed transaction", doc["x"], nil)
	equal(t, "of the update that waited", doc["y"], "kept")

	_, err = coll.UpdateByID(ctx, 1, d{e("$set", d{e("x", "late")})})
	if !hasCode(err, 251) || !hasLabel(err, "TransientTransactionError") {
		t.Errorf("a command of the killed transaction: %v", err)
	}
	must(t, s.AbortTransaction(ctx))
	must(t, s.StartTransaction())
	_, err = coll.UpdateByID(ctx, 1, d{e("$set", d{e("x", "new")})})
	must(t, err)
	must(t, s.CommitTransaction(ctx))
	equal(t, "of the session's next transaction", one(t, coll, d{e("_id", 1)})["x"], "new")
}

func TestCommitOfAKilledTransactionFails(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.InsertOne(ctx, d{e("_id", 1)})
	must(t, err)
	killSession(t, s)
	if err := s.CommitTransaction(ctx); !hasCode(err, 251) || !hasLabel(err, "TransientTransactionError") {
		t.Errorf("got %v", err)
	}
	equal(t, "documents", len(ids(t, coll, d{})), 0)
}

func TestKillSessionsInterruptsACommand(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 3000)
	slow := a{d{e("$lookup", d{e("from", "c"), e("let", d{e("n", "$n")}), e("pipeline", a{d{e("$match", d{e("$expr", d{e("$gt", a{"$n", "$$n"})})})}}), e("as", "x")})}, d{e("$count", "c")}}
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err := coll.UpdateByID(ctx, 1, d{e("$set", d{e("x", "lost")})})
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := coll.Aggregate(ctx, slow)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the aggregation was too quick for this test: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	killSession(t, s)
	if err := <-ended; !hasCode(err, 11601) || hasLabel(err, "TransientTransactionError") {
		t.Errorf("the interrupted command: %v", err)
	}
	_, err = coll.UpdateByID(within(t, 2*time.Second), 1, d{e("$set", d{e("y", "kept")})})
	must(t, err)
	equal(t, "of the killed transaction", one(t, coll, d{e("_id", 1)})["x"], nil)
	must(t, s.AbortTransaction(ctx))
}

// TestKillSessionsInterruptsAWaitingWrite kills the session of a write that waits for another's transaction.
func TestKillSessionsInterruptsAWaitingWrite(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 2)
	holder, held := session(t, c)
	must(t, holder.StartTransaction())
	_, err := coll.UpdateByID(held, 1, d{e("$set", d{e("x", 1)})})
	must(t, err)
	s, ctx := session(t, c)
	ended := make(chan error, 1)
	go func() {
		_, err := coll.UpdateByID(ctx, 1, d{e("$set", d{e("y", 1)})})
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the update did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	killSession(t, s)
	if err := <-ended; !hasCode(err, 11601) {
		t.Errorf("got %v", err)
	}
	must(t, holder.CommitTransaction(held))
	equal(t, "of the killed write", one(t, coll, d{e("_id", 1)})["y"], nil)
}

func TestHangUpLeavesAWriteRunning(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 2)
	holder, held := session(t, c)
	must(t, holder.StartTransaction())
	_, err := coll.UpdateByID(held, 1, d{e("$set", d{e("x", 1)})})
	must(t, err)
	// The driver hangs up when the context ends. (A deadline would tell the server its time, as maxTimeMS.)
	ctx, stop := context.WithCancel(t.Context())
	defer time.AfterFunc(300*time.Millisecond, stop).Stop()
	gone := connect(t, options.Client().SetRetryWrites(false))
	_, err = gone.Database(coll.Database().Name()).Collection("c").UpdateByID(ctx, 1, d{e("$set", d{e("y", 1)})})
	if err == nil {
		t.Fatal("the update did not wait")
	}
	<-time.After(300 * time.Millisecond) // the stand-in looks for hang-ups after 100 ms
	must(t, holder.CommitTransaction(held))
	for began := time.Now(); one(t, coll, d{e("_id", 1)})["y"] == nil; {
		if time.Since(began) > 3*time.Second {
			t.Fatal("the update did not happen")
		}
	}
}

func TestMaxTimeBoundsAWaitingWrite(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 2)
	holder, held := session(t, c)
	must(t, holder.StartTransaction())
	_, err := coll.UpdateByID(held, 1, d{e("$set", d{e("x", 1)})})
	must(t, err)
	began := time.Now()
	update := d{e("update", "c"), e("updates", a{d{e("q", d{e("_id", 1)}), e("u", d{e("$set", d{e("y", 1)})})}}), e("maxTimeMS", 200)}
	if err := coll.Database().RunCommand(t.Context(), update).Err(); !hasCode(err, 50) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	must(t, holder.CommitTransaction(held))
	equal(t, "of the write that gave up", one(t, coll, d{e("_id", 1)})["y"], nil)
}

// TestPipelineUpdateOpensATransaction takes a lane as a store may do: the first command of a transaction computes the
// new document on the server and returns it.
func TestPipelineUpdateOpensATransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	long := func(v any) d { return d{e("$toLong", v)} }
	at := d{e("$max", a{long("$$NOW"), d{e("$add", a{"$at", 1})}, d{e("$add", a{"$floor", 1})}})}
	move := a{d{e("$set", d{e("at", at), e("commit", bson.Binary{Data: []byte("0123456789abcdef")})})}}
	const future = int64(1) << 50
	_, err := coll.InsertMany(t.Context(), []any{
		d{e("_id", "behind"), e("at", int64(1)), e("floor", int64(2))},
		d{e("_id", "ahead"), e("at", future), e("floor", int64(2))},
		d{e("_id", "raised"), e("at", int64(1)), e("floor", future)},
	})
	must(t, err)
	for id, want := range map[string]int64{"behind": 0, "ahead": future + 1, "raised": future + 1, "new": 0} {
		s, ctx := session(t, c)
		must(t, s.StartTransaction())
		before := time.Now().UnixMilli()
		var got struct{ At int64 }
		must(t, coll.FindOneAndUpdate(ctx, d{e("_id", id)}, move,
			options.FindOneAndUpdate().SetReturnDocument(options.After).SetUpsert(true).SetHint(d{e("_id", 1)})).Decode(&got))
		if want == 0 && (got.At < before || got.At > time.Now().UnixMilli()) || want != 0 && got.At != want {
			t.Errorf("%s: at is %d, want %d or the time", id, got.At, want)
		}
		must(t, s.CommitTransaction(ctx))
		equal(t, id, one(t, coll, d{e("_id", id)})["at"], got.At)
	}
}
