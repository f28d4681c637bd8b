package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// plan reads the members of the group, and makes a unit for each patient.
func (a attempt) plan(ctx context.Context) (job.UnitEnd, error) {
	members, absent, err := selection.MembersAt(ctx, a.cfg.Store, a.fence.Tenant, a.request.Group, a.at)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if slices.Contains(absent, a.request.Group) {
		return job.UnitEnd{}, &job.Failure{Permanent: true, Reason: job.Reason{
			Code: string(fhir.CodeNotFound), Message: "the Group was deleted before the purge began; nothing was touched",
		}}
	}
	us, err := plans(a.job, members.Patients)
	if err != nil {
		return job.UnitEnd{}, err
	}
	doc, err := json.Marshal(did{LeftOut: len(members.LeftOut) + len(members.Others) + len(absent)})
	if err == nil {
		err = a.cfg.Store.Add(ctx, a.fence, us)
	}
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// finish removes what is left of the erased in files that no record leads to,
// and reads every body if that was asked for.
func (a attempt) finish(ctx context.Context) (job.UnitEnd, error) {
	if err := a.cfg.Sweep(ctx, a.fence.Tenant); err != nil {
		return job.UnitEnd{}, err
	}
	what, err := a.groups(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	steps := []func(context.Context) error{a.strike, a.voidFiles, a.lookAgain}
	if a.request.Full {
		steps = append(steps, a.lookEverywhere)
	}
	for _, step := range append(steps, a.downloadsEnd) {
		if err := step(ctx); err != nil {
			return job.UnitEnd{}, err
		}
	}
	traces, err := a.cfg.Store.Scrub(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if err := a.recordEnd(ctx); err != nil {
		return job.UnitEnd{}, err
	}
	what.Looked, what.Unknown, what.Until = a.request.Full, traces.Unknown, traces.Until
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// groups detaches the patients from the Groups that they are members of. It is
// done once for all of them, and last: so whoever purges the members of a Group
// again, as not all was done, finds them.
func (a attempt) groups(ctx context.Context) (what did, err error) {
	patients, err := a.patients(ctx)
	if err != nil {
		return what, err
	}
	g := a.gathering(patients, "")
	for page := range slices.Chunk(slices.Sorted(maps.Keys(patients)), targetPage) {
		targets := make([]fhir.ID, len(page))
		for i, p := range page {
			targets[i] = fhir.ID{Type: "Patient", ID: p}
		}
		ids, err := a.cfg.Store.Mentions(ctx, a.fence.Tenant, targets)
		if err != nil {
			return what, err
		}
		fresh := slices.DeleteFunc(ids, func(id fhir.ID) bool { return id.Type != "Group" || g.seen[id] })
		for _, id := range fresh {
			g.seen[id] = true
		}
		if err := g.histories(ctx, fresh, func(h history) error { g.add(h); return nil }); err != nil {
			return what, err
		}
	}
	if what, err = a.remember(g); err == nil {
		err = a.note(ctx, job.Erased{}, what)
	}
	for _, step := range []func(context.Context, *gathering) error{a.detach, a.erase} {
		if err == nil {
			err = step(ctx, g)
		}
	}
	return what, err
}

// recordEnd has the end recorded, with counts and without content.
func (a attempt) recordEnd(ctx context.Context) error {
	tally, err := a.cfg.Store.Tally(ctx, a.fence.Tenant, a.job.ID)
	if err != nil {
		return err
	}
	return a.cfg.Record(ctx, job.Event{
		Act: job.Purged, Tenant: a.job.Tenant, By: a.job.Owner, Job: a.job.ID, Kind: a.job.Kind,
		Detail: fmt.Sprintf("%d resources and %d versions of them and of others were erased", tally.Erased.Resources, tally.Erased.Versions),
	})
}

// strike removes once more what other jobs have noted of the record: one that
// was under way may have noted it late.
func (a attempt) strike(ctx context.Context) error {
	patients, err := a.patients(ctx)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(slices.Sorted(maps.Keys(patients)), historyPage) {
		if err := a.cfg.Store.Strike(ctx, a.fence, store.Gone{Patients: page}); err != nil {
			return err
		}
	}
	return a.finds(ctx, func(ids []fhir.ID) error { return a.cfg.Store.Strike(ctx, a.fence, store.Gone{IDs: ids}) })
}

// lookAgain asks the indexes about all that the job erased.
func (a attempt) lookAgain(ctx context.Context) error {
	patients, err := a.patients(ctx)
	if err != nil {
		return err
	}
	g := a.gathering(patients, "")
	for page := range slices.Chunk(slices.Sorted(maps.Keys(patients)), targetPage) {
		if err := a.residue(ctx, g, nil, store.Gone{Patients: page, Job: a.job.ID}); err != nil {
			return err
		}
	}
	return a.finds(ctx, func(ids []fhir.ID) error {
		g.record.Add(ids...)
		return a.residue(ctx, g, nil, store.Gone{IDs: ids, Job: a.job.ID})
	})
}

// lookEverywhere reads every current body of the tenant for what was erased.
// What depends on no index is seen here: that an index said too little.
func (a attempt) lookEverywhere(ctx context.Context) error {
	record, err := a.erased(ctx)
	if err != nil {
		return err
	}
	now, err := a.cfg.Store.Barrier(ctx, a.fence.Tenant, 1)
	if err != nil {
		return err
	}
	sel := store.Selection{At: now}
	ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, 1<<40)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		err := a.cfg.Store.Scan(ctx, a.fence.Tenant, sel, r, "", func(v *store.Version) error {
			if v.From > a.at || v.ID.Type == "AuditEvent" {
				return nil
			}
			switch record.Concern(v.ID.Type, v.ID.ID, v.Body) {
			case selection.None:
				return nil
			case selection.Names:
				if a.request.Shared == Keep {
					return nil
				}
			}
			return errLeft
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// erased is the record of all that the job erased.
func (a attempt) erased(ctx context.Context) (*selection.Record, error) {
	patients, err := a.patients(ctx)
	if err != nil {
		return nil, err
	}
	record := selection.NewRecord(slices.Collect(maps.Keys(patients)))
	return record, a.finds(ctx, func(ids []fhir.ID) error {
		there, err := a.cfg.Store.Get(ctx, a.fence.Tenant, ids...)
		for i, v := range there {
			if v.N == 0 {
				record.Add(ids[i])
			}
		}
		return err
	})
}

// finds calls f with what the job has noted of resources.
func (a attempt) finds(ctx context.Context, f func(ids []fhir.ID) error) error {
	for after := (fhir.ID{}); ; {
		ids, err := a.cfg.Store.Finds(ctx, a.fence.Tenant, a.job.ID, after, historyPage)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := f(ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}
