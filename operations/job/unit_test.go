package job_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestBackoffDoublesUpToAMinute(t *testing.T) {
	want := []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000, 60000}
	for errs, ms := range want {
		if got := (job.Unit{Errors: errs}).Backoff(); got != ms*time.Millisecond {
			t.Errorf("after %d errors and one more: %v, want %v", errs, got, ms*time.Millisecond)
		}
	}
	for _, errs := range []int{63, 64, 1 << 30} {
		if got := (job.Unit{Errors: errs}).Backoff(); got != time.Minute {
			t.Errorf("after %d errors: %v", errs, got)
		}
	}
}

func TestTheFifthErrorIsTheLast(t *testing.T) {
	for errs, want := range []bool{false, false, false, false, true, true} {
		if got := (job.Unit{Errors: errs}).Exhausted(); got != want {
			t.Errorf("error %d is the last: %v", errs+1, got)
		}
	}
}

func TestAUnitIsPoisonedWhenMoreThanTwentyWorkersWereLost(t *testing.T) {
	for lost, want := range map[int]bool{0: false, 1: false, 19: false, 20: false, 21: true, 22: true} {
		if got := (job.Unit{Lost: lost}).Poisoned(); got != want {
			t.Errorf("%d lost: %v", lost, got)
		}
	}
}

func TestErrorsAndLossesAreCountedApart(t *testing.T) {
	if (job.Unit{Lost: 20}).Exhausted() || (job.Unit{Errors: 20}).Poisoned() {
		t.Error("one counts for the other")
	}
}

func TestCountsAdd(t *testing.T) {
	got := job.Counts{Resources: 1, Bytes: 2, Planned: 3}.Add(job.Counts{Resources: 10, Bytes: 20, Planned: 30})
	if want := (job.Counts{Resources: 11, Bytes: 22, Planned: 33}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestWhatWasErasedAddsUp(t *testing.T) {
	got := job.Erased{Versions: 1, Resources: 2}.Add(job.Erased{Versions: 10, Resources: 20})
	if want := (job.Erased{Versions: 11, Resources: 22}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestAFailureShowsItsReasonAndKeepsItsCause(t *testing.T) {
	reason := job.Reason{Code: "not-found", Message: "the Group is not there"}
	err := fmt.Errorf("plan: %w", &job.Failure{Reason: reason, Permanent: true, Err: io.ErrUnexpectedEOF})
	f := (*job.Failure)(nil)
	if !errors.As(err, &f) || f.Reason != reason || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if got := f.Error(); got != "the Group is not there: unexpected EOF" {
		t.Error(got)
	}
	if got := (&job.Failure{Reason: reason}).Error(); got != reason.Message {
		t.Error(got)
	}
}

func TestPercentOfPlainTallies(t *testing.T) {
	for _, c := range []struct {
		tally job.Tally
		want  int
	}{
		{job.Tally{}, 0},
		{job.Tally{Queued: 1}, 0},
		{job.Tally{Queued: 1, Succeeded: 1}, 50},
		{job.Tally{Running: 1, Succeeded: 999}, 99},
		{job.Tally{Succeeded: 1}, 100},
		{job.Tally{Queued: 1, Succeeded: 1, Planned: 100, Done: job.Counts{Planned: 10}}, 10},
		{job.Tally{Running: 1, Succeeded: 1, Planned: 100, Done: job.Counts{Planned: 100}}, 99}, // a join is left
		{job.Tally{Running: 1, Succeeded: 1, Planned: 100, Done: job.Counts{Planned: 300}}, 99}, // the plan was too small
		{job.Tally{Failed: 1, Succeeded: 3, Planned: 100, Done: job.Counts{Planned: 75}}, 100},  // nothing is left to wait for
		{job.Tally{Queued: 1, Succeeded: 1, Planned: 4 << 50, Done: job.Counts{Planned: 1 << 50}}, 25},
		{job.Tally{Queued: 1, Succeeded: 1, Planned: 4 << 60, Done: job.Counts{Planned: 0}}, 0},
	} {
		if got := c.tally.Percent(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.tally, got, c.want)
		}
	}
}

func TestPercentOnlyGrowsAndIs100OnlyAtTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		planned := rapid.SliceOfN(rapid.Int64Range(0, 1<<45), 1, 30).Draw(t, "bytes of each unit")
		tally := job.Tally{Queued: len(planned)}
		for _, n := range planned {
			tally.Planned += n
		}
		last := tally.Percent()
		for i, n := range planned {
			if rapid.Bool().Draw(t, "seen while at work") {
				tally.Queued, tally.Running = tally.Queued-1, 1
				if p := tally.Percent(); p != last {
					t.Fatalf("a claim moved it from %d to %d", last, p)
				}
				tally.Queued, tally.Running = tally.Queued+1, 0
			}
			tally.Queued, tally.Succeeded = tally.Queued-1, tally.Succeeded+1
			tally.Done.Planned += n
			p := tally.Percent()
			if p < last || p < 0 || (p == 100) != (i == len(planned)-1) || p > 100 {
				t.Fatalf("%d after %d, with %d units to do", p, last, tally.Unfinished())
			}
			last = p
		}
	})
}

// instants are what a clock gives: in UTC, to the nanosecond, or none.
var instants = rapid.Custom(func(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "zero") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
})

var reasons = rapid.Custom(func(t *rapid.T) *job.Reason {
	if rapid.Bool().Draw(t, "none") {
		return nil
	}
	return &job.Reason{Code: rapid.String().Draw(t, "code"), Message: rapid.String().Draw(t, "message")}
})

var states = rapid.SampledFrom([]job.State{job.Queued, job.Running, job.Succeeded, job.Failed, job.Cancelled})

var documents = rapid.SampledFrom([]string{`{}`, `[1,2]`, `"x"`, `{"url":"http://127.0.0.1/fhir/$export?_type=Patient"}`})

func TestAJobIsTheSameAfterJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(what string) string { return rapid.String().Draw(t, what) }
		instant := func(what string) time.Time { return instants.Draw(t, what) }
		sameAfterJSON(t, job.Job{
			ID: text("id"), Kind: text("kind"), Tenant: text("tenant"), Owner: job.Owner{Client: text("client"), User: text("user")},
			State: states.Draw(t, "state"), Request: json.RawMessage(documents.Draw(t, "request")),
			TransactionTime: instant("T"), Created: instant("created"), Started: instant("started"), Ended: instant("ended"),
			Lifetime: time.Duration(rapid.Int64().Draw(t, "lifetime")), Expires: instant("expires"),
			CancelRequested: instant("cancel"), Dismissed: instant("dismissed"), ArtifactsGone: instant("gone"),
			Error: reasons.Draw(t, "error"), Retries: rapid.Int().Draw(t, "retries"), Restarts: rapid.Int().Draw(t, "restarts"),
		})
	})
}

func TestAUnitIsTheSameAfterJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(what string) string { return rapid.String().Draw(t, what) }
		number := func(what string) int { return rapid.Int().Draw(t, what) }
		u := job.Unit{
			Job: text("job"), Tenant: text("tenant"), Kind: text("kind"), ID: text("id"), Phase: number("phase"),
			State: states.Draw(t, "state"), Attempt: number("attempt"), Errors: number("errors"), Lost: number("lost"),
			RunAt: instants.Draw(t, "run at"), Reason: reasons.Draw(t, "reason"),
			Counts:  job.Counts{Resources: int64(number("resources")), Bytes: int64(number("bytes")), Planned: int64(number("planned"))},
			Erased:  job.Erased{Versions: int64(number("versions erased")), Resources: int64(number("resources erased"))},
			Total:   job.Erased{Versions: int64(number("versions to erase")), Resources: int64(number("resources to erase"))},
			Updated: instants.Draw(t, "updated"),
		}
		if rapid.Bool().Draw(t, "has a result") {
			u.Result = json.RawMessage(documents.Draw(t, "result"))
		}
		if rapid.Bool().Draw(t, "has args") {
			u.Args = json.RawMessage(documents.Draw(t, "args"))
		}
		sameAfterJSON(t, u)
	})
}

func sameAfterJSON[T any](t *rapid.T, v T) {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(doc, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, back); diff != "" {
		t.Fatalf("%s\n%s", doc, diff)
	}
}
