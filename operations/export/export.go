package export

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
)

// Store is what an export needs of a store.
type Store interface {
	store.Committer
	store.Reader
	store.Scanner
	store.Jobs
	store.Units
	store.Referrers
	store.Finds
	store.Cohorts
	store.Parts
	store.Notices
}

// Config says how exports are made.
type Config struct {
	Store    Store
	Files    files.Files
	Now      func() time.Time
	NewID    func() string // unguessable
	Lifetime time.Duration // how long results are kept; 0: 7 days
	// MaxLifetime is how long a client may ask for; 0: 30 days, and Lifetime
	// at least.
	MaxLifetime time.Duration
	Limit       store.Limit // of exports under way
	Context     bool        // context comes along unasked

	MaxFile  int64 // bytes of a file, but for one larger resource; 0: 256 MiB
	UnitSize int64 // bytes that a unit is planned to have; 0: 64 MiB
	SmallJob int64 // bytes up to which a job is one unit; 0: 32 MiB
	JoinSize int64 // files below this are joined; 0: 32 MiB

	Glance time.Duration // how often SweepErased looks unasked; 0: 1 s
}

// Export starts jobs, does their units, and shows them.
type Export struct {
	cfg    Config
	atWork atWork
}

// New makes an Export; sizes and lifetime that are 0 get their defaults.
func New(cfg Config) *Export {
	for field, value := range map[*int64]int64{
		&cfg.MaxFile: 256 << 20, &cfg.UnitSize: 64 << 20, &cfg.SmallJob: 32 << 20, &cfg.JoinSize: 32 << 20,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 7 * 24 * time.Hour
	}
	cfg.MaxLifetime = max(cmp.Or(cfg.MaxLifetime, 30*24*time.Hour), cfg.Lifetime)
	cfg.Glance = cmp.Or(cfg.Glance, time.Second)
	return &Export{cfg: cfg}
}

// The phases of a job, and the units that each has but one of.
const (
	planning = iota
	scanning
	finding
	joining

	planUnit    = "0-plan"
	scanUnit    = "1-scan-%06d"
	lookUnit    = "1-look-%06d"
	deletedUnit = "1-deleted"
	findUnit    = "2-find"
	joinUnit    = "3-join"
)

// args is what a unit is to do: job.Unit.Args.
type args struct {
	Work []work `json:"work"`
	Only bool   `json:"only,omitempty"` // the one unit of its job
	Look bool   `json:"look,omitempty"` // nothing is written, only Provenance found
	Gone bool   `json:"gone,omitempty"` // tombstones are written
}

// work is a range, of the selection of that index.
type work struct {
	Selection int `json:"selection"`
	store.Range
}

// Run is what the engine calls for each unit.
func (x *Export) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	req, err := request(j)
	if err != nil {
		return job.UnitEnd{}, err
	}
	ctx, leave := x.atWork.enter(ctx, f)
	defer leave()
	a := attempt{Export: x, job: j, unit: u, fence: f, request: req, made: new([]string)}
	a.selections = req.selections(store.TickOf(j.TransactionTime), store.CohortID(j.ID))
	end, err := a.run(ctx)
	if err != nil {
		// They are no one's, and the disk may be full. What stays after an
		// error here goes with the job.
		_ = x.cfg.Files.Remove(context.WithoutCancel(ctx), *a.made...)
		if lost := context.Cause(ctx); errors.Is(lost, errLost) {
			err = lost
		}
	}
	return end, err
}

// Discard is what the engine calls to remove a job's files.
func (x *Export) Discard(ctx context.Context, j job.Job) error {
	return x.cfg.Files.RemoveFolder(ctx, folder(j.Tenant, j.ID))
}

// attempt is one attempt at a unit.
type attempt struct {
	*Export
	job        job.Job
	unit       job.Unit
	fence      store.Fence
	request    Request
	selections []store.Selection
	made       *[]string // the names of the files that it began
}

func (a attempt) run(ctx context.Context) (job.UnitEnd, error) {
	switch a.unit.Phase {
	case planning:
		return a.plan(ctx)
	case scanning:
		return a.work(ctx)
	case finding:
		return a.emitFinds(ctx)
	}
	return a.join(ctx)
}

// plan reads the group, and adds the units that do the work.
func (a attempt) plan(ctx context.Context) (job.UnitEnd, error) {
	notes, err := a.cohort(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	notes = append(slices.Clone(a.request.Ignored), notes...)
	end := job.UnitEnd{State: job.Succeeded}
	units, err := a.units(ctx)
	if err != nil {
		return end, err
	}
	if len(notes) > 0 {
		part, err := a.writeNotes(ctx, notes)
		if err != nil {
			return end, err
		}
		end.Parts = []job.Part{part}
	}
	return end, a.cfg.Store.Add(ctx, a.fence, units)
}

// units cuts the work.
func (a attempt) units(ctx context.Context) ([]job.Unit, error) {
	all, bytes, err := a.split(ctx, a.selections)
	if err != nil {
		return nil, err
	}
	extra, err := a.extraUnits(ctx)
	if err != nil {
		return nil, err
	}
	small := bytes <= a.cfg.SmallJob
	switch {
	case len(all) == 0 && len(extra) == 0:
		return nil, nil
	case small && len(extra) == 0:
		u, err := a.newUnit(fmt.Sprintf(scanUnit, 1), scanning, args{Work: all, Only: true}, bytes)
		return []job.Unit{u}, err
	case small && len(all) > 0:
		u, err := a.newUnit(fmt.Sprintf(scanUnit, 1), scanning, args{Work: all}, bytes)
		if err != nil {
			return nil, err
		}
		extra = append(extra, u)
	default:
		for i, w := range all {
			u, err := a.newUnit(fmt.Sprintf(scanUnit, i+1), scanning, args{Work: []work{w}}, w.Bytes)
			if err != nil {
				return nil, err
			}
			extra = append(extra, u)
		}
	}
	last, err := a.newUnit(joinUnit, joining, args{}, 0)
	return append(extra, last), err
}

// split cuts selections into ranges, and sums their bytes.
func (a attempt) split(ctx context.Context, selections []store.Selection) (all []work, bytes int64, err error) {
	for i, sel := range selections {
		ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, a.cfg.UnitSize)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range ranges {
			all = append(all, work{i, r})
			bytes += r.Bytes
		}
	}
	return all, bytes, nil
}

func (a attempt) newUnit(id string, phase int, what args, bytes int64) (job.Unit, error) {
	doc, err := json.Marshal(what)
	return job.Unit{
		Job: a.job.ID, Tenant: a.job.Tenant, Kind: Kind, ID: id, Phase: phase,
		Args: doc, Counts: job.Counts{Planned: bytes},
	}, err
}
