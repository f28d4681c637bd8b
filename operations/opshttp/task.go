package opshttp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// Task is an operation that leaves no files: what it did is shown as one
// resource. It is started with POST only, as it may change what is stored.
type Task struct {
	Kind   string // of its jobs
	Name   string // for messages: "$purge"
	Routes []TaskRoute
	// Status is where its jobs are polled, cancelled and retried, below the
	// base; ":job" for the id: "/jobs/:job/result".
	Status string
	// Live: a poll is answered 200 with the resource from the first moment, and
	// so is a cancel; else a poll is 202 until the end, and then 200 with a
	// Bundle that has the resource.
	Live bool
	// Kickoff starts a job, or answers why not.
	Kickoff func(ctx context.Context, p auth.Principal, c TaskCall) (job.Job, error)
	// Result is the resource that shows how far a job is, or what it did, as
	// JSON. It is asked of a job in any state, but of none that is dismissed.
	Result func(ctx context.Context, j job.Job) ([]byte, error)
	// MayRetry refuses to have a job tried again; nil: whoever owns it may. It is
	// asked once more when the limit refused, and may then say what is in the way.
	MayRetry func(ctx context.Context, p auth.Principal, j job.Job) error
	// Preview is a task without routes that Kickoff may start instead, as a
	// client may ask to be shown first. It is registered by itself. nil: none.
	Preview *Task
	// Limit is how many jobs may be under way when one is tried again: what
	// Kickoff holds new ones to.
	Limit store.Limit
}

// TaskRoute is a way to kick a task off.
type TaskRoute struct {
	Name      string // what TaskCall.Route will be
	Path      string // below the FHIR base; ":id" for an id
	AsyncOnly bool   // no one may wait for the result: respond-async is required
	Async     bool   // no one waits for the result, whatever a client prefers
}

// TaskCall is the kick-off of a task in plain values.
type TaskCall struct {
	Route string // the TaskRoute's Name
	ID    string // the path's id, if the route has one
	// Params are what the body or else the URL says, without _format; those of
	// one name in the order in which they were sent. Type is "String", "Id",
	// "Code", "Boolean", "Date", "DateTime" or "Instant"; "" in the URL, which says none.
	Params  []fhir.Parameter
	Lenient bool   // Prefer: handling=lenient
	Key     string // Idempotency-Key; "": none
	// Announce is to be called as that of Call.
	Announce Announce
}

// waiting is the Wait of a Config that says none.
const waiting = 10 * time.Second

// RegisterTask adds a task's routes to g, the FHIR base. The principal is in
// the request's context: see auth.PrincipalOf.
func RegisterTask(g *echo.Group, cfg Config, t Task, middleware ...echo.MiddlewareFunc) {
	if cfg.Wait == 0 {
		cfg.Wait = waiting
	}
	h := taskHandler{ofKind{cfg, t.Kind}, t}
	for _, r := range t.Routes {
		g.POST(r.Path, h.kickoff(r), append([]echo.MiddlewareFunc{fhirhttp.Negotiate}, middleware...)...)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, t.Status, h.status, middleware...)
	g.PUT(t.Status, h.retry, middleware...)
	g.DELETE(t.Status, h.cancel, middleware...)
}

type taskHandler struct {
	ofKind
	task Task
}

// kickoff answers 202 and where to poll, or waits for the end.
func (h taskHandler) kickoff(r TaskRoute) echo.HandlerFunc {
	return func(c echo.Context) error {
		prefer := fhirhttp.ParsePrefer(c.Request().Header)
		if r.AsyncOnly && !prefer.RespondAsync {
			return errAsyncOnly(h.task.Name)
		}
		params, err := taskParameters(c, h.MaxBody)
		if err != nil {
			return err
		}
		key, err := idempotencyKey(c.Request())
		if err != nil {
			return err
		}
		ctx := c.Request().Context()
		j, err := h.start(c, func(announce Announce) (job.Job, error) {
			return h.task.Kickoff(ctx, auth.PrincipalOf(ctx), TaskCall{
				Route: r.Name, ID: c.Param("id"), Params: params, Lenient: prefer.Handling == "lenient", Key: key,
				Announce: announce,
			})
		})
		if err != nil {
			return err
		}
		h := h.of(j)
		switch {
		case prefer.RespondAsync:
			return accepted(c, h.statusURL(c, j))
		case r.Async:
			c.Response().Header().Set("Content-Location", h.statusURL(c, j))
			return c.NoContent(http.StatusAccepted)
		}
		return h.await(c, j)
	}
}

// of is the handler of a job that was kicked off.
func (h taskHandler) of(j job.Job) taskHandler {
	if p := h.task.Preview; p != nil && j.Kind == p.Kind {
		return taskHandler{ofKind{h.Config, p.Kind}, *p}
	}
	return h
}

func (h taskHandler) statusURL(c echo.Context, j job.Job) string {
	return statusURL(c, h.task.Status, j.ID)
}

// await answers a kick-off with what became of its job. A client that goes
// away, or waits too long, leaves the job to itself.
func (h taskHandler) await(c echo.Context, j job.Job) error {
	now, verdict, err := h.ended(c, j.ID, h.Wait)
	switch {
	case fhir.KindOf(err) == fhir.NotFound:
		return fhir.Errorf(fhir.Conflict, "the job was cancelled or deleted while this request waited for its end; what it had done by then stays done").Because(err)
	case err != nil:
		return err
	case verdict == job.Ready:
		return h.show(c, http.StatusOK, now)
	case verdict == job.GaveUp:
		return fhirhttp.Outcome(c, failed(now), failure(now))
	}
	poll := h.statusURL(c, j)
	c.Response().Header().Set("Content-Location", poll)
	return fhirhttp.Outcome(c, http.StatusAccepted, fhir.Issue{
		Severity: fhir.Information, Code: fhir.CodeIncomplete,
		Diagnostics: h.task.Name + " is not done yet, and goes on. Ask for its result with GET " + poll,
	})
}

// show answers with the task's own resource. Caches keep nothing of it, as it
// changes, and may name patients.
func (h taskHandler) show(c echo.Context, status int, j job.Job) error {
	body, err := h.task.Result(c.Request().Context(), j)
	if err != nil {
		return busy(err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return fhirhttp.JSON(c, status, body)
}

// status answers a poll.
func (h taskHandler) status(c echo.Context) error {
	if h.task.Live {
		j, verdict, err := h.job(c)
		if err == nil && verdict == job.Pending {
			err = h.setProgress(c, j)
		}
		if err != nil {
			return err
		}
		return h.show(c, http.StatusOK, j)
	}
	j, verdict, err := h.ended(c, c.Param("job"), patience)
	switch {
	case err != nil:
		return err
	case verdict == job.Pending:
		return h.pending(c, j)
	}
	return h.bundle(c, j)
}

// bundle answers the poll of a job that has ended: a failure of the operation
// is no failure of the poll (Asynchronous Interaction Request Pattern).
func (h taskHandler) bundle(c echo.Context, j job.Job) error {
	result, err := h.task.Result(c.Request().Context(), j)
	if err != nil {
		return busy(err)
	}
	body, err := batchResponse(j, result)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	c.Response().Header().Set("Expires", j.Expires.UTC().Format(http.TimeFormat))
	return fhirhttp.JSON(c, http.StatusOK, body)
}

// retry answers PUT: what was not done of a job that failed is tried again.
func (h taskHandler) retry(c echo.Context) error {
	j, verdict, err := h.job(c)
	switch {
	case err != nil:
		return err
	case verdict == job.Ready:
		return fhir.Errorf(fhir.Conflict, "the job has succeeded, so there is nothing to try again; start a new one with POST")
	case verdict == job.Pending:
		return fhir.Errorf(fhir.Conflict, "the job is under way; only one that has failed can be tried again")
	}
	if _, err := h.again(c, j, h.task.Limit, h.task.MayRetry); err != nil {
		return err
	}
	c.Response().Header().Set("Content-Location", h.statusURL(c, j))
	return c.NoContent(http.StatusAccepted)
}

// again has a job that has ended tried again, if the caller may and that is
// recorded.
func (h ofKind) again(c echo.Context, j job.Job, l store.Limit, may func(context.Context, auth.Principal, job.Job) error) (job.Job, error) {
	ctx := c.Request().Context()
	if may == nil {
		may = func(context.Context, auth.Principal, job.Job) error { return nil }
	}
	if err := may(ctx, auth.PrincipalOf(ctx), j); err != nil {
		return j, busy(err)
	}
	e := h.event(c, job.Retried)
	e.Job = j.ID
	if err := h.record(ctx, e); err != nil {
		return j, err
	}
	now, err := h.Store.Retry(ctx, store.Tenant(j.Tenant), j.ID, h.Now(), l)
	if errors.Is(err, store.ErrLimit) { // another was faster, and can be named now
		if named := may(ctx, auth.PrincipalOf(ctx), j); named != nil {
			err = named
		}
	}
	if err != nil {
		return j, h.notRetried(c, e, err)
	}
	return now, nil
}

// notRetried records that a retry came to nothing, and words why.
func (h ofKind) notRetried(c echo.Context, e job.Event, err error) error {
	e.Refused, e.Detail = true, "the job was not tried again"
	if notRecorded := h.record(c.Request().Context(), e); notRecorded != nil {
		return notRecorded
	}
	if errors.Is(err, job.ErrTransition) {
		return fhir.Errorf(fhir.Conflict, "the job is not a failed one any more; ask for its status with GET").Because(err)
	}
	return refusedStart(c, err)
}

// cancel answers DELETE: the job is gone for its owner at once, and its work
// stops. Where polls are live the answer shows how far it came, so the job is
// cancelled first, which keeps its record, and dismissed when that was read. A
// crash in between leaves a job that is cancelled: absent to polls, and to be
// found in the list of jobs until it expires.
func (h taskHandler) cancel(c echo.Context) error {
	if !h.task.Live {
		return h.dismiss(c)
	}
	j, err := h.stop(c, func(j job.Job, now time.Time) (job.Job, error) {
		if j.State.Final() {
			return j, nil
		}
		return j.RequestCancel(now)
	})
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.Request().Context())
	body, unread := h.task.Result(ctx, j)
	_, err = h.Store.Update(ctx, store.Tenant(j.Tenant), j.ID, func(j job.Job) (job.Job, error) {
		return j.Dismiss(h.Now())
	})
	if err = errors.Join(err, unread); err != nil {
		return busy(err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return fhirhttp.JSON(c, http.StatusAccepted, body)
}
