package export

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/selection"
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
	store.Cohorts
	store.Parts
}

// Config says how exports are made.
type Config struct {
	Store    Store
	Files    files.Files
	Now      func() time.Time
	NewID    func() string // unguessable
	Lifetime time.Duration // how long results are kept; 0: 7 days

	MaxFile  int64 // bytes of a file, but for one larger resource; 0: 256 MiB
	UnitSize int64 // bytes that a unit is planned to have; 0: 64 MiB
	SmallJob int64 // bytes up to which a job is one unit; 0: 32 MiB
	JoinSize int64 // files below this are joined; 0: 32 MiB
}

// Export starts jobs, does their units, and shows them.
type Export struct{ cfg Config }

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
	return &Export{cfg}
}

// The phases of a job, and the units that each has but one of.
const (
	planning = iota
	scanning
	joining

	planUnit = "0-plan"
	scanUnit = "1-scan-%06d"
	joinUnit = "2-join"
)

// args is what a unit is to do: job.Unit.Args.
type args struct {
	Work []work `json:"work"`
	Only bool   `json:"only,omitempty"` // the one unit of its job
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
	a := attempt{Export: x, job: j, unit: u, fence: f, request: req, made: new([]string)}
	if !req.Nothing {
		a.selections = req.Selections(store.TickOf(j.TransactionTime), store.CohortID(j.ID))
	}
	end, err := a.run(ctx)
	if err != nil {
		// They are no one's, and the disk may be full. What stays after an
		// error here goes with the job.
		_ = x.cfg.Files.Remove(context.WithoutCancel(ctx), *a.made...)
	}
	return end, err
}

// Discard is what the engine calls to remove a job's files.
func (x *Export) Discard(ctx context.Context, j job.Job) error {
	return x.cfg.Files.RemoveFolder(ctx, j.ID)
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
		return a.write(ctx)
	}
	return a.join(ctx)
}

// plan reads the group, and adds the units that do the work.
func (a attempt) plan(ctx context.Context) (job.UnitEnd, error) {
	notes := a.request.Ignored
	if a.request.Level == selection.OneGroup {
		leftOut, err := a.members(ctx)
		if err != nil {
			return job.UnitEnd{}, err
		}
		notes = append(notes, leftOut...)
	}
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
	var all []work
	var bytes int64
	for i, sel := range a.selections {
		ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, a.cfg.UnitSize)
		if err != nil {
			return nil, err
		}
		for _, r := range ranges {
			all = append(all, work{i, r})
			bytes += r.Bytes
		}
	}
	switch {
	case len(all) == 0:
		return nil, nil
	case bytes <= a.cfg.SmallJob:
		u, err := a.newUnit(fmt.Sprintf(scanUnit, 1), scanning, args{Work: all, Only: true}, bytes)
		return []job.Unit{u}, err
	}
	units := make([]job.Unit, 0, len(all)+1)
	for i, w := range all {
		u, err := a.newUnit(fmt.Sprintf(scanUnit, i+1), scanning, args{Work: []work{w}}, w.Bytes)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	last, err := a.newUnit(joinUnit, joining, args{}, 0)
	return append(units, last), err
}

func (a attempt) newUnit(id string, phase int, what args, bytes int64) (job.Unit, error) {
	doc, err := json.Marshal(what)
	return job.Unit{
		Job: a.job.ID, Tenant: a.job.Tenant, Kind: Kind, ID: id, Phase: phase,
		Args: doc, Counts: job.Counts{Planned: bytes},
	}, err
}

// memberPage is how many members are looked up and added at a time.
const memberPage = 1000

// members makes the members of the group, as of the job's instant, the cohort.
func (a attempt) members(ctx context.Context) (leftOut []fhir.Issue, err error) {
	body, err := a.group(ctx)
	if err != nil {
		return nil, err
	}
	patients, leftOut := selection.Members(body, a.job.TransactionTime)
	for len(patients) > 0 {
		page := patients[:min(memberPage, len(patients))]
		patients = patients[len(page):]
		there, missing, err := a.present(ctx, page)
		if err != nil {
			return nil, err
		}
		leftOut = append(leftOut, missing...)
		if err := a.cfg.Store.AddMembers(ctx, a.fence, there); err != nil {
			return nil, err
		}
	}
	return leftOut, nil
}

// group reads the Group as of the job's instant.
func (a attempt) group(ctx context.Context) ([]byte, error) {
	var body []byte
	err := a.asOf(ctx, "Group", []string{a.request.Group}, func(v *store.Version) error {
		body = append(body, v.Body...)
		return nil
	})
	if err == nil && body == nil {
		err = &job.Failure{Permanent: true, Reason: job.Reason{Code: string(fhir.CodeNotFound), Message: "the Group was deleted before the export began"}}
	}
	return body, err
}

// present gives of the patients those that are there as of the job's instant,
// and says of each other one that it is left out.
func (a attempt) present(ctx context.Context, patients []string) (there []string, leftOut []fhir.Issue, err error) {
	found := make(map[string]bool, len(patients))
	err = a.asOf(ctx, "Patient", patients, func(v *store.Version) error {
		found[v.ID.ID] = true
		return nil
	})
	for _, p := range patients {
		if found[p] {
			there = append(there, p)
			continue
		}
		leftOut = append(leftOut, fhir.Issue{
			Severity: fhir.Warning, Code: fhir.CodeNotFound,
			Diagnostics: fhir.ID{Type: "Patient", ID: p}.String() + " is a member of the Group and is not on this server",
		})
	}
	return there, leftOut, err
}

// asOf yields those of the resources that are there as of the job's instant.
func (a attempt) asOf(ctx context.Context, typ string, ids []string, yield func(*store.Version) error) error {
	sel := store.Selection{At: store.TickOf(a.job.TransactionTime), Types: []string{typ}, IDs: ids}
	ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, 1<<40)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := a.cfg.Store.Scan(ctx, a.fence.Tenant, sel, r, "", yield); err != nil {
			return err
		}
	}
	return nil
}
