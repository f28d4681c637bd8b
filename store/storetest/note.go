package storetest

import (
	"encoding/json"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func noteCases() []testCase {
	return []testCase{
		{"Note notes what a unit is to erase and what it did, and the last note counts", noteGives},
		{"the end that succeeded has the last word on what a unit did", noteResult},
		{"what was noted stays when the unit is lost, put back, given up and tried again", noteStays},
		{"a unit tells when it was last claimed, noted, erased under, ended or put back", noteUpdated},
		{"a note is its unit's own", noteApart},
		{"what was noted is there after the store was opened again", noteDurable},
	}
}

func (e *env) note(f store.Fence, versions int64, result string) {
	e.Helper()
	e.ok("Note", e.Note(e.ctx, f, job.Erased{Versions: versions, Resources: versions / 2}, json.RawMessage(result)))
}

// noted asserts what the first unit of a job says.
func (e *env) noted(j job.Job, versions int64, result string) job.Unit {
	e.Helper()
	u := e.unitsOf(j, 9)[0]
	e.same("what it is to erase", u.Total, job.Erased{Versions: versions, Resources: versions / 2})
	e.same("what it did", string(u.Result), result)
	return u
}

const didThis, didThat = `{"detached":["List/1"],"of":"Zoë $this"}`, `[1,{"a":null}]`

func noteGives(e *env) {
	j := e.create("purge", unit("a", 0))
	e.noted(j, 0, "")
	_, f := e.claim("purge")
	e.note(f, 10, didThis)
	e.noted(j, 10, didThis)
	e.note(f, 12, didThat)
	u := e.noted(j, 12, didThat)
	e.that(u.State == job.Running && u.Attempt == 1 && u.Erased == (job.Erased{}) && string(u.Args) == `{"of":"a"}`, "the unit is %+v", u)
	e.ok("Note nothing", e.Note(e.ctx, f, job.Erased{}, nil))
	e.noted(j, 0, "")
	e.same("the tally", e.tally(j).Erased, job.Erased{})
}

func noteResult(e *env) {
	for kind, c := range map[string]struct {
		end  job.UnitEnd
		want string
	}{
		"succeeded":      {job.UnitEnd{State: job.Succeeded, Result: json.RawMessage(didThat)}, didThat},
		"without result": {job.UnitEnd{State: job.Succeeded}, didThis},
		"put back":       {job.UnitEnd{State: job.Queued, Result: json.RawMessage(didThat)}, didThis},
		"failed":         {job.UnitEnd{State: job.Failed, Result: json.RawMessage(didThat)}, didThis},
	} {
		j := e.create(kind, unit("a", 0))
		_, f := e.claim(kind)
		e.note(f, 10, didThis)
		e.end(f, c.end)
		e.noted(j, 10, c.want)
	}
	j := e.create("never noted", unit("a", 0))
	_, f := e.claim("never noted")
	e.end(f, job.UnitEnd{State: job.Succeeded, Result: json.RawMessage(didThat)})
	e.noted(j, 0, didThat)
}

func noteStays(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	j := e.create("purge", unit("a", 0))
	_, f := e.claim("purge")
	e.note(f, 10, didThis)
	e.erase(f, e.refsTo("Patient/1"))
	stays := func(what string, u job.Unit) {
		e.Helper()
		e.same(what, u.Erased, job.Erased{Versions: 1, Resources: 1})
		e.that(u.Total.Versions == 10 && string(u.Result) == didThis, "%s it is %+v", what, u)
	}
	e.clock.advance(lease + time.Millisecond)
	u, f := e.claim("purge")
	stays("after it was lost", u)
	e.end(f, job.UnitEnd{State: job.Queued, Erred: true})
	stays("put back", e.unitsOf(j, 9)[0])
	u, f = e.claim("purge")
	stays("claimed again", u)
	e.fails(f, "for good")
	e.update(j, e.failsBecause)
	stays("given up", e.unitsOf(j, 9)[0])
	e.retry(j)
	stays("tried again", e.unitsOf(j, 9)[0])
}

func noteUpdated(e *env) {
	e.clock.stop()
	e.commit(write("Patient/1", "a"))
	j := e.create("purge", unit("a", 0))
	was := time.Time{}
	updated := func(what string, now bool) {
		e.Helper()
		if now {
			was = e.clock.Now()
		}
		u := e.unitsOf(j, 9)[0]
		e.that(u.Updated.Equal(was), "%s: updated at %v, want %v", what, u.Updated, was)
		e.clock.advance(time.Second)
	}
	updated("created", false)
	u, f := e.claim("purge")
	e.that(u.Updated.Equal(e.clock.Now()), "claimed at %v: %+v", e.clock.Now(), u)
	updated("claimed", true)
	e.ok("Renew", e.Renew(e.ctx, f, lease))
	updated("renewed", false)
	e.note(f, 1, didThis)
	updated("noted", true)
	e.erase(f, e.refsTo("Patient/1"))
	updated("erased under", true)
	e.erase(f)
	updated("erased nothing under", true)
	e.end(f, job.UnitEnd{State: job.Queued})
	updated("put back", true)
	_, f = e.claim("purge")
	updated("claimed again", true)
	e.fails(f, "for good")
	updated("given up", true)
	e.update(j, e.failsBecause)
	updated("when the job failed", false)
	e.retry(j)
	updated("tried again", true)
	_, f = e.claim("purge")
	updated("claimed again", true)
	e.succeed(f)
	updated("ended", true)
}

func noteApart(e *env) {
	j := e.create("purge", unit("a", 0), unit("b", 0))
	other := e.createIn(south, "purge", unit("a", 0))
	_, fences := e.claimAll("purge")
	for _, f := range fences {
		if f.Tenant == north && f.Unit == "a" {
			e.note(f, 10, didThis)
		}
	}
	e.noted(j, 10, didThis)
	e.noted(other, 0, "")
	b := e.unitsOf(j, 9)[1]
	e.that(b.Total == (job.Erased{}) && b.Result == nil, "the other is %+v", b)
}

func noteDurable(e *env) {
	e.needReopen()
	j := e.create("purge", unit("a", 0))
	_, f := e.claim("purge")
	e.note(f, 10, didThis)
	was := e.unitsOf(j, 9)[0].Updated
	e.reopen()
	u := e.noted(j, 10, didThis)
	e.that(u.Updated.Equal(was), "updated at %v, want %v", u.Updated, was)
}
