package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// ReplayKind is the kind of jobs that erase again what came back with a backup.
const ReplayKind = "replay-ledger"

// Known is what a ledger has of a resource; 0: nothing.
type Known struct {
	Erased   store.Tick // nothing up to here is to be left
	Detached store.Tick // nothing up to here that is of, or names, what was erased
}

// Replay erases again what a ledger has, in a store that was restored. It reads
// every version of every resource of a tenant. What has an entry goes up to its
// tick, as a purge would have it go: what is entered as detached is detached
// again from what was erased, and its older versions go that name that; where
// the current one is about what was erased and nothing else, all of it goes.
// Files of exports that hold any of it are voided.
//
// What it does follows from the ledger and the versions alone, so it may be cut
// off anywhere and done again, and doing it twice changes nothing.
type Replay struct {
	*Purge
	of func(t store.Tenant, id fhir.ID) Known
}

// NewReplay makes a Replay of what is known of each resource. Nothing that it
// does is entered in a ledger.
func NewReplay(cfg Config, of func(t store.Tenant, id fhir.ID) Known) *Replay {
	cfg.Ledger, cfg.Tell = nil, false
	return &Replay{New(cfg), of}
}

// Start starts the replay in a tenant, or goes on with the one under the key
// that has not ended.
func (x *Replay) Start(ctx context.Context, t store.Tenant, who store.Owner, key string) (job.Job, error) {
	at, err := x.cfg.Store.Barrier(ctx, t, time.Millisecond)
	if err != nil {
		return job.Job{}, err
	}
	doc, err := json.Marshal(Request{Shared: Detach, Audit: true})
	if err != nil {
		return job.Job{}, err
	}
	j := job.Job{
		ID: x.cfg.NewID(), Kind: ReplayKind, Tenant: string(t), Owner: who, State: job.Queued, Request: doc, Key: key, Digest: key,
		TransactionTime: at.Time(), Created: x.cfg.Now(), Lifetime: x.cfg.Lifetime,
	}
	us := []job.Unit{unit(j, planUnit, planning, nil)}
	got, err := x.cfg.Store.Create(ctx, j, us, store.Limit{})
	if err != nil || !got.State.Final() {
		return got, err
	}
	if err := x.cfg.Store.Remove(ctx, t, got.ID); err != nil {
		return job.Job{}, err
	}
	return x.cfg.Store.Create(ctx, j, us, store.Limit{})
}

// replaying is one attempt at a unit of a replay.
type replaying struct {
	attempt
	of func(store.Tenant, fhir.ID) Known
}

// known is what the ledger has of a resource.
func (r replaying) known(id fhir.ID) Known { return r.of(r.fence.Tenant, id) }

// Run is what the engine calls for each unit.
func (x *Replay) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	asked, err := request(j)
	if err != nil {
		return job.UnitEnd{}, err
	}
	r := replaying{attempt{Purge: x.Purge, job: j, unit: u, fence: f, request: asked, at: store.TickOf(j.TransactionTime), voided: new(time.Time)}, x.of}
	switch u.Phase {
	case planning:
		return r.plan(ctx)
	case purging:
		return r.part(ctx)
	}
	return r.finish(ctx)
}

// replayBytes is about how much a unit reads.
const replayBytes = 16 << 20

// replayArgs is what a unit is to read: job.Unit.Args.
type replayArgs struct {
	Range store.Range `json:"range"`
}

// all are all versions that were there when the replay began.
func (r replaying) all() store.Selection { return store.Selection{At: r.at, Every: true} }

// plan makes a unit for each range of what there is.
func (r replaying) plan(ctx context.Context) (job.UnitEnd, error) {
	ranges, err := r.cfg.Store.Split(ctx, r.fence.Tenant, r.all(), replayBytes)
	if err != nil {
		return job.UnitEnd{}, err
	}
	us := make([]job.Unit, 0, len(ranges)+1)
	for i, one := range ranges {
		doc, err := json.Marshal(replayArgs{one})
		if err != nil {
			return job.UnitEnd{}, err
		}
		us = append(us, unit(r.job, fmt.Sprintf(patientUnit, i+1), purging, doc))
	}
	us = append(us, unit(r.job, finishUnit, finishing, nil))
	return job.UnitEnd{State: job.Succeeded}, r.cfg.Store.Add(ctx, r.fence, us)
}

// part erases what there is in a range of what the ledger has.
func (r replaying) part(ctx context.Context) (job.UnitEnd, error) {
	var args replayArgs
	if json.Unmarshal(r.unit.Args, &args) != nil {
		return job.UnitEnd{}, errors.New("purge: the unit does not say what it is to read")
	}
	ids, err := r.back(ctx, args.Range)
	if err != nil {
		return job.UnitEnd{}, err
	}
	for page := range slices.Chunk(ids, targetPage) {
		g, err := r.again(ctx, page)
		if err == nil && !g.found.none() {
			err = r.redo(ctx, g)
		}
		if err != nil {
			return job.UnitEnd{}, err
		}
	}
	return job.UnitEnd{State: job.Succeeded}, nil
}

// back are the resources with versions in a range that the ledger may be about.
func (r replaying) back(ctx context.Context, in store.Range) (ids []fhir.ID, err error) {
	seen := map[fhir.ID]bool{}
	err = r.cfg.Store.Scan(ctx, r.fence.Tenant, r.all(), in, "", func(v *store.Version) error {
		if seen[v.ID] {
			return nil
		}
		seen[v.ID] = true
		if r.known(v.ID) != (Known{}) {
			ids = append(ids, v.ID)
		}
		return nil
	})
	return ids, err
}

// redo does what is to be done to what was found. What it erases it notes
// before, for the last unit.
func (r replaying) redo(ctx context.Context, g *gathering) error {
	g.found.order()
	holders := make([]string, 0, len(g.found.whole))
	for _, id := range g.found.whole {
		holders = append(holders, holder(id))
	}
	if err := r.cfg.Store.Announce(ctx, r.fence, holders); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *gathering) error{r.list, r.detach, r.erase} {
		if err := step(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// holder is by what files of exports are found that hold a resource.
func holder(id fhir.ID) string {
	if id.Type == "Patient" {
		return id.ID
	}
	return id.String()
}
