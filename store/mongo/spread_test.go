package mongo_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// spread is several instances as one store: each call goes to the next one.
type spread struct {
	all []store.Store
	n   atomic.Uint32
}

var _ store.Store = (*spread)(nil)

func (s *spread) next() store.Store { return s.all[int(s.n.Add(1))%len(s.all)] }

func (s *spread) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	return s.next().Commit(ctx, t, b)
}

func (s *spread) Barrier(ctx context.Context, t store.Tenant, round time.Duration) (store.Tick, error) {
	return s.next().Barrier(ctx, t, round)
}

func (s *spread) Clock(ctx context.Context, t store.Tenant) (store.Tick, error) {
	return s.next().Clock(ctx, t)
}

func (s *spread) Get(ctx context.Context, t store.Tenant, ids ...fhir.ID) ([]store.Version, error) {
	return s.next().Get(ctx, t, ids...)
}

func (s *spread) Version(ctx context.Context, t store.Tenant, id fhir.ID, n int64) (store.Version, error) {
	return s.next().Version(ctx, t, id, n)
}

func (s *spread) History(ctx context.Context, t store.Tenant, id fhir.ID, before int64, limit int) ([]store.Version, error) {
	return s.next().History(ctx, t, id, before, limit)
}

func (s *spread) Split(ctx context.Context, t store.Tenant, sel store.Selection, bytesEach int64) ([]store.Range, error) {
	return s.next().Split(ctx, t, sel, bytesEach)
}

func (s *spread) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	return s.next().Scan(ctx, t, sel, r, after, yield)
}

func (s *spread) Create(ctx context.Context, j job.Job, units []job.Unit, l store.Limit) (job.Job, error) {
	return s.next().Create(ctx, j, units, l)
}

func (s *spread) Job(ctx context.Context, t store.Tenant, who store.Owner, id string) (job.Job, error) {
	return s.next().Job(ctx, t, who, id)
}

func (s *spread) List(ctx context.Context, t store.Tenant, who store.Owner, before string, n int) ([]job.Job, error) {
	return s.next().List(ctx, t, who, before, n)
}

func (s *spread) Peek(ctx context.Context, t store.Tenant, id string) (job.Job, error) {
	return s.next().Peek(ctx, t, id)
}

func (s *spread) Update(ctx context.Context, t store.Tenant, id string, f func(job.Job) (job.Job, error)) (job.Job, error) {
	return s.next().Update(ctx, t, id, f)
}

func (s *spread) Attend(ctx context.Context, now time.Time, all bool, after string, limit int) ([]job.Job, error) {
	return s.next().Attend(ctx, now, all, after, limit)
}

func (s *spread) Remove(ctx context.Context, t store.Tenant, id string) error {
	return s.next().Remove(ctx, t, id)
}

func (s *spread) CountJobs(ctx context.Context) ([]store.JobCount, error) {
	return s.next().CountJobs(ctx)
}

func (s *spread) Add(ctx context.Context, f store.Fence, us []job.Unit) error {
	return s.next().Add(ctx, f, us)
}

func (s *spread) Claim(ctx context.Context, kinds []string, lease time.Duration) (job.Unit, store.Fence, error) {
	return s.next().Claim(ctx, kinds, lease)
}

func (s *spread) Renew(ctx context.Context, f store.Fence, lease time.Duration) error {
	return s.next().Renew(ctx, f, lease)
}

func (s *spread) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	return s.next().End(ctx, f, e)
}

func (s *spread) Note(ctx context.Context, f store.Fence, total job.Erased, result json.RawMessage) error {
	return s.next().Note(ctx, f, total, result)
}

func (s *spread) Retry(ctx context.Context, t store.Tenant, jobID string, now time.Time, l store.Limit) (job.Job, error) {
	return s.next().Retry(ctx, t, jobID, now, l)
}

func (s *spread) Tally(ctx context.Context, t store.Tenant, jobID string) (job.Tally, error) {
	return s.next().Tally(ctx, t, jobID)
}

func (s *spread) NextRun(ctx context.Context, kinds []string) (time.Time, error) {
	return s.next().NextRun(ctx, kinds)
}

func (s *spread) Watch(ctx context.Context) <-chan struct{} { return s.next().Watch(ctx) }

func (s *spread) Referrers(ctx context.Context, t store.Tenant, at store.Tick, typ string, targets []fhir.ID) ([]fhir.ID, error) {
	return s.next().Referrers(ctx, t, at, typ, targets)
}

func (s *spread) AddFinds(ctx context.Context, f store.Fence, ids []fhir.ID) error {
	return s.next().AddFinds(ctx, f, ids)
}

func (s *spread) Finds(ctx context.Context, t store.Tenant, jobID string, after fhir.ID, n int) ([]fhir.ID, error) {
	return s.next().Finds(ctx, t, jobID, after, n)
}

func (s *spread) AddMembers(ctx context.Context, f store.Fence, patients []string) error {
	return s.next().AddMembers(ctx, f, patients)
}

func (s *spread) Members(ctx context.Context, t store.Tenant, c store.CohortID, after string, n int) ([]string, error) {
	return s.next().Members(ctx, t, c, after, n)
}

func (s *spread) PartsOf(ctx context.Context, t store.Tenant, jobID, after string, limit int) ([]job.Part, error) {
	return s.next().PartsOf(ctx, t, jobID, after, limit)
}

func (s *spread) Part(ctx context.Context, t store.Tenant, jobID string, name job.PartName) (job.Part, error) {
	return s.next().Part(ctx, t, jobID, name)
}

func (s *spread) PartsHolding(ctx context.Context, t store.Tenant, patient string) ([]job.Part, error) {
	return s.next().PartsHolding(ctx, t, patient)
}

func (s *spread) Voided(ctx context.Context, t store.Tenant, jobID string) ([]job.Part, error) {
	return s.next().Voided(ctx, t, jobID)
}

func (s *spread) UnitsOf(ctx context.Context, t store.Tenant, jobID, after string, n int) ([]job.Unit, error) {
	return s.next().UnitsOf(ctx, t, jobID, after, n)
}

func (s *spread) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	return s.next().Mentions(ctx, t, targets)
}

func (s *spread) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	return s.next().Versions(ctx, t, ids, yield)
}

func (s *spread) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	return s.next().Erase(ctx, f, vs, of...)
}

func (s *spread) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	return s.next().Residue(ctx, t, g)
}

func (s *spread) SetHold(ctx context.Context, t store.Tenant, h store.Hold, patients ...string) error {
	return s.next().SetHold(ctx, t, h, patients...)
}

func (s *spread) LiftHold(ctx context.Context, t store.Tenant, id, by string, now time.Time) (store.Hold, error) {
	return s.next().LiftHold(ctx, t, id, by, now)
}

func (s *spread) Holds(ctx context.Context, t store.Tenant, standing time.Time, after string, n int) ([]store.Hold, error) {
	return s.next().Holds(ctx, t, standing, after, n)
}

func (s *spread) HeldAmong(ctx context.Context, t store.Tenant, at time.Time, patients []string) ([]store.Held, error) {
	return s.next().HeldAmong(ctx, t, at, patients)
}

func (s *spread) Scrub(ctx context.Context) (store.Traces, error) { return s.next().Scrub(ctx) }

func (s *spread) Announce(ctx context.Context, f store.Fence, patients []string) error {
	return s.next().Announce(ctx, f, patients)
}

func (s *spread) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	return s.next().Void(ctx, f, patients, these...)
}

func (s *spread) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	return s.next().Strike(ctx, f, g)
}

func (s *spread) Forget(ctx context.Context, t store.Tenant, parts []job.Part) error {
	return s.next().Forget(ctx, t, parts)
}

func (s *spread) Tell(ctx context.Context, f store.Fence, owner store.Owner, until time.Time, ids []fhir.ID) error {
	return s.next().Tell(ctx, f, owner, until, ids)
}

func (s *spread) Told(ctx context.Context, t store.Tenant, owner store.Owner, now time.Time, after fhir.ID, n int) ([]fhir.ID, error) {
	return s.next().Told(ctx, t, owner, now, after, n)
}

func (s *spread) Untell(ctx context.Context, now time.Time) error { return s.next().Untell(ctx, now) }

func (s *spread) Certify(ctx context.Context, f store.Fence, number int64, doc []byte) (store.Certificate, error) {
	return s.next().Certify(ctx, f, number, doc)
}

func (s *spread) Certificate(ctx context.Context, t store.Tenant, jobID string) (store.Certificate, error) {
	return s.next().Certificate(ctx, t, jobID)
}

func (s *spread) Certificates(ctx context.Context, t store.Tenant, before int64, n int) ([]store.Certificate, error) {
	return s.next().Certificates(ctx, t, before, n)
}

func (s *spread) Ledgers(ctx context.Context) ([]store.Ledger, error) { return s.next().Ledgers(ctx) }

func (s *spread) Reserve(ctx context.Context, l store.Ledger) error { return s.next().Reserve(ctx, l) }

func (s *spread) Tenants(ctx context.Context) ([]store.Tenant, error) { return s.next().Tenants(ctx) }

func (s *spread) Ping(ctx context.Context) error { return s.next().Ping(ctx) }

func (s *spread) Close() error {
	var err error
	for _, one := range s.all {
		err = errors.Join(err, one.Close())
	}
	return err
}
