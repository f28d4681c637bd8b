package main

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/ledger"
	"firebreak/store"
)

// dying is a store that answers nothing any more from one of the writes of a
// replay on, which it still makes or does not.
type dying struct {
	store.Store
	calls *atomic.Int64
	at    int64 // twice the number of the call, and one more if it is still made; 0: never
	die   context.CancelFunc
}

// write makes a call, or dies.
func (d dying) write(f func() error) error {
	n := d.calls.Add(1)
	switch {
	case d.at == 0 || n < d.at/2:
		return f()
	case n == d.at/2:
		if d.at%2 == 1 {
			_ = f() // whatever comes of it, nobody hears of it
		}
		d.die()
	}
	return store.ErrClosed
}

func (d dying) Commit(ctx context.Context, t store.Tenant, b store.Batch) (out []store.Applied, err error) {
	err = d.write(func() error { out, err = d.Store.Commit(ctx, t, b); return err })
	return out, err
}

func (d dying) Create(ctx context.Context, j job.Job, us []job.Unit, l store.Limit) (out job.Job, err error) {
	err = d.write(func() error { out, err = d.Store.Create(ctx, j, us, l); return err })
	return out, err
}

func (d dying) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (out job.Job, err error) {
	err = d.write(func() error { out, err = d.Store.Update(ctx, t, id, f); return err })
	return out, err
}

func (d dying) Remove(ctx context.Context, t store.Tenant, id string) error {
	return d.write(func() error { return d.Store.Remove(ctx, t, id) })
}

func (d dying) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	return d.write(func() error { return d.Store.Add(ctx, f, us) })
}

func (d dying) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	return d.write(func() error { return d.Store.End(ctx, f, e) })
}

func (d dying) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	return d.write(func() error { return d.Store.AddFinds(ctx, f, ids) })
}

func (d dying) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (out store.Erased, err error) {
	err = d.write(func() error { out, err = d.Store.Erase(ctx, f, vs, of...); return err })
	return out, err
}

func (d dying) Announce(ctx context.Context, f store.Fence, patients []string) error {
	return d.write(func() error { return d.Store.Announce(ctx, f, patients) })
}

func (d dying) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) (out []job.Part, err error) {
	err = d.write(func() error { out, err = d.Store.Void(ctx, f, patients, these...); return err })
	return out, err
}

func (d dying) Forget(ctx context.Context, t store.Tenant, parts []job.Part) error {
	return d.write(func() error { return d.Store.Forget(ctx, t, parts) })
}

func (d dying) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	return d.write(func() error { return d.Store.Strike(ctx, f, g) })
}

func (d dying) Scrub(ctx context.Context) (out store.Traces, err error) {
	err = d.write(func() error { out, err = d.Store.Scrub(ctx); return err })
	return out, err
}

func (d dying) Reserve(ctx context.Context, l store.Ledger) error {
	return d.write(func() error { return d.Store.Reserve(ctx, l) })
}

// replay replays in a place as a process that dies, and returns how many writes
// it made, and whether it ended.
func (r *restored) replay(t *testing.T, place storage, at int64) (calls int64, err error) {
	t.Helper()
	l, err := ledger.Open(r.ledger, ledger.MustExist)
	r.ok(err)
	entries, err := l.Lookup()
	r.ok(err)
	st, err := openStore(t.Context(), place)
	r.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := dying{Store: st, calls: new(atomic.Int64), at: at, die: cancel}
	one := replayer{streams: streams{new(bytes.Buffer), new(bytes.Buffer)}, store: d, ledger: l}
	err = one.run(ctx, place, entries)
	r.ok(st.Close())
	r.ok(l.Close())
	return d.calls.Load(), err
}

// A replay that is killed at any write has told nobody that it is done, and
// another one does the rest.
func TestAReplayGoesOnAfterAKillAtAnyWrite(t *testing.T) {
	r := newRestored(t, onSQLite(), 1, "detach")
	place := onSQLite().copied(t, r.backup)
	calls, err := r.replay(t, place, 0)
	if err != nil || calls < 10 {
		t.Fatalf("undisturbed it made %d writes: %v", calls, err)
	}
	for _, at := range steps(t, 2*calls+1, 8) {
		if at = max(at, 2); at/2 > calls {
			continue
		}
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			r.place = onSQLite().copied(t, r.backup)
			if _, err := r.replay(t, r.place, at); err == nil && at/2 < calls-1 {
				t.Error("the replay did not hear of its death")
			}
			st, err := openStore(t.Context(), r.place)
			r.ok(err)
			noted, err := st.Ledgers(t.Context())
			r.ok(err)
			r.ok(st.Close())
			if len(noted) > 0 && at/2 < calls-1 {
				t.Errorf("the store was told that all was done: %+v", noted)
			}
			replayed(t, r.place, r.ledger)
			r.T = t
			r.look("after the replay", r.gone())
			r.serves(t)
		})
	}
}
