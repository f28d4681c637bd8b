package mongo

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// unitRow is the document of a unit.
type unitRow struct {
	ID        string     `bson:"_id"` // key of tenant, job and unit
	Of        string     `bson:"of"`  // the _id of its job
	Tenant    string     `bson:"tenant"`
	Job       string     `bson:"job"`
	Unit      string     `bson:"id"`
	Kind      string     `bson:"kind"`
	Phase     int        `bson:"phase"`
	Stage     string     `bson:"stage"` // units of one stage can be claimed beside each other
	State     job.State  `bson:"state"`
	Attempt   int        `bson:"attempt"`
	Errors    int        `bson:"errors"`
	Lost      int        `bson:"lost"`
	RunAt     time.Time  `bson:"run_at"`
	Open      bool       `bson:"open,omitempty"` // queued or running; absent once it has ended for good
	Ready     *time.Time `bson:"ready"`          // queued: not before; running: when its lease ends; absent with Open
	Todo      bool       `bson:"todo,omitempty"` // absent once it has succeeded
	Planner   string     `bson:"planner,omitempty"`
	PlannedIn int        `bson:"planned_in,omitempty"`
	Planned   int64      `bson:"planned"`
	Resources int64      `bson:"resources"` // of the attempt that succeeded, as Bytes
	Bytes     int64      `bson:"bytes"`
	Ended     *time.Time `bson:"ended,omitempty"`
	Args      []byte     `bson:"args,omitempty"`
	Reason    []byte     `bson:"reason,omitempty"`  // job.Reason as JSON
	Erasure   int64      `bson:"erasure,omitempty"` // the tenant's number of announcements when it was claimed

	ErasedVersions  int64      `bson:"erased_versions,omitempty"` // by all attempts, as ErasedResources
	ErasedResources int64      `bson:"erased_resources,omitempty"`
	TotalVersions   int64      `bson:"total_versions,omitempty"` // to erase, as was noted; as TotalResources
	TotalResources  int64      `bson:"total_resources,omitempty"`
	Result          []byte     `bson:"result,omitempty"`
	Updated         *time.Time `bson:"updated,omitempty"`
}

// planner is the attempt that adds units; the zero one is Create.
type planner struct {
	unit    string // its _id
	attempt int
}

// stage names the units of a job's phase.
func stage(tenant, jobID string, phase int) string {
	return key(tenant, jobID, strconv.Itoa(phase))
}

// unitRows are the documents of new units, whose attempts count on from a
// number.
func unitRows(us []job.Unit, by planner, attempts int) []unitRow {
	rows := make([]unitRow, len(us))
	for i, u := range us {
		rows[i] = unitRow{
			ID: key(u.Tenant, u.Job, u.ID), Of: key(u.Tenant, u.Job),
			Tenant: u.Tenant, Job: u.Job, Unit: u.ID, Kind: u.Kind, Phase: u.Phase, Stage: stage(u.Tenant, u.Job, u.Phase),
			State: job.Queued, Attempt: attempts, RunAt: u.RunAt, Open: true, Ready: &u.RunAt, Todo: true,
			Planner: by.unit, PlannedIn: by.attempt, Planned: u.Counts.Planned, Args: u.Args,
		}
	}
	return rows
}

func (r unitRow) id() string { return r.ID }

func (r unitRow) decode() (job.Unit, error) {
	u := job.Unit{
		Tenant: r.Tenant, Job: r.Job, ID: r.Unit, Kind: r.Kind, Phase: r.Phase,
		State: r.State, Attempt: r.Attempt, Errors: r.Errors, Lost: r.Lost, RunAt: r.RunAt, Args: r.Args,
		Counts: job.Counts{Resources: r.Resources, Bytes: r.Bytes, Planned: r.Planned},
		Erased: job.Erased{Versions: r.ErasedVersions, Resources: r.ErasedResources},
		Total:  job.Erased{Versions: r.TotalVersions, Resources: r.TotalResources}, Result: r.Result,
	}
	if r.Updated != nil {
		u.Updated = *r.Updated
	}
	var err error
	u.Reason, err = reason(r.Reason)
	return u, err
}

func reason(doc []byte) (*job.Reason, error) {
	if len(doc) == 0 {
		return nil, nil //nolint:nilnil // no reason is not an error
	}
	r := &job.Reason{}
	if err := json.Unmarshal(doc, r); err != nil {
		return nil, fmt.Errorf("mongo: decode a reason: %w", err)
	}
	return r, nil
}

// fenced runs f in a transaction in which the fence holds: see underJob. The
// unit is only read: whoever claims it or ends it writes the job's document
// too, and so conflicts with this.
func (s *Store) fenced(ctx context.Context, f store.Fence, do func(ctx context.Context) error) error {
	return s.fencedBeside(ctx, f, nil, do)
}

// fencedBeside is fenced for what also writes the documents of other jobs, as
// far as that is known.
func (s *Store) fencedBeside(ctx context.Context, f store.Fence, others []string, do func(ctx context.Context) error) error {
	return s.underJobs(ctx, key(string(f.Tenant), f.Job), others, notEnded(), func(ctx context.Context) error {
		err := s.db.Collection(units).FindOne(ctx, current(f), options.FindOne().SetHint(byID).SetProjection(field("_id", 1))).Err()
		if isNone(err) {
			return store.ErrFenced
		}
		if err != nil {
			return err
		}
		return do(ctx)
	})
}

// notEnded selects a job that is not final.
func notEnded() bson.D { return field("discard_at", int64(0)) }

// current selects the unit of a fence while the attempt is under way.
func current(f store.Fence) bson.D {
	return bson.D{
		{Key: "_id", Value: key(string(f.Tenant), f.Job, f.Unit)},
		{Key: "attempt", Value: f.Attempt},
		{Key: "state", Value: job.Running},
	}
}
