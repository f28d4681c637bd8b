package purge

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// entering is what an attempt has entered in the ledger.
type entering struct {
	done   map[fhir.ID]bool
	entire map[fhir.ID]bool // of which all goes that was there at the instant
}

// enter has resources entered in the ledger, before the commit that erases of
// them, or detaches them. So a purge that is stopped has entered little that it
// did not come to. entire: all of them goes that was there at the instant.
func (a attempt) enter(ctx context.Context, ids []fhir.ID, entire bool) error {
	if a.cfg.Enter == nil || len(ids) == 0 {
		return nil
	}
	err := a.cfg.Enter(ctx, a.fence.Tenant, a.at, ids, entire)
	if err != nil && ctx.Err() == nil {
		err = &job.Failure{Err: err, Reason: job.Reason{
			Code: "no-store", Message: "what is to be purged cannot be entered in the server's ledger, so it was not purged; the server's log has the cause",
		}}
	}
	return err
}

// enterPuts enters what is going to be detached.
func (g *gathering) enterPuts(ctx context.Context, puts []store.Put) error {
	ids := make([]fhir.ID, len(puts))
	for i, p := range puts {
		ids[i] = p.Resource.ID
	}
	return g.enterNew(ctx, ids)
}

// enterVersions enters that of which versions are going to be erased.
func (g *gathering) enterVersions(ctx context.Context, vs []store.VersionRef) error {
	ids := make([]fhir.ID, len(vs))
	for i, v := range vs {
		ids[i] = v.ID
	}
	return g.enterNew(ctx, slices.Compact(ids))
}

// enterNew enters what this attempt has not entered.
func (g *gathering) enterNew(ctx context.Context, ids []fhir.ID) error {
	if g.entered == nil {
		g.entered = &entering{done: map[fhir.ID]bool{}, entire: g.found.entire()}
	}
	var whole, some []fhir.ID
	for _, id := range ids {
		switch {
		case g.entered.done[id]:
		case g.entered.entire[id]:
			whole = append(whole, id)
		default:
			some = append(some, id)
		}
		g.entered.done[id] = true
	}
	if err := g.enter(ctx, whole, true); err != nil {
		return err
	}
	return g.enter(ctx, some, false)
}

// entire are the resources of which all goes that was there at the instant.
func (f *findings) entire() map[fhir.ID]bool {
	all := make(map[fhir.ID]bool, len(f.gone)+len(f.whole))
	for _, r := range f.gone {
		all[r.id] = true
	}
	for _, id := range f.whole {
		all[id] = true
	}
	return all
}
