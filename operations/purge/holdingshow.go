package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
)

// holdingState is how far the purge of a holding is, counted from what is
// committed.
type holdingState struct {
	Holding
	resources                *int64 // that go; nil until that was counted
	erased                   job.Erased
	since                    *int // resources that were written since; nil until that was counted
	completed, failed, total int  // batches
	errors                   []batchError
	updated                  time.Time
	traces                   did
}

// batchError is why a batch failed.
type batchError struct {
	batchArgs
	unit, why string
}

// maxErrors is how many failed batches are told of.
const maxErrors = 100

func (x *Purge) holdingState(ctx context.Context, j job.Job) (s holdingState, err error) {
	if s.Holding, err = holdingOf(j); err != nil {
		return s, err
	}
	s.updated = later(j.Created, j.Started, j.Ended, j.CancelRequested)
	err = x.units(ctx, j, func(u job.Unit, what did) error {
		s.erased = s.erased.Add(u.Erased)
		s.updated = later(s.updated, u.Updated)
		switch done := u.State == job.Succeeded; {
		case u.ID == planUnit && done:
			s.resources = &what.Holding.Resources
		case u.Phase == purging:
			return s.batch(u)
		case u.Phase == finishing && done:
			s.traces = what
		case u.Phase == reading && done:
			s.since = &what.Holding.Since
		}
		return nil
	})
	if s.resources == nil { // what is planned so far is not all
		s.completed, s.failed, s.total = 0, 0, 0
	}
	return s, err
}

func later(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

func (s *holdingState) batch(u job.Unit) error {
	s.total++
	switch u.State {
	case job.Succeeded:
		s.completed++
	case job.Failed:
		s.failed++
		args, err := argsOf(u)
		if u.Reason != nil && len(s.errors) < maxErrors {
			s.errors = append(s.errors, batchError{args, u.ID, u.Reason.Message})
		}
		return err
	}
	return nil
}

// HoldingProgress shows a job of HoldingKind as a Parameters resource, and once
// it has ended an outcome in it.
func (x *Purge) HoldingProgress(ctx context.Context, j job.Job) ([]byte, error) {
	s, err := x.holdingState(ctx, j)
	if err != nil {
		return nil, err
	}
	out := []parameter{
		{Name: "status", ValueCode: string(shownState(j))},
		{Name: "transactionTime", ValueDateTime: millis(j.TransactionTime)},
	}
	for _, typ := range s.Types {
		out = append(out, parameter{Name: "type", ValueCode: typ})
	}
	if s.Before != "" {
		out = append(out, parameter{Name: "before", ValueDateTime: s.Before})
	}
	if s.resources != nil {
		out = append(out, number("resourceCount", *s.resources))
	}
	out = append(out, number("deletedCount", s.erased.Resources), number("deletedVersionsCount", s.erased.Versions))
	if s.resources != nil {
		out = append(out, parameter{Name: "batches", Part: []parameter{
			number("completed", int64(s.completed)), number("failed", int64(s.failed)), number("total", int64(s.total)),
		}})
	}
	if s.since != nil {
		out = append(out, number("writtenSinceCount", int64(*s.since)))
	}
	for _, e := range s.errors {
		out = append(out, parameter{Name: "error", Part: []parameter{
			{Name: "batch", ValueString: e.unit},
			{Name: "type", ValueCode: e.Range.Type},
			number("resourceCount", e.Resources),
			{Name: "message", ValueString: e.why},
		}})
	}
	if j.State.Final() {
		out = append(out, parameter{Name: "outcome", Resource: fhir.Outcome(s.issues(j)...)})
	}
	return json.Marshal(parameters{ResourceType: "Parameters", Parameter: out})
}

// shownState is the state of a job, to its owner: a cancel counts from when it
// was asked for.
func shownState(j job.Job) job.State {
	if !j.State.Final() && !j.CancelRequested.IsZero() {
		return job.Cancelled
	}
	return j.State
}

func (s holdingState) issues(j job.Job) []fhir.Issue {
	of := "what you own"
	if s.resources != nil {
		of = fmt.Sprintf("the %d resources that you own", *s.resources)
	}
	out := []fhir.Issue{inform("%d of %s are gone, and %d versions of them were erased", s.erased.Resources, of, s.erased.Versions)}
	if j.State != job.Succeeded {
		out[0].Severity, out[0].Code = fhir.Warning, fhir.CodeIncomplete
	}
	if s.since != nil && *s.since > 0 {
		out = append(out, inform("%d resources were written after %s, when this purge was asked for, and stay; purge again to remove them", *s.since, millis(j.TransactionTime)))
	}
	if j.State == job.Succeeded {
		out = append(out, inform("every version of every resource was read, and none is left of what was to go. What others own was not touched, and may name it still; %s", s.traces.reach()))
	}
	if j.Error != nil {
		out = append(out, fhir.Issue{Severity: fhir.Erroneous, Code: fhir.Code(j.Error.Code), Diagnostics: j.Error.Message})
	}
	return out
}

func millis(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// bulkJob is a job of HoldingKind as clients of 1upHealth's bulk purge know it.
type bulkJob struct {
	ID           string   `json:"id"`
	UserID       *string  `json:"userId"`
	ClientID     string   `json:"clientId"`
	TypeList     []string `json:"typeList"`
	BeforeDate   *string  `json:"beforeDate"`
	Status       string   `json:"status"`
	RetryCount   int      `json:"retryCount"`
	Created      *string  `json:"createdOn"`
	Initialized  *string  `json:"initializedOn"`
	Completed    *string  `json:"completedOn"`
	Updated      *string  `json:"lastUpdated"`
	Resources    *int64   `json:"resourceCount"`
	Deleted      int64    `json:"deletedCount"`
	*bulkBatches          // of a status only
	Error        string   `json:"error,omitempty"`
}

type bulkBatches struct {
	Completed int `json:"completedBatches"`
	Failed    int `json:"failedBatches"`
	Total     int `json:"totalBatches"`
}

// Bulk shows a job of HoldingKind in the JSON of 1upHealth's bulk purge. status:
// in answer to a request for its status, and not to the kick-off.
func (x *Purge) Bulk(ctx context.Context, j job.Job, status bool) ([]byte, error) {
	s, err := x.holdingState(ctx, j)
	if err != nil {
		return nil, err
	}
	b := bulkJob{
		ID: UUID(j.ID), UserID: given(j.Owner.User), ClientID: j.Owner.Client, TypeList: s.Types, BeforeDate: given(s.Before),
		Status: bulkStatus(j), RetryCount: j.Retries,
		Created: on(j.Created), Initialized: on(j.Started), Completed: on(j.Ended), Updated: on(s.updated),
		Resources: s.resources, Deleted: s.erased.Resources,
	}
	if b.TypeList == nil {
		b.TypeList = []string{}
	}
	if status {
		b.bulkBatches = &bulkBatches{s.completed, s.failed, s.total}
	}
	if j.State == job.Failed && j.Error != nil {
		b.Error = j.Error.Message
	}
	return json.Marshal(struct {
		Job bulkJob `json:"job"`
	}{b})
}

func bulkStatus(j job.Job) string {
	switch shownState(j) {
	case job.Succeeded:
		return "successful"
	case job.Failed:
		return "failed"
	case job.Cancelled:
		return "canceled"
	}
	return "in progress"
}

// given is nil for an empty text.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// on is nil for the zero time.
func on(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := millis(t)
	return &s
}
