package sqlite_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/store"
	"firebreak/store/sqlite"
)

// beforeHolds is a folder with a database as the schema left it that knew
// erasing and no holds.
func beforeHolds(t *testing.T) (dir string) {
	t.Helper()
	dir = beforeErasing(t, 1)
	if err := sqlite.MakeOld(dir, 3, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestADatabaseFromBeforeHoldsHasNoneAndKeepsThose(t *testing.T) {
	dir := beforeHolds(t)
	s := at(t, dir)
	if held, err := s.HeldAmong(t.Context(), tenant, time.Now(), []string{"p1"}); err != nil || len(held) > 0 {
		t.Errorf("held: %+v, %v", held, err)
	}
	h := store.Hold{ID: "h", On: store.OnPatient, Subject: "p1", By: "Ann", Why: "a case", Set: time.UnixMilli(1_800_000_000_000).UTC()}
	if err := s.SetHold(t.Context(), tenant, h); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = at(t, dir)
	got, err := s.Holds(t.Context(), tenant, time.Time{}, "", 9)
	if err != nil || !slices.Equal(got, []store.Hold{h}) {
		t.Errorf("holds: %+v, %v", got, err)
	}
	var vs []store.VersionRef
	if err := s.Versions(t.Context(), tenant, []fhir.ID{{Type: "Observation", ID: "o2"}}, func(v *store.Version) error {
		vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		return nil
	}); err != nil || len(vs) == 0 {
		t.Fatalf("%d versions, %v", len(vs), err)
	}
	f := running(t, s)
	if _, err := s.Erase(t.Context(), f, vs, "p1"); !errors.Is(err, store.ErrOnHold) {
		t.Errorf("erased what is held: %v", err)
	}
	if got, err := s.Erase(t.Context(), f, vs, "p2"); err != nil || got.Versions != int64(len(vs)) {
		t.Errorf("erased %+v, %v", got, err)
	}
}
