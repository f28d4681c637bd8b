package opshttp

import (
	"context"
	"net/http"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// Beside is a task as the clients of another product know it, at a path beside
// the FHIR base: every answer is 200 with that product's own JSON, and a job
// that was cancelled stays readable and can be tried again. What is asked is as
// of a Task.
type Beside struct {
	Kind string // of its jobs
	Path string // where it is started: "/r4/$purge"; a job is below that, by its id
	// Kickoff, MayRetry and Limit are as those of a Task.
	Kickoff  func(ctx context.Context, p auth.Principal, c TaskCall) (job.Job, error)
	MayRetry func(ctx context.Context, p auth.Principal, j job.Job) error
	Limit    store.Limit
	// Show renders a job; status: in answer to anything but its kick-off.
	Show func(ctx context.Context, j job.Job, status bool) ([]byte, error)
	// Name is how clients call a job, and ID which job they call so; "" for none.
	Name func(id string) string
	ID   func(name string) string
}

// RegisterBeside adds the routes of a task beside the FHIR base to the server.
// fhirhttp.Config must name what its path begins with.
func RegisterBeside(e *echo.Echo, cfg Config, t Beside, middleware ...echo.MiddlewareFunc) {
	h := besideHandler{ofKind{cfg, t.Kind}, t}
	status := t.Path + "/:job"
	e.POST(t.Path, h.kickoff, middleware...)
	e.Match([]string{http.MethodGet, http.MethodHead}, status, h.status, middleware...)
	e.PUT(status, h.retry, middleware...)
	e.DELETE(status, h.cancel, middleware...)
}

type besideHandler struct {
	ofKind
	task Beside
}

func (h besideHandler) kickoff(c echo.Context) error {
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
		return h.task.Kickoff(ctx, auth.PrincipalOf(ctx), TaskCall{Params: params, Key: key, Announce: announce})
	})
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(fhirhttp.Base(c), fhirhttp.Root)
	c.Response().Header().Set("Content-Location", base+h.task.Path+"/"+h.task.Name(j.ID))
	return h.show(c, j, false)
}

func (h besideHandler) show(c echo.Context, j job.Job, status bool) error {
	body, err := h.task.Show(c.Request().Context(), j, status)
	if err != nil {
		return busy(err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	c.Response().Header().Set(echo.HeaderXContentTypeOptions, "nosniff")
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
}

// named finds the caller's job that the path names, one that was cancelled too.
func (h besideHandler) named(c echo.Context) (job.Job, error) {
	id := h.task.ID(c.Param("job"))
	if id == "" {
		return job.Job{}, absent()
	}
	p := auth.PrincipalOf(c.Request().Context())
	j, err := h.Store.Job(c.Request().Context(), store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, id)
	if err == nil && (j.Kind != h.kind || j.Poll(h.Now()) == job.NotThereNow) {
		err = store.ErrNotFound
	}
	if err != nil {
		return j, busy(err)
	}
	return j, nil
}

func (h besideHandler) status(c echo.Context) error {
	j, err := h.named(c)
	if err != nil {
		return err
	}
	return h.show(c, j, true)
}

// retry answers PUT: what was not done of a job that failed, or was cancelled,
// is tried again.
func (h besideHandler) retry(c echo.Context) error {
	j, err := h.named(c)
	if err == nil && !j.State.Final() {
		err = fhir.Errorf(fhir.Conflict, "the job is under way; only one that has failed or was canceled can be tried again")
	}
	if err == nil && j.State == job.Succeeded {
		err = fhir.Errorf(fhir.Conflict, "the job was successful, so there is nothing to try again; start a new one with POST")
	}
	if err != nil {
		return err
	}
	if j, err = h.again(c, j, h.task.Limit, h.task.MayRetry); err != nil {
		return err
	}
	return h.show(c, j, true)
}

// cancel answers DELETE: the work stops, and the job stays. One that has ended
// is shown as it is.
func (h besideHandler) cancel(c echo.Context) error {
	j, err := h.named(c)
	if err != nil {
		return err
	}
	if !j.State.Final() {
		j, err = h.halt(c, j, func(j job.Job, now time.Time) (job.Job, error) {
			if j.State.Final() {
				return j, nil
			}
			return j.RequestCancel(now)
		})
	}
	if err != nil {
		return err
	}
	return h.show(c, j, true)
}
