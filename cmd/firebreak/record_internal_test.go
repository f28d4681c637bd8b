package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/store"
	"firebreak/store/files"
)

// acts are what the stored AuditEvents tell, in order: action, kind and detail.
func (s *site) acts() (acts, bodies []string) {
	s.Helper()
	now, err := s.store.Barrier(s.Context(), auth.DefaultTenant, time.Millisecond)
	if err != nil {
		s.Fatal(err)
	}
	sel := store.Selection{At: now, Types: []string{"AuditEvent"}}
	ranges, err := s.store.Split(s.Context(), auth.DefaultTenant, sel, 1<<20)
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range ranges {
		err := s.store.Scan(s.Context(), auth.DefaultTenant, sel, r, "", func(v *store.Version) error {
			var e struct {
				Action  string
				Outcome string
				Entity  []struct {
					Name   string
					Detail []struct{ ValueString string }
				}
			}
			err := json.Unmarshal(v.Body, &e)
			act := e.Action + e.Outcome + " " + e.Entity[0].Name
			for _, d := range e.Entity[0].Detail {
				act += " " + d.ValueString
			}
			acts, bodies = append(acts, act), append(bodies, string(v.Body))
			return err
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	return acts, bodies
}

func TestWhatIsDoneWithAnExportIsRecorded(t *testing.T) {
	s := serveIn(t, serving{})
	s.put("Patient/a", "")
	status, _ := s.exportAll()
	file := status + "/1.Patient.ndjson"
	s.do(http.MethodGet, file, "", "Range", "bytes=5-")
	s.do(http.MethodGet, file, "", "Range", "bytes=9-")
	s.do(http.MethodGet, file, "")
	s.do(http.MethodGet, file, "")
	s.do(http.MethodHead, file, "")
	s.do(http.MethodDelete, status, "")
	s.do(http.MethodDelete, status, "")
	s.do(http.MethodGet, "/$export?_type=Nonsense", "", "Prefer", "respond-async")
	acts, bodies := s.acts()
	want := []string{
		"E0 export $export", "R0 export 1.Patient.ndjson", "R0 export 1.Patient.ndjson", "R0 export 1.Patient.ndjson", "D0 export",
	}
	if strings.Join(acts, "\n") != strings.Join(want, "\n") {
		t.Errorf("recorded %q", acts)
	}
	for _, b := range bodies {
		if !strings.Contains(b, status[strings.LastIndex(status, "/")+1:]) || !strings.Contains(b, `"value":"local"`) {
			t.Errorf("without the job or the client: %s", b)
		}
	}
}

func TestAnExportHoldsNoEventsThatCameAfterItsInstant(t *testing.T) {
	s := serveIn(t, serving{})
	s.put("Patient/a", "")
	if _, manifest := s.exportAll(); strings.Contains(manifest, "AuditEvent") {
		t.Errorf("the first export has events: %s", manifest)
	}
	if _, manifest := s.exportAll(); !strings.Contains(manifest, "1.AuditEvent.ndjson") {
		t.Errorf("the second has none of the first: %s", manifest)
	}
}

func TestWithAuditOffNothingIsRecorded(t *testing.T) {
	s := serveIn(t, serving{Audit: "off"})
	s.put("Patient/a", "")
	status, _ := s.exportAll()
	s.do(http.MethodGet, status+"/1.Patient.ndjson", "")
	s.do(http.MethodDelete, status, "")
	if acts, _ := s.acts(); acts != nil {
		t.Errorf("recorded %q", acts)
	}
}

// forgetful is a store that takes no AuditEvents.
type forgetful struct{ store.Store }

func (f forgetful) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	if b.Puts[0].Resource.ID.Type == "AuditEvent" {
		return nil, store.ErrFull
	}
	return f.Store.Commit(ctx, t, b)
}

func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	data := t.TempDir()
	s := serveIn(t, serving{storage: storage{Data: data}})
	s.put("Patient/a", "")
	status, _ := s.exportAll()
	job := status[strings.LastIndex(status, "/"):]
	s.down()

	o := serving{storage: storage{Data: data}, Listen: "127.0.0.1:0", MaxResource: 1 << 20}
	st, err := openStore(t.Context(), o.storage)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := files.NewDir(filepath.Join(data, "files"))
	if err != nil {
		t.Fatal(err)
	}
	full, err := assemble(t.Context(), o, slog.New(slog.DiscardHandler), forgetful{st}, dir)
	if err != nil {
		t.Fatal(err)
	}
	s = runSite(t, full)
	s.put("Patient/b", "")
	for _, r := range []struct{ method, path string }{
		{http.MethodGet, "/$export"}, {http.MethodGet, "/$export" + job + "/1.Patient.ndjson"}, {http.MethodDelete, "/$export" + job},
	} {
		a := s.do(r.method, r.path, "", "Prefer", "respond-async")
		if a.status != http.StatusServiceUnavailable || strings.Contains(a.body, `"Patient"`) {
			t.Errorf("%s %s: %d %s", r.method, r.path, a.status, a.body)
		}
	}
	if a := s.do(http.MethodGet, "/$export"+job, ""); a.status != http.StatusOK {
		t.Errorf("the job answers %d", a.status)
	}
	if a := s.do(http.MethodGet, "/jobs", ""); strings.Count(a.body, `"id"`) != 1 {
		t.Errorf("the jobs are %s", a.body)
	}
}
