package purge

import (
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// conclude has the end recorded, and certified.
func (h holding) conclude(ctx context.Context, what did) error {
	if err := h.recordEnd(ctx); err != nil || h.cfg.Certify == nil {
		return err
	}
	p := Proof{Job: h.job, Ended: h.cfg.Now(), Since: what.Holding.Since, ByType: map[string]job.Erased{}}
	var err error
	if p.Holding, err = holdingOf(h.job); err != nil {
		return err
	}
	if err := h.units(ctx, h.job, func(u job.Unit, what did) error { return p.addBatch(u, what) }); err != nil {
		return err
	}
	if p.Patients, err = h.purgedPatients(ctx); err != nil {
		return err
	}
	return h.cfg.Certify(ctx, h.fence, p)
}

// addBatch adds what a unit of a holding did. That of the unit for what no batch
// had is of any type.
func (p *Proof) addBatch(u job.Unit, what did) error {
	total := job.Erased{Versions: max(u.Total.Versions, u.Erased.Versions), Resources: max(u.Total.Resources, u.Erased.Resources)}
	p.Before, p.Erased = p.Before.Add(total), p.Erased.Add(u.Erased)
	typ := ""
	switch u.Phase {
	case purging:
		args, err := argsOf(u)
		if err != nil {
			return err
		}
		typ = args.Range.Type
	case finishing:
		p.Traces = store.Traces{Unknown: what.Unknown, Until: what.Until}
	}
	if u.Erased != (job.Erased{}) {
		p.ByType[typ] = p.ByType[typ].Add(u.Erased)
	}
	return nil
}

// purgedPatients are the Patients of the holding, in ascending order.
func (h holding) purgedPatients(ctx context.Context) (patients []string, err error) {
	err = h.finds(ctx, func(ids []fhir.ID) error {
		for _, id := range ids {
			if id.Type == "Patient" {
				patients = append(patients, id.ID)
			}
		}
		return nil
	})
	slices.Sort(patients)
	return patients, err
}
