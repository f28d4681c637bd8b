package rest

import (
	"net/http"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// noOperation answers what looks like an operation and has no route of this
// method: NotAllowed if it has one of another method, else NotFound. Echo alone
// would take the operation's name for an id.
func noOperation(c echo.Context) error {
	var methods []string
	for _, r := range c.Echo().Routes() {
		if leadsTo(r.Path, c.Request().URL.Path) && !slices.Contains(methods, r.Method) {
			methods = append(methods, r.Method)
		}
	}
	if len(methods) == 0 {
		return fhir.Errorf(fhir.NotFound, "there is no such operation here")
	}
	slices.Sort(methods)
	c.Response().Header().Set(echo.HeaderAllow, strings.Join(methods, ", "))
	return fhir.Errorf(fhir.NotAllowed, "this operation goes with %s only", strings.Join(methods, " and "))
}

// leadsTo tells whether the path is one of the pattern, whose last step is the
// name of an operation.
func leadsTo(pattern, path string) bool {
	steps, names := strings.Split(path, "/"), strings.Split(pattern, "/")
	if len(steps) != len(names) || steps[len(steps)-1] != names[len(names)-1] {
		return false
	}
	for i, name := range names {
		if name != steps[i] && !strings.HasPrefix(name, ":") {
			return false
		}
	}
	return true
}

// operationMethods are those for which noOperation answers. Not OPTIONS, which
// Echo answers by itself.
func operationMethods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}
