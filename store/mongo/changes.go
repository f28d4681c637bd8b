package mongo

import (
	"context"
	"sync"
	"time"

	"firebreak/operations/job"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// changes is the change stream that all watchers of a Store share: it is there
// while there is one.
type changes struct {
	mu       sync.Mutex
	watchers int
	end      context.CancelFunc // of what follows the stream for them

	turn sync.Mutex // whoever follows has it: the last one is done before the next begins
	had  bool       // the server has opened one
	none bool       // the server has none, and is not asked again
}

// join follows the stream for one more watcher.
func (s *Store) join() {
	c := &s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers++
	if c.watchers > 1 {
		return
	}
	ctx, end := context.WithCancel(s.life)
	c.end = end
	s.under.Go(func() { s.follow(ctx) })
}

// part ends what join began.
func (s *Store) part() {
	c := &s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers--
	if c.watchers == 0 {
		c.end()
	}
}

// follow keeps the stream open until ctx ends, or the server turns out to have
// none.
func (s *Store) follow(ctx context.Context) {
	s.changes.turn.Lock()
	defer s.changes.turn.Unlock()
	for retry := (backoff{}); !s.changes.none; {
		began := time.Now()
		s.listen(ctx)
		if time.Since(began) >= glance {
			retry = backoff{}
		}
		if !retry.wait(ctx) {
			return
		}
	}
}

// listen opens the stream and wakes the watchers with each change, until it
// breaks. What happened before, it does not tell; so it wakes them first.
//
// The driver's Watch is not used. It opens a broken stream again by itself,
// without a rest between, and does so before it has looked whether ctx has
// ended, so that the server keeps the cursor. The token that it goes on from is
// of no use here, where any change is the same hint.
func (s *Store) listen(ctx context.Context) {
	cur, err := s.openChanges(ctx)
	if err != nil {
		s.refused(ctx, err)
		return
	}
	s.changes.had = true
	defer hangUp(ctx, cur)
	s.watch.Wake(nil)
	for s.heard(ctx, cur) {
	}
}

func (s *Store) openChanges(ctx context.Context) (*mongo.Cursor, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*selection)
	defer cancel()
	return s.db.Aggregate(ctx, telling(), options.Aggregate().SetMaxAwaitTime(await))
}

// refused notes that the server has no change streams, if that is what its
// first answer means: it is no set of replicas, does not know the stage, or the
// user may not. Whatever else it says that time does not change is taken for
// that as well, as nothing is lost but a second.
func (s *Store) refused(ctx context.Context, err error) {
	if ctx.Err() != nil || s.changes.had || transient(err) {
		return
	}
	s.changes.none = true
	if s.cfg.Log != nil {
		s.cfg.Log.Debug("the database gives no change stream: what other instances do is found by polling only", "error", err)
	}
}

// await is how long the server waits for a change before it answers that there
// was none. It has a connection meanwhile, see clientOptions.
const await = 10 * time.Second

// heard asks for the next change; false if the stream has ended.
func (s *Store) heard(ctx context.Context, cur *mongo.Cursor) bool {
	ctx, cancel := context.WithTimeout(ctx, await+selection)
	defer cancel()
	if cur.TryNext(ctx) {
		s.watch.Wake(nil)
		return true
	}
	return cur.Err() == nil && cur.ID() != 0
}

// hangUp has the server forget a cursor, whatever became of ctx.
func hangUp(ctx context.Context, cur *mongo.Cursor) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = cur.Close(ctx)
}

// changed is the collection whose name the cursors of change streams of a
// database have.
const changed = "$cmd.aggregate"

// telling is the stream of what may mean work for an engine, without anything
// of it but the token that each event must keep:
//
//   - a job is new, or was replaced, which a cancel does, and a new try;
//   - it goes on to another phase: what was added for that can be claimed;
//   - a unit was put back.
//
// So a job that is planned is one event and not one a unit. Claims, renewals
// and parts only count the job's writes. What this instance did itself is among
// the events, as they do not say whose they are.
func telling() mongo.Pipeline {
	in := func(collection string, also bson.E) bson.D {
		return bson.D{{Key: "ns.coll", Value: collection}, also}
	}
	set := func(name string) string { return "updateDescription.updatedFields." + name }
	return mongo.Pipeline{
		field("$changeStream", bson.D{}),
		field("$match", field("$or", bson.A{
			in(jobs, bson.E{Key: "operationType", Value: field("$in", bson.A{"insert", "replace"})}),
			in(jobs, exists(set("v"))[0]),
			in(jobs, exists(set("phase"))[0]),
			in(jobs, bson.E{Key: "updateDescription.removedFields", Value: "phase"}),
			in(units, bson.E{Key: set("state"), Value: job.Queued}),
			// A server may write an update as a replacement.
			append(in(units, bson.E{Key: "operationType", Value: "replace"}), bson.E{Key: "fullDocument.state", Value: job.Queued}),
		})),
		field("$project", field("_id", 1)),
	}
}
