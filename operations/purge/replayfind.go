package purge

import (
	"context"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/fhir/selection"
	"firebreak/store"
)

// again finds what is to be done to resources that the ledger has entries of.
func (r replaying) again(ctx context.Context, ids []fhir.ID) (*gathering, error) {
	g := r.gathering(&meant{map[string]bool{}, selection.NewRecord(nil)}, "")
	var partly []fhir.ID
	for _, id := range ids {
		if r.known(id).Detached > 0 {
			partly = append(partly, id)
		}
	}
	if err := r.names(ctx, g, partly); err != nil {
		return nil, err
	}
	return g, g.histories(ctx, ids, func(h history) error { r.judge(g, h); return nil })
}

// names makes what resources name, of what was erased, the record.
func (r replaying) names(ctx context.Context, g *gathering, ids []fhir.ID) error {
	return g.versions(ctx, ids, func(v *store.Version) error {
		for _, p := range v.Patients {
			r.name(g, v, fhir.ID{Type: "Patient", ID: p})
		}
		for _, t := range search.Terms(v.ID.Type, v.ID.ID, v.Body) {
			if id, ok := search.Target(t.Value); ok {
				r.name(g, v, id)
			}
		}
		return nil
	})
}

// name adds what a version names to the record, if it was erased since.
func (r replaying) name(g *gathering, v *store.Version, id fhir.ID) {
	if !g.record.Has(id) && r.known(id).Erased >= v.From {
		g.record.Add(id)
		g.set.Add(id)
	}
}

// judge notes what is to be done to a resource.
func (r replaying) judge(g *gathering, h history) {
	k := r.known(h.id)
	if old := h.until(k.Erased); k.Erased > 0 && goesUntil(old, k.Erased) {
		all := refs(old, func(version) bool { return true })
		r.remove(g, h, resource{id: h.id, versions: all}, len(old) == len(h.versions))
	}
	if k.Detached <= k.Erased {
		return
	}
	switch d := h.decide(k.Detached, Detach); {
	case d.about && len(d.erase) > 0:
		r.remove(g, h, resource{id: h.id, versions: d.erase}, d.whole)
	case len(d.erase) > 0 || d.detach > 0:
		g.found.shared = append(g.found.shared, resource{id: h.id, versions: d.erase, detach: d.detach})
		g.found.erasing += len(d.erase)
		if d.whole {
			g.found.whole, g.found.ours = append(g.found.whole, h.id), append(g.found.ours, h.id)
		}
	}
}

// goesUntil tells whether any version is from the tick or before. Those that a
// purge made since do not come alone.
func goesUntil(old []version, at store.Tick) bool {
	for _, v := range old {
		if v.from <= at {
			return true
		}
	}
	return false
}

// remove notes a resource that goes up to a version, or whole.
func (r replaying) remove(g *gathering, h history, one resource, whole bool) {
	g.found.gone = append(g.found.gone, one)
	g.found.erasing += len(one.versions)
	if whole {
		g.found.whole, g.found.ours = append(g.found.whole, h.id), append(g.found.ours, h.id)
	}
}
