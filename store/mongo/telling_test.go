package mongo_test

import (
	"bytes"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

// teller says what a store's stream would tell of. It compares the database
// before and after, writes what changed in the form of change events, and runs
// them through the store's own pipeline, but for its first stage.
type teller struct {
	t        *testing.T
	db       *driver.Database
	events   *driver.Collection
	pipeline bson.A
	state    map[string]map[string]bson.Raw
}

// tellerOf opens a store, and learns its pipeline.
func tellerOf(t *testing.T) (*mongo.Store, *teller) {
	t.Helper()
	e := mongotest.Start(t)
	uri := fresh(t, e)
	client := connect(t, e.URI())
	x := &teller{t: t, db: client.Database(database(uri)), events: client.Database(e.Database(t)).Collection("event")}
	asked := make(chan bson.Raw, 1)
	s := open(t, mongo.Config{URI: uri}.Watching(func(e *event.CommandStartedEvent) {
		if ofStream(e) && e.CommandName == "aggregate" {
			select {
			case asked <- bytes.Clone(e.Command):
			default:
			}
		}
	}))
	s.Watch(t.Context())
	var command struct {
		Pipeline bson.A `bson:"pipeline"`
	}
	if err := bson.Unmarshal(<-asked, &command); err != nil {
		t.Fatal(err)
	}
	x.pipeline = command.Pipeline[1:]
	x.state = x.read()
	return s, x
}

func (x *teller) read() map[string]map[string]bson.Raw {
	x.t.Helper()
	out := map[string]map[string]bson.Raw{}
	names, err := x.db.ListCollectionNames(x.t.Context(), bson.D{})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, name := range names {
		cur, err := x.db.Collection(name).Find(x.t.Context(), bson.D{})
		if err != nil {
			x.t.Fatal(err)
		}
		var docs []bson.Raw
		if err := cur.All(x.t.Context(), &docs); err != nil {
			x.t.Fatal(err)
		}
		out[name] = map[string]bson.Raw{}
		for _, d := range docs {
			out[name][d.Lookup("_id").String()] = d
		}
	}
	return out
}

// tells asserts whether the stream tells of what is done. Whether an update is
// written as one or as a replacement makes no difference.
func (x *teller) tells(what string, want bool, do func() error) {
	x.t.Helper()
	if err := do(); err != nil {
		x.t.Fatalf("%s: %v", what, err)
	}
	before := x.state
	x.state = x.read()
	events := changesBetween(before, x.state)
	if len(events) == 0 {
		x.t.Fatalf("%s: it changed nothing", what)
	}
	if told := x.passed(events); len(told) > 0 != want {
		x.t.Errorf("%s: of %d changes the stream tells of %v", what, len(events), told)
	}
}

// passed are the events that pass the pipeline.
func (x *teller) passed(events []any) (out []bson.D) {
	x.t.Helper()
	ctx := x.t.Context()
	if _, err := x.events.DeleteMany(ctx, bson.D{}); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.events.InsertMany(ctx, events); err != nil {
		x.t.Fatal(err)
	}
	cur, err := x.events.Aggregate(ctx, x.pipeline)
	if err != nil {
		x.t.Fatal(err)
	}
	if err := cur.All(ctx, &out); err != nil {
		x.t.Fatal(err)
	}
	for _, e := range out {
		if len(e) != 1 || e[0].Key != "_id" {
			x.t.Errorf("an event has more than its token: %v", e)
		}
	}
	return out
}

// changesBetween are the events of what differs.
func changesBetween(before, after map[string]map[string]bson.Raw) (events []any) {
	add := func(collection, kind, member string, value any) {
		events = append(events, bson.D{
			{Key: "_id", Value: bson.D{{Key: "_data", Value: collection + string(rune('0'+len(events)))}}},
			{Key: "operationType", Value: kind},
			{Key: "ns", Value: bson.D{{Key: "db", Value: "firebreak"}, {Key: "coll", Value: collection}}},
			{Key: member, Value: value},
		})
	}
	for collection, docs := range after {
		for id, now := range docs {
			switch was := before[collection][id]; {
			case was == nil:
				add(collection, "insert", "fullDocument", now)
			case !bytes.Equal(was, now):
				add(collection, "update", "updateDescription", difference(was, now))
			}
		}
		for id := range before[collection] {
			if docs[id] == nil {
				add(collection, "delete", "documentKey", bson.D{{Key: "_id", Value: id}})
			}
		}
	}
	return events
}

// difference is an updateDescription.
func difference(was, now bson.Raw) bson.D {
	updated, removed := bson.D{}, bson.A{}
	is, _ := now.Elements()
	for _, e := range is {
		if !e.Value().Equal(was.Lookup(e.Key())) {
			updated = append(updated, bson.E{Key: e.Key(), Value: e.Value()})
		}
	}
	had, _ := was.Elements()
	for _, e := range had {
		if _, err := now.LookupErr(e.Key()); err != nil {
			removed = append(removed, e.Key())
		}
	}
	return bson.D{{Key: "updatedFields", Value: updated}, {Key: "removedFields", Value: removed}, {Key: "truncatedArrays", Value: bson.A{}}}
}

func TestTheStreamTellsOfWorkAndOfNothingElse(t *testing.T) {
	t.Parallel()
	s, x := tellerOf(t)
	ctx := t.Context()
	j := newJob("x")
	var f store.Fence
	claim := func() (err error) { _, f, err = s.Claim(ctx, []string{j.Kind}, lease); return err }
	end := func(state job.State) func() error {
		return func() error { return s.End(ctx, f, job.UnitEnd{State: state}) }
	}
	update := func(how func(job.Job) (job.Job, error)) func() error {
		return func() error { return drop(s.Update(ctx, north, j.ID, how)) }
	}
	x.tells("resources", false, func() error { return drop(commit(ctx, s, patient(t, "1", "a"))) })
	x.tells("a sign of life", false, func() error { return s.Ping(ctx) })
	x.tells("a new job", true, func() error { return drop(s.Create(ctx, j, unitsOf(j, "a", "b"), store.Limit{PerOwner: 1})) })
	x.tells("a claim", false, claim)
	x.tells("a renewal", false, func() error { return s.Renew(ctx, f, lease) })
	x.tells("members", false, func() error { return s.AddMembers(ctx, f, []string{"1"}) })
	x.tells("units of a later phase", false, func() error {
		later := unitsOf(j, "c")
		later[0].Phase = 1
		return s.Add(ctx, f, later)
	})
	x.tells("a unit that is put back", true, end(job.Queued))
	x.tells("a claim of that", false, claim)
	if f.Unit != "a" && f.Unit != "b" {
		t.Fatalf("claimed %v", f)
	}
	x.tells("the success of one of two units", false, end(job.Succeeded))
	x.tells("a claim of the other", false, claim)
	x.tells("units of a later phase again", false, func() error {
		later := unitsOf(j, "d")
		later[0].Phase = 1
		return s.Add(ctx, f, later)
	})
	x.tells("the success of the last of the phase", true, end(job.Succeeded))
	x.tells("a claim in the next phase", false, claim)
	x.tells("the failure of a unit", false, end(job.Failed))
	x.tells("the start of a job", true, update(func(j job.Job) (job.Job, error) { return j.Start(j.Created) }))
	x.tells("the failure of a job", true, update(func(j job.Job) (job.Job, error) { return j.Fail(time.Now(), job.Reason{}) }))
	x.tells("a new try", true, func() error { return drop(s.Retry(ctx, north, j.ID, time.Now(), store.Limit{})) })
	x.tells("a cancel", true, update(func(j job.Job) (job.Job, error) { return j.RequestCancel(time.Now()) }))
}

// A server may log an update as a replacement, where that is shorter.
func TestTheStreamTellsOfAUnitThatIsPutBackByReplacingIt(t *testing.T) {
	t.Parallel()
	_, x := tellerOf(t)
	of := func(id, collection string, state job.State) bson.D {
		return bson.D{
			{Key: "_id", Value: id},
			{Key: "operationType", Value: "replace"},
			{Key: "ns", Value: bson.D{{Key: "coll", Value: collection}}},
			{Key: "fullDocument", Value: bson.D{{Key: "state", Value: state}}},
		}
	}
	told := x.passed([]any{of("back", "unit", job.Queued), of("claimed", "unit", job.Running), of("job", "job", job.Running), of("other", "part", job.Queued)})
	ids := map[any]bool{}
	for _, e := range told {
		ids[e[0].Value] = true
	}
	if len(ids) != 2 || !ids["back"] || !ids["job"] {
		t.Errorf("it tells of %v", ids)
	}
}
