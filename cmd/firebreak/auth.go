package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
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
	Auth             string        `help:"${enum}: 'off' lets this machine alone in, as its operator; 'oidc' takes bearer tokens of an OpenID provider, and header credentials if there is --clients; 'clients' takes those alone." enum:"off,oidc,clients" default:"off"`
	OIDCIssuer       string        `name:"oidc-issuer" help:"Issuer URL of the OpenID provider." placeholder:"URL"`
	OIDCAudience     []string      `name:"oidc-audience" help:"Audiences of which a token must have one." placeholder:"AUDIENCE"`
	OIDCTenantClaim  string        `name:"oidc-tenant-claim" help:"Claim that names the tenant; it is needed where there are tenants." placeholder:"CLAIM"`
	OIDCSkew         time.Duration `name:"oidc-skew" help:"How far the provider's clock may differ." default:"30s" placeholder:"DURATION"`
	Clients          string        `help:"File of clients with header credentials, as 'firebreak client' keeps it. A change counts within two seconds." type:"path" placeholder:"FILE"`
	PurgeScopeVendor []string      `help:"Vendors whose scopes for purges, such as system/VENDOR/$$patient-purge, are taken as those without a vendor are." default:"kodjin" placeholder:"VENDOR"`
	Tenant           []string      `help:"Tenants beside the default one; their FHIR base is /t/NAME/fhir." placeholder:"NAME"`
}

// isOff tells whether everyone on this machine is let in.
func (a authentication) isOff() bool { return !a.takesTokens() && a.Auth != "clients" }

func (a authentication) takesTokens() bool { return a.Auth == "oidc" }

// check refuses options that do not go together.
func (a authentication) check() error {
	for _, name := range a.Tenant {
		if fhir.CheckID(name) != nil || strings.Trim(name, ".") == "" || name == auth.DefaultTenant {
			return errors.New("--tenant has a name that is the default tenant's, or not made of letters, digits, hyphens and dots, or of dots alone")
		}
	}
	switch {
	case a.isOff() && a.Clients != "":
		return errors.New("--clients needs --auth=clients, or --auth=oidc to take tokens too: with --auth=off everyone on this machine is let in")
	case a.Auth == "clients" && a.Clients == "":
		return errors.New("--auth=clients needs --clients, the file that 'firebreak client add' makes")
	case !a.takesTokens() && (a.OIDCIssuer != "" || a.OIDCAudience != nil || a.OIDCTenantClaim != ""):
		return errors.New("--oidc-issuer, --oidc-audience and --oidc-tenant-claim need --auth=oidc")
	case a.takesTokens() && (a.OIDCIssuer == "" || a.OIDCAudience == nil):
		return errors.New("--auth=oidc needs --oidc-issuer and --oidc-audience")
	case a.takesTokens() && len(a.Tenant) > 0 && a.OIDCTenantClaim == "":
		return errors.New("--tenant with --auth=oidc needs --oidc-tenant-claim, which says whose a token is")
	}
	return nil
}

func (a authentication) isTenant(name string) bool { return slices.Contains(a.Tenant, name) }

// whom says who is let in, for the line that a server begins with.
func (a authentication) whom() string {
	switch {
	case a.isOff():
		return "without authentication, to this machine only"
	case a.Clients == "":
		return "to bearers of tokens of " + a.OIDCIssuer
	case !a.takesTokens():
		return "to the clients in " + a.Clients
	}
	return "to bearers of tokens of " + a.OIDCIssuer + " and to the clients in " + a.Clients
}

// access is how someone comes in: who finds out who asks, and smart says where
// the tokens for that are had; nil where none is taken.
type access struct {
	who   func(*http.Request) (auth.Principal, error)
	smart func(context.Context) ([]byte, error)
}

// access makes the functions; from tells the address of a request.
func (a authentication) access(log *slog.Logger, from func(*http.Request) netip.Addr) (in access, err error) {
	if a.isOff() {
		return access{who: local}, nil
	}
	var e auth.Entrance
	if a.takesTokens() {
		if e.Tokens, err = a.verifier(log); err != nil {
			return access{}, err
		}
		in.smart = e.Tokens.SMART
	}
	if a.Clients != "" {
		if e.Clients, err = a.clientVerifier(log); err != nil {
			return access{}, err
		}
	}
	in.who = admitted(e, from)
	return in, nil
}

func (a authentication) verifier(log *slog.Logger) (*auth.Verifier, error) {
	return auth.NewVerifier(auth.Config{
		Issuer: a.OIDCIssuer, Audiences: a.OIDCAudience, TenantClaim: a.OIDCTenantClaim, Skew: a.OIDCSkew,
		Tenants: func(name string) bool { return name == auth.DefaultTenant || a.isTenant(name) }, KnownType: r4.IsType,
		PurgeVendors: a.PurgeScopeVendor, Log: log,
	})
}

func (a authentication) clientVerifier(log *slog.Logger) (*auth.ClientVerifier, error) {
	w, err := newClientWatch(a.Clients, time.Now, log)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // which never fails
	return auth.NewClientVerifier(auth.ClientConfig{
		Clients: w.clients, Key: key, Now: time.Now, KnownType: r4.IsType, PurgeVendors: a.PurgeScopeVendor,
		Parallel: min(4, runtime.GOMAXPROCS(0)/2), // so that whoever guesses gets half of the machine at most
	})
}

// local takes everyone for the operator.
func local(r *http.Request) (auth.Principal, error) {
	p := auth.Local()
	p.Tenant = cmp.Or(fhirhttp.TenantOf(r.Context()), p.Tenant)
	return p, nil
}

// admitted takes the principal of a request's credentials, at its own tenant's
// base.
func admitted(e auth.Entrance, from func(*http.Request) netip.Addr) func(*http.Request) (auth.Principal, error) {
	return func(r *http.Request) (auth.Principal, error) {
		p, err := e.Principal(r.Context(), r, from(r))
		what := "token"
		if r.Header.Get("Authorization") == "" {
			what = "client"
		}
		switch {
		case err != nil:
			return auth.Principal{}, err
		case p.Tenant != cmp.Or(fhirhttp.TenantOf(r.Context()), auth.DefaultTenant):
			return auth.Principal{}, fhir.Errorf(fhir.Forbidden, "the %s is another tenant's", what)
		case p.Client == audit.Client:
			return auth.Principal{}, fhir.Errorf(fhir.Forbidden, "the client has the name that this server has for itself")
		}
		return p, nil
	}
}
