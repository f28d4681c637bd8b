// Package selection says which resources are meant: by a group, a compartment,
// a type, as of an instant. Whatever acts on many resources asks it.
package selection

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// Membership is who the members of a Group are.
type Membership struct {
	Patients []string     // by id, once each
	Groups   []string     // nested ones, by id, once each
	Others   []fhir.ID    // practitioners, devices and the like, once each
	LeftOut  []fhir.Issue // what is no member, and why

	seen map[fhir.ID]bool
}

// Add adds the members of another Group.
func (m *Membership) Add(other Membership) {
	for _, id := range other.Patients {
		m.member(fhir.ID{Type: "Patient", ID: id})
	}
	for _, id := range other.Groups {
		m.member(fhir.ID{Type: "Group", ID: id})
	}
	for _, id := range other.Others {
		m.member(id)
	}
	m.LeftOut = append(m.LeftOut, other.LeftOut...)
}

// otherMembers are the types of R4's Group.member.entity beside Patient and
// Group.
var otherMembers = []string{"Device", "Medication", "Practitioner", "PractitionerRole", "Substance"}

// OtherMembers are the types that members of a Group can be of, beside Patient
// and Group.
func OtherMembers() []string { return slices.Clone(otherMembers) }

// Members lists the members of a Group as of an instant, and says of each one
// that is left out why, unless it is inactive or its period does not hold the
// instant: those are no members at that time
// (https://hl7.org/fhir/R4/group.html). Characteristics say who might be a
// member, not who is; that they are passed over is said too. A modifier
// extension may mean anything, so what has one is left out.
func Members(group []byte, at time.Time) Membership {
	var out Membership
	if Modified(group) {
		out.leaveOut("Group.modifierExtension", "a Group is left out: it has a modifier extension that is not understood")
		return out
	}
	i := -1
	gjson.GetBytes(group, "member").ForEach(func(_, m gjson.Result) bool {
		i++
		out.entry("Group.member["+strconv.Itoa(i)+"]", m, at)
		return true
	})
	if gjson.GetBytes(group, "characteristic.#").Int() > 0 {
		out.leaveOut("Group.characteristic", "the characteristics of the Group are passed over: only its members are exported")
	}
	return out
}

// Modified tells whether a Group has a modifier extension, so that nobody who
// does not know it can say who its members are.
func Modified(group []byte) bool {
	return gjson.GetBytes(group, "modifierExtension.#").Int() > 0
}

// entry reads one entry of Group.member.
func (m *Membership) entry(where string, entry gjson.Result, at time.Time) {
	if entry.Get("inactive").Bool() {
		return
	}
	in, err := within(entry.Get("period"), at)
	if err == nil && !in {
		return
	}
	ref := fhir.ParseReference(entry.Get("entity.reference").String(), r4.IsType)
	switch id := ref.Target(); {
	case err != nil:
		m.leaveOut(where+".period", "a member is left out: its period cannot be read")
	case entry.Get("modifierExtension.#").Int() > 0:
		m.leaveOut(where+".modifierExtension", "a member is left out: it has a modifier extension that is not understood")
	case !ref.Local() || ref.ID == "":
		m.leaveOut(where+".entity", "a member is left out: it is no reference to a resource of this server")
	case !canBeMember(id.Type):
		m.leaveOut(where+".entity", "a member is left out: a Group has no members of type "+id.Type)
	default:
		m.member(id)
	}
}

func canBeMember(typ string) bool {
	return typ == "Patient" || typ == "Group" || slices.Contains(otherMembers, typ)
}

// member adds a member that is not there yet.
func (m *Membership) member(id fhir.ID) {
	if m.seen == nil {
		m.seen = map[fhir.ID]bool{}
	}
	if m.seen[id] {
		return
	}
	m.seen[id] = true
	switch id.Type {
	case "Patient":
		m.Patients = append(m.Patients, id.ID)
	case "Group":
		m.Groups = append(m.Groups, id.ID)
	default:
		m.Others = append(m.Others, id)
	}
}

func (m *Membership) leaveOut(where, why string) {
	m.LeftOut = append(m.LeftOut, fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeIncomplete, Diagnostics: why, Expression: where})
}

// within tells whether a Period holds an instant; one without bounds does.
// The end is inclusive to the precision in which it is written.
func within(period gjson.Result, at time.Time) (bool, error) {
	if period.Exists() && !period.IsObject() {
		return false, errPeriod
	}
	start, end := period.Get("start"), period.Get("end")
	if start.Exists() {
		if from, _, err := bounds(start); err != nil || at.Before(from) {
			return false, err
		}
	}
	if end.Exists() {
		if _, until, err := bounds(end); err != nil || !at.Before(until) {
			return false, err
		}
	}
	return true, nil
}

var errPeriod = errors.New("not a Period")

func bounds(dateTime gjson.Result) (from, until time.Time, err error) {
	if dateTime.Type != gjson.String {
		return from, until, errPeriod
	}
	d, err := fhir.ParseDateTime(dateTime.String())
	if err == nil {
		from, until = d.Bounds()
	}
	return from, until, err
}

// Level is how much an operation on many resources is asked for.
type Level string

// The levels of $export (Bulk Data, section "Endpoints").
const (
	System   Level = "system"
	Patients Level = "patients"
	OneGroup Level = "group"
)

// Asked is what a client asked for.
type Asked struct {
	Level Level      `json:"level"`
	Group string     `json:"group,omitempty"` // its id, at that level
	Types []string   `json:"types"`           // nil: all; empty: none
	After store.Tick `json:"after,omitempty"` // changed after; 0: all
	// Patients narrows the levels of patients and of a group to these. nil:
	// all; empty: none.
	Patients []string `json:"patients"`
}

// Selections turns what was asked into selections as of an instant; together
// they hold each resource once. cohort is where the patients are: the members
// of the group, or those named.
//
// At the levels of patients, only types of the Patient compartment are meant.
// With a group, the one Group that was asked for is, and no other; with
// patients that were named, no Group is, as it may name others.
// OperationOutcomes that were stored are never meant: in an export they would
// be taken for outcomes of it.
func (a Asked) Selections(at store.Tick, cohort store.CohortID) []store.Selection {
	all := store.Selection{At: at, After: a.After}
	var out []store.Selection
	switch a.Level {
	case System:
		all.Types = a.of(r4.Types())
	case Patients:
		all.Types, all.Compartments = a.of(r4.CompartmentTypes()), true
		if a.Patients != nil {
			all.Types, all.Cohort = without(all.Types, "Group"), cohort
		}
	case OneGroup:
		types := a.of(r4.CompartmentTypes())
		if slices.Contains(types, "Group") && a.Patients == nil {
			one := all
			one.Types, one.IDs, one.Cohort = []string{"Group"}, []string{a.Group}, ""
			out = append(out, one)
		}
		all.Types, all.Cohort = without(types, "Group"), cohort
	}
	if len(all.Types) > 0 {
		out = append(out, all)
	}
	return out
}

// of narrows types to those asked for.
func (a Asked) of(types []string) []string {
	if a.Types != nil {
		types = slices.DeleteFunc(slices.Clone(types), func(t string) bool { return !slices.Contains(a.Types, t) })
	}
	return without(types, "OperationOutcome")
}

func without(types []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return t == one })
}

// InCompartment tells whether resources of the type can be in a patient's
// compartment.
func InCompartment(typ string) bool { return r4.CompartmentParams(typ) != nil }
