// Package auth answers who is asking, and what they may do. It knows no store
// and no route: whoever acts for a principal asks May first, every time.
//
// Who asks is said by a bearer token of an OpenID provider, which a Verifier
// reads, or by header credentials of a configured client, which a
// ClientVerifier checks; an Entrance takes both. What they may do is said by
// SMART scopes, of the token or of the client (see Scopes).
package auth

import (
	"context"

	"firebreak/fhir"
)

// DefaultTenant is the tenant whose base is /fhir.
const DefaultTenant = "default"

// Principal is who asks: a client, the user it acts for, and the patient in
// whose context it was launched. The zero Principal is nobody, and may do
// nothing. Two that are equal by == may do the same.
type Principal struct {
	Tenant  string
	Client  string
	User    string // "" for a client alone
	Patient string // an id; "" where no patient was chosen

	scopes Scopes
	local  bool
}

// Local is the principal while authentication is off: whoever reaches the
// server or its files is taken for its operator, and may do everything.
func Local() Principal {
	return Principal{Tenant: DefaultTenant, Client: "local", local: true}
}

// With gives p with these scopes in place of those it had. Whoever calls it
// knows that they were granted.
func (p Principal) With(s Scopes) Principal {
	p.scopes = s
	return p
}

// Action is what may be allowed on a type of resource.
type Action uint8

// The actions, those of SMART scopes (c, r, u, d, s).
const (
	Create Action = iota + 1
	Read
	Update
	Delete
	Search
)

// letters are the letters of the actions in scopes, from Create on.
const letters = "cruds"

// AnyType stands for all types of resources together: what goes beyond one
// type, such as a search of the whole system, needs a scope for all of them.
const AnyType = "*"

// May answers nil if p may do a to resources of the type, else an error within
// which is an *fhir.Error: Unauthorized for nobody, and for anyone else
// Forbidden, naming a scope that would do. The error has a Challenge.
//
// The type must be one that exists, or AnyType.
func May(p Principal, a Action, typ string) error {
	switch {
	case p.local:
		return nil
	case p.Client == "":
		return errNobody()
	case a < Create || a > Search:
		return refuse(fhir.Forbidden, "insufficient_scope", "no scope allows this")
	case p.scopes.allow(a, typ, p.User != ""):
		return nil
	}
	if !isTypeName(typ) {
		typ = AnyType
	}
	return errMissing(p.level()+typ+"."+letters[a-1:a], p.scopes.hint())
}

// level is how a scope begins that p could be asked to get.
func (p Principal) level() string {
	if p.User != "" && (p.scopes.user != "" || p.scopes.purge.user) {
		return "user/"
	}
	return "system/"
}

type contextKey struct{}

// WithPrincipal gives a context in which p is who asks.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// PrincipalOf is who asks in the context; nobody, if it was not said.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}

// errNobody refuses who brought no token: there is no error to name then
// (RFC 6750, section 3.1).
func errNobody() error {
	return refuse(fhir.Unauthorized, "", "authentication is required: send a token as Authorization: Bearer …")
}
