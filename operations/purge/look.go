package purge

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// errLeft tells that something of the record is there still. The unit is done
// again.
var errLeft = &job.Failure{Reason: job.Reason{
	Code: "incomplete", Message: "the look at the end found something of the record that should be gone; it is tried again",
}}

// look sees that nothing is left of what was gathered: another gathering finds
// nothing to do, and no index has anything of the patient. For the resources
// that were erased the last unit looks once, for all patients. It counts what
// was written after the job's instant.
func (a attempt) look(ctx context.Context, g *gathering) (since int, err error) {
	again, err := a.gather(ctx, g.patient)
	if err != nil {
		return 0, err
	}
	if !again.found.none() {
		return 0, errLeft
	}
	gone := store.Gone{IDs: []fhir.ID{{Type: "Patient", ID: g.patient}}, Patients: []string{g.patient}, Job: a.job.ID}
	return again.found.since, a.residue(ctx, g, again.seen, gone)
}

// crowded is how many findings may be fewer than there are, as a kind has its
// share of MaxResidue only; then less is asked about.
const crowded = store.MaxResidue / 10

// residue sees that nothing of what the store finds is to be erased, but for
// what was looked at already.
func (a attempt) residue(ctx context.Context, g *gathering, seen map[fhir.ID]bool, gone store.Gone) error {
	found, err := a.cfg.Store.Residue(ctx, a.fence.Tenant, gone)
	if err != nil {
		return err
	}
	if n := len(gone.IDs) / 2; n > 0 && len(found) >= crowded {
		half := gone
		gone.IDs, half.IDs, half.Patients = gone.IDs[:n], gone.IDs[n:], nil
		if err := a.residue(ctx, g, seen, half); err != nil {
			return err
		}
		return a.residue(ctx, g, seen, gone)
	}
	named, err := a.suspects(found)
	if err != nil {
		return err
	}
	named = slices.DeleteFunc(named, func(id fhir.ID) bool { return seen[id] })
	// What is there may have been written after the instant, or be kept.
	return g.histories(ctx, named, func(h history) error {
		d := h.decide(a.at, a.request.Shared)
		if !g.elsewhere(h.id) && !g.leaves(h) && (len(d.erase) > 0 || d.detach > 0) {
			return errLeft
		}
		return nil
	})
}

// suspects are the resources of findings, once each; an error if there is
// something else that must not be. Before the last unit other units may be at
// parts, members and finds just now, and Groups are not detached.
func (a attempt) suspects(found []store.Residue) (ids []fhir.ID, err error) {
	last := a.unit.Phase == finishing
	for _, r := range found {
		switch r.Kind {
		case store.OfVersion, store.OfReference, store.OfCompartment:
			if last || r.ID.Type != "Group" {
				ids = append(ids, r.ID)
			}
		case store.OfIndex:
			return nil, errLeft
		default:
			if last {
				return nil, errLeft
			}
		}
	}
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids), nil
}
