package export_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
)

// The files of an export are found by whoever's record a line may be of, and
// by no one else.
func TestAFileIsFoundByWhomeverItsLinesMayBeAbout(t *testing.T) {
	t.Parallel()
	for ref, c := range map[string]struct {
		rest string // of the body
		want string // by whom the file is found
	}{
		"Patient/p":              {``, "p"},
		"Observation/subject":    {`,"subject":{"reference":"Patient/p"}`, "p"},
		"Observation/nobody":     {``, "Observation/nobody"},
		"Observation/mentioning": {`,"subject":{"reference":"Patient/p"},"extension":[{"url":"u","valueReference":{"reference":"Patient/q/_history/1"}}]`, "p q"},
		"Observation/escaped":    {`,"focus":[{"reference":"Patient\/p"},{"reference":"\u0050atient/q"}]`, "p q"},
		"Observation/quoting":    {`,"subject":{"reference":"Patient/p"},"valueString":"\"é\u00e9\\\n\u003c\\/\""`, "p"},
		"Device/worn":            {`,"patient":{"reference":"Patient/p"}`, "p"},
		"Device/spare":           {``, "Device/spare"},
		"Medication/aspirin":     {``, ""},
		"Task/for":               {`,"status":"ready","intent":"order","for":{"reference":"Patient/p"}`, "p"},
		"Organization/part":      {`,"partOf":{"reference":"Organization/whole"},"endpoint":[{"reference":"Endpoint/e"}]`, ""},
		"Practitioner/seen":      {`,"extension":[{"url":"u","valueReference":{"reference":"Observation/o"}}]`, "Practitioner/seen"},
		"Provenance/of":          {`,"target":[{"reference":"Patient/p"},{"reference":"Observation/o"}]`, "p"},
		"Provenance/indirect":    {`,"target":[{"reference":"Observation/o"}]`, "Provenance/indirect"},
		"Binary/b":               {`,"contentType":"text/plain","data":"eA=="`, "Binary/b"},
		"Binary/secured":         {`,"contentType":"text/plain","securityContext":{"reference":"Patient/p"}`, "Binary/secured p"},
		"Bundle/b":               {`,"type":"collection","entry":[{"resource":{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}}]`, "Bundle/b p"},
		"Organization/absolute":  {`,"extension":[{"url":"u","valueReference":{"reference":"https://other.example/fhir/Patient/p"}}]`, ""},
	} {
		t.Run(ref, func(t *testing.T) {
			typ, id, _ := strings.Cut(ref, "/")
			w := newWorld(t, export.Config{})
			w.put(resource{typ: typ, id: id, body: fmt.Sprintf(`{"resourceType":%q,"id":%q%s}`, typ, id, c.rest)})
			r := w.run(asked{level: selection.System})
			if got := w.foundBy(r.job, "p", "q", "o", "whole", ref); got != c.want {
				t.Errorf("it is found by %q, want %q", got, c.want)
			}
		})
	}
}

// foundBy gives those by whom a part of the job is found.
func (w *world) foundBy(j job.Job, whom ...string) string {
	w.Helper()
	var found []string
	for _, id := range whom {
		parts, err := w.store.PartsHolding(context.Background(), tenant, id)
		w.ok("parts holding", err)
		if slices.ContainsFunc(parts, func(p job.Part) bool { return p.Job == j.ID }) {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestADeletionIsFoundByWhomItConcernedOrByItself(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), patient("b"), observation("o", "a", "v"), thing("Device", "d", "v"))
	since := instant(w.run(asked{level: selection.System}).job.TransactionTime)
	w.remove("Observation/o")
	w.remove("Device/d")
	r := w.run(asked{level: selection.System, since: since})
	if got := w.foundBy(r.job, "a", "b", "Observation/o", "Device/d"); got != "Device/d a" {
		t.Errorf("it is found by %q", got)
	}
}

func TestANoteIsFoundByThePatientWhomItNames(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a", "absent"))
	r := w.run(asked{level: selection.OneGroup, group: "g", types: []string{"Observation"}})
	if got := w.foundBy(r.job, "a", "absent"); got != "absent" || len(r.notes) != 1 {
		t.Errorf("%q is found by %q", r.notes, got)
	}
}
