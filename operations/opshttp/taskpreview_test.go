package opshttp_test

import (
	"strings"
	"testing"

	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
)

func TestAPreviewIsPolledAndRecordedAsOne(t *testing.T) {
	t.Parallel()
	const preview = "sketch"
	w := newChores(t, 0)
	shows := opshttp.Task{Kind: preview, Name: "the preview", Status: "/sketch/:job", Result: w.result}
	g, cfg := w.echo.Group(fhirhttp.Root), opshttp.Config{Store: w.store, Now: w.now, MaxBody: most, Record: w.record}
	opshttp.RegisterTask(g, cfg, shows)
	opshttp.RegisterTask(g, cfg, opshttp.Task{
		Kind: "work", Name: "$work", Status: "/work/:job", Result: w.result, Kickoff: w.kickoff(preview), Preview: &shows,
		Routes: []opshttp.TaskRoute{{Name: "one", Path: "/Patient/:id/$work"}},
	})
	a := w.post("/Patient/p/$work?_preview=true", "Prefer", "respond-async")
	w.is("the kick-off", a, 202, "")
	at := a.Header().Get("Content-Location")
	if !strings.HasSuffix(at, "/sketch/01JOB00001") {
		t.Errorf("it is at %s", at)
	}
	w.recorded("a preview", job.Event{Act: job.KickedOff, Kind: preview, By: me, Job: "01JOB00001", Path: "Patient/p/$work"})
}
