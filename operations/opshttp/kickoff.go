package opshttp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// kickoff answers 202 and where to poll (Bulk Data, "Kick-off Request").
func (h handler) kickoff(r Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		prefer := fhirhttp.ParsePrefer(c.Request().Header)
		if !prefer.RespondAsync {
			return errAsyncOnly(h.op.Name)
		}
		query, err := h.parameters(c)
		if err != nil {
			return err
		}
		key, err := idempotencyKey(c.Request())
		if err != nil {
			return err
		}
		base, ctx := fhirhttp.Base(c), c.Request().Context()
		j, err := h.start(c, func(announce Announce) (job.Job, error) {
			return h.op.Kickoff(ctx, auth.PrincipalOf(ctx), Call{
				Route: r.Name, ID: c.Param("id"), Query: query, Body: c.Request().Method == http.MethodPost,
				URL: requestURL(c, base), Base: base, Lenient: prefer.Handling == "lenient", Key: key,
				Announce: announce,
			})
		})
		if err != nil {
			return err
		}
		return accepted(c, statusURL(c, h.op.Status(), j.ID))
	}
}

func errAsyncOnly(operation string) error {
	return fhir.Errorf(fhir.Invalid, "%s runs asynchronously only: send the header Prefer: respond-async", operation).With(fhir.CodeRequired)
}

// start has an operation start a job, and has that recorded.
func (h ofKind) start(c echo.Context, kickoff func(Announce) (job.Job, error)) (job.Job, error) {
	ctx, recorded := c.Request().Context(), h.starting(c)
	j, err := kickoff(recorded.announce)
	if err != nil {
		return j, refusedStart(c, recorded.refused(ctx, err))
	}
	return j, recorded.started(ctx, j)
}

// accepted answers a kick-off whose client did not want to wait.
func accepted(c echo.Context, poll string) error {
	c.Response().Header().Set("Content-Location", poll)
	c.Response().Header().Set("Preference-Applied", "respond-async")
	return c.NoContent(http.StatusAccepted)
}

// parameters are those of the URL, and with POST those of the body: a
// parameter may be in one of them only.
func (h handler) parameters(c echo.Context) (url.Values, error) {
	query, err := queryOf(c)
	if err != nil {
		return nil, err
	}
	if c.Request().Method != http.MethodPost {
		return query, nil
	}
	body, err := fhirhttp.Body(c, h.MaxBody)
	if err != nil {
		return nil, err
	}
	params, err := fhir.ReadParameters(body)
	if err != nil {
		return nil, err
	}
	if !formatOnly(query) {
		return nil, fhir.Errorf(fhir.Invalid, "with POST, parameters go into the Parameters resource and not into the URL")
	}
	for _, p := range params {
		query.Add(p.Name, p.Value)
	}
	return query, nil
}

func queryOf(c echo.Context) (url.Values, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, fhir.Errorf(fhir.Invalid, "the query of the URL cannot be read: a %% is not followed by two hexadecimal digits, or a ; is in it")
	}
	return query, nil
}

// formatOnly tells whether a query says nothing but the form of the answer,
// which goes with a body too.
func formatOnly(query url.Values) bool {
	return len(query) == 0 || len(query) == 1 && query.Has("_format")
}

// idempotencyKey is a hash of the client's Idempotency-Key, which may say
// anything; "" where it sent none.
func idempotencyKey(r *http.Request) (string, error) {
	keys := r.Header.Values("Idempotency-Key")
	switch {
	case len(keys) == 0:
		return "", nil
	case len(keys) > 1 || keys[0] == "" || len(keys[0]) > 255:
		return "", fhir.Errorf(fhir.Invalid, "Idempotency-Key is one value of 1 to 255 characters")
	}
	sum := sha256.Sum256([]byte(keys[0]))
	return hex.EncodeToString(sum[:]), nil
}

// requestURL is the URL that the client sent, as the client sees the server.
func requestURL(c echo.Context, base string) string {
	u := base + c.Request().URL.EscapedPath()[len(fhirhttp.Root):]
	if q := c.Request().URL.RawQuery; q != "" {
		u += "?" + q
	}
	return u
}

// refusedStart words why a job was not started.
func refusedStart(c echo.Context, err error) error {
	switch {
	case errors.Is(err, store.ErrLimit):
		c.Response().Header().Set("Retry-After", "10")
		return fhir.Errorf(fhir.Throttled, "too many jobs are under way; wait until one has ended, or delete one that is not needed, then start this again")
	case errors.Is(err, store.ErrKeyReused):
		return fhir.Errorf(fhir.Unprocessable, "this Idempotency-Key was sent with another request; use a new one for each new job").With(fhir.CodeConflict)
	}
	return busy(err)
}
