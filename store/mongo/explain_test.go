package mongo_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// asked is one command of each shape that stores have sent, and the database.
type asked struct {
	mu  sync.Mutex
	all map[string]sample
}

type sample struct {
	database string
	command  bson.Raw
}

// few are collections of a handful of documents, which are read whole: as many
// as there are types or instances.
var few = []string{"type", "instance", "probe"}

// oplogs is the database of the log of the replica set, which has no index: its
// first entry is where a scan of it begins.
const oplogs = "local"

// explained are the commands that look for documents.
var explained = []string{"find", "aggregate", "update", "delete", "findAndModify", "count", "distinct"}

func (a *asked) see(e *event.CommandStartedEvent) {
	if !slices.Contains(explained, e.CommandName) || ofStream(e) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[shape(e.Command)] = sample{e.DatabaseName, slices.Clone(e.Command)}
}

// shape is what a command asks, without the values.
func shape(command bson.Raw) string {
	var b strings.Builder
	elements, _ := command.Elements()
	for _, e := range elements {
		switch e.Key() {
		case "find", "aggregate", "update", "delete", "findAndModify", "count", "distinct", "hint":
			if name, ok := e.Value().StringValueOK(); ok {
				fmt.Fprint(&b, e.Key(), " ", name, " ")
			}
		case "filter", "query", "pipeline", "updates", "deletes", "sort":
			fmt.Fprint(&b, e.Key(), names(e.Value()), " ")
		}
	}
	return b.String()
}

func names(v bson.RawValue) []string {
	var out []string
	var inner bson.Raw
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		inner = v.Document()
	case bson.TypeArray:
		inner = bson.Raw(v.Array())
	default:
		return nil
	}
	elements, _ := inner.Elements()
	for _, e := range elements {
		if v.Type == bson.TypeEmbeddedDocument {
			out = append(out, e.Key())
		}
		if e.Key() != "$in" && e.Key() != "u" {
			out = append(out, names(e.Value())...)
		}
	}
	return out
}

func noScans(t *testing.T, e *mongotest.Engine, a *asked) {
	if len(a.all) < 30 {
		t.Fatalf("only %d shapes of commands were seen", len(a.all))
	}
	uri := fresh(t, e)
	open(t, mongo.Config{URI: uri}) // makes the indexes
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context()) //nolint:errcheck // it only asked
	_, name, _ := strings.Cut(strings.TrimPrefix(uri, "mongodb://"), "/")
	name, _, _ = strings.Cut(name, "?")
	for what, s := range a.all {
		if slices.ContainsFunc(few, func(c string) bool { return strings.Contains(what, " "+c+" ") }) || s.database == "admin" || s.database == oplogs {
			continue
		}
		if plan := explain(t, client.Database(name), s.command); strings.Contains(plan, "COLLSCAN") {
			t.Errorf("%s\nscans a collection: %s", what, plan)
		}
	}
}

// explain gives the plan of a command, without what belongs to its session. A
// findAndModify is planned as the find that it begins with.
func explain(t *testing.T, db *driver.Database, command bson.Raw) string {
	t.Helper()
	var c bson.D
	if err := bson.Unmarshal(command, &c); err != nil {
		t.Fatal(err)
	}
	c = slices.DeleteFunc(c, func(e bson.E) bool {
		return slices.Contains([]string{
			"lsid", "txnNumber", "autocommit", "startTransaction", "$db", "$clusterTime", "writeConcern", "readConcern",
			"$readPreference", "stmtId", "maxTimeMS", "ordered", "new", "bypassEmptyTsReplacement", "isTimeseriesNamespace",
		}, e.Key)
	})
	if c[0].Key == "findAndModify" {
		c = slices.DeleteFunc(c, func(e bson.E) bool {
			return !slices.Contains([]string{"findAndModify", "query", "sort", "hint"}, e.Key)
		})
		c[0].Key = "find"
		for i := range c {
			if c[i].Key == "query" {
				c[i].Key = "filter"
			}
		}
	}
	plan, err := db.RunCommand(t.Context(), bson.D{{Key: "explain", Value: c}, {Key: "verbosity", Value: "queryPlanner"}}).Raw()
	if err != nil {
		t.Fatalf("explain %s: %v", command, err)
	}
	return plan.Lookup("queryPlanner").String()
}
