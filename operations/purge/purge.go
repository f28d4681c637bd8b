// Package purge removes the whole records of patients, so that nothing is left
// (https://build.fhir.org/patient-operation-purge.html, and Kodjin's
// Patient/$bulk-purge): every version of what is about a patient goes, and what
// is about others and merely names the patient is detached from it.
//
// A job has a unit for each patient, which goes at its own pace:
//
//  1. It gathers what is of the record, by what mentions the patient, then by
//     what mentions that, until nothing new is found. If a hold is on any of it,
//     the unit fails for good, now or when it comes to that.
//  2. It announces the patient, so that no export that has read the record
//     ends with it.
//  3. It voids the files of exports that hold any of it, and removes them; and
//     again after 5, for exports that read it meanwhile.
//  4. It detaches what merely names something of the record.
//  5. It erases: what depends on others first and the Patient last, so that a
//     unit that is cut off at any point finds the rest again.
//  6. It looks: what it would gather now must be nothing.
//
// Another unit detaches the patients from their Groups, voids and sweeps what
// files of exports have of that, looks at all that was erased, and overwrites
// the erased bytes where the store can. If that is asked for, a last one reads
// every version of every resource. The last thing that the last of them does is
// to have the job certified.
//
// What was written after the job's instant stays, and is counted.
//
// It also removes all that one client, or one user of a client, owns: see
// KickoffHolding. There is no record to gather then, and nothing is detached.
package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/oklog/ulid/v2"
)

// The kinds of jobs of this package. They differ in how they are asked for and
// shown.
const (
	Kind        = "purge"         // of one patient, or of the members of one group
	BulkKind    = "bulk-purge"    // of the patients of a list
	HoldingKind = "purge-holding" // of all that the caller owns
)

// Store is what a purge needs of a store.
type Store interface {
	store.Committer
	store.Reader
	store.Scanner
	store.Jobs
	store.Units
	store.Finds
	store.Cohorts
	store.Eraser
	store.Erasures
	store.Notices
	store.Holds
}

// Files is where the bytes of exports are.
type Files interface {
	// Remove removes files; one that is not there is no error.
	Remove(ctx context.Context, names ...string) error
	// Open opens a file to read.
	Open(ctx context.Context, name string) (files.File, error)
}

// Ledger remembers what is erased, outside the store. Its methods may be called
// from many goroutines at once.
type Ledger interface {
	// Enter makes durable which resources are going to be erased up to a tick:
	// all of them (entire), or of them what says something of others that go. It
	// returns the numbers of the entries, one for each resource, in their order.
	// An error keeps the resources.
	Enter(ctx context.Context, t store.Tenant, at store.Tick, ids []fhir.ID, entire bool) ([]int64, error)
	// Revoke takes entries back, by their numbers: nothing was erased for them.
	Revoke(ctx context.Context, numbers []int64) error
}

// Config says how purges are made; Store, Files, Now, NewID and NewBatchID must
// be set.
type Config struct {
	Store      Store
	Files      Files
	Now        func() time.Time
	NewID      func() string // unguessable
	NewBatchID func() ulid.ULID
	Lifetime   time.Duration // how long what a job did can be asked for; 0: 7 days
	Limit      store.Limit   // of purges under way, but those of holdings
	// Server owns the AuditEvents that the server itself made. They are never
	// purged.
	Server string
	// Sweep removes the bytes of exports that no record names: of attempts that
	// came to nothing. It returns when every attempt that may have read what
	// was erased before the call has ended. nil: there are none.
	Sweep func(ctx context.Context, t store.Tenant) error
	// Parts calls f with the record of each file of the tenant's exports that
	// is not void. nil: there are none.
	Parts func(ctx context.Context, t store.Tenant, f func(p job.Part) error) error
	// Holders names by whom files of exports are found that hold a version:
	// job.Part.Patients. None: no record says which files do. It gives no name
	// twice. nil: nothing is ever exported.
	Holders func(v *store.Version) []string
	// Tell has the owners of exports that held some of a record hear of what is
	// erased of it, by store.Notices, until these exports expire.
	Tell bool
	// Requests tells how many requests there were in the last second or so.
	// While there are many, purges use little of the machine. nil: none.
	Requests func() int
	// Ledger is told of what is erased, before it is. nil: there is none.
	Ledger Ledger
	// Record is told of each job that did all it was to do. An error has it
	// told again. nil: nobody is told.
	Record func(ctx context.Context, e job.Event) error
	// Certify makes a certificate of what a job did, under the fence of its last
	// unit, once all is done. A job succeeds after that only. It may be called
	// again for one job, and keeps the first then. nil: there are none.
	Certify func(ctx context.Context, f store.Fence, p Proof) error
}

// Purge starts jobs, does their units, and shows them.
type Purge struct {
	cfg Config

	mu    sync.Mutex
	meant map[string]*meant // by the ids of jobs that were asked for lately
}

// meant are the patients of a job.
type meant struct {
	patients map[string]bool
	record   *selection.Record // of all of them: it does not grow
}

// maxMeant is of how many jobs the patients are kept.
const maxMeant = 8

// New makes a Purge.
func New(cfg Config) *Purge {
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 7 * 24 * time.Hour
	}
	if cfg.Sweep == nil {
		cfg.Sweep = func(context.Context, store.Tenant) error { return nil }
	}
	if cfg.Parts == nil {
		cfg.Parts = func(context.Context, store.Tenant, func(job.Part) error) error { return nil }
	}
	if cfg.Holders == nil {
		cfg.Holders = func(v *store.Version) []string { return []string{v.ID.String()} }
	}
	if cfg.Record == nil {
		cfg.Record = func(context.Context, job.Event) error { return nil }
	}
	cfg.Store = politely(cfg.Store, cfg.Requests)
	return &Purge{cfg: cfg, meant: map[string]*meant{}}
}

// The phases of a job.
const (
	planning = iota
	purging
	finishing
	reading

	planUnit    = "0-plan"
	patientUnit = "1-%06d"
	finishUnit  = "2-finish"
	readUnit    = "3-read"
)

// args is what a unit is to do: job.Unit.Args.
type args struct {
	Patient string `json:"patient,omitempty"`
}

// attempt is one attempt at a unit.
type attempt struct {
	*Purge
	job     job.Job
	unit    job.Unit
	fence   store.Fence
	request Request
	at      store.Tick // what is later stays
	voided  *time.Time // when it last voided a file; zero: never
}

// Run is what the engine calls for each unit.
func (x *Purge) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	r, err := request(j)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if j.Kind == HoldingKind || r.Of == HoldingKind {
		return x.runHolding(ctx, j, u, f)
	}
	a := attempt{Purge: x, job: j, unit: u, fence: f, request: r, at: store.TickOf(j.TransactionTime), voided: new(time.Time)}
	switch {
	case u.ID == planUnit:
		return a.plan(ctx)
	case u.Phase == planning:
		return a.isSame(ctx)
	case r.Of != "":
		return a.foresee(ctx)
	}
	switch u.Phase {
	case purging:
		return a.patient(ctx)
	case finishing:
		return a.finish(ctx)
	}
	return a.readAll(ctx)
}

// Ended is what the engine calls when an end was committed: nothing is left
// to do.
func (x *Purge) Ended(context.Context, job.UnitEnd) error { return nil }

// Sweep is what the engine calls now and then: it removes what nobody is to be
// told any more. A purge leaves nothing outside the store.
func (x *Purge) Sweep(ctx context.Context) error { return x.cfg.Store.Untell(ctx, x.cfg.Now()) }

// Discard is what the engine calls to remove what a job left outside the
// store, which is nothing.
func (x *Purge) Discard(context.Context, job.Job) error { return nil }

// patientOf is the patient that a unit is for.
func patientOf(u job.Unit) (string, error) {
	var a args
	if err := json.Unmarshal(u.Args, &a); err != nil || a.Patient == "" {
		return "", errors.New("purge: the unit does not say whose record it is for")
	}
	return a.Patient, nil
}

// everyone are the patients of the attempt's job. They do not change once its
// units were planned, so they are read once, and not for each of thousands.
func (a attempt) everyone(ctx context.Context) (*meant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.meant[a.job.ID]; m != nil {
		return m, nil
	}
	all := map[string]bool{}
	err := a.units(ctx, a.job, func(u job.Unit, _ did) error {
		if u.Phase != purging {
			return nil
		}
		p, err := patientOf(u)
		all[p] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(a.meant) >= maxMeant {
		clear(a.meant)
	}
	m := &meant{all, selection.NewRecord(slices.Collect(maps.Keys(all)))}
	a.meant[a.job.ID] = m
	return m, nil
}

// patients are the ids of everyone.
func (a attempt) patients(ctx context.Context) (map[string]bool, error) {
	m, err := a.everyone(ctx)
	if err != nil {
		return nil, err
	}
	return m.patients, nil
}

// plans makes one unit for each patient, numbered in their order, and the last,
// which a preview has not.
func plans(j job.Job, r Request, patients []string) ([]job.Unit, error) {
	us := make([]job.Unit, 0, len(patients)+2)
	for i, p := range patients {
		doc, err := json.Marshal(args{p})
		if err != nil {
			return nil, err
		}
		us = append(us, unit(j, fmt.Sprintf(patientUnit, i+1), purging, doc))
	}
	if r.Of != "" {
		return us, nil
	}
	us = append(us, unit(j, finishUnit, finishing, nil))
	if r.Full {
		us = append(us, unit(j, readUnit, reading, nil))
	}
	return us, nil
}

func unit(j job.Job, id string, phase int, args json.RawMessage) job.Unit {
	return job.Unit{Job: j.ID, Tenant: j.Tenant, Kind: j.Kind, ID: id, Phase: phase, Args: args}
}

// did is what a unit did beside erasing: job.Unit.Result.
type did struct {
	Detached []string `json:"detached,omitempty"`
	Named    []string `json:"named,omitempty"` // the first of the detached that have free text
	Kept     int      `json:"kept,omitempty"`  // named the patient, and were to be left as they are
	Since    int      `json:"since,omitempty"` // written after the job's instant
	// What goes and is not in the compartment of the patient: by this the files
	// of exports are found that hold it. Unsaid are those of which that is not
	// said, so that files are read for them.
	Far    []string  `json:"far,omitempty"`
	Unsaid []string  `json:"unsaid,omitempty"`
	Groups []string  `json:"groups,omitempty"` // the ids of the Groups that mention what goes
	Voided time.Time `json:"voided,omitzero"`  // when it last voided a file
	// Of the first unit, of a group: members that are no patients of this server.
	LeftOut int `json:"leftOut,omitempty"`
	// Of the units of a holding.
	Holding holdingDid `json:"holding,omitzero"`
	// Of the units of a preview.
	Foreseen *foreseen `json:"foreseen,omitempty"`
	// Of the unit that finishes.
	Unknown bool      `json:"unknown,omitempty"` // where erased bytes are still is not known
	Until   time.Time `json:"until,omitzero"`    // about until when they are somewhere
	// Types is what was erased by type, and Going what there was to erase of each
	// when that was last noted.
	Types map[string]job.Erased `json:"types,omitempty"`
	Going map[string]job.Erased `json:"going,omitempty"`
	// Of the unit that reads all.
	Read *progress `json:"read,omitempty"`
}
