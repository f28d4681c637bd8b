package auth

import (
	"context"
	"net/http"

	"firebreak/fhir"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Verifier says who sends a request, by its bearer token (RFC 6750), which must
// be a JWT signed by the provider. It may be used by many goroutines at once.
//
// The provider is not asked before the first token comes, or the first call of
// SMART, so that it may be down when the server starts. While it cannot be
// asked, tokens whose keys are known are believed as before, and others are
// answered with fhir.Transient: they may be good.
type Verifier struct {
	cfg        Config
	algorithms []jose.SignatureAlgorithm
	oidc       *oidc.Config
	keys       *keys
	smart      *smart
}

// NewVerifier makes a Verifier, and refuses a configuration that cannot work or
// would be lax.
func NewVerifier(cfg Config) (*Verifier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	algorithms := make([]jose.SignatureAlgorithm, 0, len(cfg.Algorithms))
	for _, name := range cfg.Algorithms {
		algorithms = append(algorithms, jose.SignatureAlgorithm(name))
	}
	return &Verifier{
		cfg: cfg, algorithms: algorithms, keys: newKeys(cfg), smart: newSMART(cfg),
		oidc: &oidc.Config{
			SupportedSigningAlgs: cfg.Algorithms,
			SkipClientIDCheck:    true, // the audience is checked in claims.check
			SkipExpiryCheck:      true, // and so are times, as oidc knows no skew
		},
	}, nil
}

// Principal says who sends r, by its Authorization header and nothing else: a
// token in the query or in the body is not seen. Any error has within it an
// *fhir.Error: Unauthorized or Invalid, which have a Challenge, or Transient
// while the provider cannot be asked for a key. No error holds any part of the
// token.
func (v *Verifier) Principal(ctx context.Context, r *http.Request) (Principal, error) {
	token, err := bearer(r.Header)
	if err != nil {
		return Principal{}, err
	}
	c, err := v.verify(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	return v.principal(c)
}

// verify gives what a token says, if it is the provider's and meant for now and
// for this server.
func (v *Verifier) verify(ctx context.Context, token string) (claims, error) {
	a := &attempt{Verifier: v}
	if _, err := oidc.NewVerifier(v.cfg.Issuer, a, v.oidc).Verify(ctx, token); err != nil {
		if a.err != nil {
			return claims{}, a.err
		}
		return claims{}, errToken("the token cannot be read, or is signed with an algorithm that is not allowed here")
	}
	return a.claims, nil
}

// principal is who a token is for.
func (v *Verifier) principal(c claims) (Principal, error) {
	client, err := c.client()
	if err != nil {
		return Principal{}, err
	}
	p := Principal{Tenant: DefaultTenant, Client: client}
	if c.Subject != client {
		p.User = c.Subject
	}
	if v.cfg.TenantClaim != "" {
		tenant, ok := c.text(v.cfg.TenantClaim)
		if !ok || !v.cfg.Tenants(tenant) {
			return Principal{}, errToken("the token is for no tenant of this server")
		}
		p.Tenant = tenant
	}
	if patient, ok := c.text("patient"); ok && fhir.CheckID(patient) == nil {
		p.Patient = patient
	}
	return p.With(ParseScopes(c.scopes(), v.cfg.KnownType, v.cfg.PurgeVendors...)), nil
}
