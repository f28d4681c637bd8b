// Package opshttp is how asynchronous operations speak HTTP: kick-off, status,
// cancel, retry and download (Bulk Data, and the asynchronous pattern of R4). It
// knows no single operation: one hands it plain values and a rendering of its
// result. An Operation leaves files, and a manifest of them; a Task leaves none,
// and shows what it did as one resource. Beside the FHIR base a Task may be
// offered as another product does it: see Beside.
//
// Whoever asks for what is not there, not theirs, expired or dismissed gets
// the same answer, byte for byte.
package opshttp

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"firebreak/auth"
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
	Announce Announce
}

// Announce has a kick-off recorded, before the job that comes of it is there.
type Announce = func(ctx context.Context, j job.Job) error

// Route is a way to kick an operation off.
type Route struct {
	Name string // what Call.Route will be
	Path string // below the FHIR base; ":id" for an id
}

// Operation is one asynchronous operation whose result is files.
type Operation struct {
	Kind   string // of its jobs
	Name   string // "$export": where its jobs are polled, below the base
	Routes []Route
	// Kickoff starts a job, or answers why not.
	Kickoff func(ctx context.Context, p auth.Principal, c Call) (job.Job, error)
	// Manifest renders the result of a job that is ready. fileURL is the URL
	// of a file, by the name that Find knows.
	Manifest func(ctx context.Context, j job.Job, fileURL func(p job.Part, name string) string) ([]byte, error)
	// Find finds a public file by the last segment of its URL; store.ErrNotFound,
	// or store.ErrGone with the file's category, type and number if it was
	// removed by an erasure.
	Find func(ctx context.Context, j job.Job, name string) (job.Part, error)
	// May refuses a file of a job to a principal that may not read what can be
	// in it. The token at hand may be a narrower one than that of the kick-off.
	May func(p auth.Principal, j job.Job, part job.Part) error
}

// Status is where the jobs are polled, below the base; ":job" for the id.
func (op Operation) Status() string { return "/" + op.Name + "/:job" }

// Store is what this package needs of a store.
type Store interface {
	store.Jobs
	store.Units
}

// Config is what the routes need. All of it but Wait, Record and Links must be
// set; those of a Task need no Files.
type Config struct {
	Store Store
	Files files.Files
	Now   func() time.Time
	// MaxBody is the most bytes of a kick-off's body.
	MaxBody int64
	// Wait is how long the kick-off of a Task waits for the job's end where the
	// client did not ask to be answered before it; 0: 10 s.
	Wait time.Duration
	// Record makes an event durable before what it tells of is done: an error
	// refuses it. nil: nothing is recorded.
	Record func(ctx context.Context, e job.Event) error
	// Links has the URLs of files signed; nil: they are not.
	Links *Links
}

// Register adds an operation's routes to g, the FHIR base. The principal is
// in the request's context: see auth.PrincipalOf.
func Register(g *echo.Group, cfg Config, op Operation, middleware ...echo.MiddlewareFunc) {
	h := handler{ofKind{cfg, op.Kind}, op}
	for _, r := range op.Routes {
		g.Match([]string{http.MethodGet, http.MethodPost}, r.Path, h.kickoff(r), append([]echo.MiddlewareFunc{fhirhttp.Negotiate}, middleware...)...)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, op.Status(), h.status, middleware...)
	g.DELETE(op.Status(), h.dismiss, middleware...)
	unlessSigned := make([]echo.MiddlewareFunc, len(middleware))
	for i, m := range middleware {
		unlessSigned[i] = h.unlessSigned(m)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, op.Status()+"/:file", h.download, unlessSigned...)
}

type handler struct {
	ofKind
	op Operation
}
