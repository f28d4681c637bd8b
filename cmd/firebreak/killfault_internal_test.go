package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
)

// fault ends its own process, as kill -9 does, at one call of the store or of
// the files. Points count from 1: an odd one comes before a call, the even one
// behind it comes after the same call.
type fault struct {
	point  int64  // 0: none
	call   string // or after the first call of this name, or "before " it; "": none
	hold   string // the call after whose first return points begin to count; "": they count from the start
	refuse string // the unit whose first erasures fail; "": none
	late   string // the call that waits until the last unit of a purge begins; "": none
	calls  atomic.Int64

	finishing chan struct{} // the last unit of a purge has been claimed

	held    atomic.Bool
	refused atomic.Int64
}

// at notes a call, and returns what is to be done after it.
func (f *fault) at(call string) (after func()) {
	if f.hold != "" && !f.held.Load() {
		return func() {}
	}
	n := f.calls.Add(1)
	switch f.point {
	case 2*n - 1:
		f.die("before", call)
	case 2 * n:
		return func() { f.die("after", call) }
	}
	switch f.call {
	case "before " + call:
		f.die("before", call)
	case call:
		return func() { f.die("after", call) }
	}
	return func() {}
}

// die does not return.
func (f *fault) die(when, call string) {
	tell("dies", when, call)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// tell says something to the process that started this one.
func tell(word string, rest ...any) {
	_, _ = os.Stdout.WriteString(toldBy + word + " " + fmt.Sprintln(rest...))
}

// faultyStore is a store whose every call is a place to die. What it does not
// wrap cannot change anything.
type faultyStore struct {
	store.Store
	fault *fault
}

func (s faultyStore) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	defer s.fault.at("Commit")()
	applied, err := s.Store.Commit(ctx, t, b)
	if err == nil {
		tell("committed", len(applied))
	}
	return applied, err
}

func (s faultyStore) Barrier(ctx context.Context, t store.Tenant, round time.Duration) (store.Tick, error) {
	defer s.fault.at("Barrier")()
	return s.Store.Barrier(ctx, t, round)
}

func (s faultyStore) Clock(ctx context.Context, t store.Tenant) (store.Tick, error) {
	defer s.fault.at("Clock")()
	return s.Store.Clock(ctx, t)
}

func (s faultyStore) Get(ctx context.Context, t store.Tenant, ids ...fhir.ID) ([]store.Version, error) {
	defer s.fault.at("Get")()
	return s.Store.Get(ctx, t, ids...)
}

func (s faultyStore) Split(ctx context.Context, t store.Tenant, sel store.Selection, each int64) ([]store.Range, error) {
	defer s.fault.at("Split")()
	return s.Store.Split(ctx, t, sel, each)
}

func (s faultyStore) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	defer s.fault.at("Scan")()
	return s.Store.Scan(ctx, t, sel, r, after, yield)
}

func (s faultyStore) Create(ctx context.Context, j job.Job, us []job.Unit, l store.Limit) (job.Job, error) {
	defer s.fault.at("Create of a job")()
	return s.Store.Create(ctx, j, us, l)
}

func (s faultyStore) Job(ctx context.Context, t store.Tenant, who store.Owner, id string) (job.Job, error) {
	defer s.fault.asked(ctx, "Job")()
	return s.Store.Job(ctx, t, who, id)
}

func (s faultyStore) Peek(ctx context.Context, t store.Tenant, id string) (job.Job, error) {
	defer s.fault.asked(ctx, "Peek")()
	return s.Store.Peek(ctx, t, id)
}

func (s faultyStore) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (job.Job, error) {
	defer s.fault.at("Update")()
	j, err := s.Store.Update(ctx, t, id, f)
	if err == nil && j.State.Final() {
		tell("ended", j.State, j.Kind)
	}
	return j, err
}

func (s faultyStore) Attend(ctx context.Context, now time.Time, all bool, after string, limit int) ([]job.Job, error) {
	defer s.fault.at("Attend")()
	return s.Store.Attend(ctx, now, all, after, limit)
}

func (s faultyStore) Remove(ctx context.Context, t store.Tenant, id string) error {
	defer s.fault.at("Remove of a job")()
	return s.Store.Remove(ctx, t, id)
}

func (s faultyStore) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	defer s.fault.at("Add")()
	return s.Store.Add(ctx, f, us)
}

func (s faultyStore) Claim(ctx context.Context, kinds []string, lease time.Duration) (job.Unit, store.Fence, error) {
	defer s.fault.at("Claim")()
	u, f, err := s.Store.Claim(ctx, kinds, lease)
	if err == nil && u.ID == "2-finish" && s.fault.finishing != nil {
		close(s.fault.finishing)
	}
	return u, f, err
}

func (s faultyStore) Renew(ctx context.Context, f store.Fence, lease time.Duration) error {
	defer s.fault.at("Renew")()
	return s.Store.Renew(ctx, f, lease)
}

func (s faultyStore) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	defer s.fault.at("End of " + f.Unit)()
	err := s.Store.End(ctx, f, e)
	if err == nil {
		tell("unit", f.Unit, e.State)
	}
	return err
}

func (s faultyStore) Tally(ctx context.Context, t store.Tenant, id string) (job.Tally, error) {
	defer s.fault.asked(ctx, "Tally")()
	return s.Store.Tally(ctx, t, id)
}

func (s faultyStore) NextRun(ctx context.Context, kinds []string) (time.Time, error) {
	defer s.fault.at("NextRun")()
	return s.Store.NextRun(ctx, kinds)
}

func (s faultyStore) Referrers(ctx context.Context, t store.Tenant, at store.Tick, typ string, targets []fhir.ID) ([]fhir.ID, error) {
	defer s.fault.at("Referrers")()
	return s.Store.Referrers(ctx, t, at, typ, targets)
}

func (s faultyStore) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	if !ofPurge(f) {
		s.fault.delays(ctx, "AddFinds")
	}
	defer s.fault.at("AddFinds")()
	return s.Store.AddFinds(ctx, f, ids)
}

func (s faultyStore) Finds(ctx context.Context, t store.Tenant, id string, after fhir.ID, n int) ([]fhir.ID, error) {
	defer s.fault.at("Finds")()
	return s.Store.Finds(ctx, t, id, after, n)
}

func (s faultyStore) AddMembers(ctx context.Context, f store.Fence, patients []string) error {
	s.fault.delays(ctx, "AddMembers")
	defer s.fault.at("AddMembers")()
	return s.Store.AddMembers(ctx, f, patients)
}

func (s faultyStore) Members(ctx context.Context, t store.Tenant, c store.CohortID, after string, n int) ([]string, error) {
	defer s.fault.at("Members")()
	return s.Store.Members(ctx, t, c, after, n)
}

func (s faultyStore) PartsOf(ctx context.Context, t store.Tenant, id, after string, limit int) ([]job.Part, error) {
	defer s.fault.at("PartsOf")()
	return s.Store.PartsOf(ctx, t, id, after, limit)
}

func (s faultyStore) Close() error {
	defer s.fault.at("Close of the store")()
	return s.Store.Close()
}

// faultyFiles are files whose every operation is a place to die.
type faultyFiles struct {
	files.Files
	fault *fault
}

func (d faultyFiles) Create(ctx context.Context, name string) (files.Writer, error) {
	defer d.fault.at("Create of a file")()
	w, err := d.Files.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return faultyWriter{w, d.fault}, nil
}

func (d faultyFiles) Open(ctx context.Context, name string) (files.File, error) {
	defer d.fault.at("Open of a file")()
	return d.Files.Open(ctx, name)
}

func (d faultyFiles) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := d.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// remove removes one of several files: a process may die between two.
func (d faultyFiles) remove(ctx context.Context, name string) error {
	defer d.fault.at("Remove of a file")()
	return d.Files.Remove(ctx, name)
}

func (d faultyFiles) Folders(ctx context.Context) ([]string, error) {
	defer d.fault.at("Folders")()
	return d.Files.Folders(ctx)
}

func (d faultyFiles) Names(ctx context.Context, folder string) ([]string, error) {
	defer d.fault.at("Names")()
	return d.Files.Names(ctx, folder)
}

func (d faultyFiles) RemoveFolder(ctx context.Context, folder string) error {
	defer d.fault.at("RemoveFolder")()
	return d.Files.RemoveFolder(ctx, folder)
}

type faultyWriter struct {
	files.Writer
	fault *fault
}

func (w faultyWriter) Write(b []byte) (int, error) {
	defer w.fault.at("Write")()
	return w.Writer.Write(b)
}

func (w faultyWriter) Commit() error {
	defer w.fault.at("Commit of a file")()
	return w.Writer.Commit()
}
