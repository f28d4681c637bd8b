package export_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
)

// holding is a principal with these scopes.
func holding(scopes string) auth.Principal {
	return auth.Principal{Tenant: string(tenant), Client: "c"}.With(auth.ParseScopes(scopes, r4.IsType))
}

// kickoffBy starts a job of a principal.
func (w *world) kickoffBy(p auth.Principal, a asked) job.Job {
	w.Helper()
	w.clock.Advance(2 * time.Second)
	j, err := w.export().Kickoff(context.Background(), p, a.call())
	w.ok("kick-off", err)
	return j
}

// categories are a file of each.
func categories() map[string]job.Part {
	return map[string]job.Part{
		"output": {Category: job.Output, Type: "Observation"}, "deleted": {Category: job.Deleted, Type: "Bundle"},
		"error": {Category: job.Errors, Type: "OperationOutcome"},
	}
}

func TestATokenReadsAFileOnlyIfItMayReadAllThatCanBeInIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	const all = "system/*.rs"
	for _, c := range []struct {
		asked
		kickoff string
		scopes  string
		lacks   string // the categories that the scopes do not open
	}{
		{asked{level: selection.System}, all, all, ""},
		{asked{level: selection.System}, all, "system/*.r", ""},
		{asked{level: selection.System}, all, "system/*.cuds", "deleted error output"},
		{asked{level: selection.System}, all, "system/Patient.r", "deleted output"},
		{asked{level: selection.System}, all, "", "deleted error output"},
		{asked{level: selection.System, types: []string{"Patient", "Observation"}}, all, "system/Observation.r", "deleted"},
		{asked{level: selection.System, types: []string{"Patient", "Observation"}}, all, "system/Observation.r system/Patient.r", ""},
		{asked{level: selection.System, types: []string{"Patient", "Observation"}}, all, "system/Encounter.r", "deleted error output"},
		{asked{level: selection.System, types: []string{"Observation"}, associated: relevant}, all, "system/Observation.r", "deleted"},
		{asked{level: selection.System}, "system/Observation.r system/Patient.r", "system/Observation.r system/Patient.r", ""},
		{asked{level: selection.System}, "system/Observation.r system/Patient.r", "system/Observation.r", "deleted"},
		{asked{level: selection.Patients, types: []string{"Observation"}}, all, "system/Observation.r", ""},
		{asked{level: selection.Patients, types: []string{"Observation"}, patients: []string{"a"}}, all, "system/Observation.r", "error"},
		{asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}}, all, "system/Observation.r", "error"},
		{asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}}, all, "system/Observation.r system/Group.r", ""},
		{asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}}, all, "system/Group.r", "deleted error output"},
		{asked{level: selection.OneGroup, group: "g"}, all, without("Practitioner"), "deleted"},
		{asked{level: selection.OneGroup, group: "g"}, all, without("Provenance"), "deleted"},
		{asked{level: selection.OneGroup, group: "g"}, without("Provenance"), without("Provenance"), ""},
		{asked{level: selection.OneGroup, group: "g", patients: []string{"a"}}, all, without("Practitioner"), ""},
	} {
		j := w.kickoffBy(holding(c.kickoff), c.asked)
		for category, part := range categories() {
			err := export.May(holding(c.scopes), j, part)
			if lacks := strings.Contains(c.lacks, category); lacks != (fhir.KindOf(err) == fhir.Forbidden) || !lacks && err != nil {
				t.Errorf("%s %s %v of %q, with %.60q: %s: %v", c.level, c.types, c.associated, c.kickoff, c.scopes, category, err)
			}
		}
	}
}

// without is read on all types but one.
func without(typ string) string {
	types := slices.DeleteFunc(slices.Clone(r4.Types()), func(t string) bool { return t == typ })
	return "system/" + strings.Join(types, ".r system/") + ".r"
}

func TestAJobWhoseRequestCannotBeReadOpensNoFileButItsOutput(t *testing.T) {
	j := job.Job{Request: []byte(`[]`)}
	for category, part := range categories() {
		if err := export.May(holding("system/*.rs"), j, part); (err == nil) != (category == "output") {
			t.Errorf("%s: %v", category, err)
		}
	}
}

func TestNobodyReadsNoFile(t *testing.T) {
	w := newWorld(t, export.Config{})
	j := w.kickoff(asked{level: selection.System})
	for category, part := range categories() {
		if err := export.May(auth.Principal{}, j, part); fhir.KindOf(err) != fhir.Unauthorized {
			t.Errorf("%s: %v", category, err)
		}
	}
}
