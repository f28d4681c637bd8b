package mongo_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

// refused asserts that a store does not open, and gives why.
func refused(t *testing.T, uri string) error {
	t.Helper()
	s, err := mongo.Open(t.Context(), mongo.Config{URI: uri})
	if err == nil {
		_ = s.Close()
		t.Fatal("it is opened")
	}
	return err
}

func TestADatabaseOfSomebodyElseIsRefusedByName(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	uri := fresh(t, e)
	db := connect(t, e.URI()).Database(database(uri))
	if _, err := db.Collection("patients").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "theirs"}}); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, uri); !strings.Contains(err.Error(), database(uri)) {
		t.Errorf("the error does not name the database: %v", err)
	}
	names, err := db.ListCollectionNames(t.Context(), bson.D{})
	if diff := cmp.Diff([]string{"patients"}, names); diff != "" || err != nil {
		t.Errorf("collections (-want +got), %v:\n%s", err, diff)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	uri := fresh(t, e)
	meta := connect(t, e.URI()).Database(database(uri)).Collection("meta")
	if _, err := meta.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}, {Key: "version", Value: 1000}}); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, uri); !strings.Contains(err.Error(), "newer") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

// schema is what a database is made of: its collections with their indexes.
func schema(t *testing.T, db *driver.Database) []string {
	t.Helper()
	collections, err := db.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range collections {
		cur, err := db.Collection(c).Indexes().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var indexes []struct {
			Name   string `bson:"name"`
			Key    bson.D `bson:"key"`
			Unique bool   `bson:"unique"`
		}
		if err := cur.All(t.Context(), &indexes); err != nil {
			t.Fatal(err)
		}
		for _, x := range indexes {
			out = append(out, fmt.Sprint(c, " ", x.Name, " ", x.Key, " ", x.Unique))
		}
	}
	slices.Sort(out)
	return out
}

func TestTenInstancesThatStartAtOnceMakeOneSchema(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	for range 3 {
		uri := fresh(t, e)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				s, err := mongo.Open(t.Context(), mongo.Config{URI: uri})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		db := connect(t, e.URI()).Database(database(uri))
		made := schema(t, db)
		open(t, mongo.Config{URI: uri})
		if diff := cmp.Diff(made, schema(t, db)); diff != "" || len(made) < 20 {
			t.Errorf("opening it again changed the schema (- then, + now):\n%s", diff)
		}
	}
}

func TestAServerThatHasNoTransactionsIsRefused(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	f.after(1, code(20), "insert")
	err := refused(t, named(fresh(t, e)))
	if !errors.Is(err, mongo.ErrUnfit) || !strings.Contains(err.Error(), "replica set") {
		t.Errorf("the error is not of the server, or does not say what to do: %v", err)
	}
}

func TestAServerThatIsAwayIsSaidInTimeAndWithoutThePassword(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t%2Fpass"
	var all sync.WaitGroup
	for name, uri := range map[string]string{
		"nobody listens":      "mongodb://user:" + secret + "@" + unused(t) + "/firebreak?replicaSet=rs0",
		"a port that is none": "mongodb://user:" + secret + "@127.0.0.1:99999/firebreak",
		"an @ too many":       "mongodb://user:" + secret + "@x@127.0.0.1/firebreak",
		"a bad escape":        "mongodb://user:s3cr3t%zzpass@127.0.0.1/firebreak",
		"a slash":             "mongodb://user:s3cr3t/pass@127.0.0.1/firebreak",
		"a bad option":        "mongodb://user:" + secret + "@127.0.0.1/firebreak?w=majority&tls=perhaps",
		"an unknown name":     "mongodb://user:" + secret + "@no-such-host.invalid/firebreak?replicaSet=rs0",
		"another scheme":      "http://user:" + secret + "@127.0.0.1/firebreak",
	} {
		all.Go(func() {
			began := time.Now()
			_, err := mongo.Open(t.Context(), mongo.Config{URI: uri})
			if err == nil {
				t.Errorf("%s: it is opened", name)
				return
			}
			if took := time.Since(began); took > primaryWait+slack {
				t.Errorf("%s: it took %v to say so", name, took)
			}
			for _, part := range []string{"s3cr3t", "%zz", "pass@", "user:"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%s: the error has something of the password: %v", name, err)
				}
			}
		})
	}
	all.Wait()
}

// unused is an address that nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAURIGivesTheClientItsName(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	uri := fresh(t, e)
	mine, other := open(t, mongo.Config{URI: named(uri)}), open(t, mongo.Config{URI: uri})
	f.hit(always, code(8000), "update")
	if err := mine.Ping(t.Context()); err == nil {
		t.Error("the fail point does not know the store by its name")
	}
	if err := other.Ping(t.Context()); err != nil {
		t.Errorf("the other store: %v", err)
	}
	f.off()
}

// Another instance makes the schema after this one has found none, and before
// it looks whether the database is empty.
func TestAnInstanceThatStartsWhileAnotherMakesTheSchemaKnowsIt(t *testing.T) {
	t.Parallel()
	uri := fresh(t, mongotest.Start(t))
	h := &hook{}
	h.set(func(e *event.CommandStartedEvent) {
		if e.CommandName == "listCollections" {
			h.set(func(*event.CommandStartedEvent) {})
			open(t, mongo.Config{URI: uri})
		}
	})
	open(t, mongo.Config{URI: uri}.Watching(h.see))
}
