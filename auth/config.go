package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	defaultSkew = 30 * time.Second
	maxSkew     = 5 * time.Minute
)

// Config is what NewVerifier needs. Issuer and Audiences must be set, the rest
// has a default.
type Config struct {
	// Issuer is the provider, exactly as its tokens and its discovery document
	// name it: an https URL, or an http one of a loopback address.
	Issuer string
	// Audiences are the names that this server has for the provider. A token
	// must be meant for one of them.
	Audiences []string
	// Algorithms are those that tokens may be signed with, such as ES384. By
	// default RS, PS and ES with 256 and 384; "none" and HS cannot be had.
	Algorithms []string
	// Skew is how far the clocks of provider and server may be apart: by
	// default 30 s, at most 5 min.
	Skew time.Duration
	// TenantClaim is the claim that holds the tenant. Without it every token is
	// of DefaultTenant; with it a token that lacks it is refused, and Tenants
	// must be set.
	TenantClaim string
	// Tenants tells which tenants there are.
	Tenants func(string) bool
	// KnownType tells which types of resources a scope may name. By default any
	// well-formed name: a scope of a type that does not exist grants nothing
	// that could be asked for.
	KnownType func(string) bool
	// PurgeVendors are words of letters, digits and hyphens. A scope for a purge
	// with one of them, such as system/kodjin/$patient-purge, counts as the one
	// without does. By default there are none.
	PurgeVendors []string
	// HTTP asks the provider. By default http.DefaultClient; each look at the
	// provider ends after 10 s at the latest.
	HTTP *http.Client
	// Now is the clock; by default time.Now.
	Now func() time.Time
	// Log hears when the provider cannot be reached; by default nobody does.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{oidc.RS256, oidc.RS384, oidc.PS256, oidc.PS384, oidc.ES256, oidc.ES384}
	}
	if c.Skew == 0 {
		c.Skew = defaultSkew
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Audiences, c.Algorithms, c.PurgeVendors = slices.Clone(c.Audiences), slices.Clone(c.Algorithms), slices.Clone(c.PurgeVendors)
	return c
}

// check refuses what would be lax or cannot work.
func (c Config) check() error {
	if u, err := url.Parse(c.Issuer); err != nil || !private(u) {
		return errors.New("auth: the issuer is not an https URL, nor an http URL of a loopback address")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		return errors.New("auth: no audience is given: tokens for other servers would be taken")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(signing(), a) {
			return fmt.Errorf("auth: %q is none of the algorithms %s", a, strings.Join(signing(), ", "))
		}
	}
	for _, vendor := range c.PurgeVendors {
		if !isVendor(vendor) {
			return fmt.Errorf("auth: %q is no vendor for purge scopes: it is not made of letters, digits and hyphens", vendor)
		}
	}
	switch {
	case c.Skew < 0 || c.Skew > maxSkew:
		return fmt.Errorf("auth: a clock skew of %s is not between 0 and %s", c.Skew, maxSkew)
	case slices.Contains([]string{"iss", "sub", "aud", "azp", "client_id", "scope", "scp", "patient"}, c.TenantClaim):
		return fmt.Errorf("auth: the claim %s does not hold the tenant", c.TenantClaim)
	case c.TenantClaim != "" && c.Tenants == nil:
		return errors.New("auth: a claim for the tenant is named, but not which tenants there are")
	}
	return nil
}

// signing are the algorithms that there are: those with a public key.
func signing() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
		oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// private tells whether nobody on the way to u can read or change what is
// asked.
func private(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback)
}
