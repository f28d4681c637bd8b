package purge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// batch purges the resources of a batch. It may be cut off anywhere, and done
// again: the version by which a resource goes is erased after those before it,
// so what is left is found again in the range.
func (h holding) batch(ctx context.Context) (job.UnitEnd, error) {
	args, err := argsOf(h.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	ids, err := h.within(ctx, args.Range)
	if err != nil {
		return job.UnitEnd{}, err
	}
	what, err := didOf(h.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	erased, err := h.remove(ctx, ids, &what)
	if err != nil {
		return job.UnitEnd{}, err
	}
	left, err := h.within(ctx, args.Range)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if len(left) > 0 {
		return job.UnitEnd{}, errLeft
	}
	if !h.voided.IsZero() {
		what.Voided = *h.voided
	}
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: h.unit.Erased.Add(erased).Resources}, Result: doc}, err
}

// within are the resources that go by a version in the range.
func (h holding) within(ctx context.Context, r store.Range) (ids []fhir.ID, err error) {
	err = h.each(ctx, r, func(v *store.Version) error {
		ids = append(ids, v.ID)
		return nil
	})
	return ids, err
}

// going is a resource of which versions go.
type going struct {
	versions []store.VersionRef // the oldest first
	sizes    []int64            // of their bodies, in bytes
	last     int                // the first of them that go together, as the rest is found by them
	whose    []string           // the patients on whose account a hold keeps them
}

// owned is some resources of the owner, and what goes of them.
type owned struct {
	ids       []fhir.ID // of which anything goes
	whole     []fhir.ID // of which nothing will be left
	resources []going
	holders   []string // by whom the files of exports are found that hold it
	silent    []string // the resources of which some files do not say so
}

// remove erases what goes of the resources, and what files of exports hold of
// it. What is found by what is erased is noted before.
func (h holding) remove(ctx context.Context, ids []fhir.ID, what *did) (erased job.Erased, err error) {
	if len(ids) == 0 {
		return erased, nil
	}
	o, err := h.look(ctx, ids)
	if err != nil {
		return erased, err
	}
	if err := h.mayRemove(ctx, o); err != nil {
		return erased, err
	}
	what.Holding.Own = what.Holding.Own || slices.ContainsFunc(o.holders, isResource)
	what.Holding.Silent = what.Holding.Silent || len(o.silent) > 0
	if err := h.remember(ctx, o, *what); err != nil {
		return erased, err
	}
	if err := h.void(ctx, o); err != nil {
		return erased, err
	}
	if err := h.voidWith(ctx, o.silent, o.whole...); err != nil {
		return erased, err
	}
	if erased, err = h.erase(ctx, o.resources); err != nil {
		return erased, err
	}
	return erased, h.void(ctx, o)
}

// isResource tells the name of a resource from the id of a patient.
func isResource(holder string) bool { return strings.Contains(holder, "/") }

// remember notes what is found by what goes: the resources as the job's finds,
// and the patients by whom files are found as its cohort. Then it announces.
func (h holding) remember(ctx context.Context, o *owned, what did) error {
	for page := range slices.Chunk(o.ids, historyPage) {
		if err := h.cfg.Store.AddFinds(ctx, h.fence, page); err != nil {
			return err
		}
	}
	patients := slices.DeleteFunc(slices.Clone(o.holders), isResource)
	for page := range slices.Chunk(patients, historyPage) {
		if err := h.cfg.Store.AddMembers(ctx, h.fence, page); err != nil {
			return err
		}
	}
	total := job.Erased{Resources: int64(len(o.whole))}
	for _, r := range o.resources {
		total.Versions += int64(len(r.versions))
	}
	if err := h.note(ctx, h.unit.Erased.Add(total), what); err != nil {
		return err
	}
	for page := range slices.Chunk(o.holders, historyPage) {
		if err := h.cfg.Store.Announce(ctx, h.fence, page); err != nil {
			return err
		}
	}
	return nil
}

// void removes the files of exports that hold what goes, and what other jobs
// have noted of it.
func (h holding) void(ctx context.Context, o *owned) error {
	for page := range slices.Chunk(o.holders, targetPage) {
		if err := h.voidBy(ctx, page, o.whole); err != nil {
			return err
		}
	}
	return h.strike(ctx, o.whole)
}

// voidBy removes the files of exports that are found by the holders, and tells
// their owners what goes.
func (h holding) voidBy(ctx context.Context, holders []string, goes []fhir.ID) error {
	parts, err := h.cfg.Store.Void(ctx, h.fence, holders)
	if err == nil {
		err = h.tellGone(ctx, parts, goes)
	}
	if err == nil {
		err = h.forget(ctx, parts)
	}
	return err
}

// strike removes what other jobs have noted of resources that are gone, and of
// patients among them.
func (h holding) strike(ctx context.Context, gone []fhir.ID) error {
	for page := range slices.Chunk(gone, historyPage) {
		g := store.Gone{IDs: page}
		for _, id := range page {
			if id.Type == "Patient" {
				g.Patients = append(g.Patients, id.ID)
			}
		}
		if err := h.cfg.Store.Strike(ctx, h.fence, g); err != nil {
			return err
		}
	}
	return nil
}

// erase removes the versions. What a resource is found again by goes in one
// commit with all that comes after it.
func (h holding) erase(ctx context.Context, resources []going) (erased job.Erased, err error) {
	var page []store.VersionRef
	var of []string // on whose account the page goes
	entered := &entering{done: map[fhir.ID]bool{}, entire: func(fhir.ID) bool { return true }}
	flush := func(versions []store.VersionRef, of []string) error {
		if len(versions) == 0 {
			return nil
		}
		n, err := h.eraseEntered(ctx, entered, versions, of)
		erased = erased.Add(n)
		return err
	}
	for _, r := range resources {
		early, rest := r.parts()
		for some := range slices.Chunk(early, erasePage) {
			if err := flush(some, r.whose); err != nil {
				return erased, err
			}
		}
		if len(page)+len(rest) > erasePage {
			if err := flush(page, of); err != nil {
				return erased, err
			}
			page, of = page[:0], of[:0]
		}
		page, of = append(page, rest...), append(of, r.whose...)
	}
	return erased, flush(page, of)
}

// parts are the versions that go before, if there are too many for one commit,
// and those that go together.
func (g going) parts() (early, rest []store.VersionRef) {
	if len(g.versions) <= erasePage {
		return nil, g.versions
	}
	return g.versions[:g.last], g.versions[g.last:]
}

// past is one version of a resource, with what matters of it.
type past struct {
	store.VersionRef
	from          store.Tick
	decides       bool // see holding.decides
	made, deleted bool
	holders       []string
	whose         []string // see going
	size          int64
}

// look finds what goes of resources.
func (h holding) look(ctx context.Context, ids []fhir.ID) (*owned, error) {
	o, holders := &owned{}, map[string]bool{}
	var of fhir.ID
	var versions []past // of one resource, the latest first
	done := func() {
		h.judge(o, of, versions, holders)
		versions = versions[:0]
	}
	for page := range slices.Chunk(ids, historyPage) {
		err := h.cfg.Store.Versions(ctx, h.fence.Tenant, page, func(v *store.Version) error {
			if v.ID != of {
				done()
				of = v.ID
			}
			if h.may(v) {
				versions = append(versions, past{
					VersionRef: store.VersionRef{Key: v.Key, ID: v.ID, N: v.N}, from: v.From,
					decides: h.decides(v), made: v.Detached, deleted: v.Deleted, holders: h.cfg.Holders(v), whose: whose(v), size: int64(len(v.Body)),
				})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		done()
		of = fhir.ID{}
	}
	o.holders = slices.Sorted(maps.Keys(holders))
	return o, nil
}

// judge adds what goes of one resource: each version from the instant or
// before, and what came of the last of them since without a word of its own:
// what the purge of a patient put in its place, and its deletion.
func (h holding) judge(o *owned, id fhir.ID, versions []past, holders map[string]bool) {
	last := slices.IndexFunc(versions, func(v past) bool { return v.decides })
	if len(versions) == 0 || last < 0 && h.limited() {
		return
	}
	r, silent := going{}, false
	for _, v := range slices.Backward(versions) {
		if v.from > h.at && (len(r.versions) == 0 || !v.made && !v.deleted) {
			break
		}
		r.versions, r.sizes, r.whose = append(r.versions, v.VersionRef), append(r.sizes, v.size), append(r.whose, v.whose...)
		for _, name := range v.holders {
			holders[name] = true
		}
		silent = silent || len(v.holders) == 0
	}
	if len(r.versions) == 0 {
		return
	}
	r.last = len(r.versions) - 1
	if last >= 0 {
		r.last = len(versions) - 1 - last
	}
	o.ids, o.resources = append(o.ids, id), append(o.resources, r)
	if len(r.versions) == len(versions) {
		o.whole = append(o.whole, id)
	}
	if silent {
		o.silent = append(o.silent, id.String())
	}
}
