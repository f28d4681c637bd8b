package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir/sample"
	"firebreak/operations/engine"
	"firebreak/store"
	"firebreak/store/mongo"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	driveroptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

// sharedPlace is a new place for any number of instances.
func sharedPlace(t *testing.T) storage {
	t.Helper()
	return onMongo(t).fresh(t)
}

// instances are so many servers on one place.
func instances(t *testing.T, n int, o serving) (all []*site) {
	t.Helper()
	o.storage = sharedPlace(t)
	for range n {
		all = append(all, serveIn(t, o))
	}
	return all
}

// here is a URL of another instance on this one.
func (s *site) here(url string, of *site) string {
	s.Helper()
	below, ok := strings.CutPrefix(url, of.Base())
	if !ok {
		s.Fatalf("%s is not of %s", url, of.Base())
	}
	return s.Base() + below
}

func TestOnMongoAnyInstanceGoesOnWithWhatAnotherBegan(t *testing.T) {
	all := instances(t, 3, serving{})
	first, second, third := all[0], all[1], all[2]
	first.fill(2)
	status := first.kickoff("/Group/" + sample.GroupAll + "/$export?_type=Patient,Observation")
	done := second.finished(second.here(status, first))
	second.is("the poll of another", done, http.StatusOK)
	manifest := strings.ReplaceAll(done.body, second.Base(), third.Base())
	m, files := third.download(answer{body: manifest})
	if n := strings.Count(files["1.Patient.ndjson"], "\n"); n != 2 || len(m.Output) != 2 {
		t.Errorf("%d patients in %d files", n, len(m.Output))
	}
	id := status[strings.LastIndex(status, "/")+1:]
	for _, s := range all {
		if a := s.get("/jobs"); strings.Count(a.body, `"id"`) != 1 || !strings.Contains(a.body, s.Base()+"/$export/"+id) {
			t.Errorf("the jobs are %s", a.body)
		}
	}
	third.is("DELETE", third.do(http.MethodDelete, third.here(status, first), ""), http.StatusAccepted)
	for _, s := range all {
		s.is("the poll of what was deleted", s.get(s.here(status, first)), http.StatusNotFound)
		s.is("a file of what was deleted", s.get(s.here(status, first)+"/1.Patient.ndjson"), http.StatusNotFound)
	}
	want := []string{"E0 export Group/all/$export", "R0 export 1.Observation.ndjson", "R0 export 1.Patient.ndjson", "D0 export"}
	acts, _ := second.acts()
	if diff := cmp.Diff(want, acts); diff != "" {
		t.Errorf("recorded (- wanted, + there)\n%s", diff)
	}
}

func TestOnMongoWhatOneInstanceWroteTheOthersRead(t *testing.T) {
	all := instances(t, 2, serving{Audit: "off"})
	a, b := all[0], all[1]
	const path = "/Patient/p"
	body := func(family string) string {
		return `{"resourceType":"Patient","id":"p","name":[{"family":"` + family + `"}]}`
	}
	a.is("a create", a.do(http.MethodPut, path, body("one"), "If-None-Match", "*"), http.StatusCreated)
	b.is("a create of what is there", b.do(http.MethodPut, path, body("two"), "If-None-Match", "*"), http.StatusPreconditionFailed)
	read := b.get(path)
	if read.header.Get("ETag") != `W/"1"` || !strings.Contains(read.body, `"one"`) {
		t.Errorf("the other reads %s %s", read.header.Get("ETag"), read.body)
	}
	b.is("a read of what is known", b.get(path, "If-None-Match", `W/"1"`), http.StatusNotModified)
	b.is("an update of the current version", b.do(http.MethodPut, path, body("two"), "If-Match", `W/"1"`), http.StatusOK)
	a.is("an update of an old version", a.do(http.MethodPut, path, body("three"), "If-Match", `W/"1"`), http.StatusPreconditionFailed)
	if again := a.get(path); again.header.Get("ETag") != `W/"2"` || !strings.Contains(again.body, `"two"`) {
		t.Errorf("the first reads %s %s", again.header.Get("ETag"), again.body)
	}
	a.is("a delete", a.do(http.MethodDelete, path, "", "If-Match", `W/"2"`), http.StatusNoContent)
	b.is("a read of what was deleted", b.get(path), http.StatusGone)
	for _, s := range all {
		for version, family := range map[string]string{"/_history/1": `"one"`, "/_history/2": `"two"`} {
			if old := s.get(path + version); old.status != http.StatusOK || !strings.Contains(old.body, family) {
				t.Errorf("%s is %s", version, old)
			}
		}
		s.is("the deletion as a version", s.get(path+"/_history/3"), http.StatusGone)
	}
}

func TestOnMongoASignedLinkOfOneInstanceOpensItsFileOnTheOthers(t *testing.T) {
	place := sharedPlace(t)
	signed := func(o *serving) { o.storage, o.SignedLinks = place, time.Hour }
	one, other := newGuarded(t, signed), newGuarded(t, signed)
	one.engine()
	mine := one.token("c", everything)
	one.put("/fhir", "Patient", "p", "mine", mine)
	_, m := one.exported("/fhir/$export", mine)
	link := strings.Replace(m.Output[0].URL, one.origin, other.origin, 1)
	if r := other.get(link, ""); r.status != http.StatusOK || !strings.Contains(r.body, "mine") {
		t.Errorf("the link on another instance: %d %s", r.status, r.body)
	}
	for what, wrong := range map[string]string{
		"without a signature": link[:strings.Index(link, "?")], "with another's": link[:len(link)-4] + "0000",
	} {
		if r := other.get(wrong, ""); r.status != http.StatusUnauthorized {
			t.Errorf("the link %s: %d", what, r.status)
		}
	}
}

func TestOnMongoAServerWithAnotherFolderOfFilesIsRefused(t *testing.T) {
	o := serving{Audit: "off"}
	o.storage = sharedPlace(t)
	s := serveIn(t, o)
	s.put("Patient/p", "")
	elsewhere := onData(t.TempDir())
	elsewhere.Store = o.Store
	_, err := NewServer(t.Context(), elsewhere, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "--data "+elsewhere.Data+" is not where the other instances of this database keep their files") {
		t.Errorf("a server with another folder: %v", err)
	}
	same := onData(o.Data + string(filepath.Separator))
	same.Store = o.Store
	again, err := NewServer(t.Context(), same, slog.New(slog.DiscardHandler))
	s.ok(err)
	s.ok(again.Close())
}

// tinyOn serves with small units until the test ends.
func tinyOn(t *testing.T, place storage) *site {
	t.Helper()
	s, err := newTiny(t.Context(), order{storage: place}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return runSite(t, s)
}

func TestOnMongoAnExportGoesOnWhereAnotherInstanceWasKilled(t *testing.T) {
	tpl := newTemplate(t, onMongo(t), 4)
	alone := tpl.export(t, "/$export")
	alone.disturb(strike{})
	want := alone.recover()

	k := tpl.export(t, "/$export")
	c := startVictim(t, order{storage: k.storage})
	base, ok := c.await("serves")
	if !ok {
		t.Fatal(c.stderr)
	}
	one, other := tinyOn(t, k.storage), tinyOn(t, k.storage)
	if !k.kickoff(strings.TrimSpace(base)) {
		t.Fatal("no answer to the kick-off")
	}
	for range 3 { // so it has part in the work, and another one under way, or two
		if rest, ok := c.await("unit"); !ok {
			t.Fatal(rest, c.stderr)
		}
	}
	c.kill()
	if !c.end() {
		t.Error("the instance ended by itself")
	}
	if diff := cmp.Diff(want, k.download(k.manifest(one.Base()))); diff != "" {
		t.Errorf("(- undisturbed, + got)\n%s", diff)
	}
	if jobs := k.jobs(other.Base()); !cmp.Equal(jobs, []string{k.job}) {
		t.Errorf("there are jobs %q", jobs)
	}
	k.nothingLeftOver()
}

// idleOn serves on a place until the test ends, but does no unit: it only looks
// after jobs.
func idleOn(t *testing.T, place storage) *site {
	t.Helper()
	s, err := newTiny(t.Context(), order{storage: place}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.engine = engine.New(engine.Config{Store: s.store, Now: time.Now, Log: slog.New(slog.DiscardHandler), Lease: sharedLease})
	return runSite(t, s)
}

func TestOnMongoAJobWhoseLastWorkerWasKilledIsSettledByAnotherInstance(t *testing.T) {
	tpl := newTemplate(t, onMongo(t), 1)
	k := tpl.export(t, "/$export")
	s := idleOn(t, k.storage)
	c := startVictim(t, order{storage: k.storage, Call: "End of 3-join"})
	base, ok := c.await("serves")
	if !ok || !k.kickoff(strings.TrimSpace(base)) {
		t.Fatal(c.stderr)
	}
	if c.await(""); !c.end() {
		t.Error("the instance ended by itself")
	}
	if got := k.download(k.manifest(s.Base())); len(got) < 2 {
		t.Errorf("the export has %d kinds of lines", len(got))
	}
	k.nothingLeftOver()
}

// awaitGone waits until there is nothing of a job in the database.
func (s *site) awaitGone(id string) {
	s.Helper()
	for until := time.Now().Add(killPatience); time.Now().Before(until); {
		switch _, err := s.store.Peek(s.Context(), auth.DefaultTenant, id); {
		case errors.Is(err, store.ErrNotFound):
			return
		case err != nil:
			s.Fatal(err)
		}
	}
	s.Fatal("the job is still there")
}

func TestOnMongoAJobThatIsDeletedElsewhereStops(t *testing.T) {
	tpl := newTemplate(t, onMongo(t), 4)
	worker, other := tinyOn(t, tpl.storage), idleOn(t, tpl.storage)
	status := other.kickoff("/$export")
	id := status[strings.LastIndex(status, "/")+1:]
	for gjson.Get(other.get("/jobs/"+id).body, "progress.units.succeeded").Int() == 0 {
		other.get(status) // which waits for a while by itself
	}
	other.is("DELETE", other.do(http.MethodDelete, status, ""), http.StatusAccepted)
	worker.is("the poll of what was deleted", worker.get(worker.here(status, other)), http.StatusNotFound)
	worker.awaitGone(id)
	if left := filesOf(t, tpl.Data); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
}

func TestOnMongoLoadFillsTheDatabaseBesideServers(t *testing.T) {
	o := serving{Audit: "off"}
	o.storage = sharedPlace(t)
	s := serveIn(t, o)
	made := filepath.Join(t.TempDir(), "patients.ndjson")
	s.ok((&demoCommand{Count: 3, Seed: 1}).makePatients(made))
	for _, want := range []string{" created, 0 updated, 0 unchanged; 0 not loaded", " resources: 0 created, 0 updated, "} {
		code, out, text := program(t, "load", "--store", o.Store, made)
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("load: %d %s%s", code, out, text)
		}
	}
	m, files := s.export("/Patient/$export?_type=Patient")
	if n := strings.Count(files["1.Patient.ndjson"], "\n"); n != 3 || len(m.Output) != 1 {
		t.Errorf("the server exports %d patients in %d files", n, len(m.Output))
	}
}

// databasesLike are the databases of an engine whose names begin so.
func databasesLike(t *testing.T, uri, prefix string) []string {
	t.Helper()
	client, err := driver.Connect(driveroptions.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.ListDatabaseNames(t.Context(), bson.D{{Key: "name", Value: bson.Regex{Pattern: "^" + prefix}}})
	if err := errors.Join(err, client.Disconnect(t.Context())); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOnMongoTheDemoHasADatabaseOfItsOwn(t *testing.T) {
	place := sharedPlace(t)
	_, name, _ := strings.Cut(strings.TrimPrefix(place.Store, "mongodb://"), "/")
	name, query, _ := strings.Cut(name, "?")
	code, out, text := program(t, "demo", "--count", "2", "--store", place.Store)
	if code != exitOK || !strings.Contains(out, "are what the manifest of") || !strings.Contains(out, "# firebreak serve --store mongodb://") {
		t.Errorf("demo: %d %s%s", code, out, text)
	}
	if left := databasesLike(t, place.Store, name); len(left) > 0 {
		t.Errorf("the demo left %q", left)
	}

	keep := filepath.Join(t.TempDir(), "kept")
	code, out, text = program(t, "demo", "--count", "2", "--store", place.Store, "--keep", keep)
	left := databasesLike(t, place.Store, name)
	if code != exitOK || len(left) != 1 || !strings.HasPrefix(left[0], name+"-demo-") || !strings.Contains(out, left[0]) {
		t.Fatalf("demo --keep left %q: %d %s%s", left, code, out, text)
	}
	kept := strings.Replace(strings.TrimSuffix(place.Store, "?"+query), name, left[0], 1) + "?" + query
	defer func() {
		if err := mongo.Drop(context.Background(), kept); err != nil {
			t.Error(err)
		}
	}()
	code, out, text = program(t, "load", "--store", kept, filepath.Join(keep, "patients.ndjson"))
	if code != exitOK || !strings.Contains(out, " 0 created, 0 updated, ") {
		t.Errorf("load of what was kept: %d %s%s", code, out, text)
	}
}
