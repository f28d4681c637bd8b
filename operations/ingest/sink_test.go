package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/r4"
	"firebreak/fhir/sample"
	"firebreak/operations/ingest"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
)

func TestABatchThatIsRefusedForOneResourceStoresTheOthers(t *testing.T) {
	for _, kind := range []fhir.Kind{fhir.Invalid, fhir.Unprocessable, fhir.TooLarge, fhir.Forbidden, fhir.Conflict, fhir.NotFound} {
		l := newLoad(t)
		l.sink.put = func(_ context.Context, rs []fhir.Resource) error {
			for _, r := range rs {
				if strings.HasPrefix(r.ID.ID, "bad") {
					return fmt.Errorf("put: %w", fhir.Errorf(kind, "not this one"))
				}
			}
			return nil
		}
		l.file("1.ndjson", lines(patient("a"), patient("bad-1"), patient("b")))
		l.file("2.json", bundle(entry(patient("c")), entry(patient("bad-2"))))
		l.all()
		l.wantOrder("Patient/a", "Patient/b", "Patient/c")
		l.wantSum(3, 0, 0, 2)
		l.wantProblems("error 1.ndjson:2 put: not this one", "error 2.json entry 2 put: not this one")
	}
}

func TestAnErrorOfTheSinkEndsTheLoadAndIsReturned(t *testing.T) {
	for _, kind := range []fhir.Kind{fhir.Internal, fhir.Transient, fhir.Unauthorized, fhir.Throttled} {
		l := newLoad(t)
		cause := errors.New("the disk is away")
		var calls atomic.Int64
		l.sink.put = func(context.Context, []fhir.Resource) error {
			if calls.Add(1) == 3 {
				return fmt.Errorf("put: %w", fhir.Errorf(kind, "not now").Because(cause))
			}
			return nil
		}
		l.file("1.ndjson", patients(50_000))
		if err := l.run(t.Context(), l.sources(l.dir)); !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
		// Two are put at a time, so some may be under way when one fails.
		if n := calls.Load(); n < 3 || n > 5 || l.sum.All() != int64(len(l.sink.order)) || l.sum.All() == 0 || l.sum.Failed != 0 {
			t.Errorf("%d calls, %+v, %d are stored", n, l.sum, len(l.sink.order))
		}
	}
}

func TestAnErrorWhileABatchIsTakenApartEndsTheLoadToo(t *testing.T) {
	l := newLoad(t)
	away := errors.New("the disk is away")
	l.sink.put = func(_ context.Context, rs []fhir.Resource) error {
		switch {
		case len(rs) > 1:
			return fhir.Errorf(fhir.Invalid, "one of them")
		case rs[0].ID.ID == "b":
			return away
		}
		return nil
	}
	l.file("1.ndjson", lines(patient("a"), patient("b"), patient("c")))
	if err := l.run(t.Context(), l.sources(l.dir)); !errors.Is(err, away) {
		t.Errorf("%v", err)
	}
	l.wantOrder("Patient/a")
	l.wantSum(1, 0, 0, 0)
}

// Whatever it is doing, a load whose context ends says so: never that all went
// well.
func TestALoadThatIsCancelledBeforeItBeginsSaysSo(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", patients(10_000)) // more than is handed on at a time
	l.file("2.ndjson", lines(patient("a")))
	sources := l.sources(l.dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 30 { // it goes another way each time
		if err := l.run(ctx, sources); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
	}
}

func TestALoadThatIsCancelledEndsPromptly(t *testing.T) {
	for name, when := range map[string]func(l *load, cancel func()){
		"in the sink": func(l *load, cancel func()) {
			l.sink.put = func(ctx context.Context, _ []fhir.Resource) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
		},
		"in a sink that does not look": func(l *load, cancel func()) {
			l.sink.put = func(context.Context, []fhir.Resource) error { cancel(); return nil }
		},
		"while lines are parsed": func(l *load, cancel func()) {
			known := make(chan struct{}, 1)
			l.reader.Known = func(typ string) bool {
				select {
				case known <- struct{}{}:
					cancel()
				default:
				}
				return r4.IsType(typ)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoad(t)
			l.file("1.ndjson", patients(100_000))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			when(l, cancel)
			if err := l.run(ctx, l.sources(l.dir)); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if len(l.sink.order) > 10_000 {
				t.Errorf("%d were stored all the same", len(l.sink.order))
			}
		})
	}
}

func TestALoadWhoseTimeIsOverSaysSo(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", patients(100))
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if err := l.run(ctx, l.sources(l.dir)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// serviceSink stores through the rules for resources, as the command line does.
type serviceSink struct{ *interaction.Service }

func (s serviceSink) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	var sum ingest.Stored
	applied, err := s.PutAll(ctx, auth.Local(), rs)
	for _, a := range applied {
		switch {
		case a.Unchanged:
			sum.Unchanged++
		case a.Created:
			sum.Created++
		default:
			sum.Updated++
		}
	}
	return sum, err
}

// withStore has a load go into a real store.
func (l *load) withStore() *interaction.Service {
	l.Helper()
	st, err := sqlite.Open(l.Context(), sqlite.Config{Dir: l.TempDir(), Now: time.Now})
	l.ok(err)
	l.Cleanup(func() { l.ok(st.Close()) })
	service := interaction.New(interaction.Config{
		Store: st, NewID: func() string { return ulid.Make().String() }, NewBatchID: ulid.Make,
	})
	l.reader, l.into = service.Reader(), serviceSink{service}
	return service
}

func TestLoadingAgainChangesNothing(t *testing.T) {
	l := newLoad(t)
	service := l.withStore()
	var all []string
	l.ok(sample.Write(func(r []byte) error { all = append(all, string(r)); return nil }, 12, 1))
	l.file("1.ndjson", lines(all[:len(all)/2]...))
	l.file("2.ndjson.gz", zip(lines(all[len(all)/2:]...)))
	n := int64(len(all))
	l.all()
	l.wantProblems()
	l.wantSum(n, 0, 0, 0)
	l.all()
	l.wantSum(0, 0, n, 0)
	shown, err := service.Read(t.Context(), auth.Local(), fhir.ID{Type: "Patient", ID: sample.PatientID(1, 0)})
	if err != nil || shown.Version != 1 {
		t.Errorf("%+v %v", shown, err)
	}
	l.file("1.ndjson", strings.ReplaceAll(lines(all[:len(all)/2]...), `"resourceType":"Organization"`, `"resourceType": "Organization" , "language":"de"`))
	l.all()
	if l.sum.Updated == 0 || l.sum.Created != 0 || l.sum.All() != n {
		t.Errorf("%+v", l.sum)
	}
}

func TestTheLaterOfTwoVersionsInAFileIsTheCurrentOne(t *testing.T) {
	l := newLoad(t)
	service := l.withStore()
	l.file("1.ndjson", lines(patient("a"), `{"resourceType":"Patient","id":"a","active":false}`, `{"resourceType":"Patient","id":"a","active":true}`))
	l.all()
	l.wantSum(1, 2, 0, 0)
	shown, err := service.Read(t.Context(), auth.Local(), fhir.ID{Type: "Patient", ID: "a"})
	if err != nil || shown.Version != 3 || !strings.Contains(string(shown.Body), `"active":true`) {
		t.Errorf("%s %v", shown.Body, err)
	}
}

func TestResourcesOfFiveMegabytesAreTaken(t *testing.T) {
	l := newLoad(t)
	l.withStore()
	through := l.into
	l.into = sinkFunc(func(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
		size := 0
		for _, r := range rs {
			size += len(r.Body)
		}
		if len(rs) > 1 && size > 2<<20 {
			t.Errorf("%d bytes in one batch", size)
		}
		return through.Put(ctx, rs)
	})
	large := func(id string) string {
		return `{"resourceType":"Binary","id":"` + id + `","contentType":"text/plain","data":"` + strings.Repeat("QUJD", 5<<18) + `"}`
	}
	l.file("1.ndjson", lines(patient("a"), large("1"), large("2"), patient("b"), large("3")))
	l.file("2.ndjson.gz", zip(lines(large("4"), patient("c"))))
	l.file("3.json", bundle(entry(large("5")), entry(large("6"))))
	l.all()
	l.wantProblems()
	l.wantSum(9, 0, 0, 0)
}

type sinkFunc func(context.Context, []fhir.Resource) (ingest.Stored, error)

func (f sinkFunc) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	return f(ctx, rs)
}

func TestAStoreThatClosesEndsTheLoad(t *testing.T) {
	l := newLoad(t)
	service := l.withStore()
	closed := fhir.Errorf(fhir.Transient, "the store was closed").Because(store.ErrClosed)
	l.into = sinkFunc(func(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
		if rs[0].ID.ID != "p-0" {
			return ingest.Stored{}, closed
		}
		return serviceSink{service}.Put(ctx, rs)
	})
	l.file("1.ndjson", patients(10_000))
	if err := l.run(t.Context(), l.sources(l.dir)); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
	l.wantSum(1000, 0, 0, 0)
}
