package purge

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// PreviewKind is the kind of the jobs that show what a purge would do, and touch
// nothing. A purge that quotes one within the hour does exactly that, or nothing.
const PreviewKind = "purge-preview"

// volume is what would go: resources of which nothing would be left, versions,
// and the bytes of their bodies.
type volume struct {
	Resources int64 `json:"resources,omitempty"`
	Versions  int64 `json:"versions,omitempty"`
	Bytes     int64 `json:"bytes,omitempty"`
}

func (v volume) add(w volume) volume {
	return volume{v.Resources + w.Resources, v.Versions + w.Versions, v.Bytes + w.Bytes}
}

// foreseen is what a unit of a preview found, beside what is detached, kept or
// was written since: did.Foreseen.
type foreseen struct {
	Hash  string            `json:"hash"`            // of what would be done: see effect
	Types map[string]volume `json:"types,omitempty"` // but for Common
	// Common is what other units of the job may have found too.
	Common []common `json:"common,omitempty"`
	// Dangling would stay, and name what is gone; the first of them.
	Dangling []string `json:"dangling,omitempty"`
	// Patients are, of a holding, whose each would be.
	Patients map[string]volume `json:"patients,omitempty"`
	Holds    []standing        `json:"holds,omitempty"`
}

// common is a resource that several units may find.
type common struct {
	ID       string          `json:"id"`
	Whole    bool            `json:"whole,omitempty"`
	Versions map[int64]int64 `json:"versions"` // with how many bytes each has
}

// standing is a hold that would stand in the way.
type standing struct {
	ID      string       `json:"id"`
	On      store.HoldOn `json:"on"`
	Subject string       `json:"subject,omitempty"`
	Patient string       `json:"patient,omitempty"` // on whose account it would
	Until   time.Time    `json:"until,omitzero"`
}

// maxStanding is how many holds a unit notes.
const maxStanding = 100

func standings(held []store.Held) (out []standing) {
	for _, h := range held[:min(len(held), maxStanding)] {
		out = append(out, standing{h.Hold.ID, h.Hold.On, h.Hold.Subject, h.Patient, h.Hold.Until})
	}
	return out
}

// standings are the holds as whoever asks may see them: whom one is on beside the
// patients of the job, a patient's app is not to learn.
func (g *gathering) standings(held []store.Held) (out []standing) {
	for _, s := range standings(held) {
		if !g.asked[s.Patient] {
			s.Subject, s.Patient = "", ""
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// foresee finds what would be done for one patient.
func (a attempt) foresee(ctx context.Context) (job.UnitEnd, error) {
	patient, err := patientOf(a.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	f, g, err := a.wouldGo(ctx, patient)
	if err != nil {
		return job.UnitEnd{}, err
	}
	all := f.all()
	held, err := a.held(ctx, a.fence.Tenant, a.cfg.Now(), g.onAccountOf(all))
	if err != nil {
		return job.UnitEnd{}, err
	}
	what := did{Kept: f.kept, Since: f.since}
	what.detaches(f.shared)
	what.Foreseen = &foreseen{
		Hash: f.effect().hash(a.request.Key), Types: map[string]volume{},
		Dangling: first(f.staying, maxDetached), Holds: g.standings(held),
	}
	what.Foreseen.count(g, f)
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// wouldGo finds what would be done for a patient, in the Groups too: these are
// detached for all patients at once, at the end.
func (a attempt) wouldGo(ctx context.Context, patient string) (*findings, *gathering, error) {
	g, err := a.gather(ctx, patient)
	if err != nil {
		return nil, nil, err
	}
	f := g.found
	var ids []fhir.ID
	for _, id := range g.groups {
		ids = append(ids, fhir.ID{Type: "Group", ID: id})
	}
	err = g.histories(ctx, ids, func(h history) error {
		d := h.decide(g.at, g.request.Shared)
		if d.kept {
			f.kept++
			f.staying = append(f.staying, h.id)
		}
		if len(d.erase) > 0 || d.detach > 0 {
			f.shared = append(f.shared, h.resource(d))
			g.shares[h.id] = true
		}
		return nil
	})
	return &f, g, err
}

// all is what versions go of.
func (f *findings) all() []resource { return slices.Concat(f.shared, f.gone) }

func (f *findings) effect() (e effect) {
	whole := f.wholly()
	for _, r := range f.all() {
		e.add(r.id, r.versions, whole[r.id], r.detach)
	}
	return e
}

// wholly are the resources of which nothing will be left.
func (f *findings) wholly() map[fhir.ID]bool {
	whole := map[fhir.ID]bool{}
	for _, id := range f.whole {
		whole[id] = true
	}
	return whole
}

// first are the names of the first of resources, each once.
func first(ids []fhir.ID, most int) (out []string) {
	seen := map[fhir.ID]bool{}
	for _, id := range ids {
		if !seen[id] && len(out) < most {
			out = append(out, id.String())
		}
		seen[id] = true
	}
	return out
}

// count counts what would go.
func (s *foreseen) count(g *gathering, f *findings) {
	whole := f.wholly()
	for _, r := range f.all() {
		if g.shares[r.id] {
			s.Common = append(s.Common, r.common(whole[r.id]))
		} else {
			s.Types[r.id.Type] = s.Types[r.id.Type].add(volumeOf(r.sizes, whole[r.id]))
		}
	}
}

func (r resource) common(whole bool) common {
	c := common{r.id.String(), whole, map[int64]int64{}}
	for i, v := range r.versions {
		c.Versions[v.N] = r.sizes[i]
	}
	return c
}

// volumeOf is that of versions of such sizes.
func volumeOf(sizes []int64, whole bool) volume {
	v := volume{Versions: int64(len(sizes))}
	for _, n := range sizes {
		v.Bytes += n
	}
	if whole {
		v.Resources = 1
	}
	return v
}
