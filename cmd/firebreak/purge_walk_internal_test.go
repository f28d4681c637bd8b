package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/sample"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// dump is every version of every resource of the default tenant, by reference
// and number, but for the server's own AuditEvents; and of those references
// that are given, deleted ones too.
func (s *site) dump(deleted ...string) map[string]string {
	s.Helper()
	now, err := s.store.Barrier(s.Context(), auth.DefaultTenant, time.Millisecond)
	s.ok(err)
	var ids []fhir.ID
	for _, ref := range deleted {
		typ, id, _ := strings.Cut(ref, "/")
		ids = append(ids, fhir.ID{Type: typ, ID: id})
	}
	sel := store.Selection{At: now}
	ranges, err := s.store.Split(s.Context(), auth.DefaultTenant, sel, 1<<20)
	s.ok(err)
	for _, r := range ranges {
		s.ok(s.store.Scan(s.Context(), auth.DefaultTenant, sel, r, "", func(v *store.Version) error {
			if v.Owner.Client != "firebreak" {
				ids = append(ids, v.ID)
			}
			return nil
		}))
	}
	all := map[string]string{}
	s.ok(s.store.Versions(s.Context(), auth.DefaultTenant, ids, func(v *store.Version) error {
		all[fmt.Sprintf("%s/%s %d", v.ID.Type, v.ID.ID, v.N)] = fmt.Sprintf("%d-%d %v %s", v.From, v.To, v.Deleted, v.Body)
		return nil
	}))
	return all
}

func TestABulkPurgeFromKickOffToDelete(t *testing.T)        { walkThroughBulkPurge(t, onSQLite()) }
func TestOnMongoABulkPurgeFromKickOffToDelete(t *testing.T) { walkThroughBulkPurge(t, onMongo(t)) }

// dateTime is a dateTime of FHIR with nanoseconds.
var dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)$`)

func walkThroughBulkPurge(t *testing.T, g ground) {
	s := onGround(t, g)
	s.fill(3)
	first, second, third := sample.PatientID(1, 0), sample.PatientID(1, 1), sample.PatientID(1, 2)
	s.is("an update", s.do(http.MethodPut, "/Patient/"+first, `{"resourceType":"Patient","id":"`+first+`"}`), http.StatusOK)
	before := s.dump()
	status := s.bulkPurging(patientIDs(first, "nobody", second, first))
	s.is("the status below another's name", s.get(strings.Replace(status, "Patient-bulk-purge", "$export", 1)), http.StatusNotFound)

	pending := s.get(status)
	s.is("a poll with nobody at work", pending, http.StatusOK)
	s.areResults(pending.body, first, "nobody", second)
	for _, r := range resultsOf(pending.body) {
		if r.status != "new" || r.total != nil || r.purged != nil {
			t.Errorf("before it begins, a patient is %+v", r)
		}
	}
	if gjson.Get(pending.body, outcomeOf).Exists() {
		t.Errorf("there is an outcome before the end: %s", pending.body)
	}
	if job := s.get("/jobs"); !strings.Contains(job.body, status) || strings.Contains(job.body, first) {
		t.Errorf("the jobs are %s", job.body)
	}

	s.work()
	done := s.purgeEnded(status)
	s.areResults(done, first, "nobody", second)
	for _, r := range resultsOf(done) {
		if r.status != "completed" || r.total == nil || r.purged == nil || *r.total != *r.purged || (r.patient == "nobody") != (*r.total == 0) {
			t.Errorf("at the end a patient is %+v", r)
		}
	}
	if o := gjson.Get(done, outcomeOf); o.Get("resourceType").String() != "OperationOutcome" || o.Get("issue.0.severity").String() != "information" {
		t.Errorf("the outcome is %s", o)
	}
	for _, path := range []string{"", "/_history/1", "/_history/2", "/_history/3"} {
		s.is("after the purge, "+path, s.get("/Patient/"+first+path), http.StatusNotFound)
	}
	s.onlyTheOthersAreLeft(before, third, first, second)

	s.is("the id, used again", s.do(http.MethodPut, "/Patient/"+first, `{"resourceType":"Patient","id":"`+first+`"}`), http.StatusCreated)
	if a := s.get("/Patient/" + first); a.header.Get("ETag") != `W/"1"` {
		t.Errorf("the id, used again, is at %s", a.header.Get("ETag"))
	}
	s.is("an old version of it", s.get("/Patient/"+first+"/_history/2"), http.StatusNotFound)

	s.is("DELETE", s.do(http.MethodDelete, status, ""), http.StatusAccepted)
	unknown := s.get("/Patient-bulk-purge/01M7ZP972YWNCE3K2BS1NVFW99")
	s.is("an unknown job", unknown, http.StatusNotFound)
	if gone := s.get(status); gone.String() != unknown.String() {
		t.Errorf("after DELETE and unknown (- +):\n%s", cmp.Diff(gone.String(), unknown.String()))
	}
	if a := s.get("/jobs"); strings.Contains(a.body, "bulk-purge") {
		t.Errorf("after DELETE the jobs are %s", a.body)
	}
}

// areResults checks what holds for results at any time (seeds S3-19..23).
func (s *site) areResults(body string, patients ...string) {
	s.Helper()
	var got []string
	for _, r := range resultsOf(body) {
		got = append(got, r.patient)
		if !dateTime.MatchString(r.updated) {
			s.Errorf("updatedAt is %q", r.updated)
		}
		if !slices.Contains([]string{"new", "processing", "completed", "error"}, r.status) {
			s.Errorf("status is %q", r.status)
		}
	}
	slices.Sort(got)
	slices.Sort(patients)
	if d := cmp.Diff(patients, got); d != "" || gjson.Get(body, "resourceType").String() != "Parameters" {
		s.Errorf("results of (- want, + got)\n%s\n%s", d, body)
	}
}

// onlyTheOthersAreLeft: nothing refers to those who are purged, and what did
// not refer to them is as it was.
func (s *site) onlyTheOthersAreLeft(before map[string]string, stays string, purged ...string) {
	s.Helper()
	after := s.dump()
	kept := 0
	for at, v := range after {
		for _, id := range purged {
			if strings.Contains(v, id) || strings.Contains(at, id) {
				s.Errorf("%s is left: %s", at, v)
			}
		}
		if before[at] == v {
			kept++
		} else if !strings.Contains(v, "masked") {
			s.Errorf("%s has changed from %s to %s", at, before[at], v)
		}
	}
	for at, v := range before {
		named := slices.ContainsFunc(purged, func(id string) bool { return strings.Contains(v, id) })
		if after[at] != v && !named && strings.Contains(v, stays) {
			s.Errorf("%s, which was another's, is gone: %s", at, v)
		}
	}
	if kept < 50 {
		s.Errorf("only %d versions are as they were", kept)
	}
}

func TestAPurgeOfOnePatientAndOfAGroup(t *testing.T)        { walkThroughPurge(t, onSQLite()) }
func TestOnMongoAPurgeOfOnePatientAndOfAGroup(t *testing.T) { walkThroughPurge(t, onMongo(t)) }

func walkThroughPurge(t *testing.T, g ground) {
	s := onGround(t, g)
	for _, id := range []string{"a", "b", "c", "d", "stays"} {
		s.put("Patient/"+id, `,"name":[{"family":"Kestrel"}]`)
		s.put("Observation/of-"+id, `,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/`+id+`"}`)
	}
	s.put("Group/g", `,"type":"person","actual":true,"member":[{"entity":{"reference":"Patient/c"}},{"entity":{"reference":"Patient/d"}}]`)

	a := s.do(http.MethodPost, "/Patient/a/$purge", "", "Prefer", "respond-async")
	s.is("$purge", a, http.StatusAccepted)
	status := a.header.Get("Content-Location")
	if !strings.HasPrefix(status, s.Base()+"/jobs/") || !strings.HasSuffix(status, "/result") || a.body != "" {
		t.Fatalf("the kick-off answers %s", a)
	}
	pending := s.get(status)
	s.is("a poll with nobody at work", pending, http.StatusAccepted)
	if pending.body != "" || pending.header.Get("Retry-After") == "" {
		t.Errorf("a poll with nobody at work: %s", pending)
	}
	s.is("what is not purged yet", s.get("/Patient/a"), http.StatusOK)

	s.work()
	end := s.finished(status)
	s.is("the result", end, http.StatusOK)
	bundle := gjson.Parse(end.body)
	if bundle.Get("resourceType").String() != "Bundle" || bundle.Get("type").String() != "batch-response" || bundle.Get("entry.#").Int() != 1 ||
		!strings.HasPrefix(bundle.Get("entry.0.response.status").String(), "200") || saidGone(end.body) != 2 ||
		bundle.Get("entry.0.resource.resourceType").String() != "OperationOutcome" && bundle.Get("entry.0.response.outcome.resourceType").String() != "OperationOutcome" {
		t.Errorf("the result is %s", end)
	}
	if jobs := s.get("/jobs"); !strings.Contains(jobs.body, status) || gjson.Get(jobs.body, "jobs.0.kind").String() != "purge" {
		t.Errorf("the jobs are %s", jobs.body)
	}
	s.gone404("Patient/a", "Observation/of-a")

	sync := s.do(http.MethodPost, "/Patient/b/%24purge", `{"resourceType":"Parameters"}`)
	s.is("$purge, and wait", sync, http.StatusOK)
	if gjson.Get(sync.body, "resourceType").String() != "OperationOutcome" || saidGone(sync.body) != 2 {
		t.Errorf("$purge, and wait: %s", sync)
	}
	for _, i := range gjson.Get(sync.body, "issue").Array() {
		if i.Get("severity").String() != "information" || i.Get("code").String() != "informational" {
			t.Errorf("not of R4: %s", i)
		}
	}
	s.gone404("Patient/b", "Observation/of-b")
	s.is("$purge again", s.do(http.MethodPost, "/Patient/b/$purge", ""), http.StatusOK)

	s.finishedPurge("/Group/g/$purge", "")
	s.gone404("Patient/c", "Patient/d", "Observation/of-c", "Observation/of-d")
	if g := s.get("/Group/g"); g.status != http.StatusOK || strings.Contains(g.body, "Patient/") {
		t.Errorf("the Group is %s", g)
	}
	s.is("the Patient of another", s.get("/Patient/stays"), http.StatusOK)
	s.is("DELETE of a purge that has ended", s.do(http.MethodDelete, status, ""), http.StatusAccepted)
	s.is("its result", s.get(status), http.StatusNotFound)
}

func (s *site) gone404(refs ...string) {
	s.Helper()
	for _, ref := range refs {
		s.is(ref, s.get("/"+ref), http.StatusNotFound)
		s.is(ref+", version 1", s.get("/"+ref+"/_history/1"), http.StatusNotFound)
	}
}

// gated is a store that erases nothing until it may.
type gated struct {
	store.Store
	erasing chan struct{} // a value for each call that waits
	may     chan struct{} // closed when it may
}

func (g gated) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	select {
	case g.erasing <- struct{}{}:
	default:
	}
	select {
	case <-g.may:
		return g.Store.Erase(ctx, f, vs, of...)
	case <-ctx.Done():
		return store.Erased{}, ctx.Err()
	}
}

// held is a site on SQLite that erases when it may.
func held(t *testing.T) (*site, gated) {
	t.Helper()
	o := onData(t.TempDir())
	o.Workers = 1
	st, dir, _ := opened(t, o.storage)
	g := gated{Store: st, erasing: make(chan struct{}, 1), may: make(chan struct{})}
	srv, err := assemble(t.Context(), o, slog.New(slog.DiscardHandler), g, dir)
	if err != nil {
		t.Fatal(err)
	}
	return runSite(t, srv), g
}

func TestPatientsOfABulkPurgeAreShownAsTheyProgress(t *testing.T) {
	s, g := held(t)
	s.put("Patient/a", "")
	s.put("Patient/b", "")
	s.put("Observation/o", `,"status":"final","subject":{"reference":"Patient/a"}`)
	status := s.bulkPurging(patientIDs("a", "b"))
	<-g.erasing
	a := s.get(status)
	s.is("the poll", a, http.StatusOK)
	statuses := map[string]int{}
	for _, r := range resultsOf(a.body) {
		statuses[r.status]++
		if r.status == "processing" && (r.total == nil || r.purged == nil || *r.purged != 0) || r.status == "new" && (r.total != nil || r.purged != nil) {
			t.Errorf("while it is erased, a patient is %+v", r)
		}
	}
	if d := cmp.Diff(map[string]int{"new": 1, "processing": 1}, statuses); d != "" {
		t.Errorf("statuses (- want, + got):\n%s", d)
	}
	close(g.may)
	s.purgeEnded(status)
	s.gone404("Patient/a", "Patient/b", "Observation/o")
}

func TestABulkPurgeThatIsCancelledStopsAndTheNextOneEndsIt(t *testing.T) {
	s, g := held(t)
	s.put("Patient/a", "")
	s.put("Observation/o", `,"status":"final","subject":{"reference":"Patient/a"}`)
	status := s.bulkPurging(patientIDs("a"))
	<-g.erasing
	s.is("DELETE", s.do(http.MethodDelete, status, ""), http.StatusAccepted)
	s.is("the poll", s.get(status), http.StatusNotFound)
	s.is("DELETE again", s.do(http.MethodDelete, status, ""), http.StatusNotFound)
	s.is("what was not erased", s.get("/Patient/a"), http.StatusOK)
	close(g.may)
	s.bulkPurged("patientId", "a")
	s.gone404("Patient/a", "Observation/o")
}

// Purges of the same patients that run at once do each other no harm.
func TestPurgesOfTheSamePatientsMayRunAtOnce(t *testing.T) {
	s := onGround(t, onSQLite())
	s.fill(4)
	var ids []string
	for i := range 4 {
		ids = append(ids, sample.PatientID(1, i))
	}
	s.work()
	var all sync.WaitGroup
	for at := range 4 {
		all.Go(func() { s.purgeEnded(s.bulkPurging(patientIDs(append(slices.Clone(ids[at:]), ids[:at]...)...))) })
	}
	all.Wait()
	for at, v := range s.dump() {
		for _, id := range ids {
			if strings.Contains(v, id) {
				t.Errorf("%s is left: %s", at, v)
			}
		}
	}
}

func TestAPurgeIsRecordedWhenItIsAskedForAndWhenItHasEnded(t *testing.T) {
	recordsAPurge(t, onSQLite())
}

func TestOnMongoAPurgeIsRecordedWhenItIsAskedForAndWhenItHasEnded(t *testing.T) {
	recordsAPurge(t, onMongo(t))
}

func recordsAPurge(t *testing.T, g ground) {
	s := onGround(t, g)
	for _, id := range []string{"a", "b"} {
		s.put("Patient/"+id, `,"name":[{"family":"Kestrel"}]`)
		s.put("Observation/of-"+id, `,"status":"final","code":{"text":"Kestrel"},"subject":{"reference":"Patient/`+id+`"}`)
	}
	s.work()
	status := s.bulkPurging(patientIDs("a"))
	s.purgeEnded(status)
	job := status[strings.LastIndex(status, "/")+1:]
	events := s.events()
	if len(events) != 2 {
		t.Fatalf("recorded are %q", events)
	}
	for at, want := range []string{`"Patient/$bulk-purge"`, `"action":"E"`} {
		if !strings.Contains(events[at], want) || !strings.Contains(events[at], job) || strings.Contains(events[at], "Kestrel") || !json.Valid([]byte(events[at])) {
			t.Errorf("recorded is %s", events[at])
		}
	}
	for _, count := range []string{"2 resources", "2 versions"} {
		if !strings.Contains(events[1], count) {
			t.Errorf("the record of the end does not say %q: %s", count, events[1])
		}
	}
	s.is("$purge", s.do(http.MethodPost, "/Patient/b/$purge", ""), http.StatusOK)
	s.is("a refused one", s.do(http.MethodPost, "/Patient/$bulk-purge", patientIDs("Kestrel 1"), "Prefer", "respond-async"), http.StatusBadRequest)
	s.is("DELETE", s.do(http.MethodDelete, status, ""), http.StatusAccepted)
	all := strings.Join(s.events(), "\n")
	if !strings.Contains(all, `"action":"D"`) || strings.Contains(all, "Kestrel") || strings.Count(all, "\n") < 4 {
		t.Errorf("recorded are %s", all)
	}
}

// events are the AuditEvents of the server, the first first.
func (s *site) events() (bodies []string) {
	s.Helper()
	now, err := s.store.Barrier(s.Context(), auth.DefaultTenant, time.Millisecond)
	s.ok(err)
	sel := store.Selection{At: now, Types: []string{"AuditEvent"}}
	ranges, err := s.store.Split(s.Context(), auth.DefaultTenant, sel, 1<<20)
	s.ok(err)
	for _, r := range ranges {
		s.ok(s.store.Scan(s.Context(), auth.DefaultTenant, sel, r, "", func(v *store.Version) error {
			bodies = append(bodies, string(v.Body))
			return nil
		}))
	}
	return bodies
}
