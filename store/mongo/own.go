package mongo

import (
	"context"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// sessions are those of this instance's transactions, but for its lanes'. Its
// document has their ids: if it dies within a transaction, which may hold a
// job, others end that.
type sessions struct {
	mu   sync.Mutex
	free []*mongo.Session
	ids  []bson.Raw // of all
}

// session is one that no other transaction has. give must be called.
func (s *Store) session(ctx context.Context) (session *mongo.Session, give func(), err error) {
	if session = s.sessions.take(); session == nil {
		session, err = s.newSession(ctx)
	}
	return session, func() { s.sessions.give(session) }, err
}

// newSession starts one, of which the others know before it is used.
func (s *Store) newSession(ctx context.Context) (*mongo.Session, error) {
	session, err := s.client.StartSession()
	if err != nil {
		return nil, err
	}
	s.sessions.add(session)
	ctx, cancel := context.WithTimeout(ctx, lapse)
	defer cancel()
	if err := s.beat(ctx); err != nil {
		s.sessions.drop(session)
		return nil, err
	}
	return session, nil
}

func (o *sessions) take() (session *mongo.Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.free); n > 0 {
		session, o.free = o.free[n-1], o.free[:n-1]
	}
	return session
}

// give takes a session back, unless something is left open in it.
func (o *sessions) give(session *mongo.Session) {
	if session.TransactionRunning() {
		o.drop(session)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free = append(o.free, session)
}

func (o *sessions) add(session *mongo.Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids = append(o.ids, session.ID())
}

// drop ends a session, and what is open in it.
func (o *sessions) drop(session *mongo.Session) {
	id := string(session.ID())
	release(session)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids = slices.DeleteFunc(o.ids, func(other bson.Raw) bool { return string(other) == id })
}

// all are the ids of those that are not ended.
func (o *sessions) all() []bson.Raw {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]bson.Raw{}, o.ids...)
}

// end ends those that are free.
func (o *sessions) end() {
	for session := o.take(); session != nil; session = o.take() {
		o.drop(session)
	}
}
