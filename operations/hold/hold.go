// Package hold sets and lifts legal holds, for those who run the server: what a
// hold is on stays until the hold has ended, whatever is to be purged. Who is
// held, and how erasures are stopped, is for the store and for purges.
package hold

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// Client is who did it, in the record, beside the name that was given.
const Client = "operator"

// Kind is what events about holds are of.
const Kind = "hold"

// Store is what holds need of a store.
type Store interface {
	store.Reader
	store.Holds
}

// Config is what New needs; Store, Now and NewID must be set.
type Config struct {
	Store Store
	Now   func() time.Time
	NewID func() string
	// Record is told of each act before it is done; an error refuses it. nil:
	// nobody is told.
	Record func(ctx context.Context, e job.Event) error
}

// Holds sets, lists and lifts holds. It may be used by many goroutines at once.
type Holds struct{ cfg Config }

// New makes Holds.
func New(cfg Config) *Holds {
	if cfg.Record == nil {
		cfg.Record = func(context.Context, job.Event) error { return nil }
	}
	return &Holds{cfg}
}

// Order is a hold as it is asked for.
type Order struct {
	On    string // "Patient/ID", "Group/ID" or Tenant
	By    string
	Why   string
	Until time.Time // zero: until it is lifted
}

// Tenant is what Order.On is of a hold on all of a tenant.
const Tenant = "tenant"

// Made is a hold that was set.
type Made struct {
	store.Hold
	Patients int // how many it is on; 0 on the tenant
	LeftOut  int // of the Group: members that are no patients of this server, or that cannot be read
}

// maxText is how many characters a name or a reason may have.
const maxText = 1000

// Set sets a hold. A patient must be there, or have been deleted; a Group must
// be there, and the hold is on those who are its members now, whoever leaves it
// later. Who joins it later is seen by each purge that begins. Errors are
// fhir.Errors, or the store's.
func (h *Holds) Set(ctx context.Context, t store.Tenant, o Order) (Made, error) {
	now := h.cfg.Now()
	m := Made{Hold: store.Hold{ID: h.cfg.NewID(), By: o.By, Why: o.Why, Set: now.UTC().Truncate(time.Millisecond), Until: o.Until.UTC().Truncate(time.Millisecond)}}
	if o.Until.IsZero() {
		m.Until = time.Time{}
	}
	var err error
	if m.On, m.Subject, err = read(o, now); err != nil {
		return Made{}, err
	}
	patients, err := h.patients(ctx, t, &m, now)
	if err != nil {
		return Made{}, err
	}
	e := event(t, job.HoldSet, o.By, m.Hold)
	return m, h.recorded(ctx, e, func() error { return h.cfg.Store.SetHold(ctx, t, m.Hold, patients...) })
}

// read reads an order.
func read(o Order, now time.Time) (on store.HoldOn, subject string, err error) {
	typ, id, one := strings.Cut(o.On, "/")
	switch {
	case o.On == Tenant:
		on = store.OnTenant
	case typ == "Patient" && one:
		on = store.OnPatient
	case typ == "Group" && one:
		on = store.OnGroup
	default:
		return "", "", fhir.Errorf(fhir.Invalid, "on is what the hold is on: Patient/ID, Group/ID, or tenant").With(fhir.CodeValue)
	}
	if one && fhir.CheckID(id) != nil {
		return "", "", fhir.Errorf(fhir.Invalid, "on has no id of FHIR behind the slash").With(fhir.CodeValue)
	}
	if !o.Until.IsZero() && !now.Before(o.Until) {
		return "", "", fhir.Errorf(fhir.Invalid, "until is an instant that has passed; leave it out for a hold until it is lifted").With(fhir.CodeValue)
	}
	return on, id, cmp.Or(text("by", "who sets the hold", o.By), text("why", "the reason, such as the number of a case", o.Why))
}

// text refuses a text that is not there, or too long.
func text(name, what, s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return fhir.Errorf(fhir.Invalid, "%s is missing: say %s", name, what).With(fhir.CodeRequired)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0) || utf8.RuneCountInString(s) > maxText:
		return fhir.Errorf(fhir.Invalid, "%s is longer than %d characters, or has some that are none", name, maxText).With(fhir.CodeValue)
	}
	return nil
}

// patients are those whom a hold on a Group is on. It sees that the subject is
// there.
func (h *Holds) patients(ctx context.Context, t store.Tenant, m *Made, now time.Time) ([]string, error) {
	switch m.On {
	case store.OnPatient:
		m.Patients = 1
		got, err := h.cfg.Store.Get(ctx, t, fhir.ID{Type: "Patient", ID: m.Subject})
		if err == nil && got[0].N == 0 {
			err = fhir.Errorf(fhir.NotFound, "the tenant has no such Patient, and never had; a hold is on the id of a Patient, as in Patient/{id}")
		}
		return nil, err
	case store.OnGroup:
		all, there, err := selection.MembersNow(ctx, h.cfg.Store, t, m.Subject, now)
		if err == nil && !there {
			err = fhir.Errorf(fhir.NotFound, "the tenant has no such Group")
		}
		m.Patients, m.LeftOut = len(all.Patients), len(all.LeftOut)+len(all.Others)
		return all.Patients, err
	}
	return nil, nil
}

// List lists holds of a tenant as store.Holds does: those that stand, or all.
func (h *Holds) List(ctx context.Context, t store.Tenant, ended bool, after string, n int) ([]store.Hold, error) {
	at := h.cfg.Now()
	if ended {
		at = time.Time{}
	}
	return h.cfg.Store.Holds(ctx, t, at, after, n)
}

// Lift ends a hold and returns it. Who lifts one that was lifted learns who did.
func (h *Holds) Lift(ctx context.Context, t store.Tenant, id, by string) (store.Hold, error) {
	if err := text("by", "who lifts the hold", by); err != nil {
		return store.Hold{}, err
	}
	was, err := h.one(ctx, t, id)
	if err != nil {
		return store.Hold{}, err
	}
	if !was.Lifted.IsZero() {
		return was, nil
	}
	err = h.recorded(ctx, event(t, job.HoldLifted, by, was), func() error {
		was, err = h.cfg.Store.LiftHold(ctx, t, id, by, h.cfg.Now().UTC().Truncate(time.Millisecond))
		return err
	})
	return was, err
}

// page is how many holds are looked through at a time.
const page = 200

// one finds a hold.
func (h *Holds) one(ctx context.Context, t store.Tenant, id string) (store.Hold, error) {
	for after := ""; ; {
		all, err := h.cfg.Store.Holds(ctx, t, time.Time{}, after, page)
		if err != nil {
			return store.Hold{}, err
		}
		if i := slices.IndexFunc(all, func(one store.Hold) bool { return one.ID == id }); i >= 0 {
			return all[i], nil
		}
		if len(all) < page {
			return store.Hold{}, fhir.Errorf(fhir.NotFound, "the tenant has no hold of this id; GET /holds lists those there are")
		}
		after = all[len(all)-1].ID
	}
}

// Subject says what a hold is on, as Order.On does.
func Subject(h store.Hold) string {
	switch h.On {
	case store.OnPatient:
		return "Patient/" + h.Subject
	case store.OnGroup:
		return "Group/" + h.Subject
	}
	return Tenant
}

// event is an act on a hold, for the record: not why.
func event(t store.Tenant, act job.Act, by string, h store.Hold) job.Event {
	until := "until it is lifted"
	if !h.Until.IsZero() {
		until = "until " + h.Until.Format(time.RFC3339)
	}
	return job.Event{
		Act: act, Tenant: string(t), By: job.Owner{Client: Client, User: by}, Kind: Kind, Hold: h.ID, On: Subject(h), Detail: until,
	}
}

// recorded has an act recorded, then done; that it was not is recorded too.
func (h *Holds) recorded(ctx context.Context, e job.Event, do func() error) error {
	if err := h.cfg.Record(ctx, e); err != nil {
		return fhir.Errorf(fhir.Transient, "this cannot be recorded now, so it was not done; try again").Because(err)
	}
	err := do()
	if err == nil {
		return nil
	}
	e.Refused, e.Detail = true, "it was not done, or it is not known whether it was"
	return errors.Join(err, h.cfg.Record(ctx, e))
}
