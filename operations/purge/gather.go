package purge

import (
	"cmp"
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// findings is what a purge finds to do.
type findings struct {
	gone    []resource // what is about the patient, in the order in which it is to go
	shared  []resource // what is about others
	kept    int        // what names the patient and is to be left as it is
	staying []fhir.ID  // that, and AuditEvents that are kept
	since   int        // what was written after the job's instant
	whole   []fhir.ID  // of what nothing will be left
	ours    []fhir.ID  // and that is of the record
	erasing int        // versions that go
}

// none tells whether there is nothing to do.
func (f *findings) none() bool { return len(f.gone)+len(f.shared) == 0 }

// resource is what is to be done to one.
type resource struct {
	id       fhir.ID
	versions []store.VersionRef // to be erased, the oldest first
	detach   int64              // the version to be detached before; 0: none
	text     bool               // what is detached has free text
	sizes    []int64            // of the bodies of the versions, in bytes
	round    int                // in which it was found

	near, known bool     // see history
	whose       []string // see version
}

// gathering finds what is of a record. It is the record of all patients of the
// job, so that what is about several of them goes; the patient is where it is
// looked for, and the other Patients are left to their own units.
type gathering struct {
	attempt
	patient string
	quoted  []byte          // how a reference to the patient is written
	asked   map[string]bool // the patients of the job, this one too
	// set judges what is about the patients of the job, record what names what
	// goes with this one; first is record without what goes as it names that.
	set, record, first *selection.Record
	found              findings
	seen               map[fhir.ID]bool
	waiting            []fhir.ID        // what depends on what else is of the record
	fresh              []fhir.ID        // of the record since it was last asked who mentions it
	binary             map[fhir.ID]bool // what versions name that go
	going              map[fhir.ID][]int64
	round              int
	erased             job.Erased // by this attempt
	types              map[string]job.Erased
	lasts              map[fhir.ID]int64 // see whole
	shares             map[fhir.ID]bool  // what another unit of the job may erase first
	holders            []string          // by whom the files of exports are found that hold it
	groups             []string          // the ids of the Groups that mention it
	entered            *entering         // in the ledger; nil: nothing yet
}

// How many resources are looked up at a time.
const (
	targetPage  = 200
	historyPage = 500
)

// gather finds what is of the patient's record, and what names anything of it.
func (a attempt) gather(ctx context.Context, patient string) (*gathering, error) {
	all, err := a.everyone(ctx)
	if err != nil {
		return nil, err
	}
	g := a.gathering(all, patient)
	g.fresh = []fhir.ID{{Type: "Patient", ID: patient}}
	// What is about the record comes first, as all else is judged by it. A Binary
	// may be found by way of the rest too, and has mentions of its own.
	for _, step := range []func(context.Context) error{
		g.closure, g.binaries, g.closure, g.targets, g.deletions, g.closure, g.rest,
		g.binaries, g.closure, g.rest,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// gathering begins for one patient, or for all of a job if that is "".
func (a attempt) gathering(all *meant, patient string) *gathering {
	mine := all.record
	if patient != "" {
		mine = selection.NewRecord([]string{patient})
	}
	return &gathering{
		attempt: a, patient: patient, quoted: []byte(`"Patient/` + patient + `"`), asked: all.patients,
		set: all.record.More(), record: mine.More(), first: mine.More(),
		seen: map[fhir.ID]bool{}, binary: map[fhir.ID]bool{}, going: map[fhir.ID][]int64{}, types: map[string]job.Erased{}, shares: map[fhir.ID]bool{},
	}
}

// closure follows who mentions what is of the record, until nothing new is.
func (g *gathering) closure(ctx context.Context) error {
	for ; len(g.fresh) > 0; g.round++ {
		targets := g.fresh
		g.fresh = nil
		if err := g.mentioning(ctx, targets); err != nil {
			return err
		}
		if len(g.fresh) > 0 {
			continue
		}
		if err := g.dependents(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dependent are the types of which a resource is of the record if what it
// points to, or holds, is.
func dependent(typ string) bool { return typ == "Provenance" || typ == "Bundle" }

// mentioning judges what mentions the targets, each resource once. Groups are
// left to the last unit, as one may have many patients of the job.
func (g *gathering) mentioning(ctx context.Context, targets []fhir.ID) error {
	var fresh []fhir.ID
	for page := range slices.Chunk(targets, targetPage) {
		ids, err := g.cfg.Store.Mentions(ctx, g.fence.Tenant, page)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if g.seen[id] || g.elsewhere(id) {
				continue
			}
			g.seen[id] = true
			switch {
			case id.Type == "Group":
				g.groups = append(g.groups, id.ID)
			case dependent(id.Type):
				g.waiting = append(g.waiting, id)
			default:
				fresh = append(fresh, id)
			}
		}
	}
	return g.histories(ctx, fresh, g.judge)
}

// judge adds what is about the record. All else is judged when the record is
// whole: it may name what is found to be of it only later.
func (g *gathering) judge(h history) error {
	if h.concern(g.at) == selection.About {
		g.add(h)
	} else {
		g.waiting = append(g.waiting, h.id)
	}
	return nil
}

// elsewhere tells of a Patient whose record another unit of the job is for.
func (g *gathering) elsewhere(id fhir.ID) bool {
	return g.patient != "" && id.Type == "Patient" && id.ID != g.patient && g.asked[id.ID]
}

// dependents judges again what depends on the record, which has grown.
func (g *gathering) dependents(ctx context.Context) error {
	all := g.waiting
	g.waiting = slices.DeleteFunc(slices.Clone(all), func(id fhir.ID) bool { return dependent(id.Type) })
	again := slices.DeleteFunc(slices.Clone(all), func(id fhir.ID) bool { return !dependent(id.Type) })
	return g.histories(ctx, again, g.judge)
}

// deletions adds what goes as it names the record, if that is asked for.
func (g *gathering) deletions(ctx context.Context) error {
	if g.request.Shared != Delete {
		return nil
	}
	all := g.waiting
	g.waiting = nil
	return g.histories(ctx, all, func(h history) error {
		if h.decide(g.at, Delete).about {
			g.add(h)
		} else {
			g.waiting = append(g.waiting, h.id)
		}
		return nil
	})
}

// rest adds what is not about the record, and may name it.
func (g *gathering) rest(ctx context.Context) error {
	all := g.waiting
	g.waiting = nil
	return g.histories(ctx, all, func(h history) error { g.add(h); return nil })
}

// binaries adds the Binaries that nothing names but what goes.
func (g *gathering) binaries(ctx context.Context) error {
	var alone []fhir.ID
	for id := range g.binary {
		if g.seen[id] {
			continue
		}
		is, err := g.alone(ctx, id)
		if err != nil {
			return err
		}
		if is {
			alone = append(alone, id)
		}
	}
	slices.SortFunc(alone, compareIDs)
	return g.histories(ctx, alone, func(h history) error {
		g.seen[h.id] = true
		for i := range h.versions {
			h.versions[i].concern = selection.About
		}
		g.add(h)
		return nil
	})
}

// alone tells whether nothing names a Binary but what goes: of this patient, or
// of others of the job. An AuditEvent or a Provenance keeps none.
func (g *gathering) alone(ctx context.Context, id fhir.ID) (bool, error) {
	by, err := g.cfg.Store.Mentions(ctx, g.fence.Tenant, []fhir.ID{id})
	if err != nil {
		return false, err
	}
	if err := g.alike(ctx, by); err != nil {
		return false, err
	}
	by = slices.DeleteFunc(by, func(by fhir.ID) bool {
		return by.Type == "AuditEvent" || by.Type == "Provenance" || g.set.Has(by)
	})
	alone := true
	err = g.histories(ctx, by, func(h history) error {
		for _, v := range h.versions {
			goes := slices.Contains(g.going[h.id], v.N) || v.concern == selection.About
			alone = alone && (goes || !slices.Contains(v.binary, id))
		}
		return nil
	})
	return alone && err == nil, err
}

func compareIDs(a, b fhir.ID) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}

// add notes what is to be done to a resource.
func (g *gathering) add(h history) {
	if g.leaves(h) {
		return
	}
	d := h.decide(g.at, g.request.Shared)
	if d.since {
		g.found.since++
	}
	if d.kept {
		g.found.kept++
		g.found.staying = append(g.found.staying, h.id)
	}
	g.found.erasing += len(d.erase)
	r := h.resource(d)
	r.round = g.round
	if g.common(h) {
		g.shares[h.id] = true
	}
	switch {
	case d.about && len(d.erase) > 0:
		g.found.gone = append(g.found.gone, r)
	case len(d.erase) > 0 || d.detach > 0:
		g.found.shared = append(g.found.shared, r)
	}
	if d.whole {
		g.found.whole = append(g.found.whole, h.id)
	}
	if d.whole && d.about {
		g.found.ours = append(g.found.ours, h.id)
		g.fresh = append(g.fresh, h.id)
		g.record.Add(h.id)
		g.set.Add(h.id)
	}
	if d.whole && h.concern(g.at) == selection.About {
		g.first.Add(h.id)
	}
	g.goes(h, d)
}

// resource is what is to be done by a decision.
func (h history) resource(d decision) resource {
	return resource{
		id: h.id, versions: d.erase, sizes: h.sizes(d.erase), detach: d.detach, text: d.text,
		near: h.near, known: h.known, whose: h.whoseOf(d),
	}
}

// stays notes an AuditEvent that is kept.
func (f *findings) stays(v *store.Version) {
	if n := len(f.staying); !v.Deleted && (n == 0 || f.staying[n-1] != v.ID) {
		f.staying = append(f.staying, v.ID)
	}
}

// goes notes which versions of a resource go, and what Binaries they name. One
// that is detached leaves another which names the same.
func (g *gathering) goes(h history, d decision) {
	for _, v := range d.erase {
		if v.N != d.detach {
			g.going[h.id] = append(g.going[h.id], v.N)
		}
	}
	for _, v := range h.versions {
		if len(v.binary) > 0 && slices.Contains(g.going[h.id], v.N) {
			for _, id := range v.binary {
				g.binary[id] = true
			}
		}
	}
}

// far names the resources of which versions go that files of exports do not
// hold by the patient; unknown those that such files do not say at all.
func (f *findings) far() (far, unknown []string) {
	for _, r := range slices.Concat(f.shared, f.gone) {
		if !r.near {
			far = append(far, r.id.String())
		}
		if !r.known {
			unknown = append(unknown, r.id.String())
		}
	}
	return far, unknown
}

// order has what depends on others first, and the Patient last: so what is left
// when a unit is cut off is found again from the Patient.
func (f *findings) order() {
	slices.SortStableFunc(f.gone, func(a, b resource) int {
		return cmp.Or(cmp.Compare(b.round, a.round), cmp.Compare(last(a.id), last(b.id)))
	})
}

func last(id fhir.ID) int {
	if id.Type == "Patient" {
		return 1
	}
	return 0
}
