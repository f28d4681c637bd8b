package mongo

import (
	"context"
	"errors"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// front is the phase of an open job whose units can be claimed, as all units
// of lower phases have succeeded.
type front struct {
	Tenant string `bson:"tenant"`
	Job    string `bson:"job"`
	Phase  *int   `bson:"phase"` // nil: the job has no unit to be done
}

func (f front) stage() string { return stage(f.Tenant, f.Job, *f.Phase) }

// stagesAtOnce is how many stages a query asks for: MongoDB merges so many
// ranges of an index in order before it would rather sort what they hold.
const stagesAtOnce = 100

// fronts are those of all open jobs of the kinds, that of the oldest job first.
func (s *Store) fronts(ctx context.Context, kinds []string) ([]front, error) {
	if len(kinds) == 0 {
		return nil, nil
	}
	all, err := rowsOf[front](ctx, s.db.Collection(jobs), append(isOpen(), bson.E{Key: "kind", Value: field("$in", kinds)}),
		options.Find().SetHint(byOpen).SetSort(ascending("job", "tenant")).SetProjection(ascending("tenant", "job", "phase")))
	return slices.DeleteFunc(all, func(f front) bool { return f.Phase == nil }), err
}

// waiting are the states of units that can be claimed: lost ones come first.
func waiting() []job.State { return []job.State{job.Running, job.Queued} }

// units selects those of the stage by when they are ready.
func (f front) units(state job.State, ready bson.D) bson.D {
	return bson.D{{Key: "stage", Value: f.stage()}, {Key: "state", Value: state}, {Key: "ready", Value: ready}, {Key: "open", Value: true}}
}

// inTurn is the order in which units of a state are claimed.
func inTurn() bson.D { return ascending("ready", "job", "id") }

// next is the first unit of some stages, in a state, by when it is ready.
func (s *Store) next(ctx context.Context, some []front, state job.State, ready bson.D) (of front, r unitRow, err error) {
	names := make([]string, len(some))
	for i, f := range some {
		names[i] = f.stage()
	}
	which := some[0].units(state, ready)
	if len(some) > 1 {
		which[0].Value = field("$in", names)
	}
	err = s.db.Collection(units).FindOne(ctx, which,
		options.FindOne().SetHint(byStage).SetSort(inTurn()).SetProjection(ascending("stage", "ready"))).Decode(&r)
	if err != nil {
		return of, r, err
	}
	return some[slices.Index(names, r.Stage)], r, nil
}

// Claim is store.Units. Looking for a unit in vain writes nothing.
func (s *Store) Claim(ctx context.Context, kinds []string, lease time.Duration) (job.Unit, store.Fence, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Unit{}, store.Fence{}, err
	}
	defer leave()
	r, err := s.claim(ctx, kinds, lease)
	if err != nil {
		return job.Unit{}, store.Fence{}, failed(ctx, err)
	}
	u, err := r.decode()
	return u, store.Fence{Tenant: store.Tenant(u.Tenant), Job: u.Job, Unit: u.ID, Attempt: u.Attempt}, err
}

func (s *Store) claim(ctx context.Context, kinds []string, lease time.Duration) (r unitRow, err error) {
	all, err := s.fronts(ctx, kinds)
	if err != nil {
		return r, err
	}
	if len(all) == 0 {
		return r, store.ErrNotFound
	}
	now, err := s.clock(ctx)
	if err != nil {
		return r, err
	}
	for some := range slices.Chunk(all, stagesAtOnce) {
		for _, state := range waiting() {
			r, err := s.claimOne(ctx, some, state, now, lease)
			if !errors.Is(err, store.ErrNotFound) {
				return r, err
			}
		}
	}
	return r, store.ErrNotFound
}

// claimOne claims the first unit of some stages that is in a state. Where
// others were faster and left nothing of a stage, it goes on to the next one.
func (s *Store) claimOne(ctx context.Context, some []front, state job.State, now time.Time, lease time.Duration) (r unitRow, err error) {
	due := field("$lte", now)
	for len(some) > 0 {
		of, _, err := s.next(ctx, some, state, due)
		if isNone(err) {
			break
		}
		if err != nil {
			return r, err
		}
		r, err = s.claimIn(ctx, of, state, due, lease)
		if !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		some = slices.DeleteFunc(slices.Clone(some), func(f front) bool { return f.stage() == of.stage() })
	}
	return r, store.ErrNotFound
}

// claimIn claims the first unit of a stage; ErrNotFound. The transaction is
// about the job: it is open and the stage is still its front, and no other
// claim, end or cancel is beside it.
func (s *Store) claimIn(ctx context.Context, f front, state job.State, due bson.D, lease time.Duration) (r unitRow, err error) {
	open := append(isOpen(), bson.E{Key: "phase", Value: *f.Phase})
	set := bson.D{
		{Key: "state", Value: job.Running},
		{Key: "attempt", Value: field("$add", bson.A{"$attempt", 1})},
		{Key: "ready", Value: s.leaseEnd(lease)},
		{Key: "updated", Value: s.now()},
	}
	if state == job.Running {
		set = append(set, bson.E{Key: "lost", Value: field("$add", bson.A{"$lost", 1})})
	}
	err = s.underJob(ctx, key(f.Tenant, f.Job), open, func(ctx context.Context) error {
		r = unitRow{}
		announced, err := s.announced(ctx, f.Tenant)
		if err != nil {
			return err
		}
		set := append(set[:len(set):len(set)], bson.E{Key: "erasure", Value: announced})
		return s.db.Collection(units).FindOneAndUpdate(ctx, f.units(state, due), mongo.Pipeline{field("$set", set)},
			options.FindOneAndUpdate().SetHint(byStage).SetSort(inTurn()).SetReturnDocument(options.After)).Decode(&r)
	})
	if isNone(err) || errors.Is(err, store.ErrFenced) {
		err = store.ErrNotFound
	}
	return r, err
}

// NextRun is store.Units.
func (s *Store) NextRun(ctx context.Context, kinds []string) (time.Time, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer leave()
	at, err := s.nextRun(ctx, kinds)
	return at, failed(ctx, err)
}

func (s *Store) nextRun(ctx context.Context, kinds []string) (at time.Time, err error) {
	all, err := s.fronts(ctx, kinds)
	if err != nil || len(all) == 0 {
		return at, err
	}
	now, err := s.clock(ctx)
	if err != nil {
		return at, err
	}
	for some := range slices.Chunk(all, stagesAtOnce) {
		for _, state := range waiting() {
			_, r, err := s.next(ctx, some, state, field("$gt", now))
			switch {
			case isNone(err):
			case err != nil:
				return time.Time{}, err
			case at.IsZero() || r.Ready.Before(at):
				at = *r.Ready
			}
		}
	}
	return at, nil
}
