package purge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// What a purge erases or detaches is entered in the ledger before the commit
// that does so. An entry that nothing was erased for would have a replay erase
// what a hold, or a cancel, has kept: so a cancel is not heeded between the two,
// and what is refused then is taken out again.

// entering is what an attempt has entered in the ledger.
type entering struct {
	done   map[fhir.ID]bool
	entire func(id fhir.ID) bool // goes all of it that was there at the instant?
}

// entering is what the attempt that gathers has entered.
func (g *gathering) entering() *entering {
	if g.entered == nil {
		entire := g.found.entire()
		g.entered = &entering{done: map[fhir.ID]bool{}, entire: func(id fhir.ID) bool { return entire[id] }}
	}
	return g.entered
}

// entries are the numbers of the entries that were made for one commit.
type entries map[fhir.ID]int64

// enterNew enters of some resources those that the attempt has not entered. It
// is for one commit: so a purge that is stopped has entered little that it did
// not come to.
func (a attempt) enterNew(ctx context.Context, e *entering, ids []fhir.ID) (entries, error) {
	var whole, some []fhir.ID
	for _, id := range ids {
		switch {
		case e.done[id]:
		case e.entire(id):
			whole = append(whole, id)
		default:
			some = append(some, id)
		}
		e.done[id] = true
	}
	made := entries{}
	if err := a.enter(ctx, made, whole, true); err != nil {
		return nil, err
	}
	return made, a.enter(ctx, made, some, false)
}

func (a attempt) enter(ctx context.Context, made entries, ids []fhir.ID, entire bool) error {
	if a.cfg.Ledger == nil || len(ids) == 0 {
		return nil
	}
	numbers, err := a.cfg.Ledger.Enter(ctx, a.fence.Tenant, a.at, ids, entire)
	if err != nil && ctx.Err() == nil {
		err = &job.Failure{Err: err, Reason: job.Reason{
			Code: "no-store", Message: "what is to be purged cannot be entered in the server's ledger, so it was not purged; the server's log has the cause",
		}}
	}
	if err != nil {
		return err
	}
	for i, id := range ids {
		made[id] = numbers[i]
	}
	return nil
}

// enterPuts enters what is going to be detached. Should that not come about, a
// replay has nothing to detach it from: the record goes after it.
func (g *gathering) enterPuts(ctx context.Context, puts []store.Put) error {
	ids := make([]fhir.ID, len(puts))
	for i, p := range puts {
		ids[i] = p.Resource.ID
	}
	_, err := g.enterNew(ctx, g.entering(), ids)
	return err
}

// eraseEntered erases versions on account of some patients, when that is
// entered. A hold that refuses it is a failure for good.
func (a attempt) eraseEntered(ctx context.Context, e *entering, versions []store.VersionRef, of []string) (job.Erased, error) {
	if a.cfg.Ledger != nil && ctx.Err() == nil {
		var done func()
		ctx, done = outlasting(ctx)
		defer done()
	}
	made, err := a.enterNew(ctx, e, idsOf(versions))
	if err != nil {
		return job.Erased{}, err
	}
	n, err := a.cfg.Store.Erase(ctx, a.fence, versions, of...)
	switch {
	case errors.Is(err, store.ErrOnHold), errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrConflict):
		err = errors.Join(a.stopped(err), a.revoke(ctx, made, versions))
	}
	return n, err
}

// idsOf are the resources of versions, of which those of one are together.
func idsOf(versions []store.VersionRef) []fhir.ID {
	ids := make([]fhir.ID, len(versions))
	for i, v := range versions {
		ids[i] = v.ID
	}
	return slices.Compact(ids)
}

// outlast is how long an erasure that was entered goes on when it is broken
// off.
const outlast = 500 * time.Millisecond

// outlasting is a context that ends a moment after another one.
func outlasting(ctx context.Context) (longer context.Context, done func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		moment := time.NewTimer(outlast)
		defer moment.Stop()
		select {
		case <-moment.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// revoke takes out of the ledger what was entered for an erasure that the store
// has refused. What cannot be taken out is for the log: it does not change how
// the attempt ends.
func (a attempt) revoke(ctx context.Context, made entries, versions []store.VersionRef) error {
	if a.cfg.Ledger == nil || len(made) == 0 {
		return nil
	}
	err := a.keepErased(ctx, made, versions)
	if err == nil {
		err = a.cfg.Ledger.Revoke(ctx, slices.Collect(maps.Values(made)))
	}
	if err != nil {
		err = fmt.Errorf("purge: the ledger has resources that were not erased, and they cannot be taken out: %s", err.Error())
	}
	return err
}

// keepErased leaves out of the entries those of resources that are not there as
// they were: they may have been erased all the same, by an earlier commit of the
// same call, or by one whose answer was lost.
func (a attempt) keepErased(ctx context.Context, made entries, versions []store.VersionRef) error {
	there := map[store.VersionRef]bool{}
	err := a.cfg.Store.Versions(ctx, a.fence.Tenant, slices.Collect(maps.Keys(made)), func(v *store.Version) error {
		there[store.VersionRef{Key: v.Key, ID: v.ID, N: v.N}] = true
		return nil
	})
	for _, v := range versions {
		if !there[v] {
			delete(made, v.ID)
		}
	}
	return err
}

// entire are the resources of which all goes that was there at the instant.
func (f *findings) entire() map[fhir.ID]bool {
	all := make(map[fhir.ID]bool, len(f.gone)+len(f.whole))
	for _, r := range f.gone {
		all[r.id] = true
	}
	for _, id := range f.whole {
		all[id] = true
	}
	return all
}
