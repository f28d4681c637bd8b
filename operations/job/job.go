// Package job holds jobs and units as plain values, their transitions as pure
// functions, and the verdict that every poll gives. It knows no goroutine, no
// clock, no store, and not what any job does.
//
// A job is planned once into units; units are claimed, worked on and ended.
//
//	queued ──Start──► running ──Succeed──► succeeded
//	   │                 ├────Fail───────► failed ────Retry──► queued
//	   └───RequestCancel─┴────Stop───────► cancelled ─Retry──► queued
//
// The last three are final. All else is a fact beside the state: that a cancel
// was requested, that the job was dismissed, when it expires, why it failed.
package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State of a job.
type State string

// The five states.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Final tells whether nothing but Retry leads out of the state.
func (s State) Final() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Owner is whom a job or a resource belongs to: a client, and the user it acts
// for. User is "" for a client alone.
type Owner struct {
	Client string `json:"client"`
	User   string `json:"user,omitempty"`
}

// Reason says to a person why a job or a unit failed, and what to do next. It
// holds no resource's content.
type Reason struct {
	Code    string `json:"code"` // an issue type of R4
	Message string `json:"message"`
}

// Job is what was asked, by whom, and how far it is. The zero time is "not".
type Job struct {
	ID      string          `json:"id"`   // a ULID: unguessable, in order of creation
	Kind    string          `json:"kind"` // which operation: "export"
	Tenant  string          `json:"tenant"`
	Owner   Owner           `json:"owner"`
	State   State           `json:"state"`
	Request json.RawMessage `json:"request"` // what was asked, in the operation's own words
	// Key is the client's Idempotency-Key, and Digest a hash of all that was
	// asked under it; both "" where the client sent none.
	Key    string `json:"key,omitempty"`
	Digest string `json:"digest,omitempty"`

	TransactionTime time.Time     `json:"transactionTime"` // T: the instant whose data the job is about
	Created         time.Time     `json:"created"`
	Started         time.Time     `json:"started"`
	Ended           time.Time     `json:"ended"`
	Lifetime        time.Duration `json:"lifetime"` // how long results are kept after the end
	Expires         time.Time     `json:"expires"`
	CancelRequested time.Time     `json:"cancelRequested"`
	Dismissed       time.Time     `json:"dismissed"`
	ArtifactsGone   time.Time     `json:"artifactsGone"`
	Error           *Reason       `json:"error,omitempty"`
	Retries         int           `json:"retries,omitempty"`
	// Restarts is how often it began anew. A count of its units from before is
	// not about it any more.
	Restarts int `json:"restarts,omitempty"`
}

// ErrTransition is what a step answers that does not lead on from the state.
var ErrTransition = errors.New("job: no such step from this state")

func (j Job) refuse(step string) (Job, error) {
	return j, fmt.Errorf("%w: %s from %s", ErrTransition, step, j.State)
}

// Start notes that work has begun. A running job stays as it is.
func (j Job) Start(now time.Time) (Job, error) {
	switch {
	case j.State == Running:
		return j, nil
	case j.State != Queued || !j.CancelRequested.IsZero():
		return j.refuse("start")
	}
	j.State, j.Started = Running, now
	return j, nil
}

// Succeed ends a running job that did all it planned.
func (j Job) Succeed(now time.Time) (Job, error) {
	if j.State != Running || !j.CancelRequested.IsZero() {
		return j.refuse("succeed")
	}
	return j.end(Succeeded, now), nil
}

// Fail ends a queued or running job with the reason.
func (j Job) Fail(now time.Time, why Reason) (Job, error) {
	if j.State.Final() || !j.CancelRequested.IsZero() {
		return j.refuse("fail")
	}
	j.Error = &why
	return j.end(Failed, now), nil
}

// RequestCancel asks a queued or running job to stop. The poll says so from
// now on, though work may still be stopping. Asking twice changes nothing.
func (j Job) RequestCancel(now time.Time) (Job, error) {
	if j.State.Final() {
		return j.refuse("cancel")
	}
	if j.CancelRequested.IsZero() {
		j.CancelRequested = now
	}
	return j, nil
}

// Stop ends a job whose cancel was requested, once no unit of it is at work.
func (j Job) Stop(now time.Time) (Job, error) {
	if j.State.Final() || j.CancelRequested.IsZero() {
		return j.refuse("stop")
	}
	return j.end(Cancelled, now), nil
}

// Retry puts a failed or cancelled job back; what succeeded in it stays. One
// that is dismissed or expired is going, with what succeeded.
func (j Job) Retry(now time.Time) (Job, error) {
	if j.State != Failed && j.State != Cancelled || j.Poll(now) == NotThereNow {
		return j.refuse("retry")
	}
	j.State, j.Error = Queued, nil
	j.Ended, j.Expires, j.CancelRequested = time.Time{}, time.Time{}, time.Time{}
	j.Retries++
	return j, nil
}

// BeginAnew notes that what was done after the job's first phase is to be done
// again. A job that has ended, or was asked to, does not begin anew.
func (j Job) BeginAnew() (Job, error) {
	if j.State.Final() || !j.CancelRequested.IsZero() {
		return j.refuse("begin anew")
	}
	j.Restarts++
	return j, nil
}

// Dismiss makes a job absent to its owner, whatever its state: one that is not
// final is asked to stop. Dismissing twice changes nothing.
func (j Job) Dismiss(now time.Time) (Job, error) {
	if !j.State.Final() && j.CancelRequested.IsZero() {
		j.CancelRequested = now
	}
	if j.Dismissed.IsZero() {
		j.Dismissed = now
	}
	return j, nil
}

func (j Job) end(s State, now time.Time) Job {
	j.State, j.Ended, j.Expires = s, now, now.Add(j.Lifetime)
	return j
}

// Verdict is what a poll finds.
type Verdict uint8

// The five verdicts. Each protocol has one table from them to its words.
const (
	Pending     Verdict = iota // not ended yet
	Ready                      // results are there
	GaveUp                     // failed; Job.Error says why
	WasStopped                 // cancelled, or being cancelled
	NotThereNow                // dismissed or expired: as if it had never been
)

// Poll is the verdict at an instant.
func (j Job) Poll(now time.Time) Verdict {
	switch {
	case !j.Dismissed.IsZero(), j.State.Final() && !now.Before(j.Expires):
		return NotThereNow
	case !j.CancelRequested.IsZero(), j.State == Cancelled:
		return WasStopped
	case j.State == Succeeded:
		return Ready
	case j.State == Failed:
		return GaveUp
	}
	return Pending
}

// DiscardAt is from when all that the job left may be removed; zero while it is
// not final.
func (j Job) DiscardAt() time.Time {
	switch {
	case !j.State.Final():
		return time.Time{}
	case !j.Dismissed.IsZero():
		return j.Dismissed
	}
	return j.Expires
}

// Discard tells whether all that the job left can be removed: it is dismissed
// or expired, and nothing of it is at work any more.
func (j Job) Discard(now time.Time) bool {
	return j.State.Final() && j.Poll(now) == NotThereNow
}
