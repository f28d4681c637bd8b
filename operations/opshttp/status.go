package opshttp

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// patience is how long a poll of a job that is under way waits for its end, so
// that small work is done at the first poll. It holds nothing meanwhile.
const patience = 300 * time.Millisecond

// status answers a poll (Bulk Data, "Status Request").
func (h handler) status(c echo.Context) error {
	j, verdict, err := h.ended(c)
	if err != nil {
		return err
	}
	switch verdict {
	case job.Ready:
		return h.manifest(c, j)
	case job.GaveUp:
		return fhirhttp.Outcome(c, http.StatusInternalServerError, fhir.Issue{
			Severity: fhir.Erroneous, Code: fhir.Code(j.Error.Code), Diagnostics: j.Error.Message,
		})
	}
	tally, err := h.Store.Tally(c.Request().Context(), store.Tenant(j.Tenant), j.ID)
	if err != nil {
		return busy(err)
	}
	header := c.Response().Header()
	header.Set("X-Progress", progress(j, tally))
	header.Set("Retry-After", strconv.Itoa(retryAfter(j, tally, h.Now())))
	return c.NoContent(http.StatusAccepted)
}

// ended finds the caller's job as job does, when it has ended or patience has.
func (h handler) ended(c echo.Context) (job.Job, job.Verdict, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), patience)
	defer cancel()
	changes := h.Store.Watch(ctx)
	for {
		j, verdict, err := h.job(c)
		if err != nil || verdict != job.Pending {
			return j, verdict, err
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return j, verdict, c.Request().Context().Err()
		}
	}
}

// progress is for a person, in under 100 characters.
func progress(j job.Job, t job.Tally) string {
	if j.State == job.Queued {
		return "queued"
	}
	return fmt.Sprintf("%d %% (%d resources)", t.Percent(), t.Done.Resources)
}

// retryAfter guesses from the work done how many seconds are left: 1 to 30, and
// no more than have gone by, as little work done tells little.
func retryAfter(j job.Job, t job.Tally, now time.Time) int {
	done := t.Percent()
	if j.Started.IsZero() || done == 0 {
		return 1
	}
	gone := now.Sub(j.Started)
	left := min(gone, gone*time.Duration(100-done)/time.Duration(done))
	return int(min(max(left/time.Second, 1), 30))
}

func (h handler) manifest(c echo.Context, j job.Job) error {
	body, err := h.op.Manifest(c.Request().Context(), j, h.fileURL(c, j))
	if err != nil {
		return busy(err)
	}
	c.Response().Header().Set("Expires", j.Expires.UTC().Format(http.TimeFormat))
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
}

// dismiss answers DELETE: the job is gone for its owner at once, running or
// not; its work stops, and then its files and record go.
func (h handler) dismiss(c echo.Context) error {
	j, _, err := h.job(c)
	if err != nil {
		return err
	}
	e := h.event(c, job.Dismissal)
	e.Job = j.ID
	if err := h.record(c.Request().Context(), e); err != nil {
		return err
	}
	_, err = h.Store.Update(c.Request().Context(), store.Tenant(j.Tenant), j.ID, func(j job.Job) (job.Job, error) {
		return j.Dismiss(h.Now())
	})
	if err != nil {
		return busy(err)
	}
	h.awaitStop(c.Request().Context(), j)
	return c.NoContent(http.StatusAccepted)
}

// stopping is how long DELETE waits for work to stop. It stops later, if it
// does not by then; the job is gone for its owner all the same.
const stopping = time.Second

// awaitStop returns when nothing of a dismissed job is at work any more.
func (h handler) awaitStop(ctx context.Context, j job.Job) {
	ctx, cancel := context.WithTimeout(ctx, stopping)
	defer cancel()
	changes := h.Store.Watch(ctx)
	for {
		now, err := h.Store.Peek(ctx, store.Tenant(j.Tenant), j.ID)
		if err != nil || now.State.Final() {
			return
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return
		}
	}
}
