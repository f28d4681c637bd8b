package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/r4"
	"firebreak/operations/audit"
)

// authentication are the options that say who may come in.
type authentication struct {
	Auth             string        `help:"${enum}: 'off' lets this machine alone in, as its operator; 'oidc' takes bearer tokens of an OpenID provider." enum:"off,oidc" default:"off"`
	OIDCIssuer       string        `name:"oidc-issuer" help:"Issuer URL of the OpenID provider." placeholder:"URL"`
	OIDCAudience     []string      `name:"oidc-audience" help:"Audiences of which a token must have one." placeholder:"AUDIENCE"`
	OIDCTenantClaim  string        `name:"oidc-tenant-claim" help:"Claim that names the tenant; it is needed where there are tenants." placeholder:"CLAIM"`
	OIDCSkew         time.Duration `name:"oidc-skew" help:"How far the provider's clock may differ." default:"30s" placeholder:"DURATION"`
	PurgeScopeVendor []string      `help:"Vendors whose scopes for purges, such as system/VENDOR/$$patient-purge, are taken as those without a vendor are." default:"kodjin" placeholder:"VENDOR"`
	Tenant           []string      `help:"Tenants beside the default one; their FHIR base is /t/NAME/fhir." placeholder:"NAME"`
}

// isOff tells whether everyone on this machine is let in.
func (a authentication) isOff() bool { return a.Auth != "oidc" }

// check refuses options that do not go together.
func (a authentication) check() error {
	for _, name := range a.Tenant {
		if fhir.CheckID(name) != nil || strings.Trim(name, ".") == "" || name == auth.DefaultTenant {
			return errors.New("--tenant has a name that is the default tenant's, or not made of letters, digits, hyphens and dots, or of dots alone")
		}
	}
	switch {
	case a.isOff() && (a.OIDCIssuer != "" || a.OIDCAudience != nil || a.OIDCTenantClaim != ""):
		return errors.New("--oidc-issuer, --oidc-audience and --oidc-tenant-claim need --auth=oidc")
	case !a.isOff() && (a.OIDCIssuer == "" || a.OIDCAudience == nil):
		return errors.New("--auth=oidc needs --oidc-issuer and --oidc-audience")
	case !a.isOff() && len(a.Tenant) > 0 && a.OIDCTenantClaim == "":
		return errors.New("--tenant with --auth=oidc needs --oidc-tenant-claim, which says whose a token is")
	}
	return nil
}

func (a authentication) isTenant(name string) bool { return slices.Contains(a.Tenant, name) }

// access is how someone comes in: who finds out who asks, and smart says where
// the tokens for that are had; nil where none is needed.
type access struct {
	who   func(*http.Request) (auth.Principal, error)
	smart func(context.Context) ([]byte, error)
}

// access makes the functions.
func (a authentication) access(log *slog.Logger) (access, error) {
	if a.isOff() {
		return access{who: local}, nil
	}
	v, err := auth.NewVerifier(auth.Config{
		Issuer: a.OIDCIssuer, Audiences: a.OIDCAudience, TenantClaim: a.OIDCTenantClaim, Skew: a.OIDCSkew,
		Tenants: func(name string) bool { return name == auth.DefaultTenant || a.isTenant(name) }, KnownType: r4.IsType,
		PurgeVendors: a.PurgeScopeVendor, Log: log,
	})
	if err != nil {
		return access{}, err
	}
	return access{who: bearer(v), smart: v.SMART}, nil
}

// local takes everyone for the operator.
func local(r *http.Request) (auth.Principal, error) {
	p := auth.Local()
	p.Tenant = cmp.Or(fhirhttp.TenantOf(r.Context()), p.Tenant)
	return p, nil
}

// bearer takes a token's principal, at its own tenant's base.
func bearer(v *auth.Verifier) func(*http.Request) (auth.Principal, error) {
	return func(r *http.Request) (auth.Principal, error) {
		p, err := v.Principal(r.Context(), r)
		switch {
		case err != nil:
			return auth.Principal{}, err
		case p.Tenant != cmp.Or(fhirhttp.TenantOf(r.Context()), auth.DefaultTenant):
			return auth.Principal{}, fhir.Errorf(fhir.Forbidden, "the token is another tenant's")
		case p.Client == audit.Client:
			return auth.Principal{}, fhir.Errorf(fhir.Forbidden, "the token's client has the name that this server has for itself")
		}
		return p, nil
	}
}

// clientToken is how a command that is a client gets its access token.
type clientToken struct {
	TokenFile string `help:"File with an access token for the server; it is read anew for each request, so that it may be renewed." placeholder:"FILE"`
}

// source is nil where no token is sent.
func (t clientToken) source() func(context.Context) (string, error) {
	if t.TokenFile == "" {
		return nil
	}
	return func(context.Context) (string, error) {
		b, err := os.ReadFile(t.TokenFile)
		return strings.TrimSpace(string(b)), err
	}
}
