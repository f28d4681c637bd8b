package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func limitCases() []testCase {
	return []testCase{
		{"Create returns the job as it is kept", createReturns},
		{"a limit per owner counts the owner's jobs of the kind in the tenant", limitOwner},
		{"a limit in all counts the jobs of the kind of every owner and tenant", limitAll},
		{"the two limits hold beside each other", limitBoth},
		{"a job over the limit leaves nothing behind", limitWritesNothing},
		{"a running job is under way", limitRunning},
		{"a job whose cancel was requested is not under way", limitCancelled},
		{"a job that was dismissed is not under way", limitDismissed},
		{"a job that has ended is not under way", limitEnded},
		{"a job that was removed is not under way", limitRemoved},
		{"a job that is tried again is under way again", limitRetried},
	}
}

// The owners of the cases of limits and keys: ann's client is bob's too.
func ann() store.Owner { return job.Owner{Client: "app", User: "ann"} }
func bob() store.Owner { return job.Owner{Client: "app", User: "bob"} }

// newFor is a queued job of an owner.
func (e *env) newFor(t store.Tenant, who store.Owner, kind string) job.Job {
	j := e.newJob(t, kind)
	j.Owner = who
	return j
}

// admit creates a job that the limit has room for.
func (e *env) admit(j job.Job, l store.Limit) job.Job {
	e.Helper()
	got, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), l)
	e.ok(fmt.Sprintf("Create for %v under %+v", j.Owner, l), err)
	e.same("the created job", got, j)
	return got
}

// overLimit asserts that a job is refused.
func (e *env) overLimit(j job.Job, l store.Limit) {
	e.Helper()
	got, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), l)
	e.is(fmt.Sprintf("Create for %v under %+v", j.Owner, l), err, store.ErrLimit)
	e.same("what a refused Create returns", got, job.Job{})
	_, err = e.Peek(e.ctx, store.Tenant(j.Tenant), j.ID)
	e.is("Peek at the refused job", err, store.ErrNotFound)
}

func createReturns(e *env) {
	j := e.newFor(north, ann(), "export")
	j.Key, j.Digest, j.TransactionTime = "key", "digest", e.clock.Now()
	got, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), store.Limit{PerOwner: 1, All: 1})
	e.ok("Create", err)
	e.same("what Create returns", got, j)
	e.same("the job", e.read(j), j)
	e.same("its units", e.tally(j), job.Tally{Queued: 1})
}

func limitOwner(e *env) {
	two := store.Limit{PerOwner: 2}
	for range 2 {
		e.admit(e.newFor(north, ann(), "export"), two)
	}
	e.overLimit(e.newFor(north, ann(), "export"), two)
	for range 2 {
		e.admit(e.newFor(north, bob(), "export"), two)
		e.admit(e.newFor(north, job.Owner{Client: "app"}, "export"), two)
		e.admit(e.newFor(south, ann(), "export"), two)
		e.admit(e.newFor(north, ann(), "purge"), two)
	}
	e.overLimit(e.newFor(south, ann(), "export"), two)
	e.overLimit(e.newFor(north, job.Owner{Client: "app"}, "export"), two)
	e.admit(e.newFor(north, ann(), "export"), store.Limit{PerOwner: 3})
	e.overLimit(e.newFor(north, ann(), "export"), two)
	e.admit(e.newFor(north, ann(), "export"), store.Limit{})
}

func limitAll(e *env) {
	three := store.Limit{All: 3}
	e.admit(e.newFor(north, ann(), "export"), three)
	e.admit(e.newFor(north, bob(), "export"), three)
	e.admit(e.newFor("purges", ann(), "purge"), three)
	e.admit(e.newFor(south, ann(), "export"), three)
	for _, t := range []store.Tenant{north, south, "new"} {
		e.overLimit(e.newFor(t, ann(), "export"), three)
		e.overLimit(e.newFor(t, job.Owner{Client: "other"}, "export"), three)
	}
	e.admit(e.newFor(south, bob(), "export"), store.Limit{All: 4})
	e.admit(e.newFor(south, bob(), "export"), store.Limit{})
}

func limitBoth(e *env) {
	l := store.Limit{PerOwner: 2, All: 3}
	e.admit(e.newFor(north, ann(), "export"), l)
	e.admit(e.newFor(north, ann(), "export"), l)
	e.overLimit(e.newFor(north, ann(), "export"), l)
	e.admit(e.newFor(north, bob(), "export"), l)
	e.overLimit(e.newFor(north, bob(), "export"), l)
	e.overLimit(e.newFor(south, ann(), "export"), l)
}

func limitWritesNothing(e *env) {
	one := store.Limit{PerOwner: 1}
	first := e.admit(e.newFor(north, ann(), "export"), one)
	refused := e.newFor(north, ann(), "export")
	e.overLimit(refused, one)
	e.overLimit(e.newFor("never-seen", bob(), "export"), store.Limit{All: 1})
	e.gone(refused)
	e.same("jobs", e.attended(e.clock.Now()), []string{first.ID})
	e.same("jobs of the owner", e.listed(north, ann(), 9), []string{first.ID})
	ids, fences := e.claimAll("export")
	e.that(len(ids) == 1 && fences[0].Job == first.ID, "claimed %+v", fences)
}

func limitRunning(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	j := e.admit(e.newFor(north, ann(), "export"), one)
	e.update(j, func(j job.Job) (job.Job, error) { return j.Start(e.clock.Now()) })
	e.overLimit(e.newFor(north, ann(), "export"), one)
	_, f := e.claim("export")
	e.succeed(f)
	e.overLimit(e.newFor(north, ann(), "export"), one) // its units have ended, not the job
}

// freed asserts that steps make room for one job more, each limit by itself.
func (e *env) freed(steps ...func(job.Job) (job.Job, error)) {
	e.Helper()
	for i, one := range []store.Limit{{PerOwner: 1}, {All: 1}, {PerOwner: 1, All: 1}} {
		kind := fmt.Sprint("kind-", i, e.newJob(north, "").ID)
		j := e.admit(e.newFor(north, ann(), kind), one)
		e.overLimit(e.newFor(north, ann(), kind), one)
		for _, step := range steps {
			e.update(j, step)
		}
		e.admit(e.newFor(north, ann(), kind), one)
		e.overLimit(e.newFor(north, ann(), kind), one)
	}
}

// The steps that a case takes a job through.
func (e *env) start(j job.Job) (job.Job, error)        { return j.Start(e.clock.Now()) }
func (e *env) succeedsJob(j job.Job) (job.Job, error)  { return j.Succeed(e.clock.Now()) }
func (e *env) requestStop(j job.Job) (job.Job, error)  { return j.RequestCancel(e.clock.Now()) }
func (e *env) stopped(j job.Job) (job.Job, error)      { return j.Stop(e.clock.Now()) }
func (e *env) dismissed(j job.Job) (job.Job, error)    { return j.Dismiss(e.clock.Now()) }
func (e *env) triedAgain(j job.Job) (job.Job, error)   { return j.Retry(e.clock.Now()) }
func (e *env) failsBecause(j job.Job) (job.Job, error) { return j.Fail(e.clock.Now(), why("failed")) }

func why(message string) job.Reason { return job.Reason{Code: "exception", Message: message} }

func limitCancelled(e *env) {
	e.freed(e.requestStop)
	e.freed(e.start, e.requestStop)
	e.freed(e.requestStop, e.stopped)
}

func limitDismissed(e *env) {
	e.freed(e.dismissed)
	e.freed(e.start, e.dismissed)
}

func limitEnded(e *env) {
	e.freed(e.start, e.succeedsJob)
	e.freed(e.failsBecause)
	e.freed(e.start, e.failsBecause)
}

func limitRemoved(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	j := e.admit(e.newFor(north, ann(), "export"), one)
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	e.admit(e.newFor(north, ann(), "export"), one)
}

func limitRetried(e *env) {
	one := store.Limit{PerOwner: 1}
	for _, steps := range [][]func(job.Job) (job.Job, error){
		{e.failsBecause, e.triedAgain}, {e.requestStop, e.stopped, e.triedAgain},
	} {
		j := e.admit(e.newFor(north, ann(), "export"), one)
		for _, step := range steps {
			e.update(j, step)
		}
		e.overLimit(e.newFor(north, ann(), "export"), one)
		e.update(j, e.requestStop)
	}
}

func idempotencyCases() []testCase {
	return []testCase{
		{"the same key and digest give the job that is there and write nothing", keyReplayed},
		{"the same key and digest give the job as it now stands", keyStands},
		{"the same key with another digest is ErrKeyReused", keyReused},
		{"a key is its tenant's, its owner's and its kind's", keyScope},
		{"keys differ by every character", keyForms},
		{"jobs without a key are each their own", keyNone},
		{"a key is free once its job was dismissed", keyDismissed},
		{"an expired job keeps its key until it is removed", keyExpired},
		{"a key is looked at before the limit", keyBeforeLimit},
		{"a job over the limit does not take its key", keyOverLimit},
	}
}

// keyed is a new job that was asked for under a key.
func (e *env) keyed(who store.Owner, kind, key, digest string) job.Job {
	j := e.newFor(e.tenant, who, kind)
	j.Key, j.Digest = key, digest
	return j
}

// again asserts that creating j is answered by the job that was there.
func (e *env) again(j, was job.Job, l store.Limit) {
	e.Helper()
	before := e.tally(was)
	got, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0), unit("more", 0), unit("later", 1)), l)
	e.ok("Create", err)
	e.same("the answer", got, was)
	e.same("the job", e.peek(was), was)
	e.same("its units", e.tally(was), before)
	if j.ID != was.ID {
		e.gone(j)
	}
}

func (e *env) peek(j job.Job) job.Job {
	e.Helper()
	got, err := e.Peek(e.ctx, store.Tenant(j.Tenant), j.ID)
	e.ok("Peek", err)
	return got
}

// reused asserts that j's key is another request's, and that nothing is written.
func (e *env) reused(j job.Job, l store.Limit) {
	e.Helper()
	got, err := e.Create(e.ctx, j, unitsOf(j, unit("a", 0)), l)
	e.is("Create", err, store.ErrKeyReused)
	e.same("what a refused Create returns", got, job.Job{})
	e.gone(j)
}

func keyReplayed(e *env) {
	was := e.admit(e.keyed(ann(), "export", "k", "d"), store.Limit{})
	j := e.keyed(ann(), "export", "k", "d")
	j.Request, j.Lifetime, j.Retries = json.RawMessage(`{"asked":"later"}`), time.Minute, 7
	e.again(j, was, store.Limit{})
	e.again(was, was, store.Limit{}) // under the same id
	e.same("jobs", e.listed(north, ann(), 9), []string{was.ID})
	_, fences := e.claimAll("export")
	e.same("units", len(fences), 1)
}

func keyStands(e *env) {
	was := e.admit(e.keyed(ann(), "export", "k", "d"), store.Limit{})
	for _, step := range []func(job.Job) (job.Job, error){e.start, e.failsBecause, e.triedAgain, e.requestStop, e.stopped} {
		was = e.update(was, step)
		e.again(e.keyed(ann(), "export", "k", "d"), was, store.Limit{})
	}
}

func keyReused(e *env) {
	was := e.admit(e.keyed(ann(), "export", "k", "d"), store.Limit{})
	for _, digest := range []string{"D", "d ", "", "another"} {
		e.reused(e.keyed(ann(), "export", "k", digest), store.Limit{})
	}
	was = e.update(was, e.failsBecause)
	e.reused(e.keyed(ann(), "export", "k", "another"), store.Limit{})
	e.again(e.keyed(ann(), "export", "k", "d"), was, store.Limit{})
	e.same("jobs", e.listed(north, ann(), 9), []string{was.ID})
}

func keyScope(e *env) {
	elsewhere := e.keyed(ann(), "export", "k", "another")
	elsewhere.Tenant = string(south)
	all := []job.Job{
		e.keyed(ann(), "export", "k", "d"), e.keyed(bob(), "export", "k", "d"), e.keyed(ann(), "purge", "k", "d"), elsewhere,
		e.keyed(job.Owner{Client: "app"}, "export", "k", "another"), e.keyed(job.Owner{Client: "other", User: "ann"}, "export", "k", "d"),
	}
	for _, j := range all {
		e.admit(j, store.Limit{})
	}
	for _, was := range all {
		j := was
		j.ID = e.newJob(north, "").ID
		e.again(j, was, store.Limit{})
	}
}

func keyForms(e *env) {
	var all []job.Job
	for _, key := range []string{"k", "K", " k", "k ", "kk", "é", "e\u0301", `"k"`, `';--%_\`, "0", "00", strings.Repeat("k", 255), strings.Repeat("k", 254)} {
		all = append(all, e.admit(e.keyed(ann(), "export", key, "d"), store.Limit{}))
	}
	for _, was := range all {
		e.again(e.keyed(ann(), "export", was.Key, "d"), was, store.Limit{})
	}
}

func keyNone(e *env) {
	for _, digest := range []string{"", "d", "d", ""} {
		e.admit(e.keyed(ann(), "export", "", digest), store.Limit{})
	}
	e.same("jobs", len(e.listed(north, ann(), 9)), 4)
}

func keyDismissed(e *env) {
	for i, digest := range []string{"d", "d", "another"} {
		j := e.admit(e.keyed(ann(), "export", "k", digest), store.Limit{})
		e.again(e.keyed(ann(), "export", "k", digest), j, store.Limit{})
		if i%2 == 0 {
			e.update(j, e.failsBecause) // an ended one is dismissed as well as one that is under way
		}
		e.update(j, e.dismissed)
	}
	e.same("jobs that are kept", len(e.attended(e.clock.Now())), 3)
}

func keyExpired(e *env) {
	e.clock.stop()
	was := e.admit(e.keyed(ann(), "export", "k", "d"), store.Limit{})
	e.update(was, e.start)
	was = e.update(was, e.succeedsJob)
	e.clock.advance(was.Lifetime + 48*time.Hour)
	e.that(was.Poll(e.clock.Now()) == job.NotThereNow, "the job has not expired")
	e.again(e.keyed(ann(), "export", "k", "d"), was, store.Limit{})
	e.reused(e.keyed(ann(), "export", "k", "another"), store.Limit{})
	e.ok("Remove", e.Remove(e.ctx, north, was.ID))
	e.admit(e.keyed(ann(), "export", "k", "another"), store.Limit{})
}

func keyBeforeLimit(e *env) {
	one := store.Limit{PerOwner: 1, All: 1}
	was := e.admit(e.keyed(ann(), "export", "k", "d"), one)
	e.again(e.keyed(ann(), "export", "k", "d"), was, one)
	e.reused(e.keyed(ann(), "export", "k", "another"), one)
	e.overLimit(e.keyed(ann(), "export", "new", "d"), one)
}

func keyOverLimit(e *env) {
	one := store.Limit{PerOwner: 1}
	first := e.admit(e.newFor(north, ann(), "export"), one)
	e.overLimit(e.keyed(ann(), "export", "k", "d"), one)
	e.update(first, e.requestStop)
	e.admit(e.keyed(ann(), "export", "k", "another"), one)
}
