package purge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
)

// batchNow is what goes of the batch of a unit.
func (h holding) batchNow(ctx context.Context) (*owned, error) {
	args, err := argsOf(h.unit)
	if err != nil {
		return nil, err
	}
	ids, err := h.within(ctx, args.Range)
	if err != nil {
		return nil, err
	}
	return h.look(ctx, ids)
}

func (o *owned) effect() (e effect) {
	whole := o.wholly()
	for i, r := range o.resources {
		e.add(o.ids[i], r.versions, whole[o.ids[i]], 0)
	}
	return e
}

// wholly are the resources of which nothing will be left.
func (o *owned) wholly() map[fhir.ID]bool {
	whole := map[fhir.ID]bool{}
	for _, id := range o.whole {
		whole[id] = true
	}
	return whole
}

// isSame looks whether what goes with a batch is what was shown.
func (h holding) isSame(ctx context.Context) (job.UnitEnd, error) {
	o, err := h.batchNow(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	return h.same(o.effect())
}

// foresee finds what would go with a batch.
func (h holding) foresee(ctx context.Context) (job.UnitEnd, error) {
	o, err := h.batchNow(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	f := &foreseen{Hash: o.effect().hash(h.request.Key), Types: map[string]volume{}, Patients: map[string]volume{}}
	f.countOwned(o)
	if f.Dangling, err = h.dangling(ctx, o); err != nil {
		return job.UnitEnd{}, err
	}
	held, err := h.held(ctx, h.fence.Tenant, h.cfg.Now(), slices.Sorted(maps.Keys(f.Patients)))
	if err != nil {
		return job.UnitEnd{}, err
	}
	f.Holds = standings(held)
	doc, err := json.Marshal(did{Foreseen: f})
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// countOwned counts what would go of what an owner has.
func (s *foreseen) countOwned(o *owned) {
	whole := o.wholly()
	for i, r := range o.resources {
		id := o.ids[i]
		v := volumeOf(r.sizes, whole[id])
		s.Types[id.Type] = s.Types[id.Type].add(v)
		slices.Sort(r.whose)
		for _, p := range slices.Compact(r.whose) {
			s.Patients[p] = s.Patients[p].add(v)
		}
	}
}

// dangling names the first of the resources that would stay, and name what is
// gone.
func (h holding) dangling(ctx context.Context, o *owned) ([]string, error) {
	seen := map[fhir.ID]bool{}
	for _, id := range o.ids {
		seen[id] = true
	}
	var out []fhir.ID
	for page := range slices.Chunk(o.whole, targetPage) {
		by, err := h.cfg.Store.Mentions(ctx, h.fence.Tenant, page)
		if err != nil {
			return nil, err
		}
		by = slices.DeleteFunc(by, func(id fhir.ID) bool { return seen[id] })
		for _, id := range by {
			seen[id] = true
		}
		staying, err := h.staying(ctx, by)
		if err != nil {
			return nil, err
		}
		if out = append(out, staying...); len(out) >= maxDetached {
			break
		}
	}
	return first(out, maxDetached), nil
}

// staying are those of resources that are there, and would be afterwards.
func (h holding) staying(ctx context.Context, ids []fhir.ID) (out []fhir.ID, err error) {
	for page := range slices.Chunk(ids, historyPage) {
		there, err := h.cfg.Store.Get(ctx, h.fence.Tenant, page...)
		if err != nil {
			return nil, err
		}
		for _, v := range there {
			if v.N > 0 && !v.Deleted && !h.decides(&v) {
				out = append(out, v.ID)
			}
		}
	}
	return out, nil
}
