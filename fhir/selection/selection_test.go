package selection_test

import (
	"encoding/json"
	"slices"
	"testing"

	"firebreak/fhir/r4"
	"firebreak/fhir/selection"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

const (
	tick   = store.Tick(1000)
	since  = store.Tick(500)
	cohort = store.CohortID("job-1")
)

// except gives the types but for some.
func except(types []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return slices.Contains(some, t) })
}

func TestEachLevelSelectsWhatItIsFor(t *testing.T) {
	everything := except(r4.Types(), "OperationOutcome")
	ofPatients := r4.CompartmentTypes()
	theGroup := store.Selection{At: tick, After: since, Types: []string{"Group"}, IDs: []string{"g"}}
	system := func(types ...string) []store.Selection {
		return []store.Selection{{At: tick, After: since, Types: types}}
	}
	patients := func(types ...string) []store.Selection {
		return []store.Selection{{At: tick, After: since, Types: types, Compartments: true}}
	}
	members := func(types ...string) store.Selection {
		return store.Selection{At: tick, After: since, Types: types, Cohort: cohort}
	}
	for name, c := range map[string]struct {
		level selection.Level
		types []string
		want  []store.Selection
	}{
		"system":                          {selection.System, nil, system(everything...)},
		"system, types":                   {selection.System, []string{"Patient", "Organization", "Binary"}, system("Binary", "Organization", "Patient")},
		"system, a type twice":            {selection.System, []string{"Patient", "Patient"}, system("Patient")},
		"system, outcomes":                {selection.System, []string{"OperationOutcome"}, nil},
		"system, outcomes and more":       {selection.System, []string{"OperationOutcome", "Patient"}, system("Patient")},
		"system, no type":                 {selection.System, []string{}, nil},
		"system, unknown types":           {selection.System, []string{"Resource", "DomainResource", "patient", "Patent", ""}, nil},
		"patients":                        {selection.Patients, nil, patients(ofPatients...)},
		"patients, types":                 {selection.Patients, []string{"Observation", "Patient"}, patients("Observation", "Patient")},
		"patients, groups":                {selection.Patients, []string{"Group"}, patients("Group")},
		"patients, beyond compartments":   {selection.Patients, []string{"Organization", "Patient"}, patients("Patient")},
		"patients, only beyond":           {selection.Patients, []string{"Organization", "Medication", "Binary"}, nil},
		"group":                           {selection.OneGroup, nil, []store.Selection{theGroup, members(except(ofPatients, "Group")...)}},
		"group, types":                    {selection.OneGroup, []string{"Patient"}, []store.Selection{members("Patient")}},
		"group, the group itself":         {selection.OneGroup, []string{"Group"}, []store.Selection{theGroup}},
		"group, the group and patients":   {selection.OneGroup, []string{"Patient", "Group"}, []store.Selection{theGroup, members("Patient")}},
		"group, beyond compartments":      {selection.OneGroup, []string{"Organization"}, nil},
		"group, outcomes":                 {selection.OneGroup, []string{"OperationOutcome"}, nil},
		"a level that there is not":       {"all", nil, nil},
		"no level":                        {"", nil, nil},
		"a level that there is not, type": {"all", []string{"Patient"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked := selection.Asked{Level: c.level, Group: "g", Types: c.types, After: since}
			if diff := cmp.Diff(c.want, asked.Selections(tick, cohort), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(- want, + got)\n%s", diff)
			}
		})
	}
}

func TestPatientsThatAreNamedNarrowAndNoGroupComesWithThem(t *testing.T) {
	want := []store.Selection{{At: tick, Types: except(r4.CompartmentTypes(), "Group"), Cohort: cohort}}
	asked := selection.Asked{Level: selection.OneGroup, Group: "g", Patients: []string{"a"}}
	if diff := cmp.Diff(want, asked.Selections(tick, cohort)); diff != "" {
		t.Errorf("of a group (- want, + got)\n%s", diff)
	}
	want[0].Compartments = true
	for _, patients := range [][]string{{"a"}, {}} {
		asked := selection.Asked{Level: selection.Patients, Patients: patients}
		if diff := cmp.Diff(want, asked.Selections(tick, cohort)); diff != "" {
			t.Errorf("%v (- want, + got)\n%s", patients, diff)
		}
	}
	asked.Types = []string{"Group"}
	if got := asked.Selections(tick, cohort); len(got) > 0 {
		t.Errorf("only Groups: %+v", got)
	}
}

func TestSelectionsAreDisjointAndNeverMoreThanAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := anyAsked(t)
		seen := map[string]bool{}
		for _, s := range asked.Selections(tick, cohort) {
			if len(s.Types) == 0 || s.At != tick || s.After != 0 {
				t.Fatalf("%+v", s)
			}
			for _, typ := range s.Types {
				if seen[typ] {
					t.Fatalf("%s twice", typ)
				}
				if why := beyond(asked, s, typ); why != "" {
					t.Fatalf("%s %s: %+v", typ, why, s)
				}
				seen[typ] = true
			}
		}
	})
}

func anyAsked(t *rapid.T) selection.Asked {
	levels := []selection.Level{selection.System, selection.Patients, selection.OneGroup}
	asked := selection.Asked{Level: rapid.SampledFrom(levels).Draw(t, "level"), Group: "g"}
	if rapid.Bool().Draw(t, "has patients") {
		asked.Patients = rapid.SliceOf(rapid.SampledFrom([]string{"a", "b"})).Draw(t, "patients")
	}
	if rapid.Bool().Draw(t, "has types") {
		asked.Types = rapid.SliceOf(rapid.SampledFrom(append(slices.Clone(r4.Types()), "Patient", "Group", "Patent"))).Draw(t, "types")
	}
	return asked
}

// beyond says why a type may not be in a selection of what was asked for.
func beyond(asked selection.Asked, s store.Selection, typ string) string {
	theGroup := typ == "Group" && slices.Equal(s.IDs, []string{"g"}) && asked.Patients == nil
	switch {
	case typ == "OperationOutcome" || !r4.IsType(typ):
		return "is never exported"
	case asked.Types != nil && !slices.Contains(asked.Types, typ):
		return "was not asked for"
	case asked.Level != selection.System && !selection.InCompartment(typ):
		return "is in no compartment"
	case asked.Level == selection.OneGroup && s.Cohort != cohort && !theGroup:
		return "is not narrowed to the group"
	case asked.Level != selection.System && asked.Patients != nil && (s.Cohort != cohort || typ == "Group"):
		return "is not narrowed to the patients"
	case asked.Level == selection.Patients && !s.Compartments:
		return "is not narrowed to compartments"
	}
	return ""
}

func TestSelectionsDoNotShareTheTablesOfTheStandard(t *testing.T) {
	before := slices.Clone(r4.Types())
	for _, s := range (selection.Asked{Level: selection.System}).Selections(tick, "") {
		clear(s.Types)
	}
	if !slices.Equal(before, r4.Types()) {
		t.Error("the types of R4 have changed")
	}
}

func TestInCompartment(t *testing.T) {
	for typ, want := range map[string]bool{
		"Patient": true, "Observation": true, "Group": true, "Provenance": true, "AuditEvent": true,
		"Organization": false, "Binary": false, "Device": false, "Medication": false, "Bundle": false, "Patent": false, "": false,
	} {
		if selection.InCompartment(typ) != want {
			t.Errorf("%s: %v", typ, !want)
		}
	}
}

// What was asked is kept with the job: that no type was named is not the same
// as that none of those named can be exported, nor that no patient was.
func TestWhatWasAskedIsTheSameAfterJSON(t *testing.T) {
	for _, asked := range []selection.Asked{
		{Level: selection.System},
		{Level: selection.OneGroup, Group: "g", Types: []string{"Patient", "Group"}, After: since},
		{Level: selection.Patients, Types: []string{"Organization"}},
		{Level: selection.Patients, Types: []string{}},
		{Level: selection.Patients, Patients: []string{"a", "b"}},
		{Level: selection.Patients, Patients: []string{}},
	} {
		doc, err := json.Marshal(asked)
		if err != nil {
			t.Fatal(err)
		}
		var back selection.Asked
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(asked, back); diff != "" {
			t.Errorf("%s\n%s", doc, diff)
		}
	}
}
