package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/operations/job"
	"firebreak/store"
)

// Holding is what a job of HoldingKind was asked: job.Job.Request. Whose
// holding is meant, the job's owner says.
type Holding struct {
	Types  []string `json:"types,omitempty"`  // in the order of the call, once each; none: all
	Before string   `json:"before,omitempty"` // as it was sent: a dateTime; "": no limit
	Plan
}

// HoldingCall is the kick-off of the purge of a holding in plain values.
type HoldingCall struct {
	Params []fhir.Parameter
	Key    string // the Idempotency-Key; "": none
	Plain  bool   // no preview can be asked for, or quoted
	// Announce is told of the job just before it is written; an error refuses
	// it. nil: nobody is told.
	Announce func(ctx context.Context, j job.Job) error
}

// KickoffHolding starts the purge of what a principal owns: of exactly the pair
// of its client and its user. What was there at the kick-off goes with all its
// versions, what had been deleted too; what others own stays, be it named by
// what goes or name it. Nothing is touched before all of the call was found to
// be in order, and that no hold is on any of it: a hold on the tenant refuses the
// call, another one fails the job before it touches anything. While another of these jobs of the same owner is under way the
// answer is an *UnderWayError.
func (x *Purge) KickoffHolding(ctx context.Context, p auth.Principal, c HoldingCall) (job.Job, error) {
	r, err := readHolding(c)
	if err != nil {
		return job.Job{}, err
	}
	if err := auth.MayPurgeHolding(p, r.Types); err != nil {
		return job.Job{}, err
	}
	if was, err := x.earlier(ctx, p, HoldingKind, c.Key, &r, nil); was.ID != "" || err != nil {
		return was, err
	}
	if r.Of == "" { // a preview shows the holds
		if err := x.unheldTenant(ctx, store.Tenant(p.Tenant)); err != nil {
			return job.Job{}, err
		}
	}
	j, _, err := x.begin(ctx, p, HoldingKind, c.Key, &r, &r.Plan, nil)
	if err != nil {
		return job.Job{}, err
	}
	if c.Announce != nil {
		if err := c.Announce(ctx, j); err != nil {
			return job.Job{}, err
		}
	}
	started, err := x.cfg.Store.Create(ctx, j, []job.Unit{unit(j, planUnit, planning, nil)}, x.Limit(j.Kind))
	if r.Of == "" && errors.Is(err, store.ErrLimit) {
		err = x.underWay(ctx, j, err)
	}
	return started, err
}

// Limit is how many jobs of a kind may be under way when one is started or tried
// again.
func (x *Purge) Limit(kind string) store.Limit {
	if kind == HoldingKind {
		return store.Limit{PerOwner: 1}
	}
	return x.cfg.Limit
}

// MayRetryHolding answers nil if a principal may have a job of HoldingKind tried
// again: it may start it, and no other one of its owner is under way just now. That
// none comes to be so meanwhile is for Limit to see to.
func (x *Purge) MayRetryHolding(ctx context.Context, p auth.Principal, j job.Job) error {
	r, err := holdingOf(j)
	if err == nil {
		err = auth.MayPurgeHolding(p, r.Types)
	}
	if err == nil {
		err = x.hasBegun(ctx, j, r.Plan)
	}
	if err != nil {
		return err
	}
	return x.underWay(ctx, j, nil)
}

// UnderWayError refuses to start the purge of a holding while another of the
// same owner is under way. It unwraps to an *fhir.Error of kind Conflict.
type UnderWayError struct {
	Job string // the id of the other
	err error
}

// Error names the other job.
func (e *UnderWayError) Error() string { return e.err.Error() }

// Unwrap gives what a client is told.
func (e *UnderWayError) Unwrap() error { return e.err }

// NewUnderWay is an UnderWayError that calls the other job by a name.
func NewUnderWay(id, name string) *UnderWayError {
	return &UnderWayError{id, fhir.Errorf(fhir.Conflict,
		"the purge %s of what you own is under way; wait for its end, or stop it with DELETE, then start this one again", name)}
}

// underWay names the job of the owner of j, another than j, that is under way.
// If there is none the answer is the given one.
func (x *Purge) underWay(ctx context.Context, j job.Job, none error) error {
	other, err := x.find(ctx, store.Tenant(j.Tenant), j.Owner, func(other job.Job) bool {
		return other.Kind == HoldingKind && other.ID != j.ID && !other.State.Final() && other.CancelRequested.IsZero()
	})
	switch {
	case err != nil:
		return err
	case other != nil:
		return NewUnderWay(other.ID, other.ID)
	}
	return none
}

// find is the latest job of an owner that is as it should be; nil if none is.
func (x *Purge) find(ctx context.Context, t store.Tenant, who job.Owner, is func(job.Job) bool) (*job.Job, error) {
	const page = 50
	for before := ""; ; {
		js, err := x.cfg.Store.List(ctx, t, who, before, page)
		if err != nil {
			return nil, err
		}
		for _, j := range js {
			if before = j.ID; is(j) {
				return &j, nil
			}
		}
		if len(js) < page {
			return nil, nil
		}
	}
}

// readHolding reads the parameters of a call. What is not known is refused,
// whatever the client prefers: it may have been meant to narrow what goes.
func readHolding(c HoldingCall) (r Holding, err error) {
	given := map[string]bool{}
	for i, p := range c.Params {
		where := ""
		if p.Type != "" { // else it is of the URL
			where = fmt.Sprintf("Parameters.parameter[%d]", i)
		}
		switch {
		case p.Name == "_type":
			r.Types, err = addTypes(r.Types, p.Value)
		case given[p.Name]:
			err = fhir.Errorf(fhir.Invalid, "the parameter %s is given twice", p.Name).With(fhir.CodeValue)
		case p.Name == "_before":
			r.Before, err = p.Value, isBefore(p.Value)
		case !c.Plain && (p.Name == "_preview" || p.Name == "_plan"):
			err = r.setPlan(HoldingKind, p)
		default:
			err = unknownToHolding(c, p.Name)
		}
		if err != nil {
			return r, fhir.AsError(err).At(where)
		}
		given[p.Name] = true
	}
	return r, r.check()
}

func unknownToHolding(c HoldingCall, name string) error {
	there := "_type and _before"
	if !c.Plain {
		there = "_type, _before, _preview and _plan"
	}
	return fhir.Errorf(fhir.Invalid, "the parameter %s is not known; there are %s", shown(name), there).With(fhir.CodeNotSupported)
}

func addTypes(types []string, list string) ([]string, error) {
	for typ := range strings.SplitSeq(list, ",") {
		if !r4.IsType(typ) {
			return nil, fhir.Errorf(fhir.Invalid, "_type is a list of resource types of R4, with commas between, such as Patient,Observation").With(fhir.CodeValue)
		}
		if !slices.Contains(types, typ) {
			types = append(types, typ)
		}
	}
	return types, nil
}

func isBefore(value string) error {
	if _, err := fhir.ParseDateTime(value); err != nil {
		return fhir.Errorf(fhir.Invalid, "_before is a date such as 2026-01-31, or an instant such as 2026-01-31T12:00:00Z; write a + in it as %%2B").With(fhir.CodeValue)
	}
	return nil
}

// holdingOf reads what a job was asked.
func holdingOf(j job.Job) (r Holding, err error) {
	if json.Unmarshal(j.Request, &r) != nil {
		err = errors.New("purge: the job's request cannot be read")
	}
	return r, err
}

// holding is one attempt at a unit of a job of HoldingKind.
type holding struct {
	attempt
	types  []string   // nil: all
	limit  store.Tick // only resources that were last updated before it
	server bool       // it is the server's own, whose AuditEvents stay
}

// runHolding is Run for a job of HoldingKind.
func (x *Purge) runHolding(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	r, err := holdingOf(j)
	if err != nil {
		return job.UnitEnd{}, err
	}
	h := holding{
		attempt: attempt{Purge: x, job: j, unit: u, fence: f, request: Request{Plan: r.Plan}, at: store.TickOf(j.TransactionTime), voided: new(time.Time)},
		types:   r.Types, limit: store.Forever, server: j.Owner.Client == x.cfg.Server,
	}
	if r.Before != "" {
		at, err := fhir.ParseDateTime(r.Before)
		if err != nil {
			return job.UnitEnd{}, err
		}
		// A tick is before an instant if it is before the first tick that is not.
		first, _ := at.Bounds()
		h.limit = store.TickOf(first.Add(time.Millisecond - 1))
	}
	switch {
	case u.ID == planUnit:
		return h.plan(ctx)
	case u.Phase == planning:
		return h.isSame(ctx)
	case r.Of != "":
		return h.foresee(ctx)
	}
	switch u.Phase {
	case purging:
		return h.batch(ctx)
	case finishing:
		return h.finish(ctx)
	}
	return h.readAll(ctx)
}

// limited tells whether only what was last updated before an instant goes.
func (h holding) limited() bool { return h.limit != store.Forever }

// selection is what the owner has of all versions up to an instant.
func (h holding) selection(at store.Tick) store.Selection {
	return store.Selection{At: at, Types: h.types, Every: true, Owner: &h.job.Owner}
}

// may tells whether a version is of the owner and the types.
func (h holding) may(v *store.Version) bool {
	return v.Owner == h.job.Owner && (h.types == nil || slices.Contains(h.types, v.ID.Type)) &&
		(!h.server || v.ID.Type != "AuditEvent")
}

// decides tells whether a version is the one by which its resource goes: it was
// current at the job's instant, a tombstone too, and is within the limit.
func (h holding) decides(v *store.Version) bool {
	return h.may(v) && v.AsOf(h.at) && v.From < h.limit
}

// holdingDid is what a unit of a holding did, or found: did.Holding.
type holdingDid struct {
	Resources int64 `json:"resources,omitempty"` // of the plan: how many go
	// Of a batch: files of exports may hold some of it and be found by the
	// resource itself, or by nothing, so that files are read for it.
	Own    bool `json:"own,omitempty"`
	Silent bool `json:"silent,omitempty"`
	Since  int  `json:"since,omitempty"` // of the reading: written after the job's instant
}
