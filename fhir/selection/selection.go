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

// Members lists the patients of a Group as of an instant, by id and once each,
// and says of each member that is left out why, unless it is inactive or its
// period does not hold the instant: those are no members at that time
// (https://hl7.org/fhir/R4/group.html).
func Members(group []byte, at time.Time) (patients []string, leftOut []fhir.Issue) {
	seen := map[string]bool{}
	i := -1
	gjson.GetBytes(group, "member").ForEach(func(_, m gjson.Result) bool {
		i++
		if m.Get("inactive").Bool() {
			return true
		}
		where := "Group.member[" + strconv.Itoa(i) + "]"
		if in, err := within(m.Get("period"), at); err != nil {
			leftOut = append(leftOut, skipped(where+".period", "a member is left out: its period cannot be read"))
			return true
		} else if !in {
			return true
		}
		ref := fhir.ParseReference(m.Get("entity.reference").String(), r4.IsType)
		switch {
		case !ref.Local() || ref.ID == "":
			leftOut = append(leftOut, skipped(where+".entity", "a member is left out: it is no reference to a resource of this server"))
		case ref.Type != "Patient":
			leftOut = append(leftOut, skipped(where+".entity", "a member is left out: it is a "+ref.Type+", and only patients are followed"))
		case !seen[ref.ID]:
			seen[ref.ID] = true
			patients = append(patients, ref.ID)
		}
		return true
	})
	return patients, leftOut
}

func skipped(where, why string) fhir.Issue {
	return fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeIncomplete, Diagnostics: why, Expression: where}
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
}

// Selections turns what was asked into selections as of an instant; together
// they hold each resource once. cohort is where the members of the group are.
//
// At the levels of patients, only types of the Patient compartment are meant.
// With a group, the one Group that was asked for is, and no other.
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
	case OneGroup:
		types := a.of(r4.CompartmentTypes())
		if slices.Contains(types, "Group") {
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
