package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"
)

// The tenants of the cases. A case that names none is about north.
const (
	north = store.Tenant("north")
	south = store.Tenant("south")
)

// patience is how long a case may take; soon is how long a call may that must
// not be held up.
const (
	patience = 2 * time.Minute
	soon     = 15 * time.Second
)

// reporter is what a case needs of *testing.T, and *rapid.T has.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// env is a case's store, with helpers that fail the case.
type env struct {
	store.Store
	reporter
	test   testing.TB
	cfg    Config
	clock  *clock
	ctx    context.Context
	tenant store.Tenant // whom the helpers without one are about
	closed bool
	models map[store.Tenant]*model
}

func newEnv(t testing.TB, c Config) *env {
	e := &env{reporter: t, test: t, cfg: c, clock: new(clock), tenant: north, models: make(map[store.Tenant]*model)}
	var cancel context.CancelFunc
	e.ctx, cancel = context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	e.Store = c.Open(t, Options{Now: e.clock.Now})
	t.Cleanup(e.close)
	return e
}

// close closes the store, once.
func (e *env) close() {
	if e.closed {
		return
	}
	e.closed = true
	if err := e.Close(); err != nil {
		e.test.Errorf("Close: %v", err)
	}
}

// reopen goes on with the same storage, or skips the case.
func (e *env) reopen() {
	e.needReopen()
	e.Store = e.cfg.Reopen(e.test, e.Store)
}

func (e *env) needReopen() {
	if e.cfg.Reopen == nil {
		e.test.Skip("the store under test offers no Reopen")
	}
}

// ok ends the case if a call failed.
func (e *env) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// is ends the case if a call did not fail as it must.
func (e *env) is(what string, got, want error) {
	e.Helper()
	if !errors.Is(got, want) {
		e.Fatalf("%s: error is %v, want %v", what, got, want)
	}
}

// same fails the case if two values differ; nil and empty are the same.
func (e *env) same(what string, got, want any, opts ...cmp.Option) {
	e.Helper()
	if want == nil {
		want = reflect.Zero(reflect.TypeOf(got)).Interface()
	}
	if d := cmp.Diff(want, got, append(opts, cmpopts.EquateEmpty())...); d != "" {
		e.Fatalf("%s (- want, + got):\n%s", what, d)
	}
}

// that fails the case if a condition does not hold.
func (e *env) that(holds bool, format string, args ...any) {
	e.Helper()
	if !holds {
		e.Fatalf(format, args...)
	}
}

func batchOf(changes []change) store.Batch {
	b := store.Batch{ID: ulid.Make()}
	for _, c := range changes {
		b.Puts = append(b.Puts, c.put())
	}
	return b
}

// commit applies the changes as one batch.
func (e *env) commit(changes ...change) []store.Applied {
	e.Helper()
	return e.commitIn(e.tenant, changes...)
}

func (e *env) commitIn(t store.Tenant, changes ...change) []store.Applied {
	e.Helper()
	applied, err := e.Commit(e.ctx, t, batchOf(changes))
	e.ok("Commit", err)
	e.that(len(applied) == len(changes), "Commit: %d results of %d puts", len(applied), len(changes))
	for i, c := range changes {
		e.model(t).apply(e, c, applied[i])
	}
	return applied
}

// conflicts asserts that the batch is refused.
func (e *env) conflicts(changes ...change) {
	e.Helper()
	_, err := e.Commit(e.ctx, e.tenant, batchOf(changes))
	e.is("Commit", err, store.ErrConflict)
}

func (e *env) model(t store.Tenant) *model {
	if e.models[t] == nil {
		e.models[t] = new(model)
	}
	return e.models[t]
}

// get returns what Get says of one resource.
func (e *env) get(ref string) store.Version { e.Helper(); return e.getIn(e.tenant, ref) }

func (e *env) getIn(t store.Tenant, ref string) store.Version {
	e.Helper()
	vs, err := e.Get(e.ctx, t, idOf(ref))
	e.ok("Get", err)
	e.that(len(vs) == 1, "Get: %d answers to one id", len(vs))
	return vs[0]
}

func (e *env) version(ref string, n int64) store.Version {
	e.Helper()
	v, err := e.Version(e.ctx, e.tenant, idOf(ref), n)
	e.ok("Version", err)
	return v
}

// history returns all versions of a resource, the latest first.
func (e *env) history(ref string) []store.Version {
	e.Helper()
	vs, err := e.History(e.ctx, e.tenant, idOf(ref), 0, 1<<30)
	e.ok("History", err)
	return vs
}

// barrier makes one of a millisecond.
func (e *env) barrier() store.Tick { e.Helper(); return e.barrierOf(time.Millisecond) }

func (e *env) barrierOf(round time.Duration) store.Tick {
	e.Helper()
	at, err := e.Barrier(e.ctx, e.tenant, round)
	e.ok("Barrier", err)
	return at
}

// barrierIn is a barrier of the tenant, after all that was committed in it.
func (e *env) barrierIn(t store.Tenant) store.Tick {
	e.Helper()
	at, err := e.Barrier(e.ctx, t, time.Millisecond)
	e.ok("Barrier", err)
	return at
}

func numbers(vs []store.Version) []int64 {
	ns := make([]int64, len(vs))
	for i, v := range vs {
		ns[i] = v.N
	}
	return ns
}

// isVersion asserts that a version is what the change wrote.
func (e *env) isVersion(got store.Version, c change, n int64) {
	e.Helper()
	want := store.Version{ID: c.id, N: n, Deleted: c.body == "", Patients: c.patients, Owner: c.owner}
	if !want.Deleted {
		r := c.resource()
		want.Body, want.MetaAt = r.Body, r.MetaAt
	}
	e.same("version of "+c.id.String(), got, want, content())
}

// content compares versions without what the store chose, and their patients
// as a set.
func content() cmp.Option {
	return cmp.Options{
		cmpopts.IgnoreFields(store.Version{}, "Key", "From", "To"),
		cmpopts.SortSlices(func(a, b string) bool { return a < b }),
	}
}
