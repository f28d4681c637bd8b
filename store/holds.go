package store

import (
	"context"
	"errors"
	"time"
)

// ErrOnHold tells that a hold stands in the way of an erasure, and that nothing
// was erased. It comes as an *OnHold, which names the hold.
var ErrOnHold = errors.New("store: a hold stands in the way")

// HoldOn is what a hold is on.
type HoldOn string

// What a hold can be on.
const (
	OnPatient HoldOn = "patient"
	OnGroup   HoldOn = "group"  // on patients that are given with it
	OnTenant  HoldOn = "tenant" // on all that the tenant has
)

// Hold says that nothing may be erased on account of some patients. It stands
// from when it is set until it is lifted, or until an instant.
type Hold struct {
	ID       string
	On       HoldOn
	Subject  string // id of the Patient or the Group; "": the tenant
	By       string // who set it
	Why      string
	Set      time.Time
	Until    time.Time // zero: until it is lifted
	Lifted   time.Time // zero: it was not
	LiftedBy string
}

// Stands tells whether the hold stands at an instant: before Until, and not
// lifted.
func (h Hold) Stands(at time.Time) bool {
	return h.Lifted.IsZero() && (h.Until.IsZero() || at.Before(h.Until))
}

// Held is a hold, and one of the patients that it is on.
type Held struct {
	Hold    Hold
	Patient string // by id; "": all of the tenant
}

// OnHold is how an erasure is refused. Its text names the hold and no patient.
type OnHold struct{ Held }

// Error is error.
func (e *OnHold) Error() string { return ErrOnHold.Error() + ": " + e.Hold.ID }

// Unwrap gives ErrOnHold.
func (e *OnHold) Unwrap() error { return ErrOnHold }

// Holds keep what must not be erased. They go with no job, and nothing removes
// one: what has ended is kept for the record. Instants are taken to the
// millisecond.
//
// A hold that SetHold has acknowledged before an erasure is committed stops it:
// see Eraser. Nothing else of the store looks at holds; a commit that replaces
// or deletes keeps the versions before, so it is none of their business.
type Holds interface {
	// SetHold writes a hold. One on a patient is on its Subject, one on a Group
	// is on the patients that are given, whoever the members of the Group become
	// later. If there is a hold of that id, nothing is changed, and that is no
	// error; so the call may be made again if its result is unknown.
	SetHold(ctx context.Context, t Tenant, h Hold, patients ...string) error
	// LiftHold ends a hold, says by whom, and returns it as it then stands. One
	// that was lifted stays as it is. ErrNotFound.
	LiftHold(ctx context.Context, t Tenant, id, by string, now time.Time) (Hold, error)
	// Holds lists up to n holds in order of id, by their bytes, those after the
	// given one; "" for the first. standing: only those that stand at that
	// instant; zero: all.
	Holds(ctx context.Context, t Tenant, standing time.Time, after string, n int) ([]Hold, error)
	// HeldAmong tells which holds that stand at an instant are on one of the
	// patients, or on the tenant: in order of patient, then of hold, each pair
	// once. It sees each hold that was acknowledged before the call.
	HeldAmong(ctx context.Context, t Tenant, at time.Time, patients []string) ([]Held, error)
}
