package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestPatientsAreDealtOutToPurges(t *testing.T) {
	s, err := readSet(writeSample(t, 40))
	if err != nil {
		t.Fatal(err)
	}
	p, ok, err := s.choosePurged()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	all := slices.Concat(p.alone, p.beside, p.singly, p.sync)
	purged := map[string]bool{}
	for _, id := range all {
		purged[id] = true
	}
	if len(p.alone) < 5 || len(p.alone) != len(p.beside) || len(p.singly) != purgedSingly || len(p.sync) != purgedSingly || len(purged) != len(all) {
		t.Errorf("they are %d, %d, %d and %d, %d in all", len(p.alone), len(p.beside), len(p.singly), len(p.sync), len(purged))
	}
	for _, line := range s.small {
		if slices.ContainsFunc(namedPatients(line), func(id string) bool { return purged[id] }) {
			t.Errorf("a patient is purged whose resources are created: %s", line)
		}
	}
	wantAbout(t, s, p, purged)
}

// wantAbout fails the test unless the resources of each patient are exactly
// those that name the patient, and those that stay name nobody who is purged.
func wantAbout(t *testing.T, s set, p purgeSet, purged map[string]bool) {
	t.Helper()
	single := slices.Concat(p.singly, p.sync)
	want, stays := map[string][]fhir.ID{}, map[fhir.ID]bool{}
	for _, line := range linesOf(t, s.paths[0]) {
		id := identity([]byte(line))
		if id.Type == "Group" {
			continue
		}
		about := strings.Contains(line, `"Patient/`) || id.Type == "Patient"
		for patient := range purged {
			if strings.Contains(line, `"Patient/`+patient+`"`) || id.ID == patient {
				about = false
				if slices.Contains(single, patient) {
					want[patient] = append(want[patient], id)
				}
			}
		}
		stays[id] = about
	}
	if diff := cmp.Diff(want, p.resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if len(p.stay) == 0 || slices.ContainsFunc(p.stay, func(id fhir.ID) bool { return !stays[id] }) {
		t.Errorf("not all of the %d resources stay", len(p.stay))
	}
}

func TestThePatientsOfTheLastCopyArePurged(t *testing.T) {
	p := purgeSet{[]string{"a"}, []string{"b"}, []string{"c"}, []string{"d"}, map[string][]fhir.ID{"c": {{Type: "Patient", ID: "c"}}}, []fhir.ID{{Type: "Patient", ID: "e"}}}
	allow := cmp.AllowUnexported(purgeSet{})
	if diff := cmp.Diff(p, p.last(1), allow); diff != "" {
		t.Errorf("of one copy (-want +got):\n%s", diff)
	}
	id := newRenamer(2).id
	want := purgeSet{
		[]string{id("a")},
		[]string{id("b")},
		[]string{id("c")},
		[]string{id("d")},
		map[string][]fhir.ID{id("c"): {{Type: "Patient", ID: id("c")}}},
		p.stay,
	}
	if diff := cmp.Diff(want, p.last(3), allow); diff != "" {
		t.Errorf("of three (-want +got):\n%s", diff)
	}
}

func TestASetOfFewPatientsHasNoneToPurge(t *testing.T) {
	s, err := readSet(writeSample(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if p, ok, err := s.choosePurged(); ok || err != nil {
		t.Errorf("it has %+v, %v", p, err)
	}
}

func TestNamedPatientsAreGivenOnce(t *testing.T) {
	tests := map[string][]string{
		`{}`: nil,
		`{"subject":{"reference":"Patient/a"},"performer":[{"reference": "Patient/b"},{"reference":"Patient/a"}]}`: {"a", "b"},
		`{"reference":"Practitioner/a"}`: nil,
	}
	for body, want := range tests {
		if diff := cmp.Diff(want, namedPatients([]byte(body))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestAPlainProgramDeletesTheSameRows(t *testing.T) {
	b := bench{product: product{path: buildProduct(t), err: t.Output()}}
	var e sqliteEngine
	p := e.place(t.TempDir(), "data")
	if _, err := b.product.load(t.Context(), p, writeSample(t, 40)); err != nil {
		t.Fatal(err)
	}
	kept, err := e.keep(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	before := tables(t, p, `DELETE FROM version WHERE key%2=0; DELETE FROM link WHERE key%2=0; DELETE FROM current WHERE key%2=0;`)
	n, took, err := e.removeGone(t.Context(), kept, p)
	if err != nil || took <= 0 {
		t.Fatal(took, err)
	}
	want, got := tables(t, p, ""), tables(t, kept, "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if gone := before["version"] - want["version"]; gone < 1000 || n != gone {
		t.Errorf("%d versions were deleted, want %d", n, gone)
	}
}

// tables counts the rows of a place, and then runs a script.
func tables(t *testing.T, p place, script string) map[string]int64 {
	t.Helper()
	conn, err := driver.OpenConn(filepath.Join(p.data, sqlite.File), driver.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	count := map[string]int64{}
	for _, table := range []string{"version", "link", "current"} {
		err := sqlitex.ExecuteTransient(conn, `SELECT count(*), total(key%2=0) FROM `+table, &sqlitex.ExecOptions{ResultFunc: func(s *driver.Stmt) error {
			count[table], count["even of "+table] = s.ColumnInt64(0), s.ColumnInt64(1)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
		t.Fatal(err)
	}
	return count
}

func TestAnOutcomeThatDoesNotTellOfVersionsIsAnError(t *testing.T) {
	tests := map[string]int64{
		`{"issue":[{"diagnostics":"the records of 2 of 2 patients are gone: 30 resources, and 45 versions of them and of others"}]}`: 45,
		`{"issue":[{"diagnostics":"45 versions are gone"}]}`:                                                                         -1,
		`{}`: -1,
	}
	for outcome, want := range tests {
		if got, err := versionsErased(gjson.Parse(outcome)); got != max(want, 0) || (err != nil) != (want < 0) {
			t.Errorf("%s: %d, %v", outcome, got, err)
		}
	}
}

func TestAPatientIsDoneWhenItsStatusSaysSo(t *testing.T) {
	const progress = `{"parameter":[
		{"name":"result","part":[{"name":"patientId","valueId":"a"},{"name":"status","valueCode":"completed"}]},
		{"name":"result","part":[{"name":"patientId","valueId":"b"},{"name":"status","valueCode":"processing"}]},
		{"name":"result","part":[{"name":"patientId","valueId":"completed"},{"name":"status","valueCode":"error"}]}]}`
	if n := completed([]byte(progress)); n != 1 {
		t.Errorf("%d are", n)
	}
}

func TestTrafficEndsWhenWhatItIsBesideEnds(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	over, asked := make(chan struct{}), make(chan struct{}, 100)
	client := newHTTPClient(2)
	defer client.CloseIdleConnections()
	all := traffic{http: client, clients: 2, lasts: time.Hour, until: over}
	all.request = func(ctx context.Context, _ *rand.Rand) (*http.Request, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		return http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	}
	go func() {
		for range 10 {
			<-asked
		}
		close(over)
	}()
	got, err := all.run(t.Context(), 1)
	if err != nil || len(got.latencies) < 8 || len(got.sent) != len(got.latencies) {
		t.Fatalf("%d answers, %d were sent, %v", len(got.latencies), len(got.sent), err)
	}
}

func TestAnswersAreOfAnInstantByWhenTheyWereAskedFor(t *testing.T) {
	a := answers{latencies: []time.Duration{1, 2, 3}, sent: []time.Duration{5, 30, 9}, took: 40}
	got := a.before(10)
	if diff := cmp.Diff(answers{latencies: []time.Duration{1, 3}, took: 10}, got, cmp.AllowUnexported(answers{})); diff != "" {
		t.Errorf("before 10 (-want +got):\n%s", diff)
	}
	if all := a.before(50); len(all.latencies) != 3 || all.took != 40 {
		t.Errorf("before the end and after it there are %+v", all)
	}
}

func TestABulkPurgeNamesItsPatients(t *testing.T) {
	body, err := bulkBody([]string{"a", "b"}, parameter{Name: "_verify", Code: "full"})
	if err != nil {
		t.Fatal(err)
	}
	params, err := fhir.ReadParameters(body)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range params {
		got[p.Name+" "+p.Type+" "+p.Value] = true
	}
	if diff := cmp.Diff([]string{"_verify Code full", "patientId Id a", "patientId Id b"}, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
