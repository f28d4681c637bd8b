// Package opshttp is how asynchronous operations speak HTTP: kick-off, status,
// cancel and download (Bulk Data, and the asynchronous pattern of R4). It knows
// no single operation: one hands it plain values and a rendering of its status.
//
// Whoever asks for what is not there, not theirs, expired or dismissed gets
// the same answer, byte for byte.
package opshttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/labstack/echo/v4"
)

// Call is a kick-off in plain values.
type Call struct {
	Route   string     // the Route's Name
	ID      string     // the path's id, if the route has one
	Query   url.Values // the parameters
	Body    bool       // they came in a body
	URL     string     // absolute, as the client sent it
	Base    string     // the absolute URL of the FHIR base
	Lenient bool       // Prefer: handling=lenient
	Key     string     // Idempotency-Key; "": none
	// Announce has the kick-off recorded. An operation calls it with the job
	// just before it writes it, and gives up on an error.
	Announce func(ctx context.Context, j job.Job) error
}

// Route is a way to kick an operation off.
type Route struct {
	Name string // what Call.Route will be
	Path string // below the FHIR base; ":id" for an id
}

// Operation is one asynchronous operation.
type Operation struct {
	Kind   string // of its jobs
	Name   string // "$export": where its jobs are polled, below the base
	Routes []Route
	// Kickoff starts a job, or answers why not.
	Kickoff func(ctx context.Context, p auth.Principal, c Call) (job.Job, error)
	// Manifest renders the result of a job that is ready. fileURL is the URL
	// of a file, by the name that Find knows.
	Manifest func(ctx context.Context, j job.Job, fileURL func(p job.Part, name string) string) ([]byte, error)
	// Find finds a public file by the last segment of its URL; store.ErrNotFound.
	Find func(ctx context.Context, j job.Job, name string) (job.Part, error)
	// May refuses a file of a job to a principal that may not read what can be
	// in it. The token at hand may be a narrower one than that of the kick-off.
	May func(p auth.Principal, j job.Job, part job.Part) error
}

// Store is what this package needs of a store.
type Store interface {
	store.Jobs
	store.Units
}

// Config is what the routes need. All of it but Record and Links must be set.
type Config struct {
	Store Store
	Files files.Files
	Now   func() time.Time
	// MaxBody is the most bytes of a kick-off's body.
	MaxBody int64
	// Record makes an event durable before what it tells of is done: an error
	// refuses it. nil: nothing is recorded.
	Record func(ctx context.Context, e job.Event) error
	// Links has the URLs of files signed; nil: they are not.
	Links *Links
}

// Register adds an operation's routes to g, the FHIR base. The principal is
// in the request's context: see auth.PrincipalOf.
func Register(g *echo.Group, cfg Config, op Operation, middleware ...echo.MiddlewareFunc) {
	h := handler{cfg, op}
	for _, r := range op.Routes {
		g.Match([]string{http.MethodGet, http.MethodPost}, r.Path, h.kickoff(r), append([]echo.MiddlewareFunc{fhirhttp.Negotiate}, middleware...)...)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, "/"+op.Name+"/:job", h.status, middleware...)
	g.DELETE("/"+op.Name+"/:job", h.dismiss, middleware...)
	unlessSigned := make([]echo.MiddlewareFunc, len(middleware))
	for i, m := range middleware {
		unlessSigned[i] = h.unlessSigned(m)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, "/"+op.Name+"/:job/:file", h.download, unlessSigned...)
}

type handler struct {
	Config
	op Operation
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

// job finds the caller's job and the verdict of the poll.
func (h handler) job(c echo.Context) (job.Job, job.Verdict, error) {
	p := auth.PrincipalOf(c.Request().Context())
	j, err := h.Store.Job(c.Request().Context(), store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, c.Param("job"))
	if err != nil {
		return j, 0, busy(err)
	}
	verdict := j.Poll(h.Now())
	if j.Kind != h.op.Kind || verdict == job.NotThereNow || verdict == job.WasStopped {
		return j, verdict, absent()
	}
	return j, verdict, nil
}
