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

// lane is what an instance commits to one tenant through. Its commits are
// serial; those of other lanes go on beside them.
type lane struct {
	s        *Store
	tenant   store.Tenant
	no       uint16 // the tenant's
	requests chan *request
	stopped  chan struct{}
	ending   sync.RWMutex // held by who sends a request
	ended    bool         // nobody may

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
	Gaps     int64       `bson:"gaps"`    // as of its tenant
	Ended    *time.Time  `bson:"ended,omitempty"`
}

// tenantDoc is a tenant as the database has it.
type tenantDoc struct {
	Name       string `bson:"_id"`
	No         int    `bson:"no"`
	Clock      int64  `bson:"clock"`      // no lane that opens may commit at or before it
	Generation int64  `bson:"generation"` // counts lanes that were opened or ended
	Gaps       int64  `bson:"gaps"`       // counts erasures that left a history without its beginning
}

func laneID(tenant uint16, no int64) int64 { return int64(tenant)<<32 | no }

// number is the lane's own in keys.
func (l *lane) number() uint32 { return uint32(l.id) }

// laneOf is this instance's lane to a tenant.
func (s *Store) laneOf(ctx context.Context, t store.Tenant) (*lane, error) {
	no, err := s.newTenant(ctx, t)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	l, ok := s.lanes[t]
	if !ok {
		l = &lane{s: s, tenant: t, no: no, requests: make(chan *request, 256), stopped: make(chan struct{})}
		s.lanes[t] = l
		s.under.Go(l.loop)
	}
	return l, nil
}

// send hands a request to the loop.
func (l *lane) send(r *request) error {
	l.ending.RLock()
	defer l.ending.RUnlock()
	if l.ended {
		return store.ErrClosed
	}
	select {
	case l.requests <- r:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// stop lets what waits be committed, and ends the loop.
func (l *lane) stop() {
	l.ending.Lock()
	l.ended = true
	l.ending.Unlock()
	close(l.requests)
	<-l.stopped
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
			At: t.Clock, Floor: t.Clock, Gaps: t.Gaps,
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

// kill ends the transactions of sessions.
func (s *Store) kill(ctx context.Context, sessions ...bson.Raw) error {
	return wrap("end a session's transaction", s.client.Database("admin").RunCommand(ctx, field("killSessions", sessions)).Err())
}

// open is the lane of an id, while it has not ended.
func open(id int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "ended", Value: nil}}
}
