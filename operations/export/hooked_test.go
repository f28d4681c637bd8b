package export_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
)

// hooked does something before the first unit that scans.
type hooked struct {
	*export.Export
	beforeScans func()
	once        sync.Once
}

func (h *hooked) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	if u.Phase > 0 {
		h.once.Do(h.beforeScans)
	}
	return h.Export.Run(ctx, j, u, f)
}

// joinHook does something before the unit that joins.
type joinHook struct {
	*export.Export
	before func()
	once   sync.Once
}

func (h *joinHook) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	if u.ID == "3-join" {
		h.once.Do(h.before)
	}
	return h.Export.Run(ctx, j, u, f)
}

// until works like an export until a number of units have begun. What the next
// one did is lost, as it waits with its end for the engine to stop.
type until struct {
	*export.Export
	store store.Store
	left  atomic.Int64
	stuck atomic.Bool
}

func newUntil(x *export.Export, st store.Store, units int64) *until {
	u := &until{Export: x, store: st}
	u.left.Store(units)
	return u
}

func (h *until) Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error) {
	if h.left.Add(-1) >= 0 {
		return h.Export.Run(ctx, j, u, f)
	}
	_, err := h.Export.Run(ctx, j, u, f)
	h.stuck.Store(true)
	// An update that changes nothing has whoever watches look again.
	_, again := h.store.Update(ctx, f.Tenant, j.ID, func(j job.Job) (job.Job, error) { return j, nil })
	<-ctx.Done()
	return job.UnitEnd{}, errors.Join(err, again, ctx.Err())
}

// faulty are files that fail where fail says so of a call: "create", "write",
// "commit" or "open".
type faulty struct {
	files.Files
	fail func(call string) error
}

func (f faulty) Create(ctx context.Context, name string) (files.Writer, error) {
	if err := f.fail("create"); err != nil {
		return nil, err
	}
	w, err := f.Files.Create(ctx, name)
	return faultyWriter{w, f}, err
}

func (f faulty) Open(ctx context.Context, name string) (files.File, error) {
	if err := f.fail("open"); err != nil {
		return nil, err
	}
	return f.Files.Open(ctx, name)
}

type faultyWriter struct {
	files.Writer
	f faulty
}

func (w faultyWriter) Write(b []byte) (int, error) {
	if err := w.f.fail("write"); err != nil {
		n, _ := w.Writer.Write(b[:len(b)/2])
		return n, err
	}
	return w.Writer.Write(b)
}

func (w faultyWriter) Commit() error {
	if err := w.f.fail("commit"); err != nil {
		return err
	}
	return w.Writer.Commit()
}

// barred does something before the barrier of a kick-off.
type barred struct {
	store.Store
	before func()
}

func (b barred) Barrier(ctx context.Context, t store.Tenant, round time.Duration) (store.Tick, error) {
	b.before()
	return b.Store.Barrier(ctx, t, round)
}
