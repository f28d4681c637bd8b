package purge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// Proof is what a job did, when all of it is done: what a certificate says, but
// for the patients, whom it does not name.
type Proof struct {
	Job      job.Job
	Request  Request  // of patients
	Holding  Holding  // of what an owner had
	Patients []string // in ascending order; of a holding those in it
	Ended    time.Time

	Before, Erased job.Erased            // what there was to erase, and what was erased of it
	ByType         map[string]job.Erased // what was erased; "" is what is not known of which type it was
	Detached       int
	Kept           int
	Since          int // written after the job's instant, at least
	LeftOut        int // members of the Group that are no patients
	Traces         store.Traces
}

// Asked is what was asked for, the same for jobs that were asked for the same.
func (p Proof) Asked() string { return fmt.Sprintf("%s %q", p.Job.Request, p.Patients) }

// certify has what the job did certified. What the unit did is noted before, so
// that it is counted as that of the others is.
func (a attempt) certify(ctx context.Context, what did) error {
	if a.cfg.Certify == nil {
		return nil
	}
	if err := a.note(ctx, a.unit.Total, what); err != nil {
		return err
	}
	s, err := a.sum(ctx, a.job)
	if err != nil {
		return err
	}
	patients, err := a.patients(ctx)
	if err != nil {
		return err
	}
	return a.cfg.Certify(ctx, a.fence, Proof{
		Job: a.job, Request: a.request, Patients: slices.Sorted(maps.Keys(patients)), Ended: a.cfg.Now(),
		Before: s.total, Erased: s.erased, ByType: s.Types, Detached: len(s.detached), Kept: s.Kept, Since: s.Since, LeftOut: s.LeftOut,
		Traces: store.Traces{Unknown: s.Unknown, Until: s.Until},
	})
}

// The store counts what a unit erases, but not of which types it was. That is
// kept beside it: by what each commit was to erase, and where an attempt was cut
// off, by what there is less than there was.

func addByType(sum, add map[string]job.Erased) {
	for typ, n := range add {
		sum[typ] = sum[typ].Add(n)
	}
}

func sumByType(types map[string]job.Erased) (sum job.Erased) {
	for _, n := range types {
		sum = sum.Add(n)
	}
	return sum
}

// types is what there is to erase of each type.
func (f *findings) types() map[string]job.Erased {
	types := map[string]job.Erased{}
	for _, r := range slices.Concat(f.shared, f.gone) {
		types[r.id.Type] = types[r.id.Type].Add(job.Erased{Versions: int64(len(r.versions))})
	}
	for _, id := range f.whole {
		types[id.Type] = types[id.Type].Add(job.Erased{Resources: 1})
	}
	return types
}

// going notes what is there to erase now, when the unit has erased so much. What
// attempts that were cut off have erased is what is there no more.
func (d *did) going(erased job.Erased, f *findings) {
	before, now := d.Going, f.types()
	d.Going = now
	counted := sumByType(d.Types)
	rest := job.Erased{Versions: erased.Versions - counted.Versions, Resources: erased.Resources - counted.Resources}
	if rest == (job.Erased{}) {
		return
	}
	less := map[string]job.Erased{}
	for typ, was := range before {
		if n := (job.Erased{Versions: was.Versions - now[typ].Versions, Resources: was.Resources - now[typ].Resources}); n != (job.Erased{}) {
			less[typ] = n
		}
	}
	d.add(exactly(less, rest))
}

// erased notes what an attempt has erased.
func (d *did) erased(g *gathering) {
	if g != nil {
		d.add(g.types)
		d.Going = nil
	}
}

func (d *did) add(types map[string]job.Erased) {
	d.Types = maps.Clone(d.Types)
	if d.Types == nil {
		d.Types = map[string]job.Erased{}
	}
	addByType(d.Types, types)
}

// exactly are the types if together they are what was counted; else what was
// counted, of no type.
func exactly(types map[string]job.Erased, counted job.Erased) map[string]job.Erased {
	for _, n := range types {
		if n.Versions < 0 || n.Resources < 0 {
			return map[string]job.Erased{"": counted}
		}
	}
	if sumByType(types) != counted {
		return map[string]job.Erased{"": counted}
	}
	return types
}

// there leaves out what another unit of the job has erased, as it is that one's
// to count.
func (g *gathering) there(ctx context.Context, versions []store.VersionRef) ([]store.VersionRef, error) {
	var common []fhir.ID
	for _, v := range versions {
		if g.shares[v.ID] && !slices.Contains(common, v.ID) {
			common = append(common, v.ID)
		}
	}
	if len(common) == 0 {
		return versions, nil
	}
	is := map[store.VersionRef]bool{}
	err := g.versions(ctx, common, func(v *store.Version) error {
		is[store.VersionRef{Key: v.Key, ID: v.ID, N: v.N}] = true
		return nil
	})
	return slices.DeleteFunc(slices.Clone(versions), func(v store.VersionRef) bool { return g.shares[v.ID] && !is[v] }), err
}

// count counts a commit that was to erase versions, and has erased so much.
// Those of one resource are together. What only this unit erases is gone; if
// some of the rest was another's just now, it is counted there.
func (g *gathering) count(versions []store.VersionRef, n job.Erased) {
	g.erased = g.erased.Add(n)
	mine, common := map[string]job.Erased{}, map[string]job.Erased{}
	for _, v := range versions {
		one := job.Erased{Versions: 1}
		if g.whole()[v.ID] == v.N {
			one.Resources = 1
		}
		types := mine
		if g.shares[v.ID] {
			types = common
		}
		types[v.ID.Type] = types[v.ID.Type].Add(one)
	}
	sure := sumByType(mine)
	rest := job.Erased{Versions: n.Versions - sure.Versions, Resources: n.Resources - sure.Resources}
	if rest.Versions < 0 || rest.Resources < 0 { // another job was at it
		addByType(g.types, map[string]job.Erased{"": n})
		return
	}
	addByType(g.types, mine)
	if len(common) == 1 {
		for typ := range common {
			common[typ] = rest
		}
	}
	if rest != (job.Erased{}) {
		addByType(g.types, exactly(common, rest))
	}
}

// whole are the resources of which nothing will be left, with the versions that
// go last.
func (g *gathering) whole() map[fhir.ID]int64 {
	if g.lasts != nil {
		return g.lasts
	}
	g.lasts = make(map[fhir.ID]int64, len(g.found.whole))
	for _, id := range g.found.whole {
		g.lasts[id] = 0
	}
	for _, r := range slices.Concat(g.found.shared, g.found.gone) {
		if _, goes := g.lasts[r.id]; goes && len(r.versions) > 0 {
			g.lasts[r.id] = r.versions[len(r.versions)-1].N
		}
	}
	return g.lasts
}
