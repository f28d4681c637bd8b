package purge

import (
	"context"
	"maps"
	"slices"

	"firebreak/fhir"
	"firebreak/store"
)

// unheldTenant refuses a kick-off if a hold is on all of the tenant.
func (x *Purge) unheldTenant(ctx context.Context, t store.Tenant) error {
	held, err := x.cfg.Store.HeldAmong(ctx, t, x.cfg.Now(), nil)
	if err != nil || len(held) == 0 {
		return err
	}
	return fhir.Errorf(fhir.Conflict, "nothing was purged: %s; who runs this server can lift a hold", tellHeld(held))
}

// mayRemove fails for good if a hold is on a patient on whose account something
// goes.
func (h holding) mayRemove(ctx context.Context, o *owned) error {
	var of []string
	for _, r := range o.resources {
		of = append(of, r.whose...)
	}
	slices.Sort(of)
	held, err := h.held(ctx, h.fence.Tenant, h.cfg.Now(), slices.Compact(of))
	return h.none(held, err)
}

// accounts are the patients on whose account a holding goes, for a look at the
// holds on them. It has them looked for some at a time.
type accounts struct {
	holding
	patients map[string]bool
}

// accountPage is of how many patients it is asked at a time whether they are
// held.
const accountPage = 10_000

// accounts are nil where no hold stands, or which do is shown: then nobody need
// be asked for.
func (h holding) accounts(ctx context.Context) (*accounts, error) {
	if h.request.Of != "" {
		return nil, nil
	}
	standing, err := h.cfg.Store.Holds(ctx, h.fence.Tenant, h.cfg.Now(), "", 1)
	if err != nil || len(standing) == 0 {
		return nil, err
	}
	return &accounts{h, map[string]bool{}}, nil
}

// add notes on whose account a version goes. It fails for good if a hold is on
// one of those that were noted.
func (a *accounts) add(ctx context.Context, v *store.Version) error {
	if a == nil {
		return nil
	}
	for _, p := range whose(v) {
		a.patients[p] = true
	}
	if len(a.patients) < accountPage {
		return nil
	}
	return a.ask(ctx)
}

// ask fails for good if a hold is on one of the patients.
func (a *accounts) ask(ctx context.Context) error {
	if a == nil {
		return nil
	}
	held, err := a.held(ctx, a.fence.Tenant, a.cfg.Now(), slices.Sorted(maps.Keys(a.patients)))
	clear(a.patients)
	return a.none(held, err)
}
