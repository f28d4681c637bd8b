package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"firebreak/fhir"
)

// metadata is what an OpenID provider says of itself, as far as SMART clients
// want to know it (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2).
type metadata struct {
	Authorize    string   `json:"authorization_endpoint"`
	Token        string   `json:"token_endpoint"`
	Keys         string   `json:"jwks_uri"`
	Registration string   `json:"registration_endpoint"`
	Introspect   string   `json:"introspection_endpoint"`
	Revoke       string   `json:"revocation_endpoint"`
	Scopes       []string `json:"scopes_supported"`
	Responses    []string `json:"response_types_supported"`
	Grants       []string `json:"grant_types_supported"`
	Methods      []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms   []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Challenges   []string `json:"code_challenge_methods_supported"`
}

// configuration is a SMART configuration
// (https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html).
type configuration struct {
	Issuer       string   `json:"issuer,omitempty"`
	Keys         string   `json:"jwks_uri,omitempty"`
	Authorize    string   `json:"authorization_endpoint,omitempty"`
	Token        string   `json:"token_endpoint"`
	Methods      []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms   []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	Grants       []string `json:"grant_types_supported"`
	Registration string   `json:"registration_endpoint,omitempty"`
	Introspect   string   `json:"introspection_endpoint,omitempty"`
	Revoke       string   `json:"revocation_endpoint,omitempty"`
	Scopes       []string `json:"scopes_supported,omitempty"`
	Responses    []string `json:"response_types_supported,omitempty"`
	Challenges   []string `json:"code_challenge_methods_supported"`
	Capabilities []string `json:"capabilities"`
}

// SMART is the SMART configuration of this server, as JSON: the provider's own
// words, and of the capabilities those that hold. It says nothing of who asks.
//
// The provider is asked when this is first called, and again when what it said
// is 10 minutes old. While it cannot be asked, the last answer stays; before
// the first, the error has within it an *fhir.Error: Transient.
func (v *Verifier) SMART(ctx context.Context) ([]byte, error) { return v.smart.json(ctx) }

// smart is the SMART configuration, as last made.
type smart struct {
	cfg      Config
	provider provider

	last atomic.Pointer[told]
	turn chan struct{} // holds one value; who takes it may look, and owns left
	left allowance
}

// told is what was known after a look. It does not change.
type told struct {
	body []byte    // nil: the provider has never said
	due  time.Time // when to look again
}

func newSMART(cfg Config) *smart {
	s := &smart{cfg: cfg, provider: newProvider(cfg), turn: make(chan struct{}, 1)}
	s.last.Store(&told{})
	s.turn <- struct{}{}
	return s
}

func (s *smart) json(ctx context.Context) ([]byte, error) {
	last := s.last.Load()
	if last.body == nil || !s.cfg.Now().Before(last.due) {
		last = s.look(ctx, last)
	}
	if last.body == nil {
		return nil, fhir.Errorf(fhir.Transient, "what the OpenID provider of this server says of itself cannot be read now; try again later")
	}
	return last.body, nil
}

// look gives what is known after a look at the provider, which is left out if
// somebody has looked since seen, or if there were too many. Who has something
// to show does not wait for another's look.
func (s *smart) look(ctx context.Context, seen *told) *told {
	if !s.takeTurn(ctx, seen.body == nil) {
		return seen
	}
	defer func() { s.turn <- struct{}{} }()
	if last := s.last.Load(); last != seen || !s.left.take(s.cfg.Now()) {
		return last
	}
	return s.read(ctx, seen)
}

// takeTurn tells whether the caller may look now.
func (s *smart) takeTurn(ctx context.Context, wait bool) bool {
	if !wait {
		select {
		case <-s.turn:
			return true
		default:
			return false
		}
	}
	select {
	case <-s.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

// read asks the provider, for whoever waits and not only for the request that
// has the turn. Who calls it has the turn.
func (s *smart) read(ctx context.Context, old *told) *told {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	var m metadata
	err := s.provider.discover(ctx, &m)
	if m.keepAddresses(); err == nil && m.Token == "" {
		err = errors.New("discovery: there is no token_endpoint that can be used")
	}
	now := &told{body: old.body, due: s.cfg.Now().Add(keysRetry)}
	if err == nil {
		now.due = s.cfg.Now().Add(keysFresh)
		now.body, err = json.Marshal(m.configuration(s.cfg))
	}
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "the OpenID provider does not say where it is asked for tokens", "error", shorten(err))
	}
	s.last.Store(now)
	return now
}

// keepAddresses drops addresses that cannot be told on: those that depend on who
// reads them, and those where others could read what a client sends.
func (m *metadata) keepAddresses() {
	for _, address := range []*string{&m.Authorize, &m.Token, &m.Keys, &m.Registration, &m.Introspect, &m.Revoke} {
		if u, err := url.Parse(*address); err != nil || !private(u) {
			*address = ""
		}
	}
}

// configuration is what clients are told. What a provider leaves out has the
// value that its standards give it.
func (m metadata) configuration(cfg Config) configuration {
	if m.Grants == nil {
		m.Grants = []string{"authorization_code", "implicit"}
	}
	if m.Methods == nil {
		m.Methods = []string{"client_secret_basic"}
	}
	c := configuration{
		Keys: m.Keys, Authorize: m.Authorize, Token: m.Token, Methods: m.Methods, Algorithms: m.Algorithms,
		Registration: m.Registration, Introspect: m.Introspect, Revoke: m.Revoke, Responses: m.Responses,
		Grants: only(m.Grants, "authorization_code", "client_credentials"), Challenges: only(m.Challenges, "S256"),
		Scopes:       slices.DeleteFunc(slices.Clone(m.Scopes), func(scope string) bool { return grantsNothing(scope, cfg) }),
		Capabilities: m.capabilities(),
	}
	if slices.Contains(c.Capabilities, signOn) {
		c.Issuer = cfg.Issuer // which is told with this capability alone
	}
	return c
}

// only keeps of a list what is among the others; never nil.
func only(list []string, others ...string) []string {
	kept := []string{}
	for _, one := range list {
		if slices.Contains(others, one) {
			kept = append(kept, one)
		}
	}
	return kept
}

// signOn is the capability to tell a client who the user is, as a resource.
const signOn = "sso-openid-connect"

// capabilities are those of SMART that hold. permission-v2 would promise that
// scopes with a query are kept to; they grant nothing here.
func (m metadata) capabilities() []string {
	list := []string{"permission-user", "permission-v1"}
	for capability, holds := range map[string]bool{
		"client-public":                  slices.Contains(m.Methods, "none"),
		"client-confidential-symmetric":  len(only(m.Methods, "client_secret_basic", "client_secret_post")) > 0,
		"client-confidential-asymmetric": slices.Contains(m.Methods, "private_key_jwt") && len(only(m.Algorithms, "RS384", "ES384")) > 0,
		signOn:                           len(only(m.Scopes, "openid", "fhirUser")) == 2 && m.Keys != "",
	} {
		if holds {
			list = append(list, capability)
		}
	}
	slices.Sort(list)
	return list
}

// grantsNothing tells whether a scope is one for resources or purges that
// nothing could be done with here.
func grantsNothing(scope string, cfg Config) bool {
	level, _, ok := strings.Cut(scope, "/")
	if !ok || !isLevel(level) {
		return false
	}
	return ParseScopes(scope, cfg.KnownType, cfg.PurgeVendors...).empty()
}
