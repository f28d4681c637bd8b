package sqlite_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// beforeErasing is a folder with a database as a schema left it that knew no
// erasing: o1 and om… moved from p1 to p2, o2 names p1 in a version between two others, o3 was
// deleted, o4 was p2's, p1's, deleted, and is p2's again; p2 was linked to p1.
// There is a job with a part that holds p1, and a unit to do.
func beforeErasing(t *testing.T, schema int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, sqlite.File), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.MakeOld(dir, schema, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fromEach runs a test on a database of each schema that knew no erasing.
func fromEach(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	for schema := 1; schema <= 2; schema++ {
		t.Run(fmt.Sprint("from schema ", schema), func(t *testing.T) { test(t, beforeErasing(t, schema)) })
	}
}

func idsOf(ids []fhir.ID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestWhatEarlierSchemasDidNotLinkIsLinked(t *testing.T) { fromEach(t, isLinked) }

func isLinked(t *testing.T, dir string) {
	s := at(t, dir)
	want := []string{"Observation/o1", "Observation/o2", "Observation/o3", "Observation/o4", "Patient/p1", "Patient/p2"}
	for i := range 50 {
		want = append(want, fmt.Sprint("Observation/om", i))
	}
	slices.Sort(want)
	got, err := s.Mentions(t.Context(), tenant, []fhir.ID{{Type: "Patient", ID: "p1"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "who mentions p1", idsOf(got), want)
	first, err := s.Version(t.Context(), tenant, fhir.ID{Type: "Observation", ID: "o1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err = s.Referrers(t.Context(), tenant, first.From, "Observation", []fhir.ID{{Type: "Patient", ID: "p1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"Observation/o1", "Observation/o3"} {
		if !slices.Contains(idsOf(got), id) {
			t.Errorf("who named p1 at first: %v, without %s", idsOf(got), id)
		}
	}
	linksAreWhole(t, s, dir, 100)
}

// linksAreWhole asserts that each version has as many links as it has things
// that it names, and that there are no others. There are so many versions at
// least.
func linksAreWhole(t *testing.T, s *sqlite.Store, dir string, atLeast int) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := driver.OpenConn(filepath.Join(dir, sqlite.File), driver.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	versions := 0
	query(t, conn, `SELECT v.key, t.name, v.id, v.deleted, v.patients, v.body, (SELECT count(*) FROM link l WHERE l.key=v.key AND l.seg=v.key>>16)
		FROM version v JOIN type t ON t.no=v.space&255`, func(st *driver.Stmt) {
		versions++
		var want int
		if st.ColumnBool(3) {
			want = min(st.ColumnLen(4), 1) // they are all of one patient or none
		} else {
			body := make([]byte, st.ColumnLen(5))
			st.ColumnBytes(5, body)
			terms := search.Terms(st.ColumnText(1), st.ColumnText(2), body)
			want = len(slices.CompactFunc(terms, func(a, b search.Term) bool { return a.Value == b.Value }))
		}
		if got := st.ColumnInt(6); got != want {
			t.Errorf("version %x of %s has %d links, want %d", st.ColumnInt64(0), st.ColumnText(2), got, want)
		}
	})
	if versions < atLeast {
		t.Errorf("only %d versions", versions)
	}
	query(t, conn, `SELECT count(*) FROM link WHERE key NOT IN (SELECT key FROM version)`, func(st *driver.Stmt) {
		if st.ColumnInt(0) != 0 {
			t.Errorf("%d links of nothing", st.ColumnInt(0))
		}
	})
	query(t, conn, `SELECT name FROM sqlite_schema WHERE name='version_closed'`, func(*driver.Stmt) { t.Error("version_closed is there") })
}

// change runs a script in the database of a store that is closed.
func change(t *testing.T, dir, script string) {
	t.Helper()
	conn, err := driver.OpenConn(filepath.Join(dir, sqlite.File), driver.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, conn *driver.Conn, sql string, f func(*driver.Stmt)) {
	t.Helper()
	err := sqlitex.ExecuteTransient(conn, sql, &sqlitex.ExecOptions{ResultFunc: func(st *driver.Stmt) error { f(st); return nil }})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatEarlierSchemasHadIsErasedWithoutResidue(t *testing.T) { fromEach(t, isErased) }

func isErased(t *testing.T, dir string) {
	s := at(t, dir)
	f := running(t, s)
	g := store.Gone{Patients: []string{"p1", "p2"}}
	var vs []store.VersionRef
	for _, p := range g.Patients {
		ids, err := s.Mentions(t.Context(), tenant, []fhir.ID{{Type: "Patient", ID: p}})
		if err != nil {
			t.Fatal(err)
		}
		g.IDs = append(g.IDs, ids...)
	}
	if err := s.Versions(t.Context(), tenant, g.IDs, func(v *store.Version) error {
		vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Erase(t.Context(), f, vs)
	if err != nil || got != (job.Erased{Versions: 115, Resources: 56}) {
		t.Errorf("erased %+v, %v", got, err)
	}
	parts, err := s.Void(t.Context(), f, g.Patients)
	if err != nil || len(parts) != 1 {
		t.Errorf("voided %+v, %v", parts, err)
	}
	if err := s.Forget(t.Context(), tenant, parts); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Residue(t.Context(), tenant, g); err != nil || len(left) > 0 {
		t.Errorf("residue: %+v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := driver.OpenConn(filepath.Join(dir, sqlite.File), driver.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, table := range []string{"version", "current", "link", "part_patient"} {
		query(t, conn, `SELECT count(*) FROM `+table, func(st *driver.Stmt) {
			if n := st.ColumnInt(0); n != 0 {
				t.Errorf("%d rows are left in %s", n, table)
			}
		})
	}
}

func TestAUnitOfAnEarlierSchemaIsClaimedAndEnds(t *testing.T) { fromEach(t, endsItsUnit) }

func endsItsUnit(t *testing.T, dir string) {
	s := at(t, dir)
	u, f, err := s.Claim(t.Context(), []string{"export"}, time.Minute)
	if err != nil || u.ID != "b" {
		t.Fatalf("claimed %+v, %v", u, err)
	}
	if err := s.End(t.Context(), f, job.UnitEnd{State: job.Succeeded}); err != nil {
		t.Fatal(err)
	}
	tally, err := s.Tally(t.Context(), tenant, u.Job)
	if err != nil || tally.Succeeded != 2 || tally.Erased != (job.Erased{}) {
		t.Errorf("the tally is %+v, %v", tally, err)
	}
}
