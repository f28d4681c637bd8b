package e2e_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestNowIsTheTimeOfTheCommand holds $$NOW to the clock for each command of a transaction.
func TestNowIsTheTimeOfTheCommand(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 2)
	s, ctx := session(t, c)
	must(t, s.StartTransaction())
	for range 3 {
		<-time.After(30 * time.Millisecond)
		before := time.Now().UnixMilli()
		var got struct{ At int64 }
		must(t, coll.FindOneAndUpdate(ctx, d{e("_id", 1)}, a{d{e("$set", d{e("at", d{e("$toLong", "$$NOW")})})}},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&got))
		if after := time.Now().UnixMilli(); got.At < before || got.At > after {
			t.Errorf("$$NOW is %d, the clock went from %d to %d", got.At, before, after)
		}
	}
	must(t, s.CommitTransaction(ctx))
}

func TestNowInEveryPlaceOfAnExpression(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	numbered(t, coll, 3)
	before := time.Now().Add(-time.Millisecond)
	check := func(what string, v any) {
		t.Helper()
		at, ok := v.(bson.DateTime)
		if !ok || at.Time().Before(before) || at.Time().After(time.Now()) {
			t.Errorf("%s: %v", what, v)
		}
	}
	for what, stage := range map[string]d{
		"$project": {e("$project", d{e("at", "$$NOW")})},
		"$set":     {e("$set", d{e("at", "$$NOW")})},
		"$group":   {e("$group", d{e("_id", nil), e("at", d{e("$max", "$$NOW")})})},
		"$lookup":  {e("$lookup", d{e("from", "c"), e("pipeline", a{d{e("$limit", 1)}, d{e("$project", d{e("at", "$$NOW")})}}), e("as", "in")})},
	} {
		cur, err := coll.Aggregate(t.Context(), a{
			stage,
			d{e("$unwind", d{e("path", "$in"), e("preserveNullAndEmptyArrays", true)})},
			d{e("$set", d{e("at", d{e("$ifNull", a{"$at", "$in.at"})})})},
			d{e("$limit", 1)},
		})
		check(what, all(t, cur, err)[0]["at"])
	}
	cur, err := coll.Find(t.Context(), d{e("_id", 1)}, options.Find().SetProjection(d{e("at", "$$NOW")}))
	check("a projection", all(t, cur, err)[0]["at"])
	_, err = coll.UpdateMany(t.Context(), d{e("$expr", d{e("$lt", a{"$n", d{e("$toLong", "$$NOW")}})})}, a{d{e("$set", d{e("at", "$$NOW")})}})
	must(t, err)
	check("an update", one(t, coll, d{e("_id", 2)})["at"])
}

func TestNowAsAPlainValueIsText(t *testing.T) {
	c := connect(t)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), d{e("_id", 1), e("s", "$$NOW")})
	must(t, err)
	_, err = coll.UpdateByID(t.Context(), 1, d{e("$set", d{e("set", "$$NOW")})})
	must(t, err)
	_, err = coll.UpdateOne(t.Context(), d{e("s", "$$NOW")}, a{d{e("$set", d{e("literal", d{e("$literal", "$$NOW")})})}})
	must(t, err)
	doc := one(t, coll, d{e("s", d{e("$in", a{"$$NOW"})})})
	for _, f := range []string{"s", "set", "literal"} {
		equal(t, f, doc[f], "$$NOW")
	}
	cur, err := coll.Aggregate(t.Context(), a{d{e("$match", d{e("s", "$$NOW")})}})
	equal(t, "matched", len(all(t, cur, err)), 1)
}
