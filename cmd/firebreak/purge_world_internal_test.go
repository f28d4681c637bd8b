package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	driveroptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

// world is a server with patients, of each of whom there is a text in every
// kind of place, and a model of what there must be of each resource.
type world struct {
	*site
	place    storage
	rand     *rand.Rand
	canaries []string // a text of each patient's own
	prefixes []string // what the ids of a patient's record begin with
	things   map[string]*thing
	lanes    [][]step
	purged   []bool
	exports  []exportedBefore
	said     string // by the last purge
	alone    bool   // Patients are not linked, and not deleted
	server   string // the directory of the S3 server that has the files of exports; "": there is none
}

// thing is a resource as it must be: its versions, the earliest first.
type thing struct {
	ref      string
	versions []written
	unsure   bool // it was deleted and is another's: whether its tombstone stays is open
}

// step is one write that is still to be made.
type step struct {
	ref string
	written
}

// emptyWorld is a server that works, and n patients of whom nothing is there.
func emptyWorld(t *testing.T, place storage, seed uint64, n int, fileSize int64) *world {
	t.Helper()
	o := onData(place.Data)
	o.storage = place
	w := &world{place: place, rand: rand.New(rand.NewPCG(seed, 7)), things: map[string]*thing{}, purged: make([]bool, n)}
	o.ExportFileSize = fileSize
	w.site = newSite(t, o)
	w.work()
	for range n {
		w.canaries = append(w.canaries, fmt.Sprintf("Kestrel%016x", w.rand.Uint64()))
		w.prefixes = append(w.prefixes, fmt.Sprintf("x%07x-", w.rand.Uint32N(1<<28)))
	}
	return w
}

// fillPlaces plans something of each patient in each of the places that are wanted.
func (w *world) fillPlaces(wanted func(name string) bool) {
	w.Helper()
	w.write("Practitioner/doctor", written{text: `{"resourceType":"Practitioner","id":"doctor","name":[{"family":"Doctor"}]}`})
	w.write("Organization/clinic", written{text: `{"resourceType":"Organization","id":"clinic","name":"Clinic"}`})
	n := len(w.canaries)
	for i := range n {
		for _, p := range places() {
			if p.name == "the Patient" || wanted(p.name) {
				p.fill(w, i, (i+1+w.rand.IntN(n-1))%n)
			}
		}
	}
	w.writeGroup()
}

// newWorld has n patients with a text in every kind of place, or, if few, in
// some of them. It is exported, twice with changes between.
func newWorld(t *testing.T, place storage, seed uint64, n int, few bool) *world {
	t.Helper()
	w := emptyWorld(t, place, seed, n, 500+int64(seed)*1777) // some files for each type
	w.fillPlaces(func(string) bool { return !few || w.rand.IntN(2) == 0 })
	w.play()
	return w
}

func (w *world) writeGroup() {
	var members []string
	for i := range w.canaries {
		members = append(members, fmt.Sprintf(`{"entity":%s}`, w.named(i, w.patient(i), "Group")))
	}
	w.write("Group/all", written{text: `{"resourceType":"Group","id":"all","type":"person","actual":true,"member":[` + strings.Join(members, ",") + `]}`})
}

// write plans the versions of a resource.
func (w *world) write(ref string, vs ...written) {
	w.Helper()
	if w.things[ref] != nil {
		w.Fatalf("%s is planned twice", ref)
	}
	w.things[ref] = &thing{ref: ref}
	var lane []step
	for _, v := range vs {
		lane = append(lane, step{ref, v})
	}
	w.lanes = append(w.lanes, lane)
}

// play makes the writes, in a random order that keeps that of each resource's
// versions, and exports.
func (w *world) play() {
	w.Helper()
	total := 0
	for _, l := range w.lanes {
		total += len(l)
	}
	w.some(total / 2)
	since := w.exported("/$export")
	w.some(total)
	w.exported("/Group/all/$export")
	w.exported("/$export?_since=" + since)
	w.exported("/Patient/$export")
}

func (w *world) some(n int) {
	w.Helper()
	for ; n > 0 && len(w.lanes) > 0; n-- {
		at := w.rand.IntN(len(w.lanes))
		w.make(w.lanes[at][0])
		if w.lanes[at] = w.lanes[at][1:]; len(w.lanes[at]) == 0 {
			w.lanes = slices.Delete(w.lanes, at, at+1)
		}
	}
}

func (w *world) make(s step) {
	w.Helper()
	t := w.things[s.ref]
	s.n = int64(len(t.versions) + 1)
	t.versions = append(t.versions, s.written)
	if s.deleted {
		w.is("DELETE", w.do(http.MethodDelete, "/"+s.ref, ""), http.StatusNoContent)
		return
	}
	want := http.StatusOK
	if s.n == 1 {
		want = http.StatusCreated
	}
	w.is("PUT "+s.ref, w.do(http.MethodPut, "/"+s.ref, w.shown(s.written)), want)
}

var slot = regexp.MustCompile(`<<(\d+):(.*?)>>`)

const absent = `"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]`

var elementID = regexp.MustCompile(`^\{("id":"[^"]*",)`)

// shown is the body of a version, with what names a purged patient masked.
func (w *world) shown(v written) string {
	return slot.ReplaceAllStringFunc(v.text, func(s string) string {
		m := slot.FindStringSubmatch(s)
		if i, _ := strconv.Atoi(m[1]); !w.purged[i] {
			return m[2]
		}
		id := ""
		if found := elementID.FindStringSubmatch(m[2]); found != nil {
			id = found[1]
		}
		return "{" + id + absent + "}"
	})
}

// names tells whether a version names one of the patients.
func (v written) names(patients []int) bool {
	for _, m := range slot.FindAllStringSubmatch(v.text, -1) {
		if i, _ := strconv.Atoi(m[1]); slices.Contains(patients, i) {
			return true
		}
	}
	return false
}

// isOf tells whether a version is of the record of purged patients.
func (w *world) isOf(v written) bool {
	if v.any {
		return slices.ContainsFunc(v.about, func(i int) bool { return w.purged[i] })
	}
	return len(v.about) > 0 && !slices.ContainsFunc(v.about, func(i int) bool { return !w.purged[i] })
}

// expect changes the model as the purge of some patients has to change the
// server, and returns how many resources go.
func (w *world) expect(patients []int, shared string) (erased, unsure int) {
	for _, i := range patients {
		w.purged[i] = true
	}
	for _, t := range w.things {
		if len(t.versions) == 0 {
			continue
		}
		last := t.versions[len(t.versions)-1]
		touched := slices.ContainsFunc(t.versions, func(v written) bool {
			return v.names(patients) || slices.ContainsFunc(patients, func(i int) bool { return slices.Contains(v.about, i) })
		})
		whole := w.isOf(last)
		switch typ, _, _ := strings.Cut(t.ref, "/"); {
		case !whole && last.names(patients) && shared == "delete" && typ != "Group" && typ != "Patient":
			whole = true
		case !whole && last.deleted && touched:
			t.unsure = true
			unsure++
		}
		if whole {
			if t.unsure {
				unsure++
			} else {
				erased++
			}
			t.versions, t.unsure = nil, false
			continue
		}
		t.versions = slices.DeleteFunc(t.versions[:len(t.versions)-1], func(v written) bool { return v.names(patients) || w.isOf(v) })
		if last.names(patients) {
			last.n += 1000 // it is a later version
		}
		t.versions = append(t.versions, last)
	}
	return erased, unsure
}

// holds compares all versions of all resources with the model.
func (w *world) holds(patients int) {
	w.Helper()
	var ids []fhir.ID
	got := map[string][]store.Version{}
	for ref := range w.things {
		typ, id, _ := strings.Cut(ref, "/")
		ids = append(ids, fhir.ID{Type: typ, ID: id})
	}
	w.ok(w.store.Versions(w.Context(), auth.DefaultTenant, ids, func(v *store.Version) error {
		c := *v
		c.Body = bytes.Clone(v.Body)
		got[v.ID.Type+"/"+v.ID.ID] = append(got[v.ID.Type+"/"+v.ID.ID], c)
		return nil
	}))
	for ref, t := range w.things {
		vs := got[ref]
		slices.Reverse(vs)
		if wrong := w.differs(t, vs, int64(patients)); wrong != "" {
			w.Errorf("%s: %s", ref, wrong)
		}
	}
}

// differs says how the versions that there are of a thing differ from those
// that must be, and takes over the numbers of new ones.
func (w *world) differs(t *thing, vs []store.Version, patients int64) string {
	if t.unsure {
		if len(vs) > 1 || len(vs) == 1 && !vs[0].Deleted {
			return fmt.Sprintf("of what was deleted, %d versions", len(vs))
		}
		return ""
	}
	var is []string
	for _, v := range vs {
		is = append(is, fmt.Sprintf("%d %.60s", v.N, v.Body))
	}
	if len(vs) != len(t.versions) {
		return fmt.Sprintf("%d versions %q, want %d", len(vs), is, len(t.versions))
	}
	for at, want := range t.versions {
		v := vs[at]
		if want.n > 1000 {
			if least := want.n - 1000; v.N <= least || v.N > least+patients {
				return fmt.Sprintf("its new version is %d, after %d", v.N, least)
			}
			t.versions[at].n = v.N
		} else if v.N != want.n {
			return fmt.Sprintf("versions %q, want %d", is, want.n)
		}
		if v.Deleted != want.deleted || !v.Deleted && string(v.Body) != w.shown(want) {
			return fmt.Sprintf("version %d is\n%s, want\n%s", v.N, v.Body, w.shown(want))
		}
	}
	return ""
}

// nothingElse finds resources that nobody wrote.
func (w *world) nothingElse() {
	w.Helper()
	now, err := w.store.Barrier(w.Context(), auth.DefaultTenant, time.Millisecond)
	w.ok(err)
	for _, sel := range []store.Selection{{At: now}, {At: now, Deleted: true}} {
		ranges, err := w.store.Split(w.Context(), auth.DefaultTenant, sel, 1<<20)
		w.ok(err)
		for _, r := range ranges {
			w.ok(w.store.Scan(w.Context(), auth.DefaultTenant, sel, r, "", func(v *store.Version) error {
				t := w.things[v.ID.Type+"/"+v.ID.ID]
				if v.Owner.Client != "firebreak" && (t == nil || len(t.versions) == 0) {
					w.Errorf("%s is still there", v.ID)
				}
				return nil
			}))
		}
	}
}

// needles are what must not be found of a patient: the text, and the text as a
// part of base64.
func (w *world) needles(i int) [][]byte {
	text := w.canaries[i]
	all := [][]byte{[]byte(text), []byte(strings.ToLower(text)), []byte(strings.ToUpper(text))}
	for at := range 3 {
		e := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", at) + text))
		all = append(all, []byte(e[(at*8+5)/6:len(e)-2]))
	}
	return all
}

// found is where something of a patient is left, in the store and the files.
func (w *world) found(i int) (at []string) {
	w.Helper()
	look := func(name string, b []byte) {
		for _, n := range w.needles(i) {
			if k := bytes.Index(b, n); k >= 0 {
				at = append(at, fmt.Sprintf("%s: %q", name, b[max(0, k-80):min(len(b), k+100)]))
			}
		}
	}
	w.ok(lookBelow(w.place.Data, look))
	if w.server != "" {
		w.ok(lookBelow(w.server, look))
	}
	if w.place.Store != "" {
		w.ok(eachDocument(context.Background(), w.place.Store, look))
	}
	look("the log", []byte(w.log.String()))
	return at
}

// lookBelow calls look with each file of a directory, and with its path.
func lookBelow(dir string, look func(string, []byte)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(strings.TrimPrefix(path, dir), b)
		look("the name of", []byte(path))
		return err
	})
}

// eachDocument calls look with each document of a database.
func eachDocument(ctx context.Context, uri string, look func(string, []byte)) error {
	_, name, _ := strings.Cut(strings.TrimPrefix(uri, "mongodb://"), "/")
	name, _, _ = strings.Cut(name, "?")
	client, err := driver.Connect(driveroptions.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(ctx) }()
	db := client.Database(name)
	all, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("there are no collections in %s", name)
	}
	for _, c := range all {
		cur, err := db.Collection(c).Find(ctx, bson.D{}, driveroptions.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return err
		}
		for cur.Next(ctx) {
			look("collection "+c, cur.Current)
		}
		if err := cur.Err(); err != nil {
			return err
		}
	}
	return nil
}
