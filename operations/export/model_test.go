package export_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"firebreak/fhir/selection"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// resource is a resource with what an export must know of it, said by the test
// and not read from its body.
type resource struct {
	typ, id, body string
	patients      []string // in whose compartments it is
	members       []string // of a Group: the patients that an export follows
}

func (r resource) ref() string { return r.typ + "/" + r.id }

func patient(id string, links ...string) resource {
	var link strings.Builder
	for _, other := range links {
		fmt.Fprintf(&link, `,{"other":{"reference":"Patient/%s"},"type":"seealso"}`, other)
	}
	body := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"text":"é <&>"}]`, id)
	if len(links) > 0 {
		body += `,"link":[` + link.String()[1:] + `]`
	}
	return resource{typ: "Patient", id: id, body: body + "}", patients: append([]string{id}, links...)}
}

// observation is about a patient; "" for nobody.
func observation(id, subject, value string) resource {
	r := resource{typ: "Observation", id: id}
	r.body = fmt.Sprintf(`{"resourceType":"Observation","id":%q,"valueString":%q`, id, value)
	if subject != "" {
		r.body += `,"subject":{"reference":"Patient/` + subject + `"}`
		r.patients = []string{subject}
	}
	r.body += "}"
	return r
}

// performed is an observation of nobody that a patient made.
func performed(id, performer string) resource {
	body := fmt.Sprintf(`{"resourceType":"Observation","id":%q,"performer":[{"reference":"Patient/%s"}]}`, id, performer)
	return resource{typ: "Observation", id: id, body: body, patients: []string{performer}}
}

func appointment(id string, patients ...string) resource {
	var actors []string
	for _, p := range patients {
		actors = append(actors, fmt.Sprintf(`{"actor":{"reference":"Patient/%s"},"status":"accepted"}`, p))
	}
	body := fmt.Sprintf(`{"resourceType":"Appointment","id":%q,"participant":[%s]}`, id, strings.Join(actors, ","))
	return resource{typ: "Appointment", id: id, body: body, patients: patients}
}

func organization(id string) resource {
	return resource{typ: "Organization", id: id, body: fmt.Sprintf(`{"resourceType":"Organization","id":%q,"name":"n"}`, id)}
}

func outcome(id string) resource {
	return resource{typ: "OperationOutcome", id: id, body: fmt.Sprintf(`{"resourceType":"OperationOutcome","id":%q,"issue":[]}`, id)}
}

// group has members that are followed.
func group(id string, members ...string) resource { return groupWith(id, members) }

// groupWith has further entries of Group.member, which are not followed.
func groupWith(id string, members []string, others ...string) resource {
	entries := slices.Clone(others)
	for _, m := range members {
		entries = append(entries, `{"entity":{"reference":"Patient/`+m+`"}}`)
	}
	r := resource{typ: "Group", id: id, patients: slices.Clone(members), members: members}
	r.body = fmt.Sprintf(`{"resourceType":"Group","id":%q,"type":"person","actual":true,"member":[%s]}`, id, strings.Join(entries, ","))
	for _, o := range others {
		if _, ref, ok := strings.Cut(o, `"Patient/`); ok {
			other, _, _ := strings.Cut(ref, `"`)
			r.patients = append(r.patients, other)
		}
	}
	return r
}

// model is every version there ever was. What an export of it holds is found
// by looking at all of them.
type model struct {
	mu  sync.Mutex
	all []version
}

// version is one version of a resource, and the line that shows it.
type version struct {
	resource
	line    string
	at      store.Tick
	deleted bool
}

func (m *model) add(v version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, v)
}

// asOf is what was there at an instant, by reference.
func (m *model) asOf(at store.Tick) map[string]version {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := map[string]version{}
	for _, v := range m.all {
		if old, ok := there[v.ref()]; v.at <= at && (!ok || v.at > old.at) {
			there[v.ref()] = v
		}
	}
	for ref, v := range there {
		if v.deleted {
			delete(there, ref)
		}
	}
	return there
}

// compartmentTypes are the types in the tests that can be in a compartment.
var compartmentTypes = []string{"Appointment", "Group", "Observation", "Patient"}

// lines are those that an export as of an instant must have, by type.
func (m *model) lines(at, since store.Tick, a asked) map[string][]string {
	there := m.asOf(at)
	cohort := map[string]bool{}
	for _, member := range there["Group/"+a.group].members {
		_, cohort[member] = there["Patient/"+member]
	}
	lines := map[string][]string{}
	for _, v := range there {
		if v.at > since && a.means(v.resource, cohort) {
			lines[v.typ] = append(lines[v.typ], v.line)
		}
	}
	return lines
}

// means tells whether a resource belongs in an export.
func (a asked) means(r resource, cohort map[string]bool) bool {
	switch {
	case r.typ == "OperationOutcome":
		return false
	case a.types != nil && !slices.Contains(a.types, r.typ):
		return false
	case a.level == selection.System:
		return true
	case !slices.Contains(compartmentTypes, r.typ):
		return false
	case a.level == selection.Patients:
		return len(r.patients) > 0
	case r.typ == "Group":
		return r.id == a.group
	case r.typ == "Patient":
		return cohort[r.id]
	}
	return slices.ContainsFunc(r.patients, func(p string) bool { return cohort[p] })
}

// sorted compares lists as multisets.
var sorted = cmp.Options{cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()}

// holds compares a result with the model, as of the result's own instant.
func (w *world) holds(r result, since store.Tick, a asked) {
	w.Helper()
	want := w.model.lines(store.TickOf(r.job.TransactionTime), since, a)
	if d := cmp.Diff(want, r.lines, sorted); d != "" {
		w.Errorf("export of %s %s %v (- model, + export):\n%s", a.level, a.group, a.types, d)
	}
}
