package fhirhttp

import (
	"context"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// tenantsRoot is what the paths of tenants but the default one begin with:
// their FHIR base is /t/{tenant}/fhir.
const tenantsRoot = "/t/"

type tenantKey struct{}

// TenantOf is the tenant that a request's path named; "" for the default one.
func TenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return name
}

// tenants gives a request below the base of a tenant the path that it would
// have below Root, so that all tenants have the same routes. One that is not
// known is not found, whatever is asked of it. So it is below the paths beside
// Root.
func tenants(known func(string) bool, beside []string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			u := c.Request().URL
			rest, ok := strings.CutPrefix(u.EscapedPath(), tenantsRoot)
			if !ok {
				return next(c)
			}
			name, path, _ := strings.Cut(rest, "/")
			path = "/" + path
			if known == nil || !known(name) || !below(path, Root) && !isBeside(path, beside) {
				return fhir.Errorf(fhir.NotFound, "there is nothing at this address")
			}
			prefix := tenantsRoot + name
			u.Path, u.RawPath = strings.TrimPrefix(u.Path, prefix), strings.TrimPrefix(u.RawPath, prefix)
			c.Set(baseName, strings.TrimSuffix(Base(c), Root)+prefix+Root)
			c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), tenantKey{}, name)))
			return next(c)
		}
	}
}

// below tells whether a path is one of ours: the root itself, or below it.
func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// isBeside tells whether a path is one of those beside Root, or below one, of
// the default tenant or of another.
func isBeside(path string, beside []string) bool {
	if rest, ok := strings.CutPrefix(path, tenantsRoot); ok {
		_, rest, _ = strings.Cut(rest, "/")
		path = "/" + rest
	}
	return slices.ContainsFunc(beside, func(root string) bool { return below(path, root) })
}
