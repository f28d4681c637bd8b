package export_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
)

// ask kicks off with a raw query, as it comes over HTTP.
func (w *world) ask(level selection.Level, query string, lenient bool) (job.Job, error) {
	w.Helper()
	q, err := url.ParseQuery(query)
	w.ok("parse the query", err)
	return w.export().Kickoff(context.Background(), auth.Local(), export.Call{Level: level, Group: "g", Query: q, URL: "u", Lenient: lenient})
}

func TestParametersThatCannotWorkAreRefusedAtKickOff(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(group("g"))
	const since = "2020-01-01T00:00:00Z"
	for _, c := range []struct {
		level selection.Level
		query string
		code  fhir.Code
		says  string
	}{
		{selection.System, "_type=MissingType", fhir.CodeValue, "_type"},
		{selection.System, "_type=Patient,MissingType", fhir.CodeValue, "_type"},
		{selection.System, "_type=Patient&_type=MissingType", fhir.CodeValue, "_type"},
		{selection.System, "_type=patient", fhir.CodeValue, "_type"},
		{selection.System, "_type=", fhir.CodeValue, "_type"},
		{selection.System, "_type=Patient,", fhir.CodeValue, "_type"},
		{selection.Patients, "_type=Organization", fhir.CodeValue, "Organization"},
		{selection.OneGroup, "_type=Patient,ValueSet", fhir.CodeValue, "ValueSet"},
		{selection.System, "_since=" + since + "&_since=" + since, fhir.CodeInvalid, "_since is given twice"},
		{selection.System, "_since=0000-60-01T30:70:80%2B05:00", fhir.CodeValue, "_since"},
		{selection.System, "_since=2020-01-01", fhir.CodeValue, "_since"},
		{selection.System, "_since=2020-01-01T00:00:00", fhir.CodeValue, "_since"},
		{selection.System, "_since=2020-01-01T00:00:00+05:00", fhir.CodeValue, "%2B"},
		{selection.System, "_since=", fhir.CodeValue, "_since"},
		{selection.System, "_since=2057-01-01T00:00:00Z", fhir.CodeValue, "future"},
		{selection.System, "_outputFormat=application/xml", fhir.CodeNotSupported, "_outputFormat"},
		{selection.System, "_outputFormat=text/html", fhir.CodeNotSupported, "_outputFormat"},
		{selection.System, "_outputFormat=x-custom", fhir.CodeNotSupported, "_outputFormat"},
		{selection.System, "_outputFormat=", fhir.CodeNotSupported, "_outputFormat"},
		{selection.System, "_outputFormat=ndjson&_outputFormat=ndjson", fhir.CodeInvalid, "given twice"},
		{selection.System, "_elements=id", fhir.CodeNotSupported, "_elements"},
		{selection.System, "_until=" + since, fhir.CodeNotSupported, "_until"},
		{selection.System, "patient=Patient/1", fhir.CodeInvalid, "[base]/Patient/$export"},
		{selection.Patients, "patient=Patient/1", fhir.CodeInvalid, "POST"},
		{selection.OneGroup, "patient=Patient/1", fhir.CodeInvalid, "POST"},
		{selection.System, "includeAssociatedData=Foo", fhir.CodeNotSupported, "includeAssociatedData"},
		{selection.System, "includeAssociatedData=_secret", fhir.CodeNotSupported, "includeAssociatedData"},
		{selection.Patients, "includeAssociatedData=LatestProvenanceResources,", fhir.CodeNotSupported, "includeAssociatedData"},
		{selection.Patients, "includeAssociatedData=", fhir.CodeNotSupported, "includeAssociatedData"},
		{selection.System, "Jane%20Doe=1", fhir.CodeNotSupported, "a parameter is not supported"},
		{selection.System, "_typefilter=Patient?name=secret", fhir.CodeNotSupported, "_typefilter"},
	} {
		_, err := w.ask(c.level, c.query, false)
		e := fhir.AsError(err)
		if err == nil || e.Kind != fhir.Invalid || e.IssueType() != c.code || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s %s: %v (%s), want %s and %q", c.level, c.query, err, e.IssueType(), c.code, c.says)
		}
		for _, secret := range []string{"Jane", "secret", "MissingType", "2057", "x-custom"} {
			if strings.Contains(e.Message, secret) {
				t.Errorf("%s: the answer repeats the value: %s", c.query, e.Message)
			}
		}
	}
	jobs, err := w.store.Attend(context.Background(), w.clock.Now(), true, "", 10)
	w.ok("list jobs", err)
	if len(jobs) > 0 {
		t.Errorf("%d jobs were made", len(jobs))
	}
}

func TestParametersInEverySpellingThatIsAllowedWork(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(group("g"))
	for _, c := range []struct {
		query string
		types []string
	}{
		{"", nil},
		{"_outputFormat=ndjson", nil},
		{"_outputFormat=application/ndjson", nil},
		{"_outputFormat=application/fhir%2Bndjson", nil},
		{"_outputFormat=application/fhir+ndjson", nil},
		{"_outputFormat=application%2Ffhir%2Bndjson&_format=json", nil},
		{"_since=2020-01-01T00:00:00Z", nil},
		{"_since=2020-01-01T00:00:00.123456789-05:00", nil},
		{"_since=2020-01-01T00:00:00%2B05:00", nil},
		{"_since=1899-01-01T00:00:00Z", nil},
		{"_type=Patient,Observation", []string{"Patient", "Observation"}},
		{"_type=Patient&_type=Observation", []string{"Patient", "Observation"}},
		{"_type=Patient,%20Observation&_type=Patient", []string{"Patient", "Observation"}},
	} {
		w.clock.Advance(2 * time.Second)
		j, err := w.ask(selection.Patients, c.query, false)
		if err != nil {
			t.Errorf("%q: %v", c.query, err)
			continue
		}
		var req export.Request
		w.ok("read the request", json.Unmarshal(j.Request, &req))
		if d := cmp.Diff(c.types, req.Types); d != "" {
			t.Errorf("%q: types %s", c.query, d)
		}
		if j.State != job.Queued || j.Owner.Client != "local" || j.Lifetime != 7*24*time.Hour {
			t.Errorf("%q: the job is %+v", c.query, j)
		}
	}
}

func TestWhatLenientHandlingIgnoresIsInTheErrorFile(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	a := asked{level: selection.Patients, types: []string{"Patient", "MissingType", "Organization"}, lenient: true, more: url.Values{
		"includeAssociatedData": {"Foo", "RelevantProvenanceResources"},
		"_elements":             {"id"}, "_typeFilter": {"Patient?name=canary"}, "Jane Doe": {"1"}, "_until": {"a", "b"},
	}}
	r := w.run(a)
	a.types, a.associated = []string{"Patient"}, relevant
	w.holds(r, 0, a)
	want := []string{
		"includeAssociatedData has a value that is not supported; it was ignored",
		"a parameter is not supported by $export and was ignored",
		"the parameter _elements is not supported by $export and was ignored",
		"_type names what is not a resource type of FHIR R4; it was ignored",
		"_type names Organization, which is not in the Patient compartment; export it with [base]/$export",
		"the parameter _typeFilter is not supported by $export and was ignored",
		"the parameter _until is not supported by $export and was ignored",
	}
	if d := cmp.Diff(want, r.notes, sorted); d != "" {
		t.Errorf("notes: %s", d)
	}
	if len(r.manifest.Error) != 1 || r.manifest.Error[0].URL != "https://example.org/files/1.OperationOutcome.ndjson" {
		t.Errorf("error: %+v", r.manifest.Error)
	}
}

func TestLenientHandlingForgivesNoValueThatIsWrong(t *testing.T) {
	w := newWorld(t, export.Config{})
	for _, query := range []string{"_since=yesterday", "_since=2057-01-01T00:00:00Z", "_outputFormat=xml"} {
		if _, err := w.ask(selection.System, query, true); fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// Types that are ignored narrow what is exported all the same: whoever asked
// for none that there is gets nothing, and by no means everything.
func TestWhoAsksForUnknownTypesOnlyGetsNothing(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	for _, a := range []asked{
		{level: selection.System, types: []string{"MissingType"}, lenient: true},
		{level: selection.Patients, types: []string{"Organization,MissingType"}, lenient: true},
		{level: selection.OneGroup, group: "ab", types: []string{""}, lenient: true},
	} {
		r := w.run(a)
		if len(r.lines) != 0 || len(r.notes) == 0 {
			t.Errorf("%s %v: %d types came, and it says %q", a.level, a.types, len(r.lines), r.notes)
		}
	}
}

func TestPatientsCannotBeNamedToTheSystemNorInAnAddress(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	for _, lenient := range []bool{false, true} {
		for _, level := range []selection.Level{selection.System, selection.Patients, selection.OneGroup} {
			if _, err := w.ask(level, "patient=Patient/a", lenient); fhir.KindOf(err) != fhir.Invalid {
				t.Errorf("%s by GET: %v", level, err)
			}
		}
		c := asked{level: selection.System, patients: []string{"a"}, lenient: lenient}.call()
		if _, err := w.export().Kickoff(context.Background(), auth.Local(), c); fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("the system by POST: %v", err)
		}
	}
}

// Who may not export is not told who is there either.
func TestNobodyLearnsFromARefusalWhoIsThere(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	for _, named := range []string{"a", "nobody"} {
		for _, id := range []string{"g", "none"} {
			c := asked{level: selection.OneGroup, group: id, patients: []string{named}}.call()
			_, err := w.export().Kickoff(context.Background(), auth.Principal{Tenant: auth.DefaultTenant, Client: "c"}, c)
			if fhir.KindOf(err) != fhir.Forbidden {
				t.Errorf("Patient/%s, Group/%s: %v", named, id, err)
			}
		}
	}
}

func TestNobodyMayExport(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(group("g"))
	for name, p := range map[string]auth.Principal{"nobody": {}, "another client": {Tenant: auth.DefaultTenant, Client: "c"}} {
		for _, level := range []selection.Level{selection.System, selection.Patients, selection.OneGroup} {
			for _, types := range [][]string{nil, {"Patient"}} {
				a := asked{level: level, group: "g", types: types}
				_, err := w.export().Kickoff(context.Background(), p, a.call())
				if k := fhir.KindOf(err); k != fhir.Unauthorized && k != fhir.Forbidden {
					t.Errorf("%s, %s %v: %v", name, level, types, err)
				}
			}
		}
	}
}
