package mongotest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// connect gives a client that the test may use for a minute.
func connect(t *testing.T, e *mongotest.Engine) (*mongo.Client, context.Context) {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(e.URI()).SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return client, ctx
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	survives(t, mongotest.Own(t))
}

// TestAMongodBecomesAReplicaSet runs what is done with a mongod on the
// stand-in, which takes the place of one here.
func TestAMongodBecomesAReplicaSet(t *testing.T) {
	t.Parallel()
	src := mongotest.Environment()
	if src.Mongod == "" && src.Control != "" {
		src.Mongod = standinAsMongod(t)
	}
	survives(t, src.Own(t))
}

// standinAsMongod is a program that takes the flags of a mongod.
func standinAsMongod(t *testing.T) string {
	t.Helper()
	standin, err := filepath.Abs(filepath.Join("..", "standin", "mongodb"))
	if err != nil {
		t.Fatal(err)
	}
	path, _ := program(t, `while [ $# -gt 0 ]; do
	case "$1" in
	--dbpath) dir=$2 ;;
	--port) port=$2 ;;
	--replSet) set=$2 ;;
	--logpath) log=$2 ;;
	esac
	shift
done
exec '`+standin+`' run --dir "$dir" --port "$port" --replset "$set" >>"$log" 2>&1
`)
	return path
}

// survives kills an engine after a write, and looks for it afterwards.
func survives(t *testing.T, e *mongotest.Engine) {
	t.Helper()
	client, ctx := connect(t, e)
	docs := client.Database(e.Database(t)).Collection("docs")
	if _, err := docs.InsertOne(ctx, bson.D{{Key: "_id", Value: "kept"}}); err != nil {
		t.Fatal(err)
	}
	e.Kill(t)
	gone, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := docs.FindOne(gone, bson.D{}).Err(); err == nil {
		t.Error("the engine answers after it was killed")
	}
	e.Restart(t)
	var got struct {
		ID string `bson:"_id"`
	}
	if err := docs.FindOne(ctx, bson.D{}).Decode(&got); err != nil || got.ID != "kept" {
		t.Errorf("after the restart: %+v, %v", got, err)
	}
}

func TestADatabaseIsFreshAndDroppedWithItsTest(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	client, ctx := connect(t, e)
	var names [2]string
	for i := range names {
		if got := observe(t, func(t testing.TB) {
			names[i] = e.Database(t)
			if _, err := client.Database(names[i]).Collection("docs").InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); err != nil {
				t.Fatal(err)
			}
		}); got != (outcome{}) {
			t.Fatalf("%+v", got)
		}
		if err := client.Database(names[i]).Collection("docs").FindOne(ctx, bson.D{}).Err(); !errors.Is(err, mongo.ErrNoDocuments) {
			t.Errorf("%s is still there: %v", names[i], err)
		}
	}
	if names[0] == names[1] {
		t.Errorf("two tests share %s", names[0])
	}
}

func TestEnginesTakeFailPoints(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	client, ctx := connect(t, e)
	err := client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "configureFailPoint", Value: "failCommand"},
		{Key: "mode", Value: bson.D{{Key: "times", Value: 1}}},
		{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"dropIndexes"}}, {Key: "errorCode", Value: 8000}}},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
	err = client.Database(e.Database(t)).Collection("docs").Indexes().DropAll(ctx)
	if failed := mongo.ServerError(nil); !errors.As(err, &failed) || !failed.HasErrorCode(8000) {
		t.Errorf("got %v", err)
	}
}
