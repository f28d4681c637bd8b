package interaction_test

import (
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
)

func TestNobodyButTheServerWritesItsAuditEvents(t *testing.T) {
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	config := interaction.Config{Store: st, NewID: func() string { return "made" }, NewBatchID: ulid.Make}
	server := auth.Local()
	server.Client = "firebreak"
	event := func(id, more string) []byte {
		return []byte(`{"resourceType":"AuditEvent","id":"` + id + `"` + more + `}`)
	}
	own, others := fhir.ID{Type: "AuditEvent", ID: "own"}, fhir.ID{Type: "AuditEvent", ID: "others"}
	if _, err := interaction.New(config).Update(t.Context(), server, own, event("own", ""), interaction.Condition{}); err != nil {
		t.Fatal(err)
	}
	config.Server = server.Client
	s := interaction.New(config)
	_, err = s.Update(t.Context(), local, own, event("own", `,"outcomeDesc":"forged"`), interaction.Condition{})
	wantKind(t, "an update", err, fhir.Forbidden)
	_, err = s.Delete(t.Context(), local, own, interaction.Condition{})
	wantKind(t, "a deletion", err, fhir.Forbidden)
	var both []fhir.Resource
	for _, body := range [][]byte{event("others", ""), event("own", `,"outcomeDesc":"forged"`)} {
		r, err := s.Reader().Read(body)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, r)
	}
	_, err = s.PutAll(t.Context(), local, both)
	wantKind(t, "a batch", err, fhir.Forbidden)
	if _, err := s.PutAll(t.Context(), local, both[:1]); err != nil {
		t.Errorf("an AuditEvent of a client: %v", err)
	}
	if _, err := s.Delete(t.Context(), local, others, interaction.Condition{}); err != nil {
		t.Errorf("its deletion: %v", err)
	}
	if got, err := s.Read(t.Context(), local, own); err != nil || got.Version != 1 {
		t.Errorf("the server's own is at version %d, %v", got.Version, err)
	}
}
