package purge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/tidwall/gjson"
)

// as is a client, or a user of one, who may do everything.
func as(client, user string) auth.Principal {
	return auth.Principal{Tenant: auth.DefaultTenant, Client: client, User: user}.With(auth.ParseScopes("system/*.cruds", nil))
}

// owns has a principal write resources, one after the other.
func (w *world) owns(p auth.Principal, bodies ...string) {
	w.Helper()
	for _, body := range bodies {
		id := fhir.ID{Type: gjson.Get(body, "resourceType").String(), ID: gjson.Get(body, "id").String()}
		_, err := w.service().Update(w.Context(), p, id, []byte(body), interaction.Condition{})
		w.ok("put "+id.String(), err)
	}
}

// holding starts the purge of what a principal owns, by pairs of names and values.
func (w *world) holding(p auth.Principal, params ...string) job.Job {
	w.Helper()
	c := purge.HoldingCall{}
	for i := 0; i < len(params); i += 2 {
		c.Params = append(c.Params, fhir.Parameter{Name: params[i], Value: params[i+1]})
	}
	j, err := w.purge.KickoffHolding(w.Context(), p, c)
	w.ok("kick-off", err)
	return j
}

func note(id, text string) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","code":{"text":%q}}`, id, text)
}

func TestAllThatOneUserOfAClientOwnsGoesAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := as("app", "ann")
	w.owns(ann, family...)
	w.owns(ann, note("two", "Kestrel 1"), note("two", "Kestrel 2"))
	w.owns(as("app", "bob"), note("bobs", "names it"), `{"resourceType":"Observation","id":"named","status":"final","subject":{"reference":"Patient/kestrel"}}`, note("two", "Kestrel by Bob"))
	w.owns(as("app", ""), note("alone", "the client's"))
	w.owns(as("other", "ann"), note("others", "another Ann's"))
	w.owns(ann, note("gone", "Kestrel"))
	w.remove("Observation/gone")
	before := w.body("Observation/named")
	said := w.succeeded(w.holding(ann))
	for _, body := range family {
		w.gone(gjson.Get(body, "resourceType").String() + "/" + gjson.Get(body, "id").String())
	}
	w.gone("Observation/two", "Observation/gone")
	for _, ref := range []string{"Observation/bobs", "Observation/named", "Observation/alone", "Observation/others"} {
		w.has(ref, 1)
	}
	if w.body("Observation/named") != before {
		t.Errorf("what another owns and names it was touched: %s", w.body("Observation/named"))
	}
	n := len(family) + 2
	w.says(said, fmt.Sprintf(`{"name":"resourceCount","valueInteger":%d},{"name":"deletedCount","valueInteger":%d},{"name":"deletedVersionsCount","valueInteger":%d}`, n, n, n+3),
		`"name":"writtenSinceCount","valueInteger":0`, "every version of every resource was read", `"valueCode":"succeeded"`)
	if len(w.told) != 1 || w.told[0].Act != job.Purged || w.told[0].By != (job.Owner{Client: "app", User: "ann"}) {
		t.Errorf("told: %+v", w.told)
	}
	w.canary("Kestrel", "S2VzdHJlbA")
}

func TestAClientAloneLosesWhatNoUserOfItOwns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.owns(as("app", ""), note("a", "alone"))
	w.owns(as("app", "ann"), note("b", "hers"))
	w.succeeded(w.holding(as("app", "")))
	w.gone("Observation/a")
	w.has("Observation/b", 1)
	w.says(w.succeeded(w.holding(as("app", ""))), `"resourceCount","valueInteger":0`, `"deletedCount","valueInteger":0`, `"name":"total","valueInteger":0`)
}

func TestTypesAndADateNarrowWhatGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := as("app", "ann")
	w.owns(ann, note("old", "1"), note("old", "2"), note("changed", "1"), note("deleted", "1"), `{"resourceType":"Patient","id":"p"}`, `{"resourceType":"Device","id":"d"}`)
	w.remove("Observation/deleted")
	at, err := w.store.Barrier(t.Context(), tenant, time.Second)
	w.ok("barrier", err)
	limit := at.Time().Add(time.Millisecond).Format(time.RFC3339Nano)
	w.owns(ann, note("changed", "2"), note("new", "1"))
	w.succeeded(w.holding(ann, "_type", "Observation,Device", "_type", "Device", "_before", limit))
	w.gone("Observation/old", "Observation/deleted", "Device/d")
	w.has("Observation/changed", 2, 1)
	w.has("Observation/new", 1)
	w.has("Patient/p", 1)
	w.succeeded(w.holding(ann, "_before", "0001-01-01"))
	w.has("Patient/p", 1)
	w.succeeded(w.holding(ann, "_before", "9999"))
	w.gone("Observation/changed", "Observation/new", "Patient/p")
}

// paused has the plan of a purge wait until something has been done.
type paused struct {
	store.Store
	do   func()
	once *sync.Once
}

func (p paused) Split(ctx context.Context, t store.Tenant, sel store.Selection, each int64) ([]store.Range, error) {
	if sel.Owner != nil {
		p.once.Do(p.do)
	}
	return p.Store.Split(ctx, t, sel, each)
}

func TestWhatIsWrittenAfterTheKickOffStaysAndIsCounted(t *testing.T) {
	t.Parallel()
	p := paused{once: new(sync.Once)}
	w := newWorldWith(t, func(s store.Store) store.Store { p.Store = s; p.do = func() { p.later() }; return &p }, purge.Config{})
	ann := as("app", "ann")
	w.owns(ann, note("kept", "old"), note("deleted", "old"), note("again", "old"), note("plain", "old"))
	p.do = func() {
		w.owns(ann, note("new", "new"), note("kept", "new"))
		w.owns(as("app", "bob"), note("bobs", "new"))
		w.remove("Observation/deleted", "Observation/again")
		w.owns(ann, note("again", "new"))
	}
	said := w.succeeded(w.holding(ann))
	w.has("Observation/kept", 2)
	w.has("Observation/new", 1)
	w.has("Observation/again", 3)
	w.has("Observation/bobs", 1)
	w.gone("Observation/deleted", "Observation/plain")
	w.says(said, `"resourceCount","valueInteger":4`, `"deletedCount","valueInteger":2`, `"writtenSinceCount","valueInteger":3`)
}

func (p *paused) later() { p.do() }

// A patient purge that detached something between the kick-off and the plan has
// taken away what was current at the kick-off.
func TestWhatAPatientPurgeDetachedMeanwhileGoesToo(t *testing.T) {
	t.Parallel()
	p := &paused{once: new(sync.Once)}
	w := newWorldWith(t, func(s store.Store) store.Store { p.Store = s; return p }, purge.Config{})
	ann := as("app", "ann")
	w.owns(as("other", ""), family...)
	w.owns(ann, `{"resourceType":"List","id":"l","status":"current","mode":"working","title":"before"}`,
		`{"resourceType":"List","id":"l","status":"current","mode":"working","entry":[{"item":{"reference":"Patient/kestrel"}}]}`)
	p.do = func() {
		j, err := w.purge.Kickoff(w.Context(), auth.Local(), purge.Call{Patient: "kestrel"})
		if err != nil {
			t.Error(err)
		} else if j = w.ended(j); j.State != job.Succeeded {
			t.Errorf("the patient's purge is %s", j.State)
		}
		if diff := cmp.Diff([]int64{3, 1}, w.versions("List/l")); diff != "" {
			t.Errorf("the List is not detached: %s", diff)
		}
	}
	w.succeeded(w.holding(ann))
	w.gone("List/l")
	w.has("Patient/sibling", 1)
}

func TestAuditEventsOfTheClientGoAndThoseOfTheServerStay(t *testing.T) {
	t.Parallel()
	const event = `{"resourceType":"AuditEvent","id":%q,"type":{"code":"rest"},"recorded":"2026-01-01T00:00:00Z","agent":[{"requestor":true}],"source":{"observer":{"display":"x"}}}`
	w := newWorld(t)
	w.owns(as("app", ""), fmt.Sprintf(event, "mine"))
	w.owns(as(server, ""), fmt.Sprintf(event, "theirs"), note("n", "x"))
	w.succeeded(w.holding(as("app", "")))
	w.gone("AuditEvent/mine")
	w.has("AuditEvent/theirs", 1)
	w.succeeded(w.holding(as(server, "")))
	w.gone("Observation/n")
	w.has("AuditEvent/theirs", 1)
}

func TestFilesOfExportsThatHoldAHoldingGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := as("app", "ann")
	w.owns(ann, family...)
	w.owns(ann, `{"resourceType":"Location","id":"room","name":"Kestrel"}`, note("gone", "Kestrel"))
	w.remove("Observation/gone")
	w.owns(as("other", ""), `{"resourceType":"Medication","id":"m","code":{"text":"Harmless"}}`)
	j, err := w.exports.Kickoff(t.Context(), as("other", ""), export.Call{Level: selection.System, URL: "u", Base: "b"})
	w.ok("export", err)
	w.ended(j)
	w.succeeded(w.holding(ann))
	w.canary("Kestrel", "S2VzdHJlbA", "Clinic")
	left := 0
	w.ok("parts", w.exports.EachPart(t.Context(), tenant, func(p job.Part) error {
		if left++; p.Type != "Medication" {
			t.Errorf("a file of %s is left", p.Type)
		}
		return nil
	}))
	if left != 1 {
		t.Errorf("%d files are left, not the one that has nothing of it", left)
	}
}

func TestAnExportThatReadsWhileAHoldingGoesKeepsNothingOfIt(t *testing.T) {
	t.Parallel()
	b := &between{export: make(chan struct{}), goOn: make(chan struct{})}
	p := &paused{Store: b, once: new(sync.Once)}
	w := newWorldWith(t, func(s store.Store) store.Store { b.Store = s; return p }, purge.Config{})
	ann := as("app", "ann")
	w.owns(ann, family...)
	w.owns(as("other", ""), note("stays", "Harmless"))
	var exported job.Job
	p.do = func() {
		var err error
		exported, err = w.exports.Kickoff(w.Context(), as("other", ""), export.Call{Level: selection.System, URL: "u", Base: "b"})
		if err != nil {
			t.Error(err)
		}
		<-b.export
	}
	w.succeeded(w.holding(ann))
	if j := w.ended(exported); j.State != job.Succeeded {
		t.Errorf("the export is %s: %+v", j.State, j.Error)
	}
	w.canary("Kestrel", "Clinic")
}

func TestBatchesAreOfAThousandAtMostAndCountedTruly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := as("app", "ann"), as("app", "bob")
	var all []fhir.Resource
	for i := range 2100 {
		r, err := w.service().Reader().Read([]byte(note(fmt.Sprint("n", i), "x")))
		w.ok("read", err)
		all = append(all, r)
	}
	for i, r := range all {
		owner := ann
		if i%50 == 0 {
			owner = bob
		}
		_, err := w.store.Commit(t.Context(), tenant, store.Batch{ID: ulid.Make(), Puts: []store.Put{{Resource: r, Owner: store.Owner{Client: owner.Client, User: owner.User}}}})
		w.ok("commit", err)
	}
	w.owns(ann, `{"resourceType":"Patient","id":"p"}`)
	j := w.holding(ann)
	said := w.succeeded(j)
	w.says(said, `"resourceCount","valueInteger":2059`, `"deletedCount","valueInteger":2059`, `{"name":"completed","valueInteger":4},{"name":"failed","valueInteger":0},{"name":"total","valueInteger":4}`)
	w.has("Observation/n0", 1)
	w.has("Observation/n2050", 1)
	w.gone("Observation/n1", "Observation/n2099", "Patient/p")
}

func TestOnePurgeOfAHoldingIsUnderWayAtATime(t *testing.T) {
	t.Parallel()
	p := &paused{once: new(sync.Once)}
	w := newWorldWith(t, func(s store.Store) store.Store { p.Store = s; return p }, purge.Config{})
	ann := as("app", "ann")
	w.owns(ann, note("n", "x"))
	goOn := make(chan struct{})
	p.do = func() { <-goOn }
	first := w.holding(ann)
	_, err := w.purge.KickoffHolding(t.Context(), ann, purge.HoldingCall{})
	var under *purge.UnderWayError
	if !errors.As(err, &under) || under.Job != first.ID || fhir.KindOf(err) != fhir.Conflict || !strings.Contains(err.Error(), first.ID) {
		t.Errorf("the second: %v", err)
	}
	bobs := w.holding(as("app", "bob"))
	close(goOn)
	w.succeeded(first)
	w.succeeded(bobs)
	w.succeeded(w.holding(ann))
}

func TestWrongCallsOfAHoldingAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.owns(as("app", ""), note("n", "x"))
	for name, params := range map[string][]fhir.Parameter{
		"an unknown type":      {{Name: "_type", Value: "Observation,Obs"}},
		"no type":              {{Name: "_type", Value: ""}},
		"a space":              {{Name: "_type", Value: "Observation, Patient"}},
		"no date":              {{Name: "_before", Value: "yesterday"}},
		"an empty date":        {{Name: "_before", Value: ""}},
		"a day that is none":   {{Name: "_before", Value: "2026-02-30"}},
		"two dates":            {{Name: "_before", Value: "2026"}, {Name: "_before", Value: "2027"}},
		"another parameter":    {{Name: "type", Value: "Observation"}},
		"an unknown one":       {{Name: "_since", Value: "2026"}},
		"a patient, in a body": {{Name: "patientId", Type: "String", Value: "p"}},
	} {
		_, err := w.purge.KickoffHolding(t.Context(), as("app", ""), purge.HoldingCall{Params: params})
		if fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	reader := auth.Principal{Tenant: auth.DefaultTenant, Client: "app"}.With(auth.ParseScopes("system/*.rs system/Patient.d", nil))
	if _, err := w.purge.KickoffHolding(t.Context(), reader, purge.HoldingCall{}); fhir.KindOf(err) != fhir.Forbidden {
		t.Errorf("who may not: %v", err)
	}
	w.has("Observation/n", 1)
}

func TestAJobsIDIsAUUIDAndBack(t *testing.T) {
	const id, uuid = "01M7ZP8CKESQHJGA3GJV79GV3G", "019a1f64-326e-cde3-2828-70949b3c6c70"
	got := purge.UUID(id)
	if len(got) != len(uuid) || purge.JobID(got) != id || purge.JobID(strings.ToUpper(got)) != id {
		t.Errorf("%s is shown as %s, which is %s", id, got, purge.JobID(got))
	}
	for _, none := range []string{"", id, "made-001", strings.ReplaceAll(got, "-", ""), got + "-", got[:35], "g" + got[1:], strings.Replace(got, "-", "", 1) + "-"} {
		if was := purge.JobID(none); was != "" {
			t.Errorf("%q is the job %s", none, was)
		}
	}
	if purge.UUID("made-001") != "made-001" {
		t.Error("what is no ULID is changed")
	}
}

func TestWhoExportedAHoldingHearsThatItIsGone(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, func(s store.Store) store.Store { return s }, purge.Config{Tell: true})
	ann := as("app", "ann")
	w.owns(ann, note("a", "x"), `{"resourceType":"Location","id":"room"}`, `{"resourceType":"Patient","id":"p"}`)
	w.owns(as("app", "bob"), note("bobs", "x"))
	f := w.follows("reader", selection.System)
	w.succeeded(w.holding(ann))
	f.hears("Location/room", "Observation/a", "Patient/p")
}
