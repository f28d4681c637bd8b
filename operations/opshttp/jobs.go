package opshttp

import (
	"encoding/json"
	"net/http"
	"time"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// jobsShown is how many jobs a page of the list has.
const jobsShown = 50

// RegisterJobs adds the caller's own jobs, of every kind, in one form of JSON:
// the list at jobs, one at jobs/{id}. statusOf gives, by kind, where its jobs
// are polled: the Status of their Operation or Task.
func RegisterJobs(g *echo.Group, cfg Config, statusOf map[string]string, middleware ...echo.MiddlewareFunc) {
	h := jobsHandler{cfg, statusOf}
	g.GET("/jobs", h.list, middleware...)
	g.GET(onePath, h.one, middleware...)
}

// onePath is where one job is shown, below the base.
const onePath = "/jobs/:job"

type jobsHandler struct {
	Config
	statusOf map[string]string
}

// shownJob is a job as its owner sees it.
type shownJob struct {
	ID              string        `json:"id"`
	Kind            string        `json:"kind"`
	State           job.State     `json:"state"`
	Status          string        `json:"status"` // the URL to poll
	TransactionTime *time.Time    `json:"transactionTime,omitempty"`
	Created         time.Time     `json:"created"`
	Started         *time.Time    `json:"started,omitempty"`
	Ended           *time.Time    `json:"ended,omitempty"`
	Expires         *time.Time    `json:"expires,omitempty"`
	CancelRequested bool          `json:"cancelRequested,omitempty"`
	Error           *job.Reason   `json:"error,omitempty"`
	Progress        shownProgress `json:"progress"`
}

// shownProgress is how far a job is, counted from what is committed.
type shownProgress struct {
	Percent        int              `json:"percent"`
	Resources      int64            `json:"resources"`
	Bytes          int64            `json:"bytes"`
	Units          shownUnits       `json:"units"`
	Attempts       int              `json:"attempts"`
	Errors         int              `json:"errors,omitempty"`
	Lost           int              `json:"lost,omitempty"`
	Reasons        []job.UnitReason `json:"reasons,omitempty"`
	LastProgressAt *time.Time       `json:"lastProgressAt,omitempty"`
}

type shownUnits struct {
	Queued    int `json:"queued"`
	Running   int `json:"running"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
}

func (h jobsHandler) list(c echo.Context) error {
	p := auth.PrincipalOf(c.Request().Context())
	js, err := h.Store.List(c.Request().Context(), store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, c.QueryParam("before"), jobsShown)
	if err != nil {
		return busy(err)
	}
	page := struct {
		Jobs []shownJob `json:"jobs"`
		Next string     `json:"next,omitempty"`
	}{Jobs: []shownJob{}}
	if len(js) == jobsShown {
		page.Next = fhirhttp.Base(c) + "/jobs?before=" + js[len(js)-1].ID
	}
	for _, j := range js {
		if j.Poll(h.Now()) == job.NotThereNow {
			continue
		}
		shown, err := h.show(c, j)
		if err != nil {
			return err
		}
		page.Jobs = append(page.Jobs, shown)
	}
	return answerJSON(c, page)
}

func (h jobsHandler) one(c echo.Context) error {
	p := auth.PrincipalOf(c.Request().Context())
	j, err := h.Store.Job(c.Request().Context(), store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, c.Param("job"))
	if err == nil && j.Poll(h.Now()) == job.NotThereNow {
		err = store.ErrNotFound
	}
	if err != nil {
		return busy(err)
	}
	shown, err := h.show(c, j)
	if err != nil {
		return err
	}
	return answerJSON(c, shown)
}

func answerJSON(c echo.Context, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
}

func (h jobsHandler) show(c echo.Context, j job.Job) (shownJob, error) {
	t, err := h.Store.Tally(c.Request().Context(), store.Tenant(j.Tenant), j.ID)
	if err != nil {
		return shownJob{}, busy(err)
	}
	status, ok := h.statusOf[j.Kind]
	if !ok {
		status = onePath
	}
	return shownJob{
		ID: j.ID, Kind: j.Kind, State: j.State, Status: statusURL(c, status, j.ID),
		TransactionTime: instant(j.TransactionTime), Created: j.Created.UTC(), Started: instant(j.Started),
		Ended: instant(j.Ended), Expires: instant(j.Expires), CancelRequested: !j.CancelRequested.IsZero(),
		Error: j.Error, Progress: shownProgress{
			Percent: t.Percent(), Resources: t.Done.Resources, Bytes: t.Done.Bytes,
			Units:    shownUnits{t.Queued, t.Running, t.Succeeded, t.Failed},
			Attempts: t.Attempts, Errors: t.Errors, Lost: t.Lost, Reasons: t.Reasons, LastProgressAt: instant(t.LastEnd),
		},
	}, nil
}

// instant is nil for the zero time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
