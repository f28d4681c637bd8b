package fhirhttp

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// RequestID is the id of the request, the client's own if it sent a usable one
// as X-Request-Id. The answer carries it.
func RequestID(c echo.Context) string {
	return c.Response().Header().Get(echo.HeaderXRequestID)
}

func requestID(newID func() string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			id := c.Request().Header.Get(echo.HeaderXRequestID)
			if !isRequestID(id) {
				id = newID()
			}
			c.Response().Header().Set(echo.HeaderXRequestID, id)
			return next(c)
		}
	}
}

// isRequestID tells whether a client's id may enter headers and logs:
// [A-Za-z0-9._-]{1,64}.
func isRequestID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-' {
			return false
		}
	}
	return true
}

// accessLog writes one line for each request: the pattern of its route, never
// its path or query, as they hold ids and what was searched for. It renders the
// error, to know the status, and cuts the connection when the error came after
// the answer had begun: a client must not take half for all.
func accessLog(log *slog.Logger, now func() time.Time) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := now()
			err := next(c)
			begun := c.Response().Committed
			if err != nil {
				c.Error(err)
			}
			log.LogAttrs(c.Request().Context(), slog.LevelInfo, "request",
				slog.String("request", RequestID(c)), slog.String("method", method(c.Request())),
				slog.String("route", c.Path()), slog.Int("status", c.Response().Status),
				slog.Int64("bytes", c.Response().Size), slog.Duration("duration", now().Sub(start)))
			if err != nil && begun || errors.Is(err, errAborted) {
				panic(http.ErrAbortHandler)
			}
			return nil
		}
	}
}

// method is the request's method; one that is none may hold anything, and is
// not repeated.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}
