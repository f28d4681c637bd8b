package job_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	earlier = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	now     = earlier.Add(time.Hour)
)

const lifetime = 24 * time.Hour

// allDone is a tally with nothing left to do.
var allDone = job.Tally{Succeeded: 1}

// steps are the columns of the table below.
var steps = []struct {
	name string
	do   func(job.Job) (job.Job, error)
}{
	{"Start", func(j job.Job) (job.Job, error) { return j.Start(now) }},
	{"Succeed", func(j job.Job) (job.Job, error) { return j.Succeed(now) }},
	{"Fail", func(j job.Job) (job.Job, error) { return j.Fail(now, job.Reason{Code: "exception", Message: "why"}) }},
	{"RequestCancel", func(j job.Job) (job.Job, error) { return j.RequestCancel(now) }},
	{"Stop", func(j job.Job) (job.Job, error) { return j.Stop(now) }},
	{"Retry", func(j job.Job) (job.Job, error) { return j.Retry(now) }},
	{"Dismiss", func(j job.Job) (job.Job, error) { return j.Dismiss(now) }},
	{"Settle", func(j job.Job) (job.Job, error) { return j.Settle(allDone, now) }},
}

// table is every state with every fact, and where each step leads from it.
// After the colon: c, cancel was requested; d, dismissed. "-" is ErrTransition.
const table = `
from          Start      Succeed    Fail      RequestCancel Stop         Retry   Dismiss       Settle
queued        running    -          failed    queued:c      -            -       queued:cd     succeeded
queued:c      -          -          -         queued:c      cancelled:c  -       queued:cd     cancelled:c
queued:d      running:d  -          failed:d  queued:cd     -            -       queued:cd     succeeded:d
queued:cd     -          -          -         queued:cd     cancelled:cd -       queued:cd     cancelled:cd
running       running    succeeded  failed    running:c     -            -       running:cd    succeeded
running:c     running:c  -          -         running:c     cancelled:c  -       running:cd    cancelled:c
running:d     running:d  succeeded:d failed:d running:cd    -            -       running:cd    succeeded:d
running:cd    running:cd -          -         running:cd    cancelled:cd -       running:cd    cancelled:cd
succeeded     -          -          -         -             -            -       succeeded:d   succeeded
succeeded:c   -          -          -         -             -            -       succeeded:cd  succeeded:c
succeeded:d   -          -          -         -             -            -       succeeded:d   succeeded:d
succeeded:cd  -          -          -         -             -            -       succeeded:cd  succeeded:cd
failed        -          -          -         -             -            queued  failed:d      failed
failed:c      -          -          -         -             -            queued  failed:cd     failed:c
failed:d      -          -          -         -             -            -       failed:d      failed:d
failed:cd     -          -          -         -             -            -       failed:cd     failed:cd
cancelled     -          -          -         -             -            queued  cancelled:d   cancelled
cancelled:c   -          -          -         -             -            queued  cancelled:cd  cancelled:c
cancelled:d   -          -          -         -             -            -       cancelled:d   cancelled:d
cancelled:cd  -          -          -         -             -            -       cancelled:cd  cancelled:cd
`

// at makes a job as a cell of the table says.
func at(cell string) job.Job {
	state, facts, _ := strings.Cut(cell, ":")
	j := job.Job{ID: "1", Kind: "export", Created: earlier, State: job.State(state), Lifetime: lifetime}
	if j.State != job.Queued {
		j.Started = earlier
	}
	if j.State.Final() {
		j.Ended, j.Expires = earlier, earlier.Add(lifetime)
	}
	if j.State == job.Failed {
		j.Error = &job.Reason{Code: "no-store", Message: "an earlier reason"}
	}
	if strings.Contains(facts, "c") {
		j.CancelRequested = earlier
	}
	if strings.Contains(facts, "d") {
		j.Dismissed = earlier
	}
	return j
}

// after is the job that a step makes of j, when it leads to a cell: what was
// so already keeps its instant, and what is new has now's.
func after(j job.Job, cell string) job.Job {
	state, facts, _ := strings.Cut(cell, ":")
	was := j.State
	j.State = job.State(state)
	if was == job.Queued && (j.State == job.Running || j.State == job.Succeeded) {
		j.Started = now
	}
	if !was.Final() && j.State.Final() {
		j.Ended, j.Expires = now, now.Add(lifetime)
	}
	if was != job.Failed && j.State == job.Failed {
		j.Error = &job.Reason{Code: "exception", Message: "why"}
	}
	if was.Final() && j.State == job.Queued {
		j.Ended, j.Expires, j.Error = time.Time{}, time.Time{}, nil
		j.Retries++
	}
	j.CancelRequested = fact(j.CancelRequested, strings.Contains(facts, "c"))
	j.Dismissed = fact(j.Dismissed, strings.Contains(facts, "d"))
	return j
}

func fact(was time.Time, holds bool) time.Time {
	switch {
	case !holds:
		return time.Time{}
	case was.IsZero():
		return now
	}
	return was
}

func TestEveryStepFromEveryState(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 1+5*4 {
		t.Fatalf("the table has %d rows", len(lines)-1)
	}
	head := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		for i, step := range steps {
			if head[i+1] != step.name {
				t.Fatalf("column %d is %s", i+1, head[i+1])
			}
			t.Run(step.name+" from "+cells[0], func(t *testing.T) { leads(t, cells[0], cells[i+1], step.do) })
		}
	}
}

// leads checks one cell of the table.
func leads(t *testing.T, from, to string, step func(job.Job) (job.Job, error)) {
	given, want := at(from), at(from)
	if to != "-" {
		want = after(given, to)
	}
	got, err := step(given)
	if refused := errors.Is(err, job.ErrTransition); refused != (to == "-") || err != nil && !refused {
		t.Errorf("error %v, want %s", err, to)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
	if diff := cmp.Diff(at(from), given); diff != "" {
		t.Errorf("the job that was given has changed\n%s", diff)
	}
}

func TestARefusalNamesTheStepAndTheState(t *testing.T) {
	_, err := at("succeeded").Stop(now)
	if err == nil || !strings.Contains(err.Error(), "stop from succeeded") {
		t.Error(err)
	}
}

func TestARetriedJobGoesTheWholeWayAgain(t *testing.T) {
	j := at("cancelled:c")
	for _, step := range []int{5, 0, 2, 5, 0, 1} { // Retry Start Fail, Retry Start Succeed
		var err error
		if j, err = steps[step].do(j); err != nil {
			t.Fatal(steps[step].name, err)
		}
	}
	if j.State != job.Succeeded || j.Retries != 2 || j.Error != nil || j.Poll(now) != job.Ready {
		t.Errorf("%+v", j)
	}
}

func TestOnlyAJobUnderWayBeginsAnew(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		from := strings.Fields(line)[0]
		want, refused := at(from), at(from).State.Final() || !at(from).CancelRequested.IsZero()
		if !refused {
			want.Restarts++
		}
		got, err := at(from).BeginAnew()
		if errors.Is(err, job.ErrTransition) != refused || err != nil && !refused {
			t.Errorf("%s: error %v", from, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (- want, + got)\n%s", from, diff)
		}
	}
}

func TestPollAtBeforeAndAfterTheEnd(t *testing.T) {
	expires := earlier.Add(lifetime)
	before, later := expires.Add(-time.Nanosecond), expires.Add(time.Nanosecond)
	type row struct {
		from                            string
		before, atExpires, afterExpires job.Verdict
	}
	for _, c := range []row{
		{"queued", job.Pending, job.Pending, job.Pending},
		{"running", job.Pending, job.Pending, job.Pending},
		{"succeeded", job.Ready, job.NotThereNow, job.NotThereNow},
		{"failed", job.GaveUp, job.NotThereNow, job.NotThereNow},
		{"cancelled", job.WasStopped, job.NotThereNow, job.NotThereNow},
		{"queued:c", job.WasStopped, job.WasStopped, job.WasStopped},
		{"running:c", job.WasStopped, job.WasStopped, job.WasStopped},
		{"cancelled:c", job.WasStopped, job.NotThereNow, job.NotThereNow},
		{"queued:cd", job.NotThereNow, job.NotThereNow, job.NotThereNow},
		{"running:cd", job.NotThereNow, job.NotThereNow, job.NotThereNow},
		{"running:d", job.NotThereNow, job.NotThereNow, job.NotThereNow},
		{"succeeded:d", job.NotThereNow, job.NotThereNow, job.NotThereNow},
		{"failed:d", job.NotThereNow, job.NotThereNow, job.NotThereNow},
		{"cancelled:cd", job.NotThereNow, job.NotThereNow, job.NotThereNow},
	} {
		j := at(c.from)
		got := row{c.from, j.Poll(before), j.Poll(expires), j.Poll(later)}
		if got != c {
			t.Errorf("got %v, want %v", got, c)
		}
	}
}

// Only what is final and absent to its owner may go: never what is at work.
func TestDiscardWaitsForTheEndOfWork(t *testing.T) {
	expires := earlier.Add(lifetime)
	type row struct {
		from          string
		before, atEnd bool
	}
	for _, c := range []row{
		{from: "queued"},
		{from: "queued:c"},
		{from: "queued:cd"},
		{from: "queued:d"},
		{from: "running"},
		{from: "running:c"},
		{from: "running:cd"},
		{from: "running:d"},
		{from: "succeeded", atEnd: true},
		{from: "failed", atEnd: true},
		{from: "cancelled", atEnd: true},
		{from: "cancelled:c", atEnd: true},
		{from: "succeeded:d", before: true, atEnd: true},
		{from: "failed:d", before: true, atEnd: true},
		{from: "cancelled:cd", before: true, atEnd: true},
	} {
		j := at(c.from)
		if before, at := j.Discard(expires.Add(-1)), j.Discard(expires); before != c.before || at != c.atEnd {
			t.Errorf("%s: %v before it expires and %v then", c.from, before, at)
		}
	}
}

func TestResultsAreKeptFromTheEndNotFromTheStart(t *testing.T) {
	j, err := at("running").Succeed(now)
	if err != nil || !j.Expires.Equal(now.Add(lifetime)) {
		t.Error(j.Expires, err)
	}
}

func TestSettleFollowsTheTally(t *testing.T) {
	lost := &job.Reason{Code: "exception", Message: "a unit's own reason"}
	for _, c := range []struct {
		name  string
		tally job.Tally
		want  string // from queued, from running
		stops string // from running with cancel requested
	}{
		{"no unit yet", job.Tally{}, "queued running", "cancelled:c"},
		{"all to do", job.Tally{Queued: 3}, "queued running", "cancelled:c"},
		{"one at work", job.Tally{Queued: 2, Running: 1}, "queued running", "running:c"},
		{"some done", job.Tally{Queued: 2, Succeeded: 1}, "queued running", "cancelled:c"},
		{"some done, one at work", job.Tally{Running: 1, Succeeded: 2}, "queued running", "running:c"},
		{"all done", job.Tally{Succeeded: 3}, "succeeded succeeded", "cancelled:c"},
		{"one failed, the rest done", job.Tally{Failed: 1, Succeeded: 2, Reason: lost}, "failed failed", "cancelled:c"},
		{"one failed, some to do", job.Tally{Failed: 1, Queued: 2, Reason: lost}, "failed failed", "cancelled:c"},
		{"one failed, one at work", job.Tally{Failed: 1, Running: 1, Reason: lost}, "queued running", "running:c"},
		{"all failed", job.Tally{Failed: 3, Reason: lost}, "failed failed", "cancelled:c"},
		{"one cancelled, the rest done", job.Tally{Cancelled: 1, Succeeded: 2}, "failed failed", "cancelled:c"},
		{"all cancelled", job.Tally{Cancelled: 2}, "failed failed", "cancelled:c"},
		{"one cancelled, one at work", job.Tally{Cancelled: 1, Running: 1}, "queued running", "running:c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants := append(strings.Fields(c.want), c.stops)
			for i, from := range []string{"queued", "running", "running:c"} {
				got, err := at(from).Settle(c.tally, now)
				if want, _, _ := strings.Cut(wants[i], ":"); err != nil || got.State != job.State(want) {
					t.Errorf("from %s: %s %v, want %s", from, got.State, err, wants[i])
				}
				if got.State == job.Failed && c.tally.Reason != nil && *got.Error != *lost {
					t.Errorf("from %s: the reason is %v", from, got.Error)
				}
				if got.State == job.Failed && (got.Error == nil || got.Error.Code == "" || got.Error.Message == "") {
					t.Errorf("from %s: failed without a reason: %v", from, got.Error)
				}
			}
		})
	}
}

// A job of which a unit did not succeed never says that it did.
func TestAJobThatSucceededDidAllOfItsUnits(t *testing.T) {
	for _, missing := range []job.Tally{{Queued: 1}, {Running: 1}, {Failed: 1}, {Cancelled: 1}} {
		missing.Succeeded = 99
		if j, err := at("running").Settle(missing, now); j.State == job.Succeeded || err != nil {
			t.Errorf("%+v: %s %v", missing, j.State, err)
		}
	}
}

func TestAJobThatHasExpiredIsNotTriedAgain(t *testing.T) {
	for _, state := range []job.State{job.Failed, job.Cancelled} {
		j := at(string(state))
		if _, err := j.Retry(j.Expires.Add(-time.Nanosecond)); err != nil {
			t.Errorf("%s, just before: %v", state, err)
		}
		got, err := j.Retry(j.Expires)
		if !errors.Is(err, job.ErrTransition) {
			t.Errorf("%s: %v", state, err)
		}
		if d := cmp.Diff(j, got); d != "" {
			t.Errorf("%s: %s", state, d)
		}
	}
}
