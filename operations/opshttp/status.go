package opshttp

import (
	"fmt"
	"net/http"
	"time"

	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"

	"github.com/labstack/echo/v4"
)

// status answers a poll (Bulk Data, "Status Request").
func (h handler) status(c echo.Context) error {
	j, verdict, err := h.ended(c, c.Param("job"), patience)
	if err != nil {
		return err
	}
	switch verdict {
	case job.Ready:
		return h.manifest(c, j)
	case job.GaveUp:
		return fhirhttp.Outcome(c, http.StatusInternalServerError, failure(j))
	}
	return h.pending(c, j)
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
