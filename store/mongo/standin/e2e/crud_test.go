package e2e_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// d and a make the tests shorter.
type (
	d = bson.D
	a = bson.A
)

func e(key string, value any) bson.E { return bson.E{Key: key, Value: value} }

// one reads the only document a filter matches.
func one(t *testing.T, coll *mongo.Collection, filter any) bson.M {
	t.Helper()
	var out bson.M
	must(t, coll.FindOne(t.Context(), filter).Decode(&out))
	return out
}

// ids reads the _ids of a query, in its order.
func ids(t *testing.T, coll *mongo.Collection, filter any, opts ...options.Lister[options.FindOptions]) []any {
	t.Helper()
	cur, err := coll.Find(t.Context(), filter, opts...)
	out := []any{}
	for _, m := range all(t, cur, err) {
		out = append(out, m["_id"])
	}
	return out
}

// numbered inserts documents {_id: i, n: i} for i below count.
func numbered(t *testing.T, coll *mongo.Collection, count int) {
	t.Helper()
	docs := make([]any, count)
	for i := range docs {
		docs[i] = d{e("_id", i), e("n", i)}
	}
	_, err := coll.InsertMany(t.Context(), docs)
	must(t, err)
}

func TestUpdateOperators(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	tests := map[string]struct {
		before, update any
		want           d
	}{
		"$set and $inc": {d{e("n", 1)}, d{e("$set", d{e("s", "x")}), e("$inc", d{e("n", 2)})}, d{e("n", 3), e("s", "x")}},
		"$unset":        {d{e("n", 1), e("s", 1)}, d{e("$unset", d{e("s", "")})}, d{e("n", 1), e("s", nil)}},
		"$max":          {d{e("n", 1)}, d{e("$max", d{e("n", 7)})}, d{e("n", 7)}},
		"$min":          {d{e("n", 1)}, d{e("$min", d{e("n", -7)})}, d{e("n", -7)}},
		"$mul":          {d{e("n", 3)}, d{e("$mul", d{e("n", 2)})}, d{e("n", 6)}},
		"$rename":       {d{e("n", 3)}, d{e("$rename", d{e("n", "m")})}, d{e("m", 3), e("n", nil)}},
		"$push":         {d{e("a", a{1})}, d{e("$push", d{e("a", 2)})}, d{e("a", a{1, 2})}},
		"$push each, sorted and sliced": {
			d{e("a", a{5, 1})},
			d{e("$push", d{e("a", d{e("$each", a{3, 4}), e("$sort", 1), e("$slice", 3)})})},
			d{e("a", a{1, 3, 4})},
		},
		"$addToSet": {d{e("a", a{1})}, d{e("$addToSet", d{e("a", d{e("$each", a{1, 2})})})}, d{e("a", a{1, 2})}},
		"$pull":     {d{e("a", a{1, 2, 3})}, d{e("$pull", d{e("a", d{e("$gt", 1)})})}, d{e("a", a{1})}},
		"$pullAll":  {d{e("a", a{1, 2, 3})}, d{e("$pullAll", d{e("a", a{1, 3})})}, d{e("a", a{2})}},
		"$pop":      {d{e("a", a{1, 2, 3})}, d{e("$pop", d{e("a", 1)})}, d{e("a", a{1, 2})}},
		"$bit":      {d{e("n", 5)}, d{e("$bit", d{e("n", d{e("and", 4)})})}, d{e("n", 4)}},
		"pipeline with $cond": {
			d{e("n", 5)},
			a{d{e("$set", d{e("m", d{e("$cond", a{d{e("$gt", a{"$n", 3})}, "big", "small"})})})}},
			d{e("m", "big")},
		},
		"pipeline with $unset":        {d{e("n", 5), e("s", 1)}, a{d{e("$unset", "s")}}, d{e("n", 5), e("s", nil)}},
		"pipeline with $concatArrays": {d{e("a", a{1})}, a{d{e("$set", d{e("a", d{e("$concatArrays", a{"$a", a{2}})})})}}, d{e("a", a{1, 2})}},
		"replacement":                 {d{e("n", 5)}, d{e("m", 1)}, d{e("m", 1), e("n", nil)}},
		"nested set":                  {d{e("o", d{e("x", 1)})}, d{e("$set", d{e("o.y.z", 2)})}, d{e("o", d{e("x", 1), e("y", d{e("z", 2)})})}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := coll.ReplaceOne(t.Context(), d{e("_id", name)}, tt.before, options.Replace().SetUpsert(true))
			must(t, err)
			if name == "replacement" {
				_, err = coll.ReplaceOne(t.Context(), d{e("_id", name)}, tt.update)
			} else {
				_, err = coll.UpdateOne(t.Context(), d{e("_id", name)}, tt.update)
			}
			must(t, err)
			var got bson.D
			must(t, coll.FindOne(t.Context(), d{e("_id", name)}).Decode(&got))
			fields := map[string]any{}
			for _, f := range got {
				fields[f.Key] = f.Value
			}
			for _, w := range tt.want {
				equal(t, w.Key, fields[w.Key], w.Value)
			}
		})
	}
}

func TestUpsertWithSetOnInsert(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	up := d{e("$setOnInsert", d{e("made", 1)}), e("$inc", d{e("n", 1)})}
	for range 2 {
		_, err := coll.UpdateOne(t.Context(), d{e("_id", 1), e("kind", "x")}, up, options.UpdateOne().SetUpsert(true))
		must(t, err)
	}
	m := one(t, coll, d{})
	equal(t, "document", fmt.Sprintf("%v %v %v", m["made"], m["n"], m["kind"]), "1 2 x")
	r, err := coll.UpdateOne(t.Context(), d{e("_id", 2)}, up, options.UpdateOne().SetUpsert(true))
	must(t, err)
	equal(t, "upserted", r.UpsertedID, 2)
}

func TestCurrentDateAndNow(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	before := time.Now().Add(-time.Second)
	_, err := coll.UpdateOne(t.Context(), d{e("_id", 1)}, d{e("$currentDate", d{e("date", true), e("stamp", d{e("$type", "timestamp")})})}, options.UpdateOne().SetUpsert(true))
	must(t, err)
	_, err = coll.UpdateOne(t.Context(), d{e("_id", 1)}, a{d{e("$set", d{e("now", "$$NOW")})}})
	must(t, err)
	m := one(t, coll, d{})
	for _, f := range []string{"date", "now"} {
		when, ok := m[f].(bson.DateTime)
		if !ok || when.Time().Before(before) || when.Time().After(time.Now().Add(time.Second)) {
			t.Errorf("%s: %v", f, m[f])
		}
	}
	if s, ok := m["stamp"].(bson.Timestamp); !ok || int64(s.T) < before.Unix() {
		t.Errorf("stamp: %v", m["stamp"])
	}
}

func TestArrayFilters(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertMany(t.Context(), []any{
		d{e("_id", 1), e("a", a{d{e("k", "x"), e("v", 1)}, d{e("k", "y"), e("v", 2)}})},
		d{e("_id", 2), e("a", a{d{e("k", "x"), e("v", 3)}})},
	})
	must(t, err)
	r, err := coll.UpdateMany(t.Context(), d{}, d{e("$set", d{e("a.$[i].v", 9)})}, options.UpdateMany().SetArrayFilters([]any{d{e("i.k", "x")}}))
	must(t, err)
	equal(t, "modified", r.ModifiedCount, 2)
	_, err = coll.UpdateOne(t.Context(), d{e("_id", 1), e("a.k", "y")}, d{e("$set", d{e("a.$.v", 8)})})
	must(t, err)
	equal(t, "array", one(t, coll, d{e("_id", 1)})["a"], a{d{e("k", "x"), e("v", 9)}, d{e("k", "y"), e("v", 8)}})
}

func TestFindOneAnd(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 5)
	var m bson.M
	must(t, coll.FindOneAndUpdate(t.Context(), d{e("n", d{e("$lt", 4)})}, d{e("$inc", d{e("n", 100)})},
		options.FindOneAndUpdate().SetSort(d{e("n", -1)}).SetReturnDocument(options.After)).Decode(&m))
	equal(t, "after", m["n"], 103)
	must(t, coll.FindOneAndUpdate(t.Context(), d{e("_id", 0)}, d{e("$inc", d{e("n", 1)})}).Decode(&m))
	equal(t, "before", m["n"], 0)
	must(t, coll.FindOneAndReplace(t.Context(), d{e("_id", 0)}, d{e("x", 1)}, options.FindOneAndReplace().SetReturnDocument(options.After)).Decode(&m))
	equal(t, "replaced", m["x"], 1)
	must(t, coll.FindOneAndDelete(t.Context(), d{}, options.FindOneAndDelete().SetSort(d{e("_id", -1)}).SetProjection(d{e("_id", 1)})).Decode(&m))
	equal(t, "deleted", m["_id"], 4)
	if err := coll.FindOneAndDelete(t.Context(), d{e("_id", 99)}).Err(); err != mongo.ErrNoDocuments {
		t.Errorf("got %v", err)
	}
	must(t, coll.FindOneAndUpdate(t.Context(), d{e("_id", 50)}, d{e("$setOnInsert", d{e("n", 1)})},
		options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(&m))
	equal(t, "upserted", m["_id"], 50)
}

func TestMixedBulkWrite(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	r, err := coll.BulkWrite(t.Context(), []mongo.WriteModel{
		mongo.NewInsertOneModel().SetDocument(d{e("_id", 1), e("n", 1)}),
		mongo.NewInsertOneModel().SetDocument(d{e("_id", 2), e("n", 2)}),
		mongo.NewUpdateOneModel().SetFilter(d{e("_id", 1)}).SetUpdate(d{e("$inc", d{e("n", 1)})}),
		mongo.NewUpdateManyModel().SetFilter(d{}).SetUpdate(d{e("$set", d{e("x", 1)})}),
		mongo.NewReplaceOneModel().SetFilter(d{e("_id", 3)}).SetReplacement(d{e("n", 3)}).SetUpsert(true),
		mongo.NewDeleteOneModel().SetFilter(d{e("_id", 2)}),
		mongo.NewDeleteManyModel().SetFilter(d{e("n", d{e("$gte", 3)})}),
	})
	must(t, err)
	equal(t, "result", fmt.Sprint(r.InsertedCount, r.MatchedCount, r.ModifiedCount, r.UpsertedCount, r.DeletedCount), "2 3 3 1 2")
	_, err = coll.BulkWrite(t.Context(), []mongo.WriteModel{
		mongo.NewInsertOneModel().SetDocument(d{e("_id", 10)}),
		mongo.NewInsertOneModel().SetDocument(d{e("_id", 10)}),
		mongo.NewInsertOneModel().SetDocument(d{e("_id", 11)}),
	}, options.BulkWrite().SetOrdered(false))
	if !mongo.IsDuplicateKeyError(err) {
		t.Errorf("got %v", err)
	}
	equal(t, "ids", ids(t, coll, d{e("_id", d{e("$gte", 10)})}), a{10, 11})
}

func TestOrderedInsertStopsAtTheFirstError(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertMany(t.Context(), []any{d{e("_id", 1)}, d{e("_id", 2)}, d{e("_id", 1)}, d{e("_id", 3)}})
	we, ok := err.(mongo.BulkWriteException)
	if !ok || len(we.WriteErrors) != 1 || we.WriteErrors[0].Index != 2 || we.WriteErrors[0].Code != 11000 {
		t.Fatalf("got %v", err)
	}
	if !strings.HasPrefix(we.WriteErrors[0].Message, "E11000 duplicate key error collection: ") {
		t.Errorf("message %q", we.WriteErrors[0].Message)
	}
	equal(t, "ids", ids(t, coll, d{}), a{1, 2})
}

func TestQueries(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertMany(t.Context(), []any{
		d{e("_id", 1), e("name", "Anna"), e("n", 1), e("tags", a{"a", "b"}), e("subs", a{d{e("k", "x"), e("v", 1)}, d{e("k", "y"), e("v", 2)}})},
		d{e("_id", 2), e("name", "anton"), e("n", 2.5), e("tags", a{}), e("subs", a{d{e("k", "x"), e("v", 2)}}), e("low", 3)},
		d{e("_id", 3), e("name", "Bert"), e("n", int64(3)), e("nil", nil), e("o", d{e("p", d{e("q", 5)})})},
		d{e("_id", 4), e("name", "Zoë"), e("n", "text"), e("when", time.Unix(1000, 0))},
	})
	must(t, err)
	big := a{3}
	for i := range 1000 {
		big = append(big, 1000+i)
	}
	tests := map[string]struct {
		filter any
		want   a
	}{
		"equality":           {d{e("name", "Anna")}, a{1}},
		"comparison":         {d{e("n", d{e("$gte", 2), e("$lt", 3.5)})}, a{2, 3}},
		"$in":                {d{e("n", d{e("$in", a{1, 3})})}, a{1, 3}},
		"$in of 1000":        {d{e("_id", d{e("$in", big)})}, a{3}},
		"$nin":               {d{e("n", d{e("$nin", a{1, 3})})}, a{2, 4}},
		"$ne":                {d{e("name", d{e("$ne", "Anna")})}, a{2, 3, 4}},
		"$exists":            {d{e("nil", d{e("$exists", true)})}, a{3}},
		"null":               {d{e("nil", nil)}, a{1, 2, 3, 4}},
		"$type":              {d{e("n", d{e("$type", "string")})}, a{4}},
		"$or":                {d{e("$or", a{d{e("n", 1)}, d{e("name", "Bert")}})}, a{1, 3}},
		"$and $nor $not":     {d{e("$and", a{d{e("_id", d{e("$not", d{e("$gt", 3)})})}}), e("$nor", a{d{e("_id", 1)}})}, a{2, 3}},
		"$elemMatch":         {d{e("subs", d{e("$elemMatch", d{e("k", "x"), e("v", 2)})})}, a{2}},
		"array path":         {d{e("subs.k", "y")}, a{1}},
		"$all":               {d{e("tags", d{e("$all", a{"a", "b"})})}, a{1}},
		"$size":              {d{e("tags", d{e("$size", 0)})}, a{2}},
		"regex with prefix":  {d{e("name", bson.Regex{Pattern: "^An"})}, a{1}},
		"regex without case": {d{e("name", bson.Regex{Pattern: "^an", Options: "i"})}, a{1, 2}},
		"$expr":              {d{e("$expr", d{e("$gt", a{"$n", "$low"})})}, a{1, 3, 4}},
		"$mod":               {d{e("_id", d{e("$mod", a{2, 0})})}, a{2, 4}},
		"dotted path":        {d{e("o.p.q", 5)}, a{3}},
		"date":               {d{e("when", d{e("$lte", time.Unix(1000, 0))})}, a{4}},
		"$jsonSchema":        {d{e("$jsonSchema", d{e("required", a{"low"})})}, a{2}},
		"$bitsAllSet":        {d{e("_id", d{e("$bitsAllSet", 1)})}, a{1, 3}},
		"$comment":           {d{e("_id", 1), e("$comment", "why")}, a{1}},
		"embedded document":  {d{e("o", d{e("p", d{e("q", 5)})})}, a{3}},
		"$not with a regex":  {d{e("name", d{e("$not", bson.Regex{Pattern: "^A"})})}, a{2, 3, 4}},
		"$sampleRate of one": {d{e("$sampleRate", 1.0)}, a{1, 2, 3, 4}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			equal(t, "ids", ids(t, coll, tt.filter, options.Find().SetSort(d{e("_id", 1)})), tt.want)
		})
	}
}

func TestAggregation(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	other := coll.Database().Collection("other")
	must(t, other.Drop(t.Context()))
	_, err := coll.InsertMany(t.Context(), []any{
		d{e("_id", 1), e("k", "x"), e("n", 1), e("tags", a{"a", "b"})},
		d{e("_id", 2), e("k", "x"), e("n", 2), e("tags", a{"b"})},
		d{e("_id", 3), e("k", "y"), e("n", 3), e("tags", a{})},
	})
	must(t, err)
	_, err = other.InsertMany(t.Context(), []any{d{e("_id", 1), e("k", "x"), e("v", "X")}, d{e("_id", 2), e("k", "x"), e("v", "XX")}})
	must(t, err)
	sorted := d{e("$sort", d{e("_id", 1)})}
	tests := map[string]struct {
		pipeline a
		want     string
	}{
		"$group":  {a{d{e("$group", d{e("_id", "$k"), e("s", d{e("$sum", "$n")}), e("l", d{e("$push", "$_id")})})}, sorted}, `[{"_id":"x","s":3,"l":[1,2]},{"_id":"y","s":3,"l":[3]}]`},
		"$count":  {a{d{e("$match", d{e("k", "x")})}, d{e("$count", "c")}}, `[{"c":2}]`},
		"$facet":  {a{d{e("$facet", d{e("p", a{d{e("$count", "c")}}), e("q", a{sorted, d{e("$limit", 1)}, d{e("$project", d{e("_id", 1)})}})})}}, `[{"p":[{"c":3}],"q":[{"_id":1}]}]`},
		"$lookup": {a{sorted, d{e("$lookup", d{e("from", "other"), e("localField", "k"), e("foreignField", "k"), e("as", "o")})}, d{e("$project", d{e("c", d{e("$size", "$o")})})}}, `[{"_id":1,"c":2},{"_id":2,"c":2},{"_id":3,"c":0}]`},
		"$lookup with pipeline": {
			a{d{e("$match", d{e("_id", 1)})}, d{e("$lookup", d{
				e("from", "other"), e("let", d{e("k", "$k")}),
				e("pipeline", a{d{e("$match", d{e("$expr", d{e("$eq", a{"$k", "$$k"})})})}, sorted, d{e("$project", d{e("v", 1)})}}), e("as", "o"),
			})}, d{e("$project", d{e("o", 1)})}},
			`[{"_id":1,"o":[{"_id":1,"v":"X"},{"_id":2,"v":"XX"}]}]`,
		},
		"$unwind":      {a{d{e("$unwind", "$tags")}, d{e("$group", d{e("_id", "$tags"), e("c", d{e("$sum", 1)})})}, sorted}, `[{"_id":"a","c":1},{"_id":"b","c":2}]`},
		"$addFields":   {a{d{e("$match", d{e("_id", 1)})}, d{e("$addFields", d{e("m", d{e("$add", a{"$n", 1})})})}, d{e("$project", d{e("m", 1)})}}, `[{"_id":1,"m":2}]`},
		"$skip $limit": {a{sorted, d{e("$skip", 1)}, d{e("$limit", 1)}, d{e("$project", d{e("_id", 1)})}}, `[{"_id":2}]`},
		"$bucket":      {a{d{e("$bucket", d{e("groupBy", "$n"), e("boundaries", a{0, 2, 10})})}}, `[{"_id":0,"count":1},{"_id":2,"count":2}]`},
		"$sortByCount": {a{d{e("$sortByCount", "$k")}}, `[{"_id":"x","count":2},{"_id":"y","count":1}]`},
		"$replaceRoot": {a{d{e("$match", d{e("_id", 1)})}, d{e("$replaceRoot", d{e("newRoot", d{e("z", "$n")})})}}, `[{"z":1}]`},
		"$unionWith":   {a{d{e("$unionWith", "other")}, d{e("$count", "c")}}, `[{"c":5}]`},
		"$graphLookup": {a{d{e("$match", d{e("_id", 1)})}, d{e("$graphLookup", d{e("from", "other"), e("startWith", "$k"), e("connectFromField", "v"), e("connectToField", "k"), e("as", "g")})}, d{e("$project", d{e("c", d{e("$size", "$g")})})}}, `[{"_id":1,"c":2}]`},
		"$setWindowFields": {
			a{d{e("$setWindowFields", d{e("partitionBy", "$k"), e("sortBy", d{e("n", 1)}), e("output", d{e("r", d{e("$sum", "$n"), e("window", d{e("documents", a{"unbounded", "current"})})})})})}, sorted, d{e("$project", d{e("r", 1)})}},
			`[{"_id":1,"r":1},{"_id":2,"r":3},{"_id":3,"r":3}]`,
		},
		"$documents-like $sample": {a{d{e("$sample", d{e("size", 2)})}, d{e("$count", "c")}}, `[{"c":2}]`},
		"$dateToString":           {a{d{e("$match", d{e("_id", 1)})}, d{e("$project", d{e("d", d{e("$dateToString", d{e("date", time.Unix(0, 0)), e("format", "%Y-%m-%d")})})})}}, `[{"_id":1,"d":"1970-01-01"}]`},
		"$topN":                   {a{d{e("$group", d{e("_id", nil), e("t", d{e("$topN", d{e("n", 1), e("sortBy", d{e("n", -1)}), e("output", "$_id")})})})}}, `[{"_id":null,"t":[3]}]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cur, err := coll.Aggregate(t.Context(), tt.pipeline)
			must(t, err)
			var got []bson.D
			must(t, cur.All(t.Context(), &got))
			var parts []string
			for _, g := range got {
				b, err := bson.MarshalExtJSON(g, false, false)
				must(t, err)
				parts = append(parts, string(b))
			}
			equal(t, "result", "["+strings.Join(parts, ",")+"]", tt.want)
		})
	}
}

func TestOutAndMerge(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 3)
	for name, stage := range map[string]d{
		"out":   {e("$out", "out")},
		"merge": {e("$merge", d{e("into", "merge"), e("whenMatched", "replace"), e("whenNotMatched", "insert")})},
	} {
		to := coll.Database().Collection(name)
		must(t, to.Drop(t.Context()))
		cur, err := coll.Aggregate(t.Context(), a{d{e("$match", d{e("n", d{e("$gt", 0)})})}, stage})
		equal(t, name, len(all(t, cur, err)), 0)
		equal(t, name, ids(t, to, d{}), a{1, 2})
	}
}

func TestCountsAndDistinct(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 100)
	n, err := coll.CountDocuments(t.Context(), d{e("n", d{e("$gte", 10)})})
	must(t, err)
	equal(t, "count", n, 90)
	n, err = coll.CountDocuments(t.Context(), d{}, options.Count().SetLimit(7).SetSkip(1))
	must(t, err)
	equal(t, "limited count", n, 7)
	n, err = coll.EstimatedDocumentCount(t.Context())
	must(t, err)
	equal(t, "estimate", n, 100)
	var values []int
	must(t, coll.Distinct(t.Context(), "n", d{e("n", d{e("$lt", 3)})}).Decode(&values))
	equal(t, "distinct", values, []int{0, 1, 2})
}

func TestDeletes(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 100)
	r, err := coll.DeleteMany(t.Context(), d{e("n", d{e("$gte", 10), e("$lt", 90)})})
	must(t, err)
	equal(t, "deleted", r.DeletedCount, 80)
	r, err = coll.DeleteOne(t.Context(), d{e("n", d{e("$gte", 0)})})
	must(t, err)
	equal(t, "deleted", r.DeletedCount, 1)
}

func TestProjections(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), d{e("_id", 1), e("a", a{1, 2, 3, 4}), e("o", d{e("x", 1), e("y", 2)}), e("s", a{d{e("k", 1)}, d{e("k", 2)}})})
	must(t, err)
	for name, tt := range map[string]struct {
		projection d
		want       string
	}{
		"inclusion":  {d{e("o.x", 1)}, `{"_id":1,"o":{"x":1}}`},
		"exclusion":  {d{e("a", 0), e("s", 0), e("_id", 0)}, `{"o":{"x":1,"y":2}}`},
		"$slice":     {d{e("a", d{e("$slice", -2)}), e("o", 0), e("s", 0)}, `{"_id":1,"a":[3,4]}`},
		"$elemMatch": {d{e("s", d{e("$elemMatch", d{e("k", 2)})})}, `{"_id":1,"s":[{"k":2}]}`},
		"expression": {d{e("z", d{e("$add", a{"$o.x", "$o.y"})})}, `{"_id":1,"z":3}`},
	} {
		t.Run(name, func(t *testing.T) {
			var got bson.D
			must(t, coll.FindOne(t.Context(), d{}, options.FindOne().SetProjection(tt.projection)).Decode(&got))
			b, err := bson.MarshalExtJSON(got, false, false)
			must(t, err)
			equal(t, "document", string(b), tt.want)
		})
	}
}

func TestLargeValues(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: d{e("strings", 1)}})
	must(t, err)
	data := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 3<<20) // 15 MB
	strs := a{}
	for i := range 500 {
		strs = append(strs, fmt.Sprintf("system|code-%04d-%s", i, strings.Repeat("x", 40)))
	}
	_, err = coll.InsertOne(t.Context(), d{e("_id", 1), e("data", bson.Binary{Data: data}), e("strings", strs)})
	must(t, err)
	m := one(t, coll, d{e("strings", strs[499])})
	if got := m["data"].(bson.Binary).Data; !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back", len(got))
	}
	_, err = coll.InsertOne(t.Context(), d{e("_id", 2), e("data", bson.Binary{Data: data})})
	must(t, err)
	equal(t, "two of 15 MB", len(ids(t, coll, d{})), 2)
	_, err = coll.InsertOne(t.Context(), d{e("_id", 3), e("data", bson.Binary{Data: make([]byte, 17<<20)})})
	if err == nil {
		t.Error("a document of 17 MB was taken")
	}
}

func TestTypesComeBackAsTheyWent(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	dec, err := bson.ParseDecimal128("1.10")
	must(t, err)
	in := d{
		e("_id", bson.NewObjectID()), e("int", int32(1)), e("long", int64(1)), e("double", 1.0), e("dec", dec), e("s", "ü\x00z"),
		e("b", true), e("nil", nil), e("date", bson.DateTime(-1)), e("ts", bson.Timestamp{T: 1, I: 2}), e("re", bson.Regex{Pattern: "a", Options: "i"}),
		e("bin", bson.Binary{Subtype: 4, Data: make([]byte, 16)}), e("min", bson.MinKey{}), e("max", bson.MaxKey{}), e("js", bson.JavaScript("f()")),
		e("a", a{1, a{2}, d{}}), e("", "empty key"),
	}
	_, err = coll.InsertOne(t.Context(), in)
	must(t, err)
	var out bson.D
	must(t, coll.FindOne(t.Context(), d{}).Decode(&out))
	want, err := bson.Marshal(in)
	must(t, err)
	got, err := bson.Marshal(out)
	must(t, err)
	if !bytes.Equal(want, got) {
		t.Errorf("got %v, want %v", bson.Raw(got), bson.Raw(want))
	}
}

func TestLetVariables(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 5)
	is := d{e("$expr", d{e("$eq", a{"$n", "$$x"})})}
	equal(t, "find", ids(t, coll, is, options.Find().SetLet(d{e("x", 3)})), a{3})
	_, err := coll.UpdateOne(t.Context(), is, d{e("$set", d{e("n", 30)})}, options.UpdateOne().SetLet(d{e("x", 3)}))
	must(t, err)
	_, err = coll.DeleteOne(t.Context(), is, options.DeleteOne().SetLet(d{e("x", 30)}))
	must(t, err)
	equal(t, "left", ids(t, coll, d{}), a{0, 1, 2, 4})
}

func TestMaxTime(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 3000)
	slow := a{d{e("$lookup", d{e("from", "c"), e("let", d{e("n", "$n")}), e("pipeline", a{d{e("$match", d{e("$expr", d{e("$gt", a{"$n", "$$n"})})})}}), e("as", "x")})}, d{e("$count", "c")}}
	began := time.Now()
	ctx := within(t, time.Minute)
	err := coll.Database().RunCommand(ctx, d{e("aggregate", "c"), e("pipeline", slow), e("cursor", d{}), e("maxTimeMS", 100)}).Err()
	if !hasCode(err, 50) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
