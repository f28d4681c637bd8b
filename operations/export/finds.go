package export

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
)

// contextTypes are the types that come along as context: what the resources of
// a patient refer to and no compartment holds.
var contextTypes = []string{"Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"}

// findPage is how many resources are looked for at a time.
const findPage = 500

// selections are what is asked for by itself. Where Provenance comes along
// with what is exported, it is found from there, and not selected.
func (r Request) selections(at store.Tick, cohort store.CohortID) []store.Selection {
	out := r.Selections(at, cohort)
	if r.Provenance == NoProvenance {
		return out
	}
	for i := range out {
		out[i].Types = slices.DeleteFunc(out[i].Types, func(t string) bool { return t == "Provenance" })
	}
	return slices.DeleteFunc(out, func(s store.Selection) bool { return len(s.Types) == 0 })
}

// looksApart tells whether Provenance is looked for by units of their own,
// since not all that it may be about is written.
func (a attempt) looksApart() bool {
	return a.request.Provenance == AllProvenance && (a.request.After > 0 || a.request.Types != nil)
}

// looks are what is not written, and yet looked at for the Provenance that is
// about it: all of the compartments, since a new Provenance of an old resource
// is a change, or at least the Provenance that is in them itself, as it may be
// about a patient who is not there.
func (a attempt) looks() []store.Selection {
	all := a.request.Asked
	all.Types, all.After = nil, 0
	if !a.looksApart() {
		all.Types = []string{"Provenance"}
	}
	return all.Selections(store.TickOf(a.job.TransactionTime), store.CohortID(a.job.ID))
}

// extraUnits are those beside the ones that write what is selected.
func (a attempt) extraUnits(ctx context.Context) (units []job.Unit, err error) {
	if a.request.After > 0 {
		u, err := a.newUnit(deletedUnit, scanning, args{Gone: true}, 0)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	there, err := a.anyProvenance(ctx)
	if err != nil {
		return nil, err
	}
	if there && a.request.Provenance == AllProvenance {
		looks, err := a.lookUnits(ctx)
		if err != nil {
			return nil, err
		}
		units = append(units, looks...)
	}
	finds, err := a.cfg.Store.Finds(ctx, a.fence.Tenant, a.job.ID, fhir.ID{}, 1)
	if err != nil {
		return nil, err
	}
	if there || len(a.request.Context) > 0 || len(finds) > 0 {
		u, err := a.newUnit(findUnit, finding, args{}, 0)
		return append(units, u), err
	}
	return units, nil
}

// lookUnits look for Provenance; if there is little to look at, it is one.
func (a attempt) lookUnits(ctx context.Context) ([]job.Unit, error) {
	all, bytes, err := a.split(ctx, a.looks())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	pieces := slices.Collect(slices.Chunk(all, 1))
	if bytes <= a.cfg.SmallJob {
		pieces = [][]work{all}
	}
	units := make([]job.Unit, len(pieces))
	for i, piece := range pieces {
		planned := int64(0)
		for _, w := range piece {
			planned += w.Bytes
		}
		if units[i], err = a.newUnit(fmt.Sprintf(lookUnit, i+1), scanning, args{Work: piece, Look: true}, planned); err != nil {
			return nil, err
		}
	}
	return units, nil
}

// anyProvenance tells whether Provenance is wanted, and the tenant has any.
func (a attempt) anyProvenance(ctx context.Context) (bool, error) {
	if a.request.Provenance == NoProvenance {
		return false, nil
	}
	sel := store.Selection{At: store.TickOf(a.job.TransactionTime), Types: []string{"Provenance"}}
	ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, 1<<40)
	return len(ranges) > 0, err
}

// finder looks at what a unit reads for what comes along with it.
type finder struct {
	attempt
	provenance bool
	context    bool
	targets    map[fhir.ID]bool // whose Provenance is not looked for yet
	found      map[fhir.ID]bool // what is no row of the job yet
}

func (a attempt) finder(ctx context.Context, look bool) (*finder, error) {
	there, err := a.anyProvenance(ctx)
	return &finder{
		attempt: a, provenance: there && (look || !a.looksApart()), context: !look && len(a.request.Context) > 0,
		targets: map[fhir.ID]bool{}, found: map[fhir.ID]bool{},
	}, err
}

// version looks at one resource.
func (f *finder) version(ctx context.Context, v *store.Version) error {
	if f.provenance {
		f.targets[v.ID] = true
		if v.ID.Type == "Provenance" {
			f.found[v.ID] = true
		}
	}
	if f.context {
		f.refer(v)
	}
	if len(f.targets) < findPage && len(f.found) < 20*findPage {
		return nil
	}
	return f.flush(ctx)
}

// refer notes the context that a resource refers to.
func (f *finder) refer(v *store.Version) {
	for _, id := range named(v, search.Ref) {
		if slices.Contains(f.request.Context, id.Type) {
			f.found[id] = true
		}
	}
}

// named are the resources of this server that a version names by a parameter.
func named(v *store.Version, param string) []fhir.ID {
	terms := search.Terms(v.ID.Type, v.ID.ID, v.Body)
	return relative(slices.DeleteFunc(terms, func(t search.Term) bool { return t.Param != param }))
}

// relative are the resources that terms refer to by relative references.
func relative(terms []search.Term) (ids []fhir.ID) {
	for _, t := range terms {
		if ref := fhir.ParseReference(t.Value, r4.IsType); ref.Local() && ref.ID != "" {
			ids = append(ids, ref.Target())
		}
	}
	return ids
}

// flush writes what was found as rows of the job.
func (f *finder) flush(ctx context.Context) error {
	if len(f.targets) > 0 {
		if err := f.about(ctx); err != nil {
			return err
		}
		clear(f.targets)
	}
	return f.keep(ctx, 1)
}

// keep writes what was found as rows, if it is so many at least.
func (f *finder) keep(ctx context.Context, least int) error {
	if len(f.found) < least {
		return nil
	}
	ids := slices.Collect(maps.Keys(f.found))
	clear(f.found)
	return f.cfg.Store.AddFinds(ctx, f.fence, ids)
}

// about finds the Provenance of the targets. What the store gives may name
// them elsewhere, or only since the job's instant: each is read as of then.
func (f *finder) about(ctx context.Context) error {
	ids, err := f.cfg.Store.Referrers(ctx, f.fence.Tenant, store.TickOf(f.job.TransactionTime), "Provenance", slices.Collect(maps.Keys(f.targets)))
	if err != nil {
		return err
	}
	slices.SortFunc(ids, func(a, b fhir.ID) int { return strings.Compare(a.ID, b.ID) })
	newest := map[fhir.ID]stamp{}
	for page := range slices.Chunk(slices.Compact(ids), findPage) {
		err := f.each(ctx, idsOf(page), func(v *store.Version) error {
			for _, target := range named(v, "target") {
				f.match(v, target, newest)
			}
			return f.keep(ctx, 20*findPage)
		})
		if err != nil {
			return err
		}
	}
	for _, s := range newest {
		f.found[s.id] = true
	}
	return nil
}

// stamp is a version by when it became current, and of those of one instant by
// its place.
type stamp struct {
	id  fhir.ID
	at  store.Tick
	key store.Key
}

// match notes a Provenance if it is about a target, and of one target the
// newest alone if that is what is wanted.
func (f *finder) match(v *store.Version, target fhir.ID, newest map[fhir.ID]stamp) {
	switch last := newest[target]; {
	case !f.targets[target]:
	case f.request.Provenance != LatestProvenance:
		f.found[v.ID] = true
	case v.From > last.at || v.From == last.at && v.Key > last.key:
		newest[target] = stamp{v.ID, v.From, v.Key}
	}
}

// emitFinds writes what was found, each once: Provenance first, as it may
// refer to context, which is of other types.
func (a attempt) emitFinds(ctx context.Context) (job.UnitEnd, error) {
	s := writing{attempt: a, end: job.UnitEnd{State: job.Succeeded}}
	defer s.abort()
	f, err := a.finder(ctx, false)
	if err != nil {
		return job.UnitEnd{}, err
	}
	f.provenance = false
	err = s.pages(ctx, func(typ string) bool { return typ == "Provenance" }, f)
	if err == nil {
		err = f.flush(ctx)
	}
	if err == nil {
		f.context = false
		err = s.pages(ctx, func(typ string) bool { return typ != "Provenance" }, f)
	}
	if err == nil {
		err = s.cut()
	}
	return s.end, err
}

// pages writes what was found of some types.
func (s *writing) pages(ctx context.Context, of func(typ string) bool, f *finder) error {
	for after := (fhir.ID{}); ; {
		page, err := s.cfg.Store.Finds(ctx, s.fence.Tenant, s.job.ID, after, findPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for ids := range byType(page) {
			if !of(ids[0].Type) {
				continue
			}
			if err := s.finds(ctx, ids, f); err != nil {
				return err
			}
		}
		after = page[len(page)-1]
	}
}

// byType yields the runs of one type.
func byType(ids []fhir.ID) iter.Seq[[]fhir.ID] {
	return func(yield func([]fhir.ID) bool) {
		for len(ids) > 0 {
			n := 1
			for n < len(ids) && ids[n].Type == ids[0].Type {
				n++
			}
			if !yield(ids[:n]) {
				return
			}
			ids = ids[n:]
		}
	}
}

// finds writes the resources of one type. Of Provenance that all comes along,
// only what changed is.
func (s *writing) finds(ctx context.Context, ids []fhir.ID, f *finder) error {
	if s.open != nil && s.open.part.Type != ids[0].Type {
		if err := s.cut(); err != nil {
			return err
		}
	}
	sel := idsOf(ids)
	if ids[0].Type == "Provenance" && s.request.Provenance == AllProvenance {
		sel.After = s.request.After
	}
	return s.each(ctx, sel, func(v *store.Version) error {
		if err := f.version(ctx, v); err != nil {
			return err
		}
		return s.version(ctx, v)
	})
}
