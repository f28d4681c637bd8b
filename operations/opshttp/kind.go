package opshttp

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/labstack/echo/v4"
)

// ofKind is the jobs of one kind, as their owners reach them: what the routes
// of all operations share.
type ofKind struct {
	Config
	kind string
}

// statusURL is where a job is polled: the pattern, below the base, with its id.
func statusURL(c echo.Context, pattern, id string) string {
	return fhirhttp.Base(c) + strings.Replace(pattern, ":job", id, 1)
}

// absent is what everyone reads who asks for what is not theirs to see.
func absent() error {
	return fhir.Errorf(fhir.NotFound, "there is no such job or file: it never was, has expired, or was deleted")
}

// busy words errors of the store.
func busy(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, files.ErrNotFound):
		return absent()
	case errors.Is(err, store.ErrFull):
		return fhir.Errorf(fhir.Transient, "the server's disk is full; nothing was changed, try again later").With(fhir.CodeNoStore).Because(err)
	case errors.Is(err, store.ErrTransient):
		return fhir.Errorf(fhir.Transient, "the database does not answer now; try again in a moment").Because(err)
	case errors.Is(err, store.ErrClosed):
		return fhir.Errorf(fhir.Transient, "the server is shutting down; try again in a moment").Because(err)
	}
	return err
}

// job finds the caller's job that the path names, and the verdict of the poll.
func (h ofKind) job(c echo.Context) (job.Job, job.Verdict, error) {
	return h.find(c, c.Param("job"))
}

func (h ofKind) find(c echo.Context, id string) (job.Job, job.Verdict, error) {
	p := auth.PrincipalOf(c.Request().Context())
	j, err := h.Store.Job(c.Request().Context(), store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, id)
	if err != nil {
		return j, 0, busy(err)
	}
	verdict := j.Poll(h.Now())
	if j.Kind != h.kind || verdict == job.NotThereNow || verdict == job.WasStopped {
		return j, verdict, absent()
	}
	return j, verdict, nil
}

// patience is how long a poll of a job that is under way waits for its end, so
// that small work is done at the first poll. It holds nothing meanwhile.
const patience = 300 * time.Millisecond

// ended finds a job as find does, when it has ended or the time is over. It
// looks once more then, as a hint may have been missed.
func (h ofKind) ended(c echo.Context, id string, within time.Duration) (job.Job, job.Verdict, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), within)
	defer cancel()
	changes := h.Store.Watch(ctx)
	for over := false; ; {
		j, verdict, err := h.find(c, id)
		if err != nil || verdict != job.Pending || over {
			return j, verdict, err
		}
		select {
		case <-changes:
		case <-ctx.Done():
			over = true
		}
	}
}

// pending answers the poll of a job that is under way.
func (h ofKind) pending(c echo.Context, j job.Job) error {
	if err := h.setProgress(c, j); err != nil {
		return err
	}
	return c.NoContent(http.StatusAccepted)
}

// setProgress says in headers how far a job is, and when to ask again.
func (h ofKind) setProgress(c echo.Context, j job.Job) error {
	tally, err := h.Store.Tally(c.Request().Context(), store.Tenant(j.Tenant), j.ID)
	if err != nil {
		return busy(err)
	}
	header := c.Response().Header()
	header.Set("X-Progress", progress(j, tally))
	header.Set("Retry-After", strconv.Itoa(retryAfter(j, tally, h.Now())))
	return nil
}

// failure is why a job that failed did, for its owner to read.
func failure(j job.Job) fhir.Issue {
	return fhir.Issue{Severity: fhir.Erroneous, Code: fhir.Code(j.Error.Code), Diagnostics: j.Error.Message}
}

// failed is the status of a synchronous call that a failed job stands for.
func failed(j job.Job) int {
	if fhir.Code(j.Error.Code) == fhir.CodeConflict {
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// dismiss answers DELETE: the job is gone for its owner at once, running or
// not; its work stops, and then what it left and its record go.
func (h ofKind) dismiss(c echo.Context) error {
	if _, err := h.stop(c, job.Job.Dismiss); err != nil {
		return err
	}
	return c.NoContent(http.StatusAccepted)
}

// stop is halt of the caller's job that the path names.
func (h ofKind) stop(c echo.Context, step func(job.Job, time.Time) (job.Job, error)) (job.Job, error) {
	j, _, err := h.job(c)
	if err != nil {
		return j, err
	}
	return h.halt(c, j, step)
}

// halt has it recorded that the caller is done with a job, takes a step that
// ends its work, and returns the job when that has stopped.
func (h ofKind) halt(c echo.Context, j job.Job, step func(job.Job, time.Time) (job.Job, error)) (job.Job, error) {
	e := h.event(c, job.Dismissal)
	e.Job = j.ID
	if err := h.record(c.Request().Context(), e); err != nil {
		return j, err
	}
	// A client that has gone by now still wanted the job gone.
	j, err := h.Store.Update(context.WithoutCancel(c.Request().Context()), store.Tenant(j.Tenant), j.ID, func(j job.Job) (job.Job, error) {
		return step(j, h.Now())
	})
	if err != nil {
		return j, busy(err)
	}
	return h.stopped(c.Request().Context(), j), nil
}

// stopping is how long DELETE waits for work to stop. It stops later, if it
// does not by then; the job is gone for its owner all the same.
const stopping = time.Second

// stopped returns a job whose end was asked for when nothing of it is at work
// any more, or when it was last seen.
func (h ofKind) stopped(ctx context.Context, j job.Job) job.Job {
	ctx, cancel := context.WithTimeout(ctx, stopping)
	defer cancel()
	changes := h.Store.Watch(ctx)
	for {
		now, err := h.Store.Peek(ctx, store.Tenant(j.Tenant), j.ID)
		if err != nil {
			return j
		}
		if j = now; j.State.Final() {
			return j
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return j
		}
	}
}
