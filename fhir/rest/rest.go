// Package rest is the RESTful API of FHIR R4
// (https://hl7.org/fhir/R4/http.html) as Echo routes over fhir/interaction,
// which has the rules. What an operation does is not known here.
package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"

	"github.com/labstack/echo/v4"
)

// Config is what Routes needs; all of it but SMART must be set.
type Config struct {
	Service  *interaction.Service
	MaxBody  int64  // bytes of a request's body
	Metadata []byte // the CapabilityStatement
	// SMART gives the SMART configuration; nil: there is none.
	SMART func(ctx context.Context) ([]byte, error)
}

// WithPrincipal is the middleware that says who asks; without it nobody does.
// An error of who refuses the request.
func WithPrincipal(who func(*http.Request) (auth.Principal, error)) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			p, err := who(r)
			if err != nil {
				return err
			}
			c.SetRequest(r.WithContext(auth.WithPrincipal(r.Context(), p)))
			return next(c)
		}
	}
}

// Routes adds the API to g, which has the path fhirhttp.Root. Give middleware
// here or to Echo, not to g: in a group that has its own, Echo answers 404 for
// 405.
func Routes(g *echo.Group, cfg Config, middleware ...echo.MiddlewareFunc) {
	h := handlers{Config: cfg, metadataTag: contentTag(cfg.Metadata)}
	with := append([]echo.MiddlewareFunc{fhirhttp.Negotiate}, middleware...)
	get := func(path string, handle echo.HandlerFunc) {
		g.Match([]string{http.MethodGet, http.MethodHead}, path, handle, with...)
	}
	g.Match([]string{http.MethodGet, http.MethodHead}, "/metadata", h.metadata, fhirhttp.Negotiate) // for everyone
	g.Match([]string{http.MethodGet, http.MethodHead}, "/.well-known/smart-configuration", h.smart) // and this
	get("/:type/:id", h.read)
	get("/:type/:id/_history/:vid", h.vread)
	g.POST("/:type", h.create, with...)
	g.PUT("/:type/:id", h.update, with...)
	g.DELETE("/:type/:id", h.remove, with...)

	search := notOffered("search is not offered yet")
	get("", search)
	get("/:type", search)
	g.POST("/_search", search, with...)
	g.POST("/:type/_search", search, with...)
	history := notOffered("history is not offered yet; single versions are, at _history/[version]")
	get("/_history", history)
	get("/:type/_history", history)
	get("/:type/:id/_history", history)
	conditional := notOffered("conditional interactions are not offered; name a resource by its id")
	g.Match([]string{http.MethodPut, http.MethodPatch, http.MethodDelete}, "/:type", conditional, with...)
	g.PATCH("/:type/:id", notOffered("patch is not offered; send the whole resource with PUT"), with...)
	g.POST("", notOffered("batch and transaction are not offered yet"), with...)
	for _, path := range []string{"/$*", "/:type/$*", "/:type/:id/$*"} {
		g.Match(operationMethods(), path, noOperation, with...)
	}
}

// handlers are the routes' handlers.
type handlers struct {
	Config
	metadataTag string
}

func contentTag(b []byte) string {
	sum := sha256.Sum256(b)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// notOffered answers what the standard knows and this server does not do. An
// unknown type is unknown first.
func notOffered(what string) echo.HandlerFunc {
	return func(c echo.Context) error {
		if typ := c.Param("type"); typ != "" {
			if err := interaction.CheckType(typ); err != nil {
				return err
			}
		}
		return fhir.Errorf(fhir.Unsupported, "%s", what)
	}
}
