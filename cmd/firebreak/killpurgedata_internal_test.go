package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	driveroptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Whatever may go only with Ada or Ben says one of these, and nothing else does.
func canaries() []string {
	return []string{"Kestrelada", "Kestrelben", "S2VzdHJlbGFkYSBzY2Fu"}
}

// wards are Ada, Ben and Cleo with their records. Ada's and Ben's go, Cleo stays.
func wards(more int) (all []string) {
	all = []string{
		`{"resourceType":"Organization","id":"clinic","name":"Clinic"}`,
		`{"resourceType":"Practitioner","id":"doctor","name":[{"family":"Doctor"}]}`,
		`{"resourceType":"Patient","id":"cleo","name":[{"family":"Cleo"}],"link":[{"other":{"reference":"Patient/ada","display":"Kestrelada"},"type":"seealso"}]}`,
		`{"resourceType":"Patient","id":"ada","name":[{"family":"Kestrelada"}],"generalPractitioner":[{"reference":"Practitioner/doctor"}]}`,
		`{"resourceType":"Patient","id":"ben","name":[{"family":"Kestrelben"}]}`,
		`{"resourceType":"Encounter","id":"ada-visit","status":"finished","subject":{"reference":"Patient/ada"},"serviceProvider":{"reference":"Organization/clinic"}}`,
		`{"resourceType":"Observation","id":"ada-weight","status":"final","subject":{"reference":"Patient/ada"},"encounter":{"reference":"Encounter/ada-visit"},"valueString":"Kestrelada weighs 60 kg"}`,
		`{"resourceType":"Observation","id":"ada-weight","status":"amended","subject":{"reference":"Patient/ada"},"encounter":{"reference":"Encounter/ada-visit"},"valueString":"Kestrelada weighs 61 kg"}`,
		`{"resourceType":"Condition","id":"ada-deleted","subject":{"reference":"Patient/ada"},"note":[{"text":"Kestrelada"}]}`,
		`{"resourceType":"Binary","id":"ada-scan","contentType":"text/plain","data":"S2VzdHJlbGFkYSBzY2Fu"}`,
		`{"resourceType":"Binary","id":"leaflet","contentType":"text/plain","data":"TGVhZmxldA=="}`,
		`{"resourceType":"DocumentReference","id":"ada-document","status":"current","subject":{"reference":"Patient/ada"},"content":[{"attachment":{"url":"Binary/ada-scan","title":"Kestrelada"}},{"attachment":{"url":"Binary/leaflet"}}]}`,
		`{"resourceType":"DocumentReference","id":"cleo-document","status":"current","subject":{"reference":"Patient/cleo"},"content":[{"attachment":{"url":"Binary/leaflet"}}]}`,
		`{"resourceType":"Observation","id":"cleo-visit","status":"final","subject":{"reference":"Patient/cleo"},"encounter":{"reference":"Encounter/ada-visit","display":"Kestrelada came"},"valueDecimal":1.50}`,
		`{"resourceType":"Observation","id":"cleo-wrong","status":"final","subject":{"reference":"Patient/ada"},"valueString":"Kestrelada 1"}`,
		`{"resourceType":"Observation","id":"cleo-wrong","status":"final","subject":{"reference":"Patient/cleo"},"valueString":"hers"}`,
		`{"resourceType":"Observation","id":"cleo-wrong","status":"final","subject":{"reference":"Patient/ada"},"valueString":"Kestrelada 3"}`,
		`{"resourceType":"Observation","id":"cleo-wrong","status":"final","subject":{"reference":"Patient/cleo"},"valueString":"hers again"}`,
		`{"resourceType":"Provenance","id":"of-ada","target":[{"reference":"Observation/ada-weight","display":"Kestrelada"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
		`{"resourceType":"Provenance","id":"of-ada-and-cleo","target":[{"reference":"Observation/ada-weight","display":"Kestrelada"},{"reference":"Observation/cleo-visit"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
		`{"resourceType":"Provenance","id":"of-ada-and-ben","target":[{"reference":"Observation/ada-weight","display":"Kestrelada"},{"reference":"Observation/ben-0"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
		`{"resourceType":"Appointment","id":"ada-and-ben","status":"booked","comment":"Kestrelada","participant":[{"actor":{"reference":"Patient/ada"},"status":"accepted"},{"actor":{"reference":"Patient/ben"},"status":"accepted"}]}`,
		`{"resourceType":"Appointment","id":"ada-and-cleo","status":"booked","participant":[{"actor":{"reference":"Patient/ada","display":"Kestrelada"},"status":"accepted"},{"actor":{"reference":"Patient/cleo"},"status":"accepted"}]}`,
		`{"resourceType":"Appointment","id":"ben-and-cleo","status":"booked","participant":[{"actor":{"reference":"Patient/ben","display":"Kestrelben"},"status":"accepted"},{"actor":{"reference":"Patient/cleo"},"status":"accepted"}]}`,
		`{"resourceType":"Bundle","id":"message","type":"collection","entry":[{"resource":{"resourceType":"Patient","id":"ada","name":[{"family":"Kestrelada"}]}}]}`,
		`{"resourceType":"Group","id":"wards","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/cleo"}}]}`,
		`{"resourceType":"Group","id":"pair","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/ada","display":"Kestrelada"}},{"entity":{"reference":"Patient/ben"}}]}`,
	}
	for i := range 8 + more {
		all = append(all, observationOfAda(i))
	}
	for i := range 8 {
		all = append(all, fmt.Sprintf(`{"resourceType":"Observation","id":"ben-%d","status":"final","subject":{"reference":"Patient/ben"},"valueString":"Kestrelben"}`, i))
	}
	for i := range 20 {
		all = append(all, fmt.Sprintf(`{"resourceType":"Observation","id":"cleo-%d","status":"final","subject":{"reference":"Patient/cleo"},"valueString":%q}`, i, strings.Repeat("hers ", 100)))
	}
	return all
}

func observationOfAda(n int) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":"ada-%04d","status":"final","subject":{"reference":"Patient/ada"},"valueString":"Kestrelada"}`, n)
}

// moreOfAda are the Observations of Ada beyond those of wards(0).
func moreOfAda(t *testing.T, s *interaction.Service, more int) (all []fhir.Resource) {
	t.Helper()
	for i := range more {
		r, err := s.Reader().Read([]byte(observationOfAda(8 + i)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// purgeTemplate is a place with the wards, with exports that have ended, and
// with one that has not begun.
type purgeTemplate struct {
	ground
	storage
	ended  []*killed // exports from before
	begins *killed   // the export that goes on meanwhile; nil: none
	before versions
}

// newPurgeTemplate loads the wards; Ada has so many Observations more. The level
// is that of the export that goes on meanwhile.
func newPurgeTemplate(t *testing.T, g ground, more int, meanwhile ...selection.Level) purgeTemplate {
	t.Helper()
	tpl := purgeTemplate{ground: g, storage: g.fresh(t)}
	st, _, done := opened(t, tpl.storage)
	s := newService(st, 1<<20)
	for _, body := range wards(0) {
		_, err := s.Update(t.Context(), auth.Local(), refOf(body), []byte(body), interaction.Condition{})
		tpl.ok(t, err)
	}
	_, err := s.PutAll(t.Context(), auth.Local(), moreOfAda(t, s, more))
	tpl.ok(t, err)
	_, err = s.Delete(t.Context(), auth.Local(), fhir.ID{Type: "Condition", ID: "ada-deleted"}, interaction.Condition{})
	tpl.ok(t, err)
	tpl.before = versionsIn(t, st)
	done()
	tpl.exportAll(t, "/$export", "/Group/pair/$export?includeAssociatedData=LatestProvenanceResources")
	for _, level := range meanwhile {
		tpl.begin(t, level)
	}
	if len(holding(t, tpl.Data)) == 0 {
		t.Fatal("no file holds what is going to be purged")
	}
	return tpl
}

func (tpl *purgeTemplate) ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refOf(body string) fhir.ID {
	return fhir.ID{Type: gjson.Get(body, "resourceType").String(), ID: gjson.Get(body, "id").String()}
}

// exportAll makes exports and waits for their ends.
func (tpl *purgeTemplate) exportAll(t *testing.T, requests ...string) {
	t.Helper()
	c := startVictim(t, order{storage: tpl.storage})
	base, _ := c.await("serves")
	base = strings.TrimSpace(base)
	for i, request := range requests {
		k := &killed{T: t, storage: tpl.storage, request: request, key: fmt.Sprint("export ", i)}
		if !k.kickoff(base) {
			t.Fatalf("no answer\n%s", c.stderr)
		}
		k.manifest(base)
		tpl.ended = append(tpl.ended, k)
	}
	c.end()
}

// begin asks for an export that nobody works on yet.
func (tpl *purgeTemplate) begin(t *testing.T, level selection.Level) {
	t.Helper()
	st, dir, done := opened(t, tpl.storage)
	defer done()
	cfg := tinyUnits()
	cfg.Store, cfg.Files, cfg.Now, cfg.NewID = st, dir, time.Now, newID
	call := export.Call{Level: level, URL: "u", Base: "b"}
	if level == selection.OneGroup {
		call.Group, call.Query = "pair", url.Values{"includeAssociatedData": {"LatestProvenanceResources"}}
	}
	j, err := export.New(cfg).Kickoff(t.Context(), auth.Local(), call)
	tpl.ok(t, err)
	tpl.begins = &killed{T: t, storage: tpl.storage, job: j.ID}
}

// apart is a copy of the template in a place of its own.
func (tpl purgeTemplate) apart(t *testing.T) storage {
	t.Helper()
	if tpl.Store == "" {
		return tpl.copied(t, tpl.storage)
	}
	to := tpl.fresh(t)
	tpl.ok(t, os.CopyFS(to.Data, os.DirFS(tpl.Data)))
	from, into := databaseOf(t, tpl.Store), databaseOf(t, to.Store)
	names, err := from.ListCollectionNames(t.Context(), bson.D{})
	tpl.ok(t, err)
	for _, name := range names {
		rows, err := from.Collection(name).Find(t.Context(), bson.D{})
		tpl.ok(t, err)
		var all []bson.Raw
		tpl.ok(t, rows.All(t.Context(), &all))
		if len(all) > 0 {
			_, err = into.Collection(name).InsertMany(t.Context(), all)
			tpl.ok(t, err)
		}
	}
	return to
}

// databaseOf connects to the database that a URI names, for the test.
func databaseOf(t *testing.T, uri string) *driver.Database {
	t.Helper()
	client, err := driver.Connect(driveroptions.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }) // nothing is lost by it
	return client.Database(filepath.Base(storage{Store: uri}.where()))
}

// versions are all versions of the resources of a place, the latest first, as
// text: "number deleted body", by "Type/id".
type versions map[string][]string

// versionsIn reads the versions of the wards' resources, and of whatever else
// is there.
func versionsIn(t *testing.T, st store.Store) versions {
	t.Helper()
	ids := map[fhir.ID]bool{}
	for _, body := range wards(largest) {
		ids[refOf(body)] = true
	}
	at, err := st.Barrier(t.Context(), auth.DefaultTenant, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := st.Split(t.Context(), auth.DefaultTenant, store.Selection{At: at}, 1<<40)
	for _, r := range ranges {
		err = errors.Join(err, st.Scan(t.Context(), auth.DefaultTenant, store.Selection{At: at}, r, "", func(v *store.Version) error {
			ids[v.ID] = true
			return nil
		}))
	}
	out := versions{}
	err = errors.Join(err, st.Versions(t.Context(), auth.DefaultTenant, slices.Collect(maps.Keys(ids)), func(v *store.Version) error {
		out[v.ID.String()] = append(out[v.ID.String()], fmt.Sprint(v.N, " ", v.Deleted, " ", string(v.Body)))
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// largest is the most that a test adds to the wards.
const largest = 1200

// loss is what became of a place.
type loss struct {
	job.Erased
	Detached int64 // resources with a version that was not there before
}

// since is what became of what was.
func (v versions) since(before versions) (c loss) {
	for ref, were := range before {
		now := v[ref]
		if len(now) == 0 {
			c.Resources++
		}
		for _, one := range were {
			if !slices.Contains(now, one) {
				c.Versions++
			}
		}
		if len(now) > 0 && !slices.Contains(were, now[0]) {
			c.Detached++
		}
	}
	return c
}

// purgedWhole are the resources of which nothing is left after a purge.
func (v versions) purgedWhole(after versions) (ids []fhir.ID) {
	for ref := range v {
		if len(after[ref]) == 0 {
			typ, id, _ := strings.Cut(ref, "/")
			ids = append(ids, fhir.ID{Type: typ, ID: id})
		}
	}
	return ids
}

// afterPurge checks what an unbroken purge has left of the wards, of which the
// purges that are broken are held to every byte.
func afterPurge(t *testing.T, before, after versions) {
	t.Helper()
	detached := []string{
		"Patient/cleo", "Observation/cleo-visit", "Provenance/of-ada-and-cleo", "Appointment/ada-and-cleo", "Appointment/ben-and-cleo", "Group/pair",
	}
	for ref, were := range before {
		now := after[ref]
		_, id, _ := strings.Cut(ref, "/")
		switch {
		case slices.Contains(detached, ref):
			if len(now) != 1 || !strings.HasPrefix(now[0], "2 false ") || !strings.Contains(now[0], "masked") {
				t.Errorf("%s was to be detached; it is %q", ref, now)
			}
		case ref == "Observation/cleo-wrong":
			if diff := cmp.Diff([]string{were[0], were[2]}, now); diff != "" {
				t.Errorf("%s (- wanted, + there)\n%s", ref, diff)
			}
		case strings.HasPrefix(id, "ada"), strings.HasPrefix(id, "ben"), id == "message", id == "of-ada", id == "of-ada-and-ben":
			if len(now) > 0 {
				t.Errorf("%s was to go; it is %q", ref, now)
			}
		default:
			if diff := cmp.Diff(were, now); diff != "" {
				t.Errorf("%s was to stay (- before, + after)\n%s", ref, diff)
			}
		}
	}
}

// holding lists the files below a folder that have a canary in them.
func holding(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreMissing(err)
		}
		b, err := os.ReadFile(path)
		for _, text := range canaries() {
			if bytes.Contains(b, []byte(text)) {
				names = append(names, strings.TrimPrefix(path, folder)+" has "+text)
			}
		}
		return ignoreMissing(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// ignoreMissing is err, but for what was removed while it was looked at.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
