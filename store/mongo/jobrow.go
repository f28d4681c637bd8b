package mongo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// jobRow is the document of a job.
//
// It is also what transactions about the job conflict on: whatever is written
// of a unit, or under its fence, writes the job's document first, see underJob.
// So of one job they come one after the other, and none of them beside the end
// of the job, its cancel, or its removal.
type jobRow struct {
	ID      string     `bson:"_id"` // key of tenant and job
	Tenant  string     `bson:"tenant"`
	Job     string     `bson:"job"`
	Columns jobColumns `bson:",inline"`
	Phase   *int       `bson:"phase,omitempty"` // the lowest that has a unit which has not succeeded; absent: none
	Gone    bool       `bson:"gone,omitempty"`  // it is being removed
	// Attempts is what attempts at units that are added count on from. Absent:
	// the job has not begun anew after a unit of a later phase was claimed.
	Attempts int   `bson:"attempts,omitempty"`
	Writes   int64 `bson:"writes"` // counts what was written of its units
}

// jobColumns are what Update replaces.
type jobColumns struct {
	Client    string `bson:"client"`
	User      string `bson:"user"`
	Kind      string `bson:"kind"`
	State     string `bson:"state"`
	Cancel    bool   `bson:"cancel"`     // was one requested?
	DiscardAt int64  `bson:"discard_at"` // from when it may be removed, ms; 0: it has not ended
	Dismissed bool   `bson:"dismissed"`
	Doc       []byte `bson:"doc"`            // job.Job as JSON
	Version   string `bson:"v"`              // another one after each Update
	Idem      []byte `bson:"idem,omitempty"` // the client's Idempotency-Key; absent: none, or it is free again
}

func columnsOf(j job.Job) (jobColumns, error) {
	doc, err := json.Marshal(j)
	if err != nil {
		return jobColumns{}, fmt.Errorf("mongo: encode a job: %w", err)
	}
	return jobColumns{
		Client: j.Owner.Client, User: j.Owner.User, Kind: j.Kind, State: string(j.State),
		Cancel: !j.CancelRequested.IsZero(), DiscardAt: ms(j.DiscardAt()), Dismissed: !j.Dismissed.IsZero(),
		Doc: doc, Version: ulid.Make().String(), Idem: idem(j),
	}, nil
}

// ms is an instant as a column; the zero time is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// idem is the key that a job keeps from others; nil: none. It is bytes, as a
// client may send any.
func idem(j job.Job) []byte {
	if j.Key == "" || !j.Dismissed.IsZero() {
		return nil
	}
	return []byte(j.Key)
}

func (r jobRow) decode() (job.Job, error) { return decodeJob(r.Columns.Doc) }

func decodeJob(doc []byte) (j job.Job, err error) {
	if err := json.Unmarshal(doc, &j); err != nil {
		return job.Job{}, fmt.Errorf("mongo: decode a job: %w", err)
	}
	return j, nil
}

// jobRow reads a job that is not being removed; ErrNotFound.
func (s *Store) jobRow(ctx context.Context, t store.Tenant, id string) (r jobRow, err error) {
	err = s.db.Collection(jobs).FindOne(ctx, field("_id", key(string(t), id)), options.FindOne().SetHint(byID)).Decode(&r)
	if isNone(err) || err == nil && r.Gone {
		return r, store.ErrNotFound
	}
	return r, err
}

// jobDocs reads jobs.
func (s *Store) jobDocs(ctx context.Context, filter bson.D, o *options.FindOptionsBuilder) ([]job.Job, error) {
	rows, err := rowsOf[jobRow](ctx, s.db.Collection(jobs), filter, o.SetProjection(field("doc", 1)))
	if err != nil {
		return nil, err
	}
	out := make([]job.Job, len(rows))
	for i, r := range rows {
		if out[i], err = r.decode(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rowsOf reads all that a query finds.
func rowsOf[T any](ctx context.Context, c *mongo.Collection, filter bson.D, o *options.FindOptionsBuilder) (rows []T, err error) {
	cursor, err := c.Find(ctx, filter, o)
	if err != nil {
		return nil, err
	}
	return rows, cursor.All(ctx, &rows)
}

// isNone tells that a query for one document found none.
func isNone(err error) bool { return errors.Is(err, mongo.ErrNoDocuments) }

// underJob runs f in a transaction that begins by writing the document of a
// job, if it is as open says. Two such transactions of one job conflict, and
// so does one with an Update or a Remove of the job: the later one is undone
// and run again, and sees what the other did. ErrFenced: it is not so.
//
// The count is what makes it a write: setting a field to what it is would be
// none, and nothing would conflict with it.
func (s *Store) underJob(ctx context.Context, id string, open bson.D, f func(ctx context.Context) error) error {
	return s.underJobs(ctx, id, nil, open, f)
}

// underJobs is underJob for an f that also writes the documents of other jobs,
// as far as that is known. Whoever waits for several turns takes them in order.
func (s *Store) underJobs(ctx context.Context, id string, others []string, open bson.D, f func(ctx context.Context) error) error {
	end := time.Now().Add(enduring)
	all := slices.Concat([]string{id}, others)
	slices.Sort(all)
	for _, one := range slices.Compact(all) {
		give, err := s.turns.take(ctx, jobs, one)
		if err != nil {
			return err
		}
		defer give()
	}
	return s.transactUntil(ctx, end, func(ctx context.Context) error {
		res, err := s.db.Collection(jobs).UpdateOne(ctx, append(field("_id", id), open...),
			field("$inc", field("writes", 1)), options.UpdateOne().SetHint(byID))
		if err != nil {
			return err
		}
		if res.MatchedCount == 0 {
			return store.ErrFenced
		}
		return f(ctx)
	})
}
