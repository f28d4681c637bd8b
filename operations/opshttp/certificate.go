package opshttp

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// Certificates says which jobs have certificates.
type Certificates struct {
	Kinds []string // of jobs
	// Of is a job's certificate, a compact JWS; store.ErrNotFound.
	Of func(ctx context.Context, t store.Tenant, jobID string) ([]byte, error)
}

// certificatePath is where a job's certificate is, below the base.
const certificatePath = onePath + "/certificate"

// RegisterCertificates adds the certificates of the caller's own jobs, at
// jobs/{id}/certificate.
func RegisterCertificates(g *echo.Group, cfg Config, c Certificates, middleware ...echo.MiddlewareFunc) {
	h := certificates{cfg, c}
	g.Match([]string{http.MethodGet, http.MethodHead}, certificatePath, h.show, middleware...)
}

type certificates struct {
	Config
	Certificates
}

// show answers with the certificate. It is of a job that did all it was to do.
func (h certificates) show(c echo.Context) error {
	ctx := c.Request().Context()
	p := auth.PrincipalOf(ctx)
	j, err := h.Store.Job(ctx, store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, c.Param("job"))
	if err == nil && j.Poll(h.Now()) == job.NotThereNow {
		err = store.ErrNotFound
	}
	if err != nil {
		return busy(err)
	}
	switch verdict := j.Poll(h.Now()); {
	case !slices.Contains(h.Kinds, j.Kind):
		return fhir.Errorf(fhir.NotFound, "jobs of this kind have no certificate")
	case verdict == job.Pending:
		return fhir.Errorf(fhir.Conflict, "the job has not ended; its certificate is there as soon as it has")
	case verdict != job.Ready:
		return fhir.Errorf(fhir.NotFound, "the job did not do all it was to do, so it has no certificate; try it again with PUT where it is polled")
	}
	doc, err := h.Of(ctx, store.Tenant(j.Tenant), j.ID)
	if errors.Is(err, store.ErrNotFound) {
		return fhir.Errorf(fhir.NotFound, "the job has no certificate, as the server had no keys to sign it with")
	}
	if err != nil {
		return busy(err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.Blob(http.StatusOK, "application/jose", doc)
}
