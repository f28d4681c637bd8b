package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

func jobCases() []testCase {
	return []testCase{
		{"a job comes back as it was created", jobRoundTrip},
		{"a job is its owner's only", jobOwner},
		{"Peek returns a job whoever's it is", jobPeek},
		{"a job that is not there is ErrNotFound", jobAbsent},
		{"Create is all or nothing", jobAtomic},
		{"Update returns and keeps what f makes of the job", jobUpdate},
		{"an error of Update's f changes nothing", jobUpdateError},
		{"Remove takes all of a job and nothing else", jobRemove},
		{"Remove of what is not there is no error", jobRemoveAbsent},
	}
}

func attendCases() []testCase {
	return []testCase{
		{"Attend lists jobs to be stopped and those to discard, and with all those under way", attendLists},
		{"Attend lists a job that is tried again no more", attendRetried},
		{"Attend goes on after an id, in order", attendPages},
		{"Attend lists jobs of every tenant", attendTenants},
	}
}

// newJob is a queued job of a kind.
func (e *env) newJob(t store.Tenant, kind string) job.Job {
	return job.Job{
		ID: ulid.Make().String(), Kind: kind, Tenant: string(t), Owner: somebody(), State: job.Queued,
		Request: json.RawMessage(`{"asked":["for","this"]}`), Created: e.clock.Now(), Lifetime: time.Hour,
	}
}

// create makes a job of the kind with these first units.
func (e *env) create(kind string, units ...job.Unit) job.Job {
	e.Helper()
	return e.createIn(north, kind, units...)
}

func (e *env) createIn(t store.Tenant, kind string, units ...job.Unit) job.Job {
	e.Helper()
	j := e.newJob(t, kind)
	e.ok("Create", drop(e.Create(e.ctx, j, unitsOf(j, units...), store.Limit{})))
	return j
}

// unit is one that can be claimed when its phase comes.
func unit(id string, phase int) job.Unit {
	return job.Unit{ID: id, Phase: phase, State: job.Queued, Args: json.RawMessage(`{"of":"` + id + `"}`)}
}

// unitsOf makes units those of a job.
func unitsOf(j job.Job, units ...job.Unit) []job.Unit {
	us := make([]job.Unit, len(units))
	for i, u := range units {
		u.Job, u.Tenant, u.Kind = j.ID, j.Tenant, j.Kind
		us[i] = u
	}
	return us
}

// read returns a job as its owner sees it.
func (e *env) read(j job.Job) job.Job {
	e.Helper()
	got, err := e.Job(e.ctx, store.Tenant(j.Tenant), j.Owner, j.ID)
	e.ok("Job", err)
	return got
}

func (e *env) update(j job.Job, f func(job.Job) (job.Job, error)) job.Job {
	e.Helper()
	got, err := e.Update(e.ctx, store.Tenant(j.Tenant), j.ID, f)
	e.ok("Update", err)
	return got
}

func (e *env) tally(j job.Job) job.Tally {
	e.Helper()
	t, err := e.Tally(e.ctx, store.Tenant(j.Tenant), j.ID)
	e.ok("Tally", err)
	return t
}

func jobRoundTrip(e *env) {
	now := e.clock.Now()
	j := e.newJob(north, "export")
	j.Owner = job.Owner{Client: "app", User: "ann"}
	j.TransactionTime, j.Started, j.Ended = now.Add(time.Second), now.Add(2*time.Second), now.Add(3*time.Second)
	j.State, j.Expires, j.Retries = job.Failed, now.Add(time.Hour), 3
	j.CancelRequested, j.Dismissed, j.ArtifactsGone = now.Add(4*time.Second), now.Add(5*time.Second), now.Add(6*time.Second)
	j.Error = &job.Reason{Code: "exception", Message: "Zoë's “unit” failed\nonce"}
	e.ok("Create", drop(e.Create(e.ctx, j, nil, store.Limit{})))
	e.same("the job", e.read(j), j)
	bare := e.newJob(north, "export")
	e.ok("Create", drop(e.Create(e.ctx, bare, nil, store.Limit{})))
	e.same("a job with zero times", e.read(bare), bare)
}

func jobOwner(e *env) {
	j := e.newJob(north, "export")
	j.Owner = job.Owner{Client: "app", User: "ann"}
	e.ok("Create", drop(e.Create(e.ctx, j, nil, store.Limit{})))
	for _, who := range []store.Owner{{Client: "app"}, {Client: "app", User: "bob"}, {Client: "other", User: "ann"}, {User: "ann"}, {}} {
		_, err := e.Job(e.ctx, north, who, j.ID)
		e.is(fmt.Sprintf("Job for %+v", who), err, store.ErrNotFound)
	}
	e.same("the owner's", e.read(j), j)
}

func jobPeek(e *env) {
	j := e.newJob(north, "export")
	j.Owner = job.Owner{Client: "app", User: "ann"}
	e.ok("Create", drop(e.Create(e.ctx, j, nil, store.Limit{})))
	got, err := e.Peek(e.ctx, north, j.ID)
	e.ok("Peek", err)
	e.same("the job", got, j)
	_, err = e.Peek(e.ctx, north, "unknown")
	e.is("Peek", err, store.ErrNotFound)
}

func jobAbsent(e *env) {
	j := e.create("export", unit("a", 0))
	_, err := e.Job(e.ctx, north, somebody(), "unknown")
	e.is("Job", err, store.ErrNotFound)
	_, err = e.Update(e.ctx, north, "unknown", func(j job.Job) (job.Job, error) { return j, nil })
	e.is("Update", err, store.ErrNotFound)
	e.same("the one that is there", e.read(j), j)
}

// jobAtomic creates a job whose id is taken already.
func jobAtomic(e *env) {
	j := e.create("export", unit("a", 0))
	second := j
	second.Kind, second.Retries = "purge", 7
	err := drop(e.Create(e.ctx, second, unitsOf(second, unit("b", 0), unit("c", 0)), store.Limit{}))
	e.that(err != nil, "Create of a job that is there already is no error")
	e.same("the job that was there", e.read(j), j)
	e.same("its units", e.tally(j).Queued, 1)
	e.noClaim("purge")
}

func jobUpdate(e *env) {
	j, other := e.create("export"), e.create("export")
	now := e.clock.Now()
	got := e.update(j, func(j job.Job) (job.Job, error) { return j.Start(now) })
	e.that(got.State == job.Running && got.Started.Equal(now), "Update returns %+v", got)
	e.same("the job", e.read(j), got)
	got = e.update(j, func(j job.Job) (job.Job, error) { return j.Fail(now, job.Reason{Code: "exception", Message: "m"}) })
	e.same("the failed job", e.read(j), got)
	got = e.update(j, func(j job.Job) (job.Job, error) { return j, nil })
	e.same("after an update that changes nothing", e.read(j), got)
	e.same("another job", e.read(other), other)
}

func jobUpdateError(e *env) {
	j, stop := e.create("export"), errors.New("stop")
	_, err := e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) {
		j.State = job.Cancelled
		return j, stop
	})
	e.is("Update", err, stop)
	e.same("the job", e.read(j), j)
	_, err = e.Update(e.ctx, north, j.ID, func(j job.Job) (job.Job, error) { return j.Succeed(e.clock.Now()) })
	e.is("Update", err, job.ErrTransition)
	e.same("the job", e.read(j), j)
}

// filled makes a job of the kind with a running unit, a cohort, finds and a part.
func (e *env) filled(t store.Tenant, kind string) (job.Job, store.Fence) {
	e.Helper()
	j := e.createIn(t, kind, unit("a", 0), unit("b", 0), unit("c", 1))
	_, f := e.claim(kind)
	e.ok("AddMembers", e.AddMembers(e.ctx, f, []string{"1", "2"}))
	e.find(f, "Observation/1", "Patient/2")
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, "p1", 1, "1", "2")}})
	_, f = e.claim(kind)
	return j, f
}

func jobRemove(e *env) {
	j, f := e.filled(north, "export")
	kept, keptFence := e.filled(north, "purge")
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.gone(j)
	e.noClaim("export")
	e.fenced(f)
	e.same("the other job", e.read(kept), kept)
	e.same("its running units", e.tally(kept).Running, 1)
	e.same("its members", sorted(e.members(store.CohortID(kept.ID), 9)), []string{"1", "2"})
	e.same("its finds", e.found(kept, 9), []string{"Observation/1", "Patient/2"})
	e.same("its parts", len(e.parts(kept)), 1)
	e.same("the parts that hold a patient", e.holding("1"), []string{kept.ID + "/p1"})
	e.ok("Renew", e.Renew(e.ctx, keptFence, lease))
}

// gone asserts that nothing of a job is left.
func (e *env) gone(j job.Job) {
	e.Helper()
	t := store.Tenant(j.Tenant)
	_, err := e.Job(e.ctx, t, j.Owner, j.ID)
	e.is("Job", err, store.ErrNotFound)
	_, err = e.Peek(e.ctx, t, j.ID)
	e.is("Peek", err, store.ErrNotFound)
	_, err = e.Update(e.ctx, t, j.ID, func(j job.Job) (job.Job, error) { return j, nil })
	e.is("Update", err, store.ErrNotFound)
	tally, err := e.Tally(e.ctx, t, j.ID)
	e.that(tally.Unfinished()+tally.Succeeded+tally.Failed+tally.Cancelled == 0 && (err == nil || errors.Is(err, store.ErrNotFound)), "Tally: %+v, %v", tally, err)
	e.same("members", e.membersIn(t, j.ID), nil)
	e.same("finds", e.foundIn(t, j.ID, 9), nil)
	e.same("parts", e.parts(j), nil)
	_, err = e.Part(e.ctx, t, j.ID, job.PartName{Category: job.Output, Type: "Patient", N: 1})
	e.is("Part", err, store.ErrNotFound)
	e.that(!slices.Contains(e.listed(t, j.Owner, 9), j.ID), "List gives the job")
	e.that(!slices.Contains(e.attended(e.clock.Now()), j.ID), "Attend lists the job")
}

func (e *env) membersIn(t store.Tenant, id string) []string {
	e.Helper()
	page, err := e.Members(e.ctx, t, store.CohortID(id), "", 9)
	e.ok("Members", err)
	return page
}

func jobRemoveAbsent(e *env) {
	j := e.create("export")
	e.ok("Remove", e.Remove(e.ctx, north, "unknown"))
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
}

// attended lists the ids that Attend lists of all jobs, in pages of two.
func (e *env) attended(now time.Time) []string { e.Helper(); return e.attendedOf(now, true) }

func (e *env) attendedOf(now time.Time, all bool) []string {
	e.Helper()
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] {
		page, err := e.Attend(e.ctx, now, all, after, 2)
		e.ok("Attend", err)
		e.that(len(page) <= 2, "%d jobs in a page of 2", len(page))
		if len(page) == 0 {
			return ids
		}
		for _, j := range page {
			ids = append(ids, j.ID)
		}
	}
}

// inEachState makes jobs in every state, some of them with an hour to live.
func (e *env) inEachState(now time.Time) []job.Job {
	e.Helper()
	why := job.Reason{Code: "exception", Message: "m"}
	start := func(j job.Job) (job.Job, error) { return j.Start(now) }
	succeed := func(j job.Job) (job.Job, error) { return j.Succeed(now) }
	fail := func(j job.Job) (job.Job, error) { return j.Fail(now, why) }
	cancel := func(j job.Job) (job.Job, error) { return j.RequestCancel(now) }
	stop := func(j job.Job) (job.Job, error) { return j.Stop(now) }
	dismiss := func(j job.Job) (job.Job, error) { return j.Dismiss(now) }
	retry := func(j job.Job) (job.Job, error) { return j.Retry(now) }
	var jobs []job.Job
	for _, steps := range [][]func(job.Job) (job.Job, error){
		{},
		{start},
		{cancel},
		{start, cancel},
		{dismiss},
		{start, succeed},
		{fail},
		{cancel, stop},
		{start, succeed, dismiss},
		{fail, dismiss},
		{dismiss, stop},
		{fail, retry},
	} {
		j := e.create("export")
		for _, step := range steps {
			j = e.update(j, step)
		}
		jobs = append(jobs, j)
	}
	return jobs
}

func attendLists(e *env) {
	e.clock.stop()
	now := e.clock.Now()
	jobs := e.inEachState(now)
	for _, at := range []time.Time{now, now.Add(time.Hour - time.Millisecond), now.Add(time.Hour), now.Add(48 * time.Hour)} {
		var all, needy []string
		for _, j := range jobs {
			if !j.State.Final() || j.Discard(at) {
				all = append(all, j.ID)
			}
			if !j.State.Final() && !j.CancelRequested.IsZero() || j.Discard(at) {
				needy = append(needy, j.ID)
			}
		}
		e.same(fmt.Sprintf("all %v later", at.Sub(now)), e.attendedOf(at, true), all)
		e.same(fmt.Sprintf("those that need it %v later", at.Sub(now)), e.attendedOf(at, false), needy)
	}
	e.ok("Remove", e.Remove(e.ctx, north, jobs[0].ID))
	e.same("the first after a removal", e.attended(now)[0], jobs[1].ID)
}

func attendPages(e *env) {
	var want []job.Job
	now := e.clock.Now()
	for i := range 5 {
		j := e.create("export")
		if i%2 == 0 { // of those to discard and those to be stopped, in turn
			e.update(j, func(j job.Job) (job.Job, error) { return j.Fail(now, why("m")) })
		}
		want = append(want, e.update(j, func(j job.Job) (job.Job, error) { return j.Dismiss(now) }))
	}
	for _, all := range []bool{true, false} {
		page, err := e.Attend(e.ctx, now, all, "", 100)
		e.ok("Attend", err)
		e.same("all", page, want)
		page, err = e.Attend(e.ctx, now, all, want[1].ID, 2)
		e.ok("Attend", err)
		e.same("two after the second", page, want[2:4])
		page, err = e.Attend(e.ctx, now, all, want[4].ID, 2)
		e.ok("Attend", err)
		e.same("after the last", page, nil)
	}
}

func attendRetried(e *env) {
	j := e.create("export", unit("a", 0))
	now := e.clock.Now()
	e.cancel(j)
	e.same("to be stopped", e.attendedOf(now, false), []string{j.ID})
	e.update(j, func(j job.Job) (job.Job, error) { return j.Stop(now) })
	e.same("stopped", e.attendedOf(now, false), nil)
	e.update(j, func(j job.Job) (job.Job, error) { return j.Retry(now) })
	e.same("tried again", e.attendedOf(now, false), nil)
	e.same("under way", e.attendedOf(now, true), []string{j.ID})
}

func attendTenants(e *env) {
	a, b, c := e.createIn(north, "export"), e.createIn(south, "export"), e.createIn(north, "purge")
	e.same("ids", e.attended(e.clock.Now()), []string{a.ID, b.ID, c.ID})
}
