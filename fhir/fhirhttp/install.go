package fhirhttp

import (
	"io"
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"
)

// Root is the path of the FHIR base on this server.
const Root = "/fhir"

// Config is what Install needs. All of it but Origin, CORS and Tenants must
// be set.
type Config struct {
	Origin Origin
	CORS   CORS
	NewID  func() string // names a request whose client named none
	Now    func() time.Time
	Log    *slog.Logger
	// Tenants tells which tenants there are beside the default one; nil: none.
	Tenants func(string) bool
	// Beside are paths beside Root, such as "/r4", below which a server answers
	// as another product does: tenants have them too, and an error is told there
	// as {"message": …}.
	Beside []string
}

// Install prepares e for FHIR: each request gets an id, one line in the log, a
// base URL and a normal path before it is routed; each error and each panic is
// answered with an OperationOutcome. Echo's own log is shut off.
func Install(e *echo.Echo, cfg Config) {
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard)
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = renderError(cfg.Log, cfg.Beside)
	e.Pre(requestID(cfg.NewID), accessLog(cfg.Log, cfg.Now), recoverPanics(cfg.Log), cfg.Origin.middleware, normalPath, cfg.CORS.middleware, tenants(cfg.Tenants, cfg.Beside))
}
