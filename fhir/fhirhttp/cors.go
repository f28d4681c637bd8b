package fhirhttp

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// CORS says pages of which origins may use the server from a browser
// (https://fetch.spec.whatwg.org/#http-cors-protocol). The zero value allows
// none, and no answer has a word of it. Clients send tokens by themselves, so
// that a browser's credentials are never allowed.
type CORS struct {
	// Origins are such as "https://app.example.org", or "*" for any.
	Origins []string
}

// anyOrigin stands for all origins.
const anyOrigin = "*"

// Check refuses what is no origin as browsers write them.
func (o CORS) Check() error {
	for _, origin := range o.Origins {
		u, err := url.Parse(origin)
		if origin != anyOrigin && (err != nil || !isHost(u.Host) || origin != strings.ToLower(u.Scheme+"://"+u.Host)) {
			return fmt.Errorf("%q is not an origin: write it in lower case, such as https://app.example.org, without a path or a slash at the end", origin)
		}
	}
	return nil
}

// allowed is the origin that an answer is allowed to; "" for none. What the
// server says about itself, anyone may read.
func (o CORS) allowed(origin, path string) string {
	switch {
	case slices.Contains(o.Origins, anyOrigin), isPublic(path):
		return anyOrigin
	case slices.Contains(o.Origins, origin):
		return origin
	}
	return ""
}

// isPublic tells whether the path is that of what is shown to everyone.
func isPublic(path string) bool {
	return strings.HasSuffix(path, Root+"/metadata") || strings.Contains(path, "/.well-known/")
}

// middleware answers preflights, before anything asks who is calling, and says
// with every other answer who may read it.
func (o CORS) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	if len(o.Origins) == 0 {
		return next
	}
	return func(c echo.Context) error {
		r, h := c.Request(), c.Response().Header()
		h.Add(echo.HeaderVary, echo.HeaderOrigin)
		origin := r.Header.Get(echo.HeaderOrigin)
		preflight := r.Method == http.MethodOptions && r.Header.Get(echo.HeaderAccessControlRequestMethod) != ""
		allowed := o.allowed(origin, r.URL.Path)
		if origin != "" && allowed != "" {
			h.Set(echo.HeaderAccessControlAllowOrigin, allowed)
			h.Set(echo.HeaderAccessControlExposeHeaders, "Content-Location, ETag, Expires, Location, Preference-Applied, Retry-After, X-Progress, X-Request-Id")
			if preflight {
				h.Set(echo.HeaderAccessControlAllowMethods, "GET, HEAD, POST, PUT, PATCH, DELETE")
				h.Set(echo.HeaderAccessControlAllowHeaders, "Accept, Authorization, Client_id, Client_secret, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, If-Range, Prefer, Range, X-Oneup-User-Id, X-Request-Id")
				h.Set(echo.HeaderAccessControlMaxAge, "600")
			}
		}
		if preflight {
			return c.NoContent(http.StatusNoContent)
		}
		return next(c)
	}
}
