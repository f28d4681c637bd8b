package sqlite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"
)

// erasable writes so many Observations that name eleven things each.
func erasable(t testing.TB, s *sqlite.Store, n int) (vs []store.VersionRef) {
	t.Helper()
	var puts []store.Put
	for i := range n {
		var focus []string
		for j := range 10 {
			focus = append(focus, fmt.Sprintf(`{"reference":"Device/%d-%d"}`, i*7919%n, j))
		}
		r, err := fhir.Reader{Known: r4.IsType}.Read(fmt.Appendf(nil, `{"resourceType":"Observation","id":"%d","subject":{"reference":"Patient/%d"},"focus":[%s],"valueString":%q}`,
			i, i%100, strings.Join(focus, ","), strings.Repeat("x", 500)))
		if err != nil {
			t.Fatal(err)
		}
		puts = append(puts, store.Put{Resource: r, Terms: search.Terms("Observation", r.ID.ID, r.Body), Owner: store.Owner{Client: "c"}})
	}
	applied, err := s.Commit(t.Context(), tenant, store.Batch{Puts: puts})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range applied {
		vs = append(vs, store.VersionRef{Key: a.Key, ID: puts[i].Resource.ID, N: a.N})
	}
	return vs
}

// BenchmarkErase erases batches of a thousand versions.
func BenchmarkErase(b *testing.B) {
	s := at(b, b.TempDir())
	f := running(b, s)
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		vs := erasable(b, s, 1000)
		b.StartTimer()
		began := time.Now()
		if _, err := s.Erase(b.Context(), f, vs); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	b.ReportMetric(float64(b.N)*1000/took.Seconds(), "versions/s")
}

// A version may have been written by a binary that extracted other terms than
// this one does; what it is found by goes all the same.
func TestAVersionOfAnotherExtractionLeavesNoLinks(t *testing.T) {
	dir := t.TempDir()
	s := at(t, dir)
	vs := erasable(t, s, 20)
	kept := commit(t, s, patient(t, "kept", 10))
	if kept != nil {
		t.Fatal(kept)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, dir, `UPDATE version SET extraction=0;
		INSERT INTO link (seg, target, key, params) SELECT key>>16, 'Patient/of-old', key, x'01' FROM version WHERE n=1 AND body LIKE '%Observation%'`)
	s = at(t, dir)
	got, err := s.Erase(t.Context(), running(t, s), vs)
	if err != nil || got != (job.Erased{Versions: 20, Resources: 20}) {
		t.Fatalf("erased %+v, %v", got, err)
	}
	left, err := s.Residue(t.Context(), tenant, store.Gone{Patients: []string{"of-old", "1"}, IDs: []fhir.ID{{Type: "Device", ID: "1-1"}}})
	if err != nil || len(left) > 0 {
		t.Errorf("residue: %+v, %v", left, err)
	}
	linksAreWhole(t, s, dir, 1)
}

func TestResidueFindsWhatOnlyAnIndexHas(t *testing.T) {
	dir := t.TempDir()
	s := at(t, dir)
	erasable(t, s, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, dir, `DELETE FROM version`)
	s = at(t, dir)
	for what, g := range map[string]store.Gone{
		"a pointer": {IDs: []fhir.ID{{Type: "Observation", ID: "1"}}},
		"a link":    {Patients: []string{"1"}},
	} {
		left, err := s.Residue(t.Context(), tenant, g)
		if err != nil || len(left) != 1 || left[0].Kind != store.OfIndex {
			t.Errorf("%s: %+v, %v", what, left, err)
		}
	}
}
