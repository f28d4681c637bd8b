package interaction_test

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
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

var local = auth.Local()

func patient(id string) fhir.ID { return fhir.ID{Type: "Patient", ID: id} }

// newService gives a service over a new SQLite store.
func newService(t *testing.T) *interaction.Service {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return over(s)
}

func over(s interaction.Store) *interaction.Service {
	var (
		mu sync.Mutex
		n  int
	)
	return interaction.New(interaction.Config{
		Store: s, NewBatchID: ulid.Make, Limits: interaction.Limits{Resource: 1000},
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprintf("new-%d", n)
		},
	})
}

func body(id, rest string) []byte {
	return []byte(`{"resourceType":"Patient","id":"` + id + `"` + rest + `}`)
}

// put updates a patient, which must succeed.
func put(t *testing.T, s *interaction.Service, id, rest string) interaction.Shown {
	t.Helper()
	shown, err := s.Update(t.Context(), local, patient(id), body(id, rest), interaction.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func wantKind(t *testing.T, what string, err error, want fhir.Kind) {
	t.Helper()
	if e := (*fhir.Error)(nil); !errors.As(err, &e) || e.Kind != want {
		t.Errorf("%s: %v (kind %d), want kind %d", what, err, fhir.KindOf(err), want)
	}
}

func TestWhatIsCreatedIsReadUnderItsNewID(t *testing.T) {
	s := newService(t)
	made, err := s.Create(t.Context(), local, "Patient", body("mine", `,"meta":{"versionId":"9"},"active":true`))
	if err != nil {
		t.Fatal(err)
	}
	if made.ID != patient("new-1") || made.Version != 1 || !made.Created {
		t.Errorf("%+v", made)
	}
	want := `{"resourceType":"Patient","id":"new-1","meta":{"versionId":"1","lastUpdated":"` +
		string(fhir.FormatInstant(nil, made.LastUpdated.UnixMilli())) + `"},"active":true}`
	if string(made.Body) != want {
		t.Errorf("shown\n got %s\nwant %s", made.Body, want)
	}
	read, err := s.Read(t.Context(), local, made.ID)
	made.Created = false
	if diff := cmp.Diff(made, read); err != nil || diff != "" {
		t.Error(err, diff)
	}
	_, err = s.Read(t.Context(), local, patient("mine"))
	wantKind(t, "under the client's id", err, fhir.NotFound)
}

func TestAVersionLives(t *testing.T) {
	s := newService(t)
	one := put(t, s, "p", `,"active":true`)
	same := put(t, s, "p", ` , "meta":{"versionId":"7"}, "active" : true`)
	two := put(t, s, "p", `,"active":false`)
	if !one.Created || one.Version != 1 || !same.Unchanged || same.Version != 1 || two.Created || two.Version != 2 {
		t.Errorf("%+v\n%+v\n%+v", one, same, two)
	}
	if !same.LastUpdated.Equal(one.LastUpdated) || string(same.Body) != string(one.Body) {
		t.Errorf("unchanged, but\n%+v\n%+v", one, same)
	}
	gone, err := s.Delete(t.Context(), local, patient("p"), interaction.Condition{})
	if err != nil || gone.Version != 3 {
		t.Fatal(gone, err)
	}
	again, err := s.Delete(t.Context(), local, patient("p"), interaction.Condition{})
	if err != nil || !again.Unchanged || again.Version != 3 {
		t.Errorf("deleted again: %+v %v", again, err)
	}
	read, err := s.Read(t.Context(), local, patient("p"))
	wantKind(t, "read of a deleted", err, fhir.Gone)
	if read.Version != 3 || read.Body != nil {
		t.Errorf("beside Gone: %+v", read)
	}
	_, err = s.VRead(t.Context(), local, patient("p"), 3)
	wantKind(t, "vread of the deletion", err, fhir.Gone)
	old, err := s.VRead(t.Context(), local, patient("p"), 1)
	if err != nil || string(old.Body) != string(one.Body) {
		t.Errorf("version 1: %s %v", old.Body, err)
	}
	if back := put(t, s, "p", `,"active":true`); !back.Created || back.Version != 4 {
		t.Errorf("revived: %+v", back)
	}
}

func TestWhatCannotBeReadIsNotFound(t *testing.T) {
	s := newService(t)
	put(t, s, "p", "")
	for _, id := range []fhir.ID{
		patient("absent"), patient("P"), patient(""), patient("a/b"), patient("%2e"), patient(strings.Repeat("a", 65)),
		{Type: "patient", ID: "p"},
		{Type: "Resource", ID: "p"},
		{Type: "", ID: "p"},
		{Type: "Observation", ID: "p"},
	} {
		_, err := s.Read(t.Context(), local, id)
		wantKind(t, "read "+id.String(), err, fhir.NotFound)
	}
	for _, n := range []int64{0, -1, 2, 1 << 62} {
		_, err := s.VRead(t.Context(), local, patient("p"), n)
		wantKind(t, fmt.Sprint("vread ", n), err, fhir.NotFound)
	}
}

func TestWhatCannotBeWrittenIsRefusedAndChangesNothing(t *testing.T) {
	s := newService(t)
	before := put(t, s, "p", "")
	for name, c := range map[string]struct {
		id   fhir.ID
		data string
		want fhir.Kind
	}{
		"another id":    {patient("p"), `{"resourceType":"Patient","id":"q"}`, fhir.Invalid},
		"no id":         {patient("p"), `{"resourceType":"Patient"}`, fhir.Invalid},
		"another type":  {patient("p"), `{"resourceType":"Observation","id":"p"}`, fhir.Invalid},
		"unknown type":  {fhir.ID{Type: "Patent", ID: "p"}, `{"resourceType":"Patent","id":"p"}`, fhir.NotFound},
		"malformed":     {patient("p"), `{"resourceType":"Patient","id":"p"`, fhir.Invalid},
		"an array":      {patient("p"), `[{"resourceType":"Patient","id":"p"}]`, fhir.Invalid},
		"too large":     {patient("p"), `{"resourceType":"Patient","id":"p","x":"` + strings.Repeat("a", 1000) + `"}`, fhir.TooLarge},
		"an id too far": {patient(strings.Repeat("a", 65)), string(body(strings.Repeat("a", 65), "")), fhir.Invalid},
	} {
		_, err := s.Update(t.Context(), local, c.id, []byte(c.data), interaction.Condition{})
		wantKind(t, name, err, c.want)
	}
	if after, err := s.Read(t.Context(), local, patient("p")); err != nil || after.Version != before.Version {
		t.Errorf("after: %+v %v", after, err)
	}
	_, err := s.Create(t.Context(), local, "Patient", []byte(`{"resourceType":"Observation"}`))
	wantKind(t, "create of another type", err, fhir.Invalid)
	_, err = s.Create(t.Context(), local, "$export", []byte(`{}`))
	wantKind(t, "create of no type", err, fhir.NotFound)
	_, err = s.Delete(t.Context(), local, fhir.ID{Type: "Patent", ID: "p"}, interaction.Condition{})
	wantKind(t, "delete of no type", err, fhir.NotFound)
}

func TestDeletingWhatWasNeverThereIsSuccess(t *testing.T) {
	got, err := newService(t).Delete(t.Context(), local, patient("p"), interaction.Condition{})
	if err != nil || !got.Unchanged || got.Version != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAConditionThatDoesNotHoldStopsTheWrite(t *testing.T) {
	s := newService(t)
	put(t, s, "p", "")
	put(t, s, "p", `,"active":true`)
	put(t, s, "dead", "")
	if _, err := s.Delete(t.Context(), local, patient("dead"), interaction.Condition{}); err != nil {
		t.Fatal(err)
	}
	update := func(id string, when interaction.Condition) error {
		_, err := s.Update(t.Context(), local, patient(id), body(id, `,"gender":"other"`), when)
		return err
	}
	wantKind(t, "a version before", update("p", interaction.Condition{Version: 1}), fhir.Precondition)
	wantKind(t, "a version to come", update("p", interaction.Condition{Version: 3}), fhir.Precondition)
	wantKind(t, "a version of what is not there", update("none", interaction.Condition{Version: 1}), fhir.Precondition)
	wantKind(t, "create only, there", update("p", interaction.Condition{Absent: true}), fhir.Precondition)
	_, err := s.Delete(t.Context(), local, patient("p"), interaction.Condition{Version: 1})
	wantKind(t, "delete of a version before", err, fhir.Precondition)
	for name, err := range map[string]error{
		"the current version":  update("p", interaction.Condition{Version: 2}),
		"create only, absent":  update("new", interaction.Condition{Absent: true}),
		"create only, deleted": update("dead", interaction.Condition{Absent: true}),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Delete(t.Context(), local, patient("p"), interaction.Condition{Version: 3}); err != nil {
		t.Errorf("delete of the current version: %v", err)
	}
}

// Of many who each saw version 1, or nothing, one wins.
func TestOneOfManyConditionalWritersWins(t *testing.T) {
	s := newService(t)
	put(t, s, "old", "")
	for id, when := range map[string]interaction.Condition{"old": {Version: 1}, "new": {Absent: true}} {
		errs := make(chan error)
		for i := range 8 {
			go func() {
				_, err := s.Update(t.Context(), local, patient(id), body(id, fmt.Sprintf(`,"x":%d`, i)), when)
				errs <- err
			}()
		}
		won := 0
		for range 8 {
			if err := <-errs; err == nil {
				won++
			} else {
				wantKind(t, id, err, fhir.Precondition)
			}
		}
		if won != 1 {
			t.Errorf("%s: %d won", id, won)
		}
	}
}

func TestNobodyMayDoAnything(t *testing.T) {
	s, nobody, id := newService(t), auth.Principal{Tenant: auth.DefaultTenant}, patient("p")
	put(t, s, "p", "")
	ctx, none := t.Context(), interaction.Condition{}
	for name, do := range map[string]func() error{
		"read":   func() error { _, err := s.Read(ctx, nobody, id); return err },
		"absent": func() error { _, err := s.Read(ctx, nobody, patient("absent")); return err },
		"vread":  func() error { _, err := s.VRead(ctx, nobody, id, 1); return err },
		"create": func() error { _, err := s.Create(ctx, nobody, "Patient", body("p", "")); return err },
		"update": func() error { _, err := s.Update(ctx, nobody, id, body("p", ""), none); return err },
		"delete": func() error { _, err := s.Delete(ctx, nobody, id, none); return err },
		"put all": func() error {
			_, err := s.PutAll(ctx, nobody, []fhir.Resource{{ID: id, Body: body("p", "")}})
			return err
		},
	} {
		wantKind(t, name, do(), fhir.Unauthorized)
	}
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	s := newService(t)
	put(t, s, "p", "")
	other := local
	other.Tenant = "other"
	_, err := s.Read(t.Context(), other, patient("p"))
	wantKind(t, "read", err, fhir.NotFound)
}

func readAll(t *testing.T, s *interaction.Service, lines ...string) []fhir.Resource {
	t.Helper()
	var rs []fhir.Resource
	for _, line := range lines {
		r, err := s.Reader().Read([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func TestManyArePutTogetherOrNotAtAll(t *testing.T) {
	s := newService(t)
	put(t, s, "a", "")
	done, err := s.PutAll(t.Context(), local, readAll(t, s,
		`{"resourceType":"Patient","id":"a"}`,
		`{"resourceType":"Patient","id":"b"}`,
		`{"resourceType":"Observation","id":"a","subject":{"reference":"Patient/a"}}`))
	if err != nil || len(done) != 3 || !done[0].Unchanged || !done[1].Created || !done[2].Created || done[1].At != done[2].At {
		t.Errorf("%+v %v", done, err)
	}
	_, err = s.PutAll(t.Context(), local, readAll(t, s, `{"resourceType":"Patient","id":"c"}`, `{"resourceType":"Patient","id":"c","active":true}`))
	wantKind(t, "one twice", err, fhir.Conflict)
	_, err = s.PutAll(t.Context(), local, readAll(t, s, `{"resourceType":"Patient","id":"c"}`, `{"resourceType":"Patient"}`))
	wantKind(t, "one without an id", err, fhir.Invalid)
	_, err = s.Read(t.Context(), local, patient("c"))
	wantKind(t, "of what was refused", err, fhir.NotFound)
	if done, err := s.PutAll(t.Context(), local, nil); len(done) != 0 || err != nil {
		t.Errorf("none: %v %v", done, err)
	}
}

// failing is a store that fails in one way.
type failing struct {
	interaction.Store
	err error
}

func (f failing) Commit(context.Context, store.Tenant, store.Batch) ([]store.Applied, error) {
	return nil, f.err
}

func (f failing) Get(context.Context, store.Tenant, ...fhir.ID) ([]store.Version, error) {
	return nil, f.err
}

func TestErrorsOfTheStoreAreWordedForTheClient(t *testing.T) {
	strange := errors.New("strange")
	for err, want := range map[error]struct {
		kind fhir.Kind
		code fhir.Code
	}{
		store.ErrFull:     {fhir.Transient, fhir.CodeNoStore},
		store.ErrClosed:   {fhir.Transient, fhir.CodeTransient},
		store.ErrTooLarge: {fhir.TooLarge, fhir.CodeTooCostly},
		store.ErrConflict: {fhir.Conflict, fhir.CodeConflict},
		strange:           {fhir.Internal, fhir.CodeException},
	} {
		s := over(failing{err: fmt.Errorf("deep below: %w", err)})
		_, write := s.PutAll(t.Context(), local, []fhir.Resource{{ID: patient("p"), Body: body("p", "")}})
		_, read := s.Read(t.Context(), local, patient("p"))
		for _, got := range []error{write, read} {
			if e := fhir.AsError(got); e.Kind != want.kind || e.IssueType() != want.code || !errors.Is(got, err) || strings.Contains(e.Message, "below") {
				t.Errorf("%v is worded %+v", err, e)
			}
		}
	}
}
