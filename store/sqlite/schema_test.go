package sqlite_test

import (
	"strings"
	"testing"
	"time"

	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
)

// oldRows are rows that every schema has had: a job that is to stop, and one
// with a unit whose turn it is.
const oldRows = `
INSERT INTO tenant (no, name, clock) VALUES (1, 'north', 0);
INSERT INTO job (tenant, id, client, user, state, cancel, discard_at, doc, kind, dismissed, idem) VALUES
	(1, 'stops', 'c', '', 'queued', 1, 0, '{"id":"stops","tenant":"north","kind":"export","state":"queued"}', 'export', 0, ''),
	(1, 'waits', 'c', '', 'queued', 0, 0, '{"id":"waits","tenant":"north","kind":"export","state":"queued"}', 'export', 0, '');
INSERT INTO unit (tenant, job, id, kind, phase, state, attempt, errors, lost, run_at, lease_until, planner, planned, args) VALUES
	(1, 'waits', 'u', 'export', 0, 'queued', 0, 0, 0, 0, 0, '', 0, ''), (1, 'stops', 'u', 'export', 0, 'queued', 0, 0, 0, 0, 0, '', 0, '');
`

func TestADatabaseOfAnEarlierSchemaIsBroughtUpToDate(t *testing.T) {
	want, definitions, err := at(t, t.TempDir()).Schema(t.Context())
	if err != nil || want != sqlite.Schemas() {
		t.Fatalf("schema %d, %v", want, err)
	}
	for schema := 1; schema < sqlite.Schemas(); schema++ {
		dir := t.TempDir()
		if err := sqlite.MakeOld(dir, schema, oldRows); err != nil {
			t.Fatal(err)
		}
		s := at(t, dir)
		got, now, err := s.Schema(t.Context())
		if err != nil || got != want {
			t.Errorf("from schema %d: %d, %v", schema, got, err)
		}
		if d := cmp.Diff(definitions, now); d != "" {
			t.Errorf("from schema %d: %s", schema, d)
		}
		js, err := s.Attend(t.Context(), time.Now(), false, "", 9)
		if err != nil || len(js) != 1 || js[0].ID != "stops" {
			t.Errorf("from schema %d: %+v need the engine, %v", schema, js, err)
		}
		u, _, err := s.Claim(t.Context(), []string{"export"}, time.Minute)
		if err != nil || u.Job != "waits" {
			t.Errorf("from schema %d: claimed %+v, %v", schema, u, err)
		}
	}
}

// What the engine asks at each hint must not cost more for each job under way:
// an index has the few rows that it is about, in the order asked for.
func TestWhatAHintAsksIsAnsweredFromAnIndex(t *testing.T) {
	plans, err := at(t, t.TempDir()).HintPlans(t.Context())
	if err != nil || len(plans) != 5 {
		t.Fatal(plans, err)
	}
	for name, says := range map[string][]string{
		"attend": {"USING INDEX job_stop (id>?)", "USING INDEX job_attend (discard_at>? AND discard_at<?)"},
		"lost":   {"u USING INDEX unit_turn (state=? AND run_at<?)"}, "queued": {"u USING INDEX unit_turn (state=? AND run_at<?)"},
		"next lost": {"u USING INDEX unit_turn (state=?)"}, "next queued": {"u USING INDEX unit_turn (state=? AND run_at>?)"},
	} {
		for _, say := range says {
			if !strings.Contains(plans[name], say) {
				t.Errorf("%s does not say %q: %s", name, say, plans[name])
			}
		}
		job, units := strings.Index(plans[name], "SEARCH j USING PRIMARY KEY"), strings.Index(plans[name], "SEARCH e USING")
		if name != "attend" && (job < 0 || units < job) {
			t.Errorf("%s does not look at the job before its other units: %s", name, plans[name])
		}
		if sorts := strings.Contains(plans[name], "FOR ORDER BY"); sorts && name != "attend" {
			t.Errorf("%s sorts: %s", name, plans[name])
		}
	}
}
