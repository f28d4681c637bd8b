package purge

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/fhir/selection"
	"firebreak/store"
)

// leaves tells whether a resource is left to another unit of the job: what goes
// whole, whichever unit removes it, and is in the compartments of several of its
// patients is the first one's. Of the rest each unit removes what names its own
// patient.
func (g *gathering) leaves(h history) bool {
	old := h.until(g.at)
	if len(old) == 0 || g.patient == "" || h.id.Type == "Patient" || !g.goesWhole(h.id, old[0]) {
		return false
	}
	first := g.firstOf(old[0])
	return first != "" && first != g.patient
}

// goesWhole tells of a resource, by its last version that is meant, whether it
// goes for any of the patients in whose compartment that is.
func (g *gathering) goesWhole(id fhir.ID, last version) bool {
	return last.concern == selection.About || last.concern == selection.Names && g.request.Shared == Delete && canGo(id.Type)
}

// firstOf is the first patient of the job in whose compartment a version is; ""
// if there is none.
func (g *gathering) firstOf(v version) string {
	for _, p := range v.in {
		if p == g.patient || g.asked[p] {
			return p
		}
	}
	return ""
}

// common tells of what several units of the job may erase, as no other leaves it
// to this one.
func (g *gathering) common(h history) bool {
	old := h.until(g.at)
	if len(g.asked) < 2 || g.patient == "" || len(old) == 0 {
		return false
	}
	if h.id.Type == "Patient" {
		return h.id.ID != g.patient
	}
	return g.firstOf(old[0]) == "" || !g.goesWhole(h.id, old[0])
}

// targets looks whether the other targets of a Provenance are of the records of
// other patients of the job. Then it goes, though they go later.
func (g *gathering) targets(ctx context.Context) error {
	if len(g.asked) < 2 {
		return nil // what is about the patient is there already
	}
	var targets []fhir.ID
	provenance := slices.DeleteFunc(slices.Clone(g.waiting), func(id fhir.ID) bool { return id.Type != "Provenance" })
	err := g.versions(ctx, provenance, func(v *store.Version) error {
		for _, t := range search.Terms(v.ID.Type, v.ID.ID, v.Body) {
			if id, ok := search.Target(t.Value); ok && t.Param == "target" {
				targets = append(targets, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.alike(ctx, targets)
}

// alike adds to the record, of some resources, those that are about patients of
// the job. They go too, by another unit perhaps.
func (g *gathering) alike(ctx context.Context, ids []fhir.ID) error {
	if len(g.asked) < 2 {
		return nil
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	fresh := slices.DeleteFunc(slices.Compact(ids), g.set.Has)
	absent := map[fhir.ID]bool{}
	for _, id := range fresh {
		absent[id] = true
	}
	err := g.histories(ctx, fresh, func(h history) error {
		delete(absent, h.id)
		if h.concern(g.at) == selection.About {
			g.set.Add(h.id)
		}
		return nil
	})
	if err != nil || len(absent) == 0 {
		return err
	}
	return g.alreadyGone(ctx, absent)
}

// alreadyGone adds to the record, of resources that are not there, those that
// another unit of the job has erased: whichever unit comes first, what depends
// on them is judged alike.
func (g *gathering) alreadyGone(ctx context.Context, absent map[fhir.ID]bool) error {
	return g.finds(ctx, func(ids []fhir.ID) error {
		for _, id := range ids {
			if absent[id] {
				g.set.Add(id)
			}
		}
		return nil
	})
}
