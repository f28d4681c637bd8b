package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"

	"pgregory.net/rapid"
)

func modelCases() []testCase {
	return []testCase{{"any sequence of writes gives the snapshots that a slow model gives", modelAgrees}}
}

// keptBarriers is how many earlier barriers are looked at again.
const keptBarriers = 4

// player writes at random, and compares with the model after each barrier.
type player struct {
	*env
	cohort   store.CohortID
	members  []string
	owners   []store.Owner // who writes
	barriers []store.Tick
}

// modelAgrees plays each sequence in a tenant of its own.
func modelAgrees(e *env) {
	played := 0
	rapid.Check(e.test, func(t *rapid.T) {
		played++
		one := *e
		one.reporter, one.tenant = t, store.Tenant(fmt.Sprint("played-", played))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		one.ctx = ctx
		p := &player{env: &one, owners: []store.Owner{somebody(), ann(), {Client: ann().Client}}}
		p.members = rapid.SliceOfDistinct(rapid.SampledFrom(somePatients()), itself).Draw(t, "members")
		p.cohort = one.cohort(p.members...)
		t.Repeat(map[string]func(*rapid.T){
			"commit": p.commits, "commit more": p.commits, "commit yet more": p.commits, "erase": p.erases, "barrier": func(t *rapid.T) { p.snapshot(t, 1) },
		})
		p.snapshot(t, len(p.selections(0))/3)
	})
}

func itself(s string) string { return s }

func somePatients() []string { return []string{"1", "2", "3", "4"} }

// commits writes one batch of one to four resources.
func (p *player) commits(t *rapid.T) {
	refs := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"Patient/1", "Patient/2", "Patient/3", "Observation/1", "Observation/5", "Appointment/1", "Appointment/6", "Organization/1",
	}), 1, 4, itself).Draw(t, "refs")
	var changes []change
	owner := rapid.SampledFrom(p.owners).Draw(t, "owner")
	for _, ref := range refs {
		changes = append(changes, randomChange(t, ref).by(owner))
	}
	p.commit(changes...)
}

func randomChange(t *rapid.T, ref string) change {
	if rapid.IntRange(0, 3).Draw(t, "deletes at 0") == 0 {
		return remove(ref)
	}
	id := idOf(ref)
	var patients []string
	if id.Type != "Organization" {
		patients = rapid.SliceOfNDistinct(rapid.SampledFrom(somePatients()), 0, 3, itself).Draw(t, "patients")
	}
	if id.Type == "Patient" {
		patients = slices.DeleteFunc(patients, func(p string) bool { return p == id.ID })
	}
	return write(ref, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "text"), patients...)
}

// snapshot makes a barrier, and compares so many selections with the model at
// each of the last barriers.
func (p *player) snapshot(t *rapid.T, many int) {
	p.barriers = append(p.barriers, p.barrier())
	if n := len(p.barriers); n > keptBarriers {
		p.barriers = p.barriers[n-keptBarriers:]
	}
	for i, at := range p.barriers {
		after := store.Tick(0)
		if i > 0 {
			after = p.barriers[rapid.IntRange(0, i-1).Draw(t, "after")]
		}
		all := p.selections(after)
		first := rapid.IntRange(0, len(all)-1).Draw(t, "selection")
		for k := range many {
			s := all[(first+k)%len(all)]
			s.At = at
			p.agrees(s, p.members...)
		}
		p.refers(t, at)
	}
	p.mentioned(t)
}

// erases erases some versions of a resource: all, or some that are not current.
func (p *player) erases(t *rapid.T) {
	refs := make(map[string]bool)
	for _, v := range p.model(p.tenant).all {
		refs[v.ID.String()] = true
	}
	if len(refs) == 0 {
		return
	}
	all := p.refsTo(rapid.SampledFrom(slices.Sorted(maps.Keys(refs))).Draw(t, "erased"))
	if rapid.Bool().Draw(t, "not the current one") {
		all = all[1:]
		all = all[rapid.IntRange(0, len(all)).Draw(t, "from"):]
	}
	want := job.Erased{Versions: int64(len(all))}
	if len(all) > 0 && len(all) == len(p.history(all[0].ID.String())) {
		want.Resources = 1
	}
	_, f := p.eraser()
	p.same("erased", p.erase(f, all), want)
}

// mentioned compares who mentions a patient with the model.
func (p *player) mentioned(t *rapid.T) {
	patient := rapid.SampledFrom(somePatients()).Draw(t, "mentioned")
	var want []string
	for _, v := range p.model(p.tenant).all {
		if slices.Contains(v.Patients, patient) {
			want = append(want, v.ID.String())
		}
	}
	p.same("who mentions "+patient, p.mentions("Patient/"+patient), slices.Compact(sorted(want)))
}

// refers compares who names some patients with the model.
func (p *player) refers(t *rapid.T, at store.Tick) {
	typ := rapid.SampledFrom([]string{"Patient", "Observation", "Appointment", "Organization"}).Draw(t, "type of referrers")
	var targets []string
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(somePatients()), 1, 2, itself).Draw(t, "targets") {
		targets = append(targets, "Patient/"+id)
	}
	want, since := p.model(p.tenant).referrers(at, typ, targets)
	p.referrers(at, typ, targets, want, since...)
}

func (p *player) selections(after store.Tick) []store.Selection {
	return []store.Selection{
		{},
		{After: after},
		{Types: []string{"Appointment", "Patient"}},
		{IDs: []string{"1", "6"}},
		{Compartments: true},
		{Cohort: p.cohort},
		{Cohort: p.cohort, After: after, Types: []string{"Observation", "Patient"}},
		{Compartments: true, IDs: []string{"1", "5"}},
		{Cohort: p.cohort, IDs: []string{"1", "2", "5"}},
		{Deleted: true},
		{Deleted: true, Cohort: p.cohort},
		{Deleted: true, Compartments: true, Types: []string{"Appointment", "Observation"}},
		{Deleted: true, Cohort: p.cohort, After: after, IDs: []string{"1", "2", "6"}},
		{Every: true},
		{Every: true, After: after, Types: []string{"Observation", "Patient"}},
		{Owner: &p.owners[0], After: after},
		{Owner: &p.owners[1], Deleted: true},
		{Owner: &p.owners[2], Every: true, Types: []string{"Appointment", "Observation", "Patient"}},
	}
}
