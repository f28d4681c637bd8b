package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// finish does what is done once for all batches. What it voids is as in the
// purge of patients; after the sweep no export has anything that is not on
// record.
func (h holding) finish(ctx context.Context) (job.UnitEnd, error) {
	what, err := didOf(h.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	erased, err := h.rest(ctx, &what)
	if err != nil {
		return job.UnitEnd{}, err
	}
	for _, step := range []func(context.Context) error{h.voidAll, h.sweep, h.strikeAll, h.voidSilent, h.lookAgain, h.downloadsEnd} {
		if err := step(ctx); err != nil {
			return job.UnitEnd{}, err
		}
	}
	traces, err := h.cfg.Store.Scrub(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	what.Unknown, what.Until = traces.Unknown, traces.Until
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: h.unit.Erased.Add(erased).Resources}, Result: doc}, err
}

// rest removes what goes and no batch had: what the purge of a patient has
// replaced meanwhile, so that nothing was current at the instant any more.
func (h holding) rest(ctx context.Context, what *did) (erased job.Erased, err error) {
	ranges, err := h.cfg.Store.Split(ctx, h.fence.Tenant, h.selection(h.at), readBytes)
	if err != nil {
		return erased, err
	}
	for _, r := range ranges {
		ids, err := h.remaining(ctx, r)
		if err != nil {
			return erased, err
		}
		for page := range slices.Chunk(ids, batchSize) {
			n, err := h.remove(ctx, page, what)
			if err != nil {
				return erased, err
			}
			erased = erased.Add(n)
		}
	}
	return erased, nil
}

// remaining are the resources of which a version of a range should be gone.
func (h holding) remaining(ctx context.Context, r store.Range) (ids []fhir.ID, err error) {
	seen := map[fhir.ID]bool{}
	err = h.cfg.Store.Scan(ctx, h.fence.Tenant, h.selection(h.at), r, "", func(v *store.Version) error {
		if h.left(v) && !seen[v.ID] {
			seen[v.ID] = true
			ids = append(ids, v.ID)
		}
		return nil
	})
	return ids, err
}

// left tells whether a version should be gone, for all that it says itself:
// one that was replaced before the instant may be of a resource that stays, if
// there is a limit.
func (h holding) left(v *store.Version) bool {
	return h.decides(v) || h.may(v) && v.From <= h.at && !h.limited()
}

// findsWith calls f with those of the job's finds, some at a time, that are of
// the types of units for which a flag is set. This unit may be of any type.
func (h holding) findsWith(ctx context.Context, flag func(holdingDid) bool, f func(ids []fhir.ID) error) error {
	types, all := map[string]bool{}, false
	err := h.units(ctx, h.job, func(u job.Unit, what did) (err error) {
		switch {
		case !flag(what.Holding):
		case u.Phase == finishing:
			all = true
		default:
			var args batchArgs
			args, err = argsOf(u)
			types[args.Range.Type] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	return h.finds(ctx, func(ids []fhir.ID) error {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id fhir.ID) bool { return !all && !types[id.Type] })
		if len(ids) == 0 {
			return nil
		}
		return f(ids)
	})
}

// voidAll voids once more all files that are found by what went: an attempt
// that was cut off after it erased left no other word of it.
func (h holding) voidAll(ctx context.Context) error {
	cohort := store.CohortID(h.job.ID)
	for after := ""; ; {
		patients, err := h.cfg.Store.Members(ctx, h.fence.Tenant, cohort, after, targetPage)
		if err != nil {
			return err
		}
		if len(patients) == 0 {
			break
		}
		if err := h.voidBy(ctx, patients, nil); err != nil {
			return err
		}
		after = patients[len(patients)-1]
	}
	own := func(d holdingDid) bool { return d.Own }
	return h.findsWith(ctx, own, func(ids []fhir.ID) error { return h.voidBy(ctx, names(ids), ids) })
}

func names(ids []fhir.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// voidSilent reads the files that may hold what went and do not say so.
func (h holding) voidSilent(ctx context.Context) error {
	silent := func(d holdingDid) bool { return d.Silent }
	var waiting []fhir.ID
	if err := h.findsWith(ctx, silent, func(ids []fhir.ID) error {
		if waiting = append(waiting, ids...); len(waiting) < silentPage {
			return nil
		}
		err := h.voidWith(ctx, names(waiting), waiting...)
		waiting = waiting[:0]
		return err
	}); err != nil {
		return err
	}
	return h.voidWith(ctx, names(waiting), waiting...)
}

// silentPage is for how many resources files are read at a time.
const silentPage = 20_000

// strikeAll removes once more what other jobs have noted of what is gone: one
// that was under way may have noted it late.
func (h holding) strikeAll(ctx context.Context) error {
	return h.finds(ctx, func(ids []fhir.ID) error {
		gone, err := h.gone(ctx, ids)
		if err != nil {
			return err
		}
		return h.strike(ctx, gone)
	})
}

// gone are those resources of which there is nothing; an error if one has a
// version that should be gone.
func (h holding) gone(ctx context.Context, ids []fhir.ID) ([]fhir.ID, error) {
	there := map[fhir.ID]bool{}
	err := h.cfg.Store.Versions(ctx, h.fence.Tenant, ids, func(v *store.Version) error {
		if there[v.ID] = true; h.may(v) && v.From <= h.at {
			return errLeft
		}
		return nil
	})
	return slices.DeleteFunc(slices.Clone(ids), func(id fhir.ID) bool { return there[id] }), err
}

// lookAgain asks the store about all that the job erased.
func (h holding) lookAgain(ctx context.Context) error {
	return h.finds(ctx, func(ids []fhir.ID) error {
		gone, err := h.gone(ctx, ids)
		if err != nil {
			return err
		}
		return h.noEntries(ctx, gone)
	})
}

// noEntries sees that neither an index nor another job has anything of
// resources that are gone. That others name them is as it should be.
func (h holding) noEntries(ctx context.Context, gone []fhir.ID) error {
	for page := range slices.Chunk(gone, historyPage) {
		found, err := h.cfg.Store.Residue(ctx, h.fence.Tenant, store.Gone{IDs: page, Job: h.job.ID})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(found, func(r store.Residue) bool { return r.Kind == store.OfIndex || r.Kind == store.OfFind }) {
			return errLeft
		}
	}
	return nil
}

// readAll reads every version of the tenant for what should be gone, whatever
// an index says, and counts what was written after the instant. It goes on where
// an earlier attempt was cut off.
func (h holding) readAll(ctx context.Context) (job.UnitEnd, error) {
	return h.readEach(ctx, func(what *did, v *store.Version) error {
		switch {
		case h.left(v):
			return leftThere(v.ID)
		case h.may(v) && v.AsOf(what.Read.At) && v.From > h.at:
			what.Holding.Since++
		}
		return nil
	}, h.conclude)
}

// leftThere tells of a resource that should be gone and was not found before.
// Trying again would find the same.
func leftThere(id fhir.ID) error {
	return &job.Failure{Permanent: true, Reason: job.Reason{
		Code: "incomplete",
		Message: fmt.Sprintf("%s was read and should be gone, though nothing that looked for what you own found it: "+
			"the database is damaged, or was written by something else; start the purge again, which looks anew", id),
	}}
}
