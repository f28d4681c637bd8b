package mongo

import (
	"context"
	"sync"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// queue is what an instance has to commit to one tenant. Its lanes take from
// it, each as much as waits.
type queue struct {
	no       uint16 // the tenant's
	requests chan *request
	lanes    sync.WaitGroup
}

// lanesEach is how many lanes an instance has to a tenant: while the server
// works on a commit of one, another's is made ready and sent.
const lanesEach = 2

// lane is what an instance commits to one tenant through. Its commits are
// serial; those of other lanes go on beside them.
type lane struct {
	*queue
	s       *Store
	id      int64 // of its document: the tenant's number and the lane's; 0: not opened
	session *mongo.Session
}

// laneDoc is a lane as the database has it.
type laneDoc struct {
	ID       int64       `bson:"_id"` // tenant's number << 32 | the lane's
	Tenant   int         `bson:"tenant"`
	Instance string      `bson:"instance"`
	Session  bson.Raw    `bson:"session"` // of its transactions
	At       int64       `bson:"at"`      // tick of its last commit
	Floor    int64       `bson:"floor"`   // of the last barrier; each commit is later
	Last     bson.Binary `bson:"last"`    // the id of its last commit
	Ended    *time.Time  `bson:"ended,omitempty"`
}

// tenantDoc is a tenant as the database has it.
type tenantDoc struct {
	Name       string `bson:"_id"`
	No         int    `bson:"no"`
	Clock      int64  `bson:"clock"`      // no lane that opens may commit at or before it
	Generation int64  `bson:"generation"` // counts lanes that were opened or ended
}

func laneID(tenant uint16, no int64) int64 { return int64(tenant)<<32 | no }

// number is the lane's own in keys.
func (l *lane) number() uint32 { return uint32(l.id) }

// queueOf is where this instance's commits to a tenant wait.
func (s *Store) queueOf(ctx context.Context, t store.Tenant) (*queue, error) {
	no, err := s.newTenant(ctx, t)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	q, ok := s.queues[t]
	if !ok {
		q = &queue{no: no, requests: make(chan *request, 256)}
		s.queues[t] = q
		for range lanesEach {
			l := &lane{queue: q, s: s}
			q.lanes.Go(l.loop)
		}
	}
	return q, nil
}

// stop lets what waits be committed, and ends the lanes.
func (q *queue) stop() {
	close(q.requests)
	q.lanes.Wait()
}

// open makes the lane's document, together with a new generation of the
// tenant: a barrier either sees the lane, or sees that one was opened since.
func (l *lane) open(ctx context.Context) error {
	if l.session == nil {
		session, err := l.s.client.StartSession()
		if err != nil {
			return err
		}
		l.session = session
	}
	var t tenantDoc
	err := l.s.transact(ctx, func(ctx context.Context) error {
		if err := l.s.nextGeneration(ctx, l.no, 0, &t); err != nil {
			return err
		}
		_, err := l.s.db.Collection(lanes).InsertOne(ctx, laneDoc{
			ID: laneID(l.no, t.Generation), Tenant: int(l.no), Instance: l.s.instance, Session: l.session.ID(),
			At: t.Clock, Floor: t.Clock,
		})
		return err
	})
	if err == nil {
		l.id = laneID(l.no, t.Generation)
	}
	return err
}

// nextGeneration notes in the tenant's document that a lane was opened or
// ended, and that what was committed until the tick is past.
func (s *Store) nextGeneration(ctx context.Context, tenant uint16, at int64, into *tenantDoc) error {
	return s.db.Collection(tenants).FindOneAndUpdate(ctx, field("no", int(tenant)), bson.D{
		{Key: "$inc", Value: field("generation", int64(1))}, {Key: "$max", Value: field("clock", at)},
	}, options.FindOneAndUpdate().SetReturnDocument(options.After).SetHint("number")).Decode(into)
}

// end ends a lane, if it has not been: a commit under way on it is undone, and
// no other goes through. What it committed last is kept for a while, for the
// one who was cut off and asks.
func (s *Store) end(ctx context.Context, l laneDoc) error {
	if err := s.kill(ctx, l.Session); err != nil {
		return err
	}
	return s.transact(ctx, func(ctx context.Context) error {
		var ended laneDoc
		err := s.db.Collection(lanes).FindOneAndUpdate(ctx, open(l.ID), bson.A{field("$set", field("ended", "$$NOW"))},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&ended)
		if isNone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var t tenantDoc
		return s.nextGeneration(ctx, uint16(ended.Tenant), ended.At, &t)
	})
}

// kill ends a session's transaction.
func (s *Store) kill(ctx context.Context, session bson.Raw) error {
	err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "killSessions", Value: bson.A{session}}}).Err()
	if err != nil {
		return wrap("end a session's transaction", err)
	}
	return nil
}

// open is the lane of an id, while it has not ended.
func open(id int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "ended", Value: nil}}
}
