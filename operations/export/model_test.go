package export_test

import (
	"slices"
	"strings"
	"sync"

	"firebreak/fhir/selection"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// model is every version there ever was. What an export of it holds is found
// by looking at all of them.
type model struct {
	mu  sync.Mutex
	all []version
}

// version is one version of a resource, and the line that shows it. Of a
// deletion the resource is the one that was there before.
type version struct {
	resource
	line    string
	at      store.Tick
	deleted bool
	erased  bool
	seq     int // in the order of writing
}

func (m *model) add(v version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.seq = len(m.all)
	if v.deleted {
		for _, before := range m.all {
			if before.ref() == v.ref() && !before.deleted {
				v.resource = before.resource
			}
		}
	}
	m.all = append(m.all, v)
}

// erase marks the version of a resource that became current at an instant.
func (m *model) erase(ref string, at store.Tick) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, v := range m.all {
		if v.ref() == ref && v.at == at {
			m.all[i].erased = true
		}
	}
}

// asOf is what was there at an instant, by reference.
func (m *model) asOf(at store.Tick) map[string]version {
	there, _ := m.state(at)
	return there
}

// state is what was there at an instant, and what was deleted, but for what has
// been erased since.
func (m *model) state(at store.Tick) (there, gone map[string]version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	there, gone = map[string]version{}, map[string]version{}
	for _, v := range m.all {
		if old, ok := there[v.ref()]; v.at <= at && (!ok || v.at > old.at) {
			there[v.ref()] = v
		}
	}
	for ref, v := range there {
		if v.deleted && !v.erased {
			gone[ref] = v
		}
		if v.deleted || v.erased {
			delete(there, ref)
		}
	}
	return there, gone
}

// compartmentTypes are the types in the tests that can be in a compartment.
var compartmentTypes = []string{"Appointment", "Group", "Observation", "Patient", "Provenance"}

// contextTypes are those that come along as context.
var contextTypes = []string{"Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"}

// view is an export as the model sees it.
type view struct {
	asked
	since       store.Tick
	there, gone map[string]version
	cohort      map[string]bool
	others      map[string]bool // members that are no patients, by reference
	mode        string          // of Provenance: "", "all", "relevant", "latest"
}

func (m *model) view(at, since store.Tick, a asked) view {
	v := view{asked: a, since: since, cohort: map[string]bool{}, others: map[string]bool{}}
	v.there, v.gone = m.state(at)
	v.members(a.group, map[string]bool{})
	if a.level == selection.Patients {
		for _, p := range a.patients {
			v.member(p)
		}
	}
	switch {
	case slices.Contains(a.associated, "RelevantProvenanceResources"):
		v.mode = "relevant"
	case slices.Contains(a.associated, "LatestProvenanceResources"):
		v.mode = "latest"
	case a.level != selection.System && v.wants("Provenance"):
		v.mode = "all"
	}
	return v
}

func (v view) wants(typ string) bool { return v.types == nil || slices.Contains(v.types, typ) }

// members follows a group and those nested in it.
func (v view) members(group string, seen map[string]bool) {
	if seen[group] {
		return
	}
	seen[group] = true
	g := v.there["Group/"+group]
	for _, p := range g.members {
		if v.patients == nil || slices.Contains(v.patients, p) {
			v.member(p)
		}
	}
	for _, ref := range g.others {
		if typ, _, _ := strings.Cut(ref, "/"); v.patients == nil && v.wants(typ) {
			v.others[ref] = true
		}
	}
	for _, n := range g.nested {
		v.members(n, seen)
	}
}

// member adds a patient who is there, or whose deletion is a change.
func (v view) member(p string) {
	_, there := v.there["Patient/"+p]
	if gone, ok := v.gone["Patient/"+p]; there || ok && v.since > 0 && gone.at > v.since {
		v.cohort[p] = true
	}
}

// lines are those that an export as of an instant must have, by type.
func (m *model) lines(at, since store.Tick, a asked) map[string][]string {
	v := m.view(at, since, a)
	out := v.base()
	for ref := range v.provenance(out) {
		out[ref] = v.there[ref]
	}
	for ref := range v.others {
		if o, ok := v.there[ref]; ok && o.at > since {
			out[ref] = o
		}
	}
	for ref := range v.context(out) {
		out[ref] = v.there[ref]
	}
	lines := map[string][]string{}
	for _, one := range out {
		lines[one.typ] = append(lines[one.typ], one.line)
	}
	return lines
}

// base is what is asked for by itself.
func (v view) base() map[string]version {
	out := map[string]version{}
	for ref, one := range v.there {
		if one.at > v.since && v.wants(one.typ) && v.means(one.resource) && (v.mode == "" || one.typ != "Provenance") {
			out[ref] = one
		}
	}
	return out
}

// provenance is what comes along with what is exported.
func (v view) provenance(base map[string]version) map[string]bool {
	out, newest := map[string]bool{}, map[string]version{}
	for ref, p := range v.there {
		if p.typ != "Provenance" || v.mode == "" {
			continue
		}
		for _, target := range p.targets {
			one, there := v.there[target]
			_, exported := base[target]
			switch last := newest[target]; {
			case v.mode == "all" && there && v.means(one.resource) && p.at > v.since, v.mode == "relevant" && exported:
				out[ref] = true
			case v.mode == "latest" && exported && (last.at < p.at || last.at == p.at && last.seq < p.seq):
				newest[target] = p
			}
		}
		if v.mode == "all" && v.means(p.resource) && p.at > v.since {
			out[ref] = true
		}
	}
	for _, p := range newest {
		out[p.ref()] = true
	}
	return out
}

// context is what resources of patients refer to.
func (v view) context(exported map[string]version) map[string]bool {
	out := map[string]bool{}
	if v.level == selection.System || !slices.Contains(v.associated, "_context") {
		return out
	}
	for _, one := range exported {
		for _, ref := range one.refs {
			if c, ok := v.there[ref]; ok && slices.Contains(contextTypes, c.typ) {
				out[ref] = true
			}
		}
	}
	return out
}

// deletions are those that an export must tell of, by reference.
func (m *model) deletions(at, since store.Tick, a asked) []string {
	v := m.view(at, since, a)
	var out []string
	for ref, one := range v.gone {
		if since == 0 || one.at <= since {
			continue
		}
		asked := v.wants(one.typ) && v.means(one.resource)
		if v.mode != "" && one.typ == "Provenance" {
			asked = v.held(ref) || slices.ContainsFunc(one.targets, v.held)
		}
		if asked || v.others[ref] {
			out = append(out, ref)
		}
	}
	return out
}

// held tells whether Provenance comes along with a resource, or did until its
// deletion.
func (v view) held(ref string) bool {
	one, there := v.there[ref]
	if gone, ok := v.gone[ref]; !there && ok && gone.at > v.since {
		one, there = gone, true
	}
	return there && v.means(one.resource) && (v.mode == "all" || v.wants(one.typ))
}

// means tells whether a resource belongs in an export, but for its type and
// its age.
func (v view) means(r resource) bool {
	switch {
	case r.typ == "OperationOutcome":
		return false
	case v.level == selection.System:
		return true
	case !slices.Contains(compartmentTypes, r.typ):
		return false
	case v.level == selection.Patients && v.patients == nil:
		return len(r.patients) > 0
	case r.typ == "Group":
		return r.id == v.group && v.patients == nil
	case r.typ == "Patient":
		return v.cohort[r.id]
	}
	return slices.ContainsFunc(r.patients, func(p string) bool { return v.cohort[p] })
}

// sorted compares lists as multisets.
var sorted = cmp.Options{cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()}

// holds compares a result with the model, as of the result's own instant.
func (w *world) holds(r result, since store.Tick, a asked) {
	w.Helper()
	at := store.TickOf(r.job.TransactionTime)
	if d := cmp.Diff(w.model.lines(at, since, a), r.lines, sorted); d != "" {
		w.Errorf("export of %s %s %v %v %v since %d (- model, + export):\n%s", a.level, a.group, a.types, a.patients, a.associated, since, d)
	}
	if d := cmp.Diff(w.model.deletions(at, since, a), r.deleted, sorted); d != "" {
		w.Errorf("deletions of %s %s %v %v %v since %d (- model, + export):\n%s", a.level, a.group, a.types, a.patients, a.associated, since, d)
	}
}
