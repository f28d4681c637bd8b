package e2e_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestWhatIsMissing holds the README to its word: these are refused, with these codes, where MongoDB would do them.
func TestWhatIsMissing(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 10)
	find := func(filter d, more ...bson.E) d { return append(d{e("find", "c"), e("filter", filter)}, more...) }
	agg := func(stage d) d { return d{e("aggregate", "c"), e("pipeline", a{stage}), e("cursor", d{})} }
	german := d{e("locale", "de"), e("strength", 1)}
	index := func(more ...bson.E) d {
		return d{e("createIndexes", "c"), e("indexes", a{append(d{e("key", d{e("q", 1)}), e("name", "q")}, more...)})}
	}
	const notSupported, notFound, badValue, unrecognized = 115, 59, 2, 40324
	for _, tt := range []struct {
		name    string
		command d
		code    int
	}{
		{"$where", find(d{e("$where", "true")}), badValue},
		{"$function", agg(d{e("$project", d{e("x", d{e("$function", d{e("body", "f"), e("args", a{}), e("lang", "js")})})})}), notSupported},
		{"mapReduce", d{e("mapReduce", "c")}, notFound},
		{"min and max", find(d{}, e("min", d{e("_id", 2)}), e("hint", d{e("_id", 1)})), notSupported},
		{"returnKey", find(d{}, e("returnKey", true)), notSupported},
		{"showRecordId", find(d{}, e("showRecordId", true)), notSupported},
		{"capped collections", d{e("create", "x"), e("capped", true), e("size", 1000)}, notSupported},
		{"clustered collections", d{e("create", "x"), e("clusteredIndex", d{e("key", d{e("_id", 1)}), e("unique", true)})}, notSupported},
		{"time series", d{e("create", "x"), e("timeseries", d{e("timeField", "t")})}, notSupported},
		{"collation of a collection", d{e("create", "x"), e("collation", german)}, notSupported},
		{"collation of an index", index(e("collation", german)), notSupported},
		{"hidden indexes", index(e("hidden", true)), notSupported},
		{"collation of an update", d{e("update", "c"), e("updates", a{d{e("q", d{}), e("u", d{e("$set", d{e("x", 1)})}), e("collation", german)}})}, notSupported},
		{"$merge with a pipeline", agg(d{e("$merge", d{e("into", "x"), e("whenMatched", a{d{e("$set", d{e("k", 1)})}})})}), notSupported},
		{"$$CLUSTER_TIME", agg(d{e("$project", d{e("x", "$$CLUSTER_TIME")})}), notSupported},
		{"$planCacheStats", agg(d{e("$planCacheStats", d{})}), unrecognized},
		{"bulkWrite command", d{e("bulkWrite", 1)}, notFound},
		{"sharding", d{e("shardCollection", "x.c"), e("key", d{e("_id", 1)})}, notFound},
		{"users", d{e("createUser", "u"), e("pwd", "p"), e("roles", a{})}, notFound},
		{"killOp", d{e("killOp", 1), e("op", 1)}, notFound},
		{"compact", d{e("compact", "c")}, notFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := coll.Database().RunCommand(within(t, 10*time.Second), tt.command).Err()
			if !hasCode(err, tt.code) {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
		})
	}
}

// TestWhatWorksBesides are things one might doubt.
func TestWhatWorksBesides(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	db := coll.Database()
	_, err := coll.InsertMany(t.Context(), []any{
		d{e("_id", 1), e("s", "Äpfel und Birnen"), e("loc", d{e("type", "Point"), e("coordinates", a{1.0, 2.0})})},
		d{e("_id", 2), e("s", "äpfel"), e("a", a{1}), e("b", a{2})},
	})
	must(t, err)
	german := &options.Collation{Locale: "de", Strength: 1}
	equal(t, "collation of a find", ids(t, coll, d{e("s", "Äpfel")}, options.Find().SetCollation(german)), a{2})
	equal(t, "$natural", ids(t, coll, d{}, options.Find().SetSort(d{e("$natural", -1)})), a{2, 1})
	for _, keys := range []d{{e("loc", "2dsphere")}, {e("s", "hashed")}, {e("$**", 1)}, {e("s", "text")}, {e("_id", 1), e("s", -1)}} {
		index(t, coll, keys)
	}
	equal(t, "$text", ids(t, coll, d{e("$text", d{e("$search", "birnen")})}), a{1})
	equal(t, "$geoWithin", ids(t, coll, d{e("loc", d{e("$geoWithin", d{e("$centerSphere", a{a{1, 2}, 0.1})})})}), a{1})
	must(t, db.RunCommand(t.Context(), d{e("create", "view"), e("viewOn", "c"), e("pipeline", a{d{e("$match", d{e("_id", 2)})}})}).Err())
	equal(t, "view", ids(t, db.Collection("view"), d{}), a{2})
	must(t, db.CreateCollection(t.Context(), "checked", options.CreateCollection().SetValidator(d{e("$jsonSchema", d{e("required", a{"x"})})})))
	if _, err := db.Collection("checked").InsertOne(t.Context(), d{e("y", 1)}); !hasCode(err, 121) {
		t.Errorf("validator: %v", err)
	}
	// MongoDB refuses an index over two arrays of one document, with code 171.
	index(t, coll, d{e("a", 1), e("b", 1)})
	cur, err := coll.Aggregate(t.Context(), a{d{e("$indexStats", d{})}})
	if n := len(all(t, cur, err)); n < 5 {
		t.Errorf("$indexStats: %d", n)
	}
	must(t, db.RunCommand(t.Context(), d{e("collMod", "checked"), e("validator", d{})}).Err())
	must(t, c.Database("admin").RunCommand(t.Context(), d{e("renameCollection", db.Name()+".checked"), e("to", db.Name()+".renamed")}).Err())
	names, err := db.ListCollectionNames(t.Context(), d{e("name", "renamed")})
	must(t, err)
	equal(t, "renamed", names, []string{"renamed"})
	must(t, db.Drop(t.Context()))
	dbs, err := c.ListDatabaseNames(t.Context(), d{e("name", db.Name())})
	must(t, err)
	equal(t, "databases", dbs, []string{})
}

func TestAdminCommands(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 10)
	admin := c.Database("admin")
	for _, name := range []string{
		"hello", "isMaster", "ismaster", "ping", "buildInfo", "buildinfo", "serverStatus", "connectionStatus", "hostInfo",
		"replSetGetStatus", "listDatabases", "currentOp", "logout", "startSession",
	} {
		t.Run(name, func(t *testing.T) { must(t, admin.RunCommand(t.Context(), d{e(name, 1)}).Err()) })
	}
	for _, cmd := range []d{
		{e("collStats", "c")},
		{e("dbStats", 1)},
		{e("validate", "c")},
		{e("getLog", "global")},
		{e("getParameter", "*")},
		{e("refreshSessions", a{})},
		{e("killSessions", a{})},
	} {
		t.Run(cmd[0].Key, func(t *testing.T) { must(t, coll.Database().RunCommand(t.Context(), cmd).Err()) })
	}
	if err := admin.RunCommand(t.Context(), d{e("replSetInitiate", d{})}).Err(); !hasCode(err, 23) {
		t.Errorf("replSetInitiate: %v", err)
	}
	err := admin.RunCommand(t.Context(), d{e("nonsense", 1)}).Err()
	if !hasCode(err, 59) {
		t.Errorf("got %v", err)
	}
	for _, cmd := range []struct {
		command d
		want    string
	}{
		{d{e("update", "c"), e("updates", a{d{e("q", d{e("_id", 1)}), e("u", d{e("$set", d{e("x", 1)})})}})}, "UPDATE, FETCH, IXSCAN _id_"},
		{d{e("delete", "c"), e("deletes", a{d{e("q", d{e("n", 1)}), e("limit", 0)}})}, "DELETE, COLLSCAN"},
		{d{e("findAndModify", "c"), e("query", d{e("n", 1)}), e("remove", true)}, "UPDATE, COLLSCAN"},
		{d{e("count", "c"), e("query", d{e("n", 1)})}, "COUNT, COLLSCAN"},
		{d{e("aggregate", "c"), e("pipeline", a{d{e("$match", d{e("n", 1)})}}), e("cursor", d{})}, "COLLSCAN"},
	} {
		got, _ := stages(t, coll, cmd.command)
		equal(t, cmd.command[0].Key, got, cmd.want)
	}
}
