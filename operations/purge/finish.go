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
	q, err := a.quotes(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	us, err := q.plans(a.job, a.request, members.Patients)
	if fhir.KindOf(err) == fhir.Invalid { // the members are others
		err = changed(a.request.Plan)
	}
	if err != nil {
		return job.UnitEnd{}, err
	}
	doc, err := json.Marshal(did{LeftOut: len(members.LeftOut) + len(members.Others) + len(absent)})
	if err == nil {
		err = a.cfg.Store.Add(ctx, a.fence, us)
	}
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// finish does what is done once for all patients: it detaches them from their
// Groups, removes what is left of the erased in files, looks, and scrubs.
//
// Exports read the Groups until they are detached, so files are voided once
// more after that. Then whoever read anything that was erased cannot end any
// more, or has ended: the sweep waits for that. So what comes after it sees all
// that exports noted, and every file that they wrote.
func (a attempt) finish(ctx context.Context) (job.UnitEnd, error) {
	what, err := a.groups(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	for _, step := range []func(context.Context) error{a.voidAll, a.sweep, a.strike, a.voidFiles, a.lookAgain, a.downloadsEnd} {
		if err := step(ctx); err != nil {
			return job.UnitEnd{}, err
		}
	}
	traces, err := a.cfg.Store.Scrub(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	what.Unknown, what.Until = traces.Unknown, traces.Until
	if !a.request.Full {
		if err := a.conclude(ctx, what); err != nil {
			return job.UnitEnd{}, err
		}
	}
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// groups detaches what the job erased from the Groups that name any of it, the
// patients as members above all. It is done once for all of them, and last: so
// whoever purges the members of a Group again, as not all was done, finds them.
func (a attempt) groups(ctx context.Context) (what did, err error) {
	if what, err = didOf(a.unit); err != nil {
		return what, err
	}
	g, err := a.inGroups(ctx)
	if err != nil || g == nil {
		return what, err
	}
	if what, err = a.remember(g); err == nil {
		err = a.note(ctx, job.Erased{}, what)
	}
	for _, step := range []func(context.Context, *gathering) error{a.detach, a.erase} {
		if err == nil {
			err = step(ctx, g)
		}
	}
	what.erased(g)
	return what, err
}

// inGroups finds what is to be done to the Groups that the units met; nil if
// they met none.
func (a attempt) inGroups(ctx context.Context) (*gathering, error) {
	met := map[string]bool{}
	err := a.units(ctx, a.job, func(_ job.Unit, what did) error {
		for _, id := range what.Groups {
			met[id] = true
		}
		return nil
	})
	if err != nil || len(met) == 0 {
		return nil, err
	}
	all, err := a.everyone(ctx)
	if err != nil {
		return nil, err
	}
	g := a.gathering(all, "")
	if g.record, err = a.erased(ctx); err != nil {
		return nil, err
	}
	var ids []fhir.ID
	for _, id := range slices.Sorted(maps.Keys(met)) {
		ids = append(ids, fhir.ID{Type: "Group", ID: id})
	}
	return g, g.histories(ctx, ids, func(h history) error { g.add(h); return nil })
}

// voidAll voids the files that hold one of the patients, and announces them all.
func (a attempt) voidAll(ctx context.Context) error {
	patients, err := a.patients(ctx)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(slices.Sorted(maps.Keys(patients)), targetPage) {
		parts, err := a.cfg.Store.Void(ctx, a.fence, page)
		if err == nil {
			err = a.forget(ctx, parts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// conclude has the end recorded, and certified.
func (a attempt) conclude(ctx context.Context, what did) error {
	if err := a.recordEnd(ctx); err != nil {
		return err
	}
	return a.certify(ctx, what)
}

func (a attempt) sweep(ctx context.Context) error { return a.cfg.Sweep(ctx, a.fence.Tenant) }

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
	all, err := a.everyone(ctx)
	if err != nil {
		return err
	}
	g := a.gathering(all, "")
	for page := range slices.Chunk(slices.Sorted(maps.Keys(all.patients)), targetPage) {
		if err := a.residue(ctx, g, nil, store.Gone{Patients: page, Job: a.job.ID}); err != nil {
			return err
		}
	}
	return a.finds(ctx, func(ids []fhir.ID) error {
		g.record.Add(ids...)
		return a.residue(ctx, g, nil, store.Gone{IDs: ids, Job: a.job.ID})
	})
}

// erased is the record of all that the job erased.
func (a attempt) erased(ctx context.Context) (*selection.Record, error) {
	all, err := a.everyone(ctx)
	if err != nil {
		return nil, err
	}
	record := all.record.More()
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
