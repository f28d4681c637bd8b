package e2e_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// hangUp makes the next command of a name fail by a closed connection.
func hangUp(t *testing.T, c *mongo.Client, command string) {
	t.Helper()
	failCommand(t, c, bson.M{"times": 1}, bson.D{
		{Key: "failCommands", Value: bson.A{command}}, {Key: "closeConnection", Value: true},
	})
}

func TestRetriesAfterHangUp(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	hangUp(t, c, "insert")
	_, err := coll.InsertMany(t.Context(), []any{bson.M{"_id": 1, "n": 0}, bson.M{"_id": 2, "n": 0}})
	must(t, err)
	hangUp(t, c, "update")
	_, err = coll.UpdateByID(t.Context(), 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	hangUp(t, c, "findAndModify")
	must(t, coll.FindOneAndUpdate(t.Context(), bson.M{"_id": 1}, bson.M{"$inc": bson.M{"n": 1}}).Err())
	hangUp(t, c, "delete")
	_, err = coll.DeleteOne(t.Context(), bson.M{"_id": 2})
	must(t, err)
	hangUp(t, c, "find")
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 2)
}

// TestSameNumberIsAppliedOnce sends commands by hand, as a driver does whose answer got lost.
func TestSameNumberIsAppliedOnce(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 0})
	must(t, err)
	lsid := bson.M{"id": bson.Binary{Subtype: 4, Data: []byte("0123456789abcdef")}}
	inc := bson.M{"$inc": bson.M{"n": 1}}
	commands := []bson.D{
		{{Key: "update", Value: "c"}, {Key: "updates", Value: bson.A{bson.M{"q": bson.M{"_id": 1}, "u": inc}}}},
		{{Key: "findAndModify", Value: "c"}, {Key: "query", Value: bson.M{"_id": 1}}, {Key: "update", Value: inc}, {Key: "new", Value: true}},
		{{Key: "insert", Value: "c"}, {Key: "documents", Value: bson.A{bson.M{"_id": 2}, bson.M{"_id": 3}}}},
		{{Key: "delete", Value: "c"}, {Key: "deletes", Value: bson.A{bson.M{"q": bson.M{"_id": bson.M{"$gt": 1}}, "limit": 1}}}},
	}
	for i, cmd := range commands {
		cmd = append(cmd, bson.E{Key: "lsid", Value: lsid}, bson.E{Key: "txnNumber", Value: int64(i + 1)})
		var answers [2]bson.Raw
		for try := range answers {
			answers[try], err = coll.Database().RunCommand(t.Context(), cmd).Raw()
			must(t, err)
		}
		for _, field := range []string{"n", "nModified", "value", "writeErrors"} {
			equal(t, cmd[0].Key+" "+field, answers[1].Lookup(field), answers[0].Lookup(field))
		}
	}
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 2)
	n, err := coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "documents", n, 2)
	old := append(commands[0], bson.E{Key: "lsid", Value: lsid}, bson.E{Key: "txnNumber", Value: int64(1)})
	if err := coll.Database().RunCommand(t.Context(), old).Err(); !hasCode(err, 225) {
		t.Errorf("an old number: %v", err)
	}
}

func TestWriteConcernErrorIsRetriedButNotAppliedTwice(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 0})
	must(t, err)
	failCommand(t, c, bson.M{"times": 1}, bson.D{
		{Key: "failCommands", Value: bson.A{"update"}},
		{Key: "writeConcernError", Value: bson.M{"code": 91, "errmsg": "shutting down"}},
	})
	_, err = coll.UpdateByID(t.Context(), 1, bson.M{"$inc": bson.M{"n": 1}})
	must(t, err)
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 1)
}

func TestFailCommandErrorsAndLabels(t *testing.T) {
	c := connect(t, options.Client().SetRetryReads(false).SetRetryWrites(false).SetAppName("other"))
	coll := collection(t, c)
	failCommand(t, c, bson.M{"times": 1}, bson.D{{Key: "failCommands", Value: bson.A{"find"}}, {Key: "errorCode", Value: 11600}})
	if err := coll.FindOne(t.Context(), bson.M{}).Err(); !hasCode(err, 11600) {
		t.Errorf("got %v", err)
	}
	failCommand(t, c, "alwaysOn", bson.D{
		{Key: "failCommands", Value: bson.A{"insert"}},
		{Key: "errorCode", Value: 8},
		{Key: "errorLabels", Value: bson.A{"MyLabel"}},
	})
	if _, err := coll.InsertOne(t.Context(), bson.M{}); !hasLabel(err, "MyLabel") {
		t.Errorf("got %v", err)
	}
	failCommand(t, c, "alwaysOn", bson.D{{Key: "failCommands", Value: bson.A{"ping"}}, {Key: "errorCode", Value: 8}, {Key: "appName", Value: "somebody"}})
	must(t, c.Ping(t.Context(), nil))
	failCommand(t, c, "alwaysOn", bson.D{{Key: "failCommands", Value: bson.A{"find"}}, {Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 200}})
	began := time.Now()
	_ = coll.FindOne(t.Context(), bson.M{}).Err()
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("blocked for %v only", d)
	}
	failCommand(t, c, "off", nil)
}

func TestTransientErrorRestartsTheTransaction(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	failCommand(t, c, bson.M{"times": 2}, bson.D{{Key: "failCommands", Value: bson.A{"insert"}}, {Key: "errorCode", Value: 112}})
	s, ctx := session(t, c)
	tries := 0
	_, err := s.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		tries++
		return coll.InsertOne(ctx, bson.M{"_id": 1})
	})
	must(t, err)
	equal(t, "tries", tries, 3)
}

func TestStepDown(t *testing.T) {
	_, uri := own(t)
	c := connectTo(t, uri)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1})
	must(t, err)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	_, err = coll.InsertOne(ctx, bson.M{"_id": 2})
	must(t, err)
	must(t, c.Database("admin").RunCommand(t.Context(), bson.D{{Key: "replSetStepDown", Value: 2}, {Key: "force", Value: true}}).Err())
	began := time.Now()
	// The driver waits for a primary and then writes.
	_, err = coll.InsertOne(t.Context(), bson.M{"_id": 3})
	must(t, err)
	if d := time.Since(began); d < time.Second || d > 10*time.Second {
		t.Errorf("a primary was there after %v", d)
	}
	if err := s.CommitTransaction(ctx); err == nil {
		t.Error("the transaction outlived the step-down")
	}
	n, err := coll.CountDocuments(t.Context(), bson.M{})
	must(t, err)
	equal(t, "documents", n, 2)
}

func TestStepDownAnswersNotWritablePrimary(t *testing.T) {
	_, uri := own(t)
	c := connectTo(t, uri+"&directConnection=true&retryWrites=false&retryReads=false")
	coll := collection(t, c)
	must(t, c.Database("admin").RunCommand(t.Context(), bson.D{{Key: "replSetStepDown", Value: 1}}).Err())
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1})
	if !hasCode(err, 10107) {
		t.Errorf("got %v", err)
	}
}
