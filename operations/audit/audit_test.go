package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/audit"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

const tenant = store.Tenant("north")

var now = time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)

// archive is a recorder over a store.
type archive struct {
	*testing.T
	store *sqlite.Store
	*audit.Recorder
}

func newArchive(t *testing.T) archive {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return archive{t, st, recorder(st)}
}

func recorder(st audit.Store) *audit.Recorder {
	ids := 0
	return audit.New(audit.Config{
		Store: st, Now: func() time.Time { return now }, NewBatchID: ulid.Make,
		NewID: func() string { ids++; return fmt.Sprintf("event-%d", ids) },
	})
}

func (a archive) record(es ...job.Event) {
	a.Helper()
	for _, e := range es {
		e.Tenant, e.Kind = string(tenant), "export"
		if err := a.Record(a.Context(), e); err != nil {
			a.Fatal(err)
		}
	}
}

// versions are all AuditEvents of the tenant.
func (a archive) versions() (out []store.Version) {
	a.Helper()
	at, err := a.store.Clock(a.Context(), tenant)
	if err != nil {
		a.Fatal(err)
	}
	sel := store.Selection{At: at, Types: []string{"AuditEvent"}}
	ranges, err := a.store.Split(a.Context(), tenant, sel, 1<<20)
	if err != nil {
		a.Fatal(err)
	}
	for _, r := range ranges {
		err := a.store.Scan(a.Context(), tenant, sel, r, "", func(v *store.Version) error {
			c := *v
			c.Body = append([]byte(nil), v.Body...)
			out = append(out, c)
			return nil
		})
		if err != nil {
			a.Fatal(err)
		}
	}
	return out
}

// count checks how many events there are.
func (a archive) count(what string, want int) {
	a.Helper()
	if got := len(a.versions()); got != want {
		a.Errorf("%s: %d events, want %d", what, got, want)
	}
}

var jo = job.Owner{Client: "app", User: "Patient/jo"}

func TestAnEventSaysWhoDidWhatWhenWithWhichOutcome(t *testing.T) {
	a := newArchive(t)
	a.record(job.Event{Act: job.KickedOff, By: jo, Job: "01J", Path: "Group/g/$export", Refused: true, Detail: "not allowed"})
	v := a.versions()[0]
	var got, want any
	if err := errors.Join(json.Unmarshal(v.Body, &got), json.Unmarshal([]byte(`{
		"resourceType": "AuditEvent", "id": "event-1",
		"type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest", "display": "RESTful Operation"},
		"subtype": [{"system": "https://firebreak.dev/fhir/CodeSystem/job-act", "code": "kickoff"}],
		"action": "E", "recorded": "2026-05-06T07:08:09.123Z", "outcome": "4", "outcomeDesc": "not allowed",
		"agent": [
			{"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/extra-security-role-type", "code": "humanuser", "display": "human user"}]},
				"who": {"identifier": {"value": "Patient/jo"}}, "requestor": true},
			{"type": {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110150", "display": "Application"}]},
				"who": {"identifier": {"value": "app"}}, "requestor": false}],
		"source": {"observer": {"display": "Firebreak"},
			"type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4", "display": "Application Server"}]},
		"entity": [{
			"what": {"identifier": {"system": "https://firebreak.dev/fhir/NamingSystem/job", "value": "01J"}},
			"type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2", "display": "System Object"},
			"role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "20", "display": "Job"},
			"name": "export", "detail": [{"type": "request", "valueString": "Group/g/$export"}]}]
	}`), &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if v.Owner != (store.Owner{Client: audit.Client}) || len(v.Patients) > 0 {
		t.Errorf("owner %+v, in the compartments of %v", v.Owner, v.Patients)
	}
}

func TestAnEventOfAHoldNamesItAndWhatItIsOn(t *testing.T) {
	a := newArchive(t)
	by := job.Owner{Client: "operator", User: "Ann"}
	a.record(job.Event{Act: job.HoldSet, By: by, Hold: "01H", On: "Patient/p"}, job.Event{Act: job.HoldLifted, By: by, Hold: "01H", On: "Patient/p"})
	vs := a.versions()
	if len(vs) != 2 || len(vs[0].Patients) > 0 {
		t.Fatalf("%d events, in the compartments of %v", len(vs), vs[0].Patients)
	}
	for i, has := range [][]string{{`"action":"C"`, `"code":"hold"`}, {`"action":"U"`, `"code":"lift"`}} {
		for _, part := range append(has, `"value":"Ann"`, `NamingSystem/hold","value":"01H"`, `"code":"13","display":"Security Resource"`, `{"type":"on","valueString":"Patient/p"}`) {
			if !strings.Contains(string(vs[i].Body), part) {
				t.Errorf("%s is not in %s", part, vs[i].Body)
			}
		}
	}
}

func TestEachActHasItsAction(t *testing.T) {
	for act, want := range map[job.Act]string{
		job.KickedOff: `"action":"E"`, job.Downloaded: `"action":"R"`, job.Dismissal: `"action":"D"`, job.Expiry: `"action":"D"`,
		job.Retried: `"action":"E"`, job.Act("another"): `"action":"E"`,
	} {
		a := newArchive(t)
		a.record(job.Event{Act: act, Job: "01J"})
		body := string(a.versions()[0].Body)
		if !strings.Contains(body, want) || !strings.Contains(body, `"code":"`+string(act)+`"`) || !strings.Contains(body, `"value":"firebreak"`) {
			t.Errorf("%s: %s", act, body)
		}
	}
}

func TestADownloadThatIsResumedIsOneEvent(t *testing.T) {
	a := newArchive(t)
	whole := job.Event{Act: job.Downloaded, By: jo, Job: "01J", File: "1.Patient.ndjson"}
	resumed := whole
	resumed.Resumed = true
	a.record(whole, resumed, resumed)
	a.count("one download", 1)
	a.record(whole, whole)
	a.count("two more", 3)
	for _, other := range []func(*job.Event){
		func(e *job.Event) { e.File = "2.Patient.ndjson" }, func(e *job.Event) { e.Job = "01K" },
		func(e *job.Event) { e.By.User = "" }, func(e *job.Event) { e.By.Client = "other" },
	} {
		e := resumed
		other(&e)
		n := len(a.versions())
		a.record(e, e)
		a.count("what was not downloaded before", n+1)
	}
}

func TestAnExpiryThatIsToldAgainIsOneEvent(t *testing.T) {
	a := newArchive(t)
	a.record(job.Event{Act: job.Expiry, Job: "01J"}, job.Event{Act: job.Expiry, Job: "01J"}, job.Event{Act: job.Expiry, Job: "01K"})
	a.count("two jobs", 2)
}

func TestAClientCannotHideADownloadBehindAResourceOfItsOwn(t *testing.T) {
	a := newArchive(t)
	resumed := job.Event{Act: job.Downloaded, By: jo, Job: "01J", File: "1.Patient.ndjson", Resumed: true}
	a.record(resumed)
	id := a.versions()[0].ID

	a = newArchive(t)
	r, err := fhir.Reader{Known: r4.IsType}.Read([]byte(`{"resourceType":"AuditEvent","id":"` + id.ID + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	put := store.Put{Resource: r, Terms: search.Terms(id.Type, id.ID, r.Body), Owner: store.Owner{Client: "app"}}
	if _, err := a.store.Commit(t.Context(), tenant, store.Batch{ID: ulid.Make(), Puts: []store.Put{put}}); err != nil {
		t.Fatal(err)
	}
	a.record(resumed)
	a.count("the client's and the server's", 2)
}

// failing is a store whose calls fail.
type failing struct {
	audit.Store
	err error
}

func (f failing) Commit(context.Context, store.Tenant, store.Batch) ([]store.Applied, error) {
	return nil, f.err
}

func TestWhatCannotBeStoredIsAnError(t *testing.T) {
	a := newArchive(t)
	r := recorder(failing{a.store, store.ErrFull})
	for _, act := range []job.Act{job.KickedOff, job.Downloaded, job.Dismissal, job.Retried, job.Expiry} {
		if err := r.Record(t.Context(), job.Event{Act: act, Tenant: string(tenant)}); !errors.Is(err, store.ErrFull) {
			t.Errorf("%s: %v", act, err)
		}
	}
}
