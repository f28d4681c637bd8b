package mongo

import (
	"bytes"
	"context"
	"errors"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// errSame undoes a transaction of Create because the job is there already.
var errSame = errors.New("mongo: the job of the key is there")

// errTaken is what Create answers for an id that is used.
var errTaken = errors.New("mongo: a job of this id is there already")

// Create is store.Jobs.
func (s *Store) Create(ctx context.Context, j job.Job, us []job.Unit, l store.Limit) (job.Job, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Job{}, err
	}
	defer leave()
	out, err := s.create(ctx, j, us, l)
	s.watch.Wake(err)
	return out, failed(ctx, err)
}

func (s *Store) create(ctx context.Context, j job.Job, us []job.Unit, l store.Limit) (job.Job, error) {
	c, err := columnsOf(j)
	if err != nil {
		return job.Job{}, err
	}
	n := newJob{
		job: j, limit: l, units: unitRows(us, planner{}, 0),
		row: jobRow{ID: key(j.Tenant, j.ID), Tenant: j.Tenant, Job: j.ID, Columns: c, Phase: lowest(us)},
	}
	end := time.Now().Add(enduring)
	give, err := s.turns.take(ctx, limits, j.Kind)
	if err != nil {
		return job.Job{}, err
	}
	defer give()
	// A duplicate key is the work of one who was faster, with the same
	// idempotency key or the same id, who is seen when all is run again.
	for range 3 {
		var same job.Job
		err := s.transactUntil(ctx, end, func(ctx context.Context) (err error) {
			same, err = s.insertJob(ctx, n)
			return err
		})
		switch {
		case err == nil:
			return j, nil
		case errors.Is(err, errSame):
			return same, nil
		case !mongo.IsDuplicateKeyError(err):
			return job.Job{}, err
		}
	}
	return job.Job{}, errTaken
}

// newJob is what Create writes.
type newJob struct {
	job   job.Job
	limit store.Limit
	row   jobRow
	units []unitRow
}

func lowest(us []job.Unit) *int {
	var low *int
	for _, u := range us {
		if low == nil || u.Phase < *low {
			low = &u.Phase
		}
	}
	return low
}

// insertJob is the transaction of Create.
func (s *Store) insertJob(ctx context.Context, n newJob) (same job.Job, err error) {
	if same, err = s.made(ctx, n); err != nil {
		return same, err
	}
	if same, err = s.keyed(ctx, n); err != nil {
		return same, err
	}
	if err := s.limited(ctx, n.job, n.limit); err != nil {
		return same, err
	}
	if _, err := s.db.Collection(jobs).InsertOne(ctx, n.row); err != nil {
		return same, err
	}
	return same, insertMissing(ctx, s.db.Collection(units), n.units)
}

// made looks for a job of the id: errSame if it is this one, which an earlier
// call made and did not learn of; else errTaken.
func (s *Store) made(ctx context.Context, n newJob) (same job.Job, err error) {
	same, err = s.Peek(ctx, store.Tenant(n.job.Tenant), n.job.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return same, nil
	case err != nil:
		return same, err
	case same.Kind != n.job.Kind, same.Owner != n.job.Owner, !same.Created.Equal(n.job.Created), !bytes.Equal(same.Request, n.job.Request):
		return same, errTaken
	}
	return same, errSame
}

// keyed looks for the job that has the key already: errSame, or ErrKeyReused.
func (s *Store) keyed(ctx context.Context, n newJob) (same job.Job, err error) {
	if n.row.Columns.Idem == nil {
		return same, nil
	}
	var r jobRow
	err = s.db.Collection(jobs).FindOne(ctx, bson.D{
		{Key: "tenant", Value: n.row.Tenant},
		{Key: "client", Value: n.row.Columns.Client},
		{Key: "user", Value: n.row.Columns.User},
		{Key: "kind", Value: n.row.Columns.Kind},
		{Key: "idem", Value: n.row.Columns.Idem},
	}, options.FindOne().SetHint(byKey)).Decode(&r)
	if isNone(err) {
		return same, nil
	}
	if err == nil {
		same, err = r.decode()
	}
	switch {
	case err != nil:
		return same, err
	case same.Digest != n.job.Digest:
		return same, store.ErrKeyReused
	}
	return same, errSame
}

// limited answers ErrLimit if one more job of the kind is one too many. Counting
// sees no job of a transaction beside it, so all that count write one document
// of the kind: one of two goes through, and the other one counts again.
func (s *Store) limited(ctx context.Context, j job.Job, l store.Limit) error {
	if l == (store.Limit{}) {
		return nil
	}
	_, err := s.db.Collection(limits).UpdateOne(ctx, field("_id", j.Kind), field("$inc", field("writes", 1)),
		options.UpdateOne().SetUpsert(true).SetHint(byID))
	if err != nil {
		return err
	}
	all := append(isOpen(), bson.E{Key: "kind", Value: j.Kind})
	own := append(all[:len(all):len(all)], bson.D{
		{Key: "tenant", Value: j.Tenant}, {Key: "client", Value: j.Owner.Client}, {Key: "user", Value: j.Owner.User},
	}...)
	if err := s.room(ctx, own, l.PerOwner); err != nil {
		return err
	}
	return s.room(ctx, all, l.All)
}

// room answers ErrLimit if so many open jobs are there.
func (s *Store) room(ctx context.Context, which bson.D, limit int) error {
	if limit == 0 {
		return nil
	}
	n, err := s.db.Collection(jobs).CountDocuments(ctx, which, options.Count().SetHint(byOpen).SetLimit(int64(limit)))
	if err == nil && n >= int64(limit) {
		err = store.ErrLimit
	}
	return err
}
