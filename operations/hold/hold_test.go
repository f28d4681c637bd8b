package hold_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/hold"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
)

const tenant = store.Tenant("north")

var now = time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)

// book is holds over a store, and what was recorded of them.
type book struct {
	*testing.T
	*hold.Holds
	store hold.Store
	told  []job.Event
	deaf  error // what recording answers
}

// failing is a store that sets no holds.
type failing struct {
	hold.Store
	err error
}

func (f failing) SetHold(ctx context.Context, t store.Tenant, h store.Hold, patients ...string) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.SetHold(ctx, t, h, patients...)
}

func newBook(t *testing.T, fails error) *book {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &book{T: t, store: failing{st, fails}}
	b.Holds = hold.New(hold.Config{
		Store: b.store, Now: func() time.Time { return now }, NewID: func() string { return "01H" },
		Record: func(_ context.Context, e job.Event) error { b.told = append(b.told, e); return b.deaf },
	})
	return b
}

// has asserts how many holds there are.
func (b *book) has(want int) {
	b.Helper()
	all, err := b.List(b.Context(), tenant, true, "", 9)
	if err != nil || len(all) != want {
		b.Errorf("there are %d holds, want %d: %v", len(all), want, err)
	}
}

func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	b := newBook(t, nil)
	order := hold.Order{On: hold.Tenant, By: "Ann", Why: "x"}
	b.deaf = errors.New("the disk is full")
	if _, err := b.Set(t.Context(), tenant, order); fhir.KindOf(err) != fhir.Transient {
		t.Errorf("set: %v", err)
	}
	b.has(0)
	b.deaf = nil
	if _, err := b.Set(t.Context(), tenant, order); err != nil {
		t.Fatal(err)
	}
	b.deaf = errors.New("the disk is full")
	if _, err := b.Lift(t.Context(), tenant, "01H", "Bob"); fhir.KindOf(err) != fhir.Transient {
		t.Errorf("lift: %v", err)
	}
	if all, err := b.List(t.Context(), tenant, false, "", 9); err != nil || len(all) != 1 {
		t.Errorf("standing: %+v, %v", all, err)
	}
}

func TestAHoldThatDidNotComeAboutIsRecordedAsThat(t *testing.T) {
	b := newBook(t, store.ErrFull)
	if _, err := b.Set(t.Context(), tenant, hold.Order{On: hold.Tenant, By: "Ann", Why: "x", Until: now.Add(time.Hour)}); !errors.Is(err, store.ErrFull) {
		t.Fatalf("set: %v", err)
	}
	e := job.Event{
		Act: job.HoldSet, Tenant: string(tenant), By: job.Owner{Client: hold.Client, User: "Ann"}, Kind: hold.Kind, Hold: "01H", On: hold.Tenant,
		Detail: "until 2026-05-06T08:08:09Z",
	}
	refused := e
	refused.Refused, refused.Detail = true, "it was not done, or it is not known whether it was"
	if diff := cmp.Diff([]job.Event{e, refused}, b.told); diff != "" {
		t.Errorf("recorded (- want, + got):\n%s", diff)
	}
	b.has(0)
}

func TestAHoldIsSetToTheMillisecondAndKeepsItsInstants(t *testing.T) {
	b := newBook(t, nil)
	made, err := b.Set(t.Context(), tenant, hold.Order{On: hold.Tenant, By: "Ann", Why: "x", Until: now.Add(time.Hour + time.Microsecond)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.List(t.Context(), tenant, false, "", 9)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Hold{ID: "01H", On: store.OnTenant, By: "Ann", Why: "x", Set: now, Until: now.Add(time.Hour)}
	if diff := cmp.Diff([]store.Hold{want, want}, append(all, made.Hold)); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
}
