package mongo

import (
	"context"
	"errors"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Barrier is store.Committer. Why it is one, the package's comment proves.
func (s *Store) Barrier(ctx context.Context, t store.Tenant, round time.Duration) (store.Tick, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	no, err := s.newTenant(ctx, t)
	if err != nil {
		return 0, failed(ctx, err)
	}
	began := time.Now()
	for retry := (backoff{}); ; {
		tried := time.Now()
		at, early, err := s.tryBarrier(ctx, no, round, time.Since(began) > enduring)
		switch {
		case err == nil && early == 0:
			s.clocks.note(no, at)
			return at, nil
		case err == nil:
			if err := wait(ctx, early); err != nil {
				return 0, err
			}
			began = time.Now()
		case gone(err, tried), !errors.Is(err, errUnsettled) && (!transient(err) || time.Since(began) > enduring),
			time.Since(began) > settling, !retry.wait(ctx):
			return 0, failed(ctx, err)
		}
	}
}

// settling is how long a barrier is tried for, besides waiting for its instant.
const settling = time.Minute

// errUnsettled tells that lanes were opened or ended during a barrier, or that
// one would not move: another try is needed.
var errUnsettled = transientError(errors.New("the lanes of the tenant did not settle"))

// tryBarrier is one try. early: it would be so much too early, and T is not
// written. Lanes that do not move are ended if it is the last resort.
func (s *Store) tryBarrier(ctx context.Context, tenant uint16, round time.Duration, last bool) (at store.Tick, early time.Duration, err error) {
	t, open, err := s.lanesOf(ctx, tenant)
	if err != nil {
		return 0, 0, err
	}
	server, err := s.clock(ctx)
	if err != nil {
		return 0, 0, err
	}
	now, clock := store.TickOf(server.Add(s.jump())), latest(t, open)
	// The first raise tells of what was committed before the call: what (2)
	// read may be of a primary that is none any more, but a raise is
	// acknowledged by a majority. What is committed after it is later than T,
	// so the second one need not tell of anything.
	for range 2 {
		if at, early = store.BarrierAt(now, clock, round); early > 0 {
			return 0, early, nil
		}
		if clock, err = s.raiseAll(ctx, open, at, last); err != nil {
			return 0, 0, err
		}
		if clock <= at {
			break
		}
	}
	got, err := s.db.Collection(tenants).UpdateOne(ctx,
		bson.D{{Key: "no", Value: int(tenant)}, {Key: "generation", Value: t.Generation}},
		bson.D{{Key: "$max", Value: field("clock", int64(at))}, {Key: "$inc", Value: field("barriers", int64(1))}},
		options.UpdateOne().SetHint("number"))
	if err == nil && got.MatchedCount == 0 {
		err = errUnsettled
	}
	return at, 0, err
}

// raiseAll raises the lanes to a tick. It returns that of the latest commit on
// any of them.
func (s *Store) raiseAll(ctx context.Context, open []laneDoc, at store.Tick, last bool) (latest store.Tick, err error) {
	for _, l := range open {
		found, err := s.raise(ctx, l, at, last)
		if err != nil {
			return 0, err
		}
		latest = max(latest, store.Tick(found.At))
	}
	return latest, nil
}

// lanesOf reads a tenant, and then its open lanes.
func (s *Store) lanesOf(ctx context.Context, tenant uint16) (t tenantDoc, open []laneDoc, err error) {
	if err = s.local(tenants).FindOne(ctx, field("no", int(tenant)), options.FindOne().SetHint("number")).Decode(&t); err != nil {
		return t, nil, err
	}
	cur, err := s.local(lanes).Find(ctx, bson.D{{Key: "tenant", Value: int(tenant)}, {Key: "ended", Value: nil}},
		options.Find().SetHint(byTenant))
	if err != nil {
		return t, nil, err
	}
	return t, open, cur.All(ctx, &open)
}

// patience is how long a barrier waits for a commit under way before it looks
// whether its instance is still there.
const patience = time.Second

// raise makes all that the lane commits from now on later than a tick. As a
// plain update it waits for a commit under way on the lane. The count is what
// makes it a write, and so has a majority acknowledge it, where the floor is
// high enough already.
func (s *Store) raise(ctx context.Context, l laneDoc, at store.Tick, last bool) (laneDoc, error) {
	var answer struct {
		Value *laneDoc `bson:"value"`
	}
	err := s.db.RunCommand(ctx, bson.D{
		{Key: "findAndModify", Value: lanes},
		{Key: "query", Value: open(l.ID)},
		{Key: "update", Value: bson.D{{Key: "$max", Value: field("floor", int64(at))}, {Key: "$inc", Value: field("raised", int64(1))}}},
		{Key: "new", Value: true},
		{Key: "maxTimeMS", Value: patience.Milliseconds()},
		{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}, {Key: "j", Value: true}}},
	}).Decode(&answer)
	switch {
	case err == nil && answer.Value != nil:
		return *answer.Value, nil
	case err == nil:
		return l, errUnsettled
	case !hasCode(err, maxTimeExpired) && !hasCode(err, writeConflict):
		return l, err
	}
	silent, err := s.silent(ctx, lapse)
	if err == nil && (last || silent[l.Instance]) {
		err = s.end(ctx, l)
	}
	return l, errors.Join(err, errUnsettled)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
