package fhirhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// statuses is the status of each kind of error. What the standard knows and
// this server does not offer is 400: a client that asked for it must change
// what it asks, and bulk-data clients expect a 4xx.
var statuses = [...]int{
	fhir.Internal: http.StatusInternalServerError, fhir.Invalid: http.StatusBadRequest,
	fhir.NotFound: http.StatusNotFound, fhir.Gone: http.StatusGone,
	fhir.Conflict: http.StatusConflict, fhir.Precondition: http.StatusPreconditionFailed,
	fhir.Forbidden: http.StatusForbidden, fhir.Unauthorized: http.StatusUnauthorized,
	fhir.NotAllowed: http.StatusMethodNotAllowed, fhir.MediaType: http.StatusUnsupportedMediaType,
	fhir.NotAccept: http.StatusNotAcceptable, fhir.TooLarge: http.StatusRequestEntityTooLarge,
	fhir.Unprocessable: http.StatusUnprocessableEntity, fhir.Throttled: http.StatusTooManyRequests,
	fhir.Transient: http.StatusServiceUnavailable, fhir.Unsupported: http.StatusBadRequest,
}

// Status is the HTTP status of a kind of error.
func Status(k fhir.Kind) int { return statuses[k] }

// retryAfter is how many seconds a client is told to wait where the handler
// did not say.
const retryAfter = "5"

// errAborted stands for http.ErrAbortHandler on its way out: the connection is
// to be cut, so that the client does not take a broken answer for a whole one.
var errAborted = errors.New("the answer was broken off")

// challenger is an error that says how to authenticate: the value of
// WWW-Authenticate (RFC 6750, section 3).
type challenger interface{ Challenge() string }

// delayer is an error that says how long to wait before it is worth trying
// again.
type delayer interface{ RetryAfter() time.Duration }

// renderError is the one place where an error becomes an answer. An error that
// comes when the answer has begun is only logged here; accessLog cuts the
// connection then.
func renderError(log *slog.Logger, beside []string) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		ctx := c.Request().Context()
		e := explain(ctx, err)
		status := Status(e.Kind)
		if cause := causeOf(e); cause != nil && !errors.Is(err, errAborted) {
			log.LogAttrs(ctx, severity(ctx, e.Kind), "request failed",
				slog.String("request", RequestID(c)), slog.String("route", c.Path()),
				slog.Int("status", status), slog.String("error", cause.Error()))
		}
		if c.Response().Committed {
			return
		}
		if d := delayer(nil); errors.As(err, &d) {
			c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.RetryAfter().Seconds()))))
		}
		setErrorHeaders(c.Response().Header(), e.Kind)
		if ch := challenger(nil); errors.As(err, &ch) {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, ch.Challenge())
		}
		media, body := FHIRJSON, fhir.Outcome(e.Issue())
		if isBeside(c.Request().URL.Path, beside) {
			media, body = echo.MIMEApplicationJSON, message(e)
		}
		_ = write(c, status, media, body) // a client that is gone is no fault
	}
}

// message is an error as it is told beside the FHIR base.
func message(e *fhir.Error) []byte {
	b, err := json.Marshal(struct {
		Message string `json:"message"`
	}{e.Issue().Diagnostics})
	if err != nil { // a string: it cannot fail
		panic(err)
	}
	return b
}

func setErrorHeaders(h http.Header, k fhir.Kind) {
	switch {
	case (k == fhir.Throttled || k == fhir.Transient) && h.Get("Retry-After") == "":
		h.Set("Retry-After", retryAfter)
	case k == fhir.Unauthorized && h.Get(echo.HeaderWWWAuthenticate) == "":
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="firebreak"`)
	}
}

// causeOf is what the log says of an error; nil where the client reads all
// there is to say.
func causeOf(e *fhir.Error) error {
	if e.Kind == fhir.Internal && e.Err == nil {
		return errors.New(e.Message)
	}
	return e.Err
}

// severity is how much an error matters to the operator. What happens when the
// client is gone does not.
func severity(ctx context.Context, k fhir.Kind) slog.Level {
	switch {
	case k == fhir.Internal:
		return slog.LevelError
	case k == fhir.Transient && ctx.Err() == nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// explain finds the Error in err. Echo's errors get words of our own, as
// theirs may repeat what was sent.
func explain(ctx context.Context, err error) *fhir.Error {
	if e := (*fhir.Error)(nil); errors.As(err, &e) {
		return e
	}
	if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
		return explainEcho(he)
	}
	if ctx.Err() != nil {
		return fhir.Errorf(fhir.Transient, "the request was broken off").Because(err)
	}
	return fhir.AsError(err)
}

func explainEcho(he *echo.HTTPError) *fhir.Error {
	switch he.Code {
	case http.StatusNotFound:
		return fhir.Errorf(fhir.NotFound, "there is nothing at this address")
	case http.StatusMethodNotAllowed:
		return fhir.Errorf(fhir.NotAllowed, "this method does not go with this address; the Allow header has those that do")
	case http.StatusUnsupportedMediaType:
		return errMediaType()
	}
	if k := slices.Index(statuses[:], he.Code); k > 0 {
		return fhir.Errorf(fhir.Kind(k), "%s", strings.ToLower(http.StatusText(he.Code)))
	}
	return fhir.AsError(fmt.Errorf("from echo: %w", he))
}

// recoverPanics turns a panic into an Internal error. The stack goes to the log
// and nowhere else.
func recoverPanics(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				switch p := recover(); p {
				case nil:
				case http.ErrAbortHandler:
					err = errAborted
				default:
					log.ErrorContext(c.Request().Context(), "panic", "request", RequestID(c), "stack", string(debug.Stack()))
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			return next(c)
		}
	}
}
