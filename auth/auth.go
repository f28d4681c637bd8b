// Package auth answers who is asking, and what they may do. It knows no store
// and no route: whoever acts for a principal asks May first, every time.
package auth

import (
	"context"

	"firebreak/fhir"
)

// DefaultTenant is the tenant whose base is /fhir.
const DefaultTenant = "default"

// Principal is who asks: a client, and the user it acts for. The zero
// Principal is nobody, and may do nothing.
type Principal struct {
	Tenant string
	Client string
	User   string // "" for a client alone

	local bool
}

// Local is the principal while authentication is off: whoever reaches the
// server or its files is taken for its operator, and may do everything.
func Local() Principal {
	return Principal{Tenant: DefaultTenant, Client: "local", local: true}
}

// Action is what may be allowed on a type of resource.
type Action uint8

// The actions, those of SMART scopes (c, r, u, d).
const (
	Create Action = iota + 1
	Read
	Update
	Delete
)

// May answers nil if p may do a to resources of the type, else an *fhir.Error:
// Unauthorized for nobody, Forbidden for anyone else.
func May(p Principal, _ Action, _ string) error {
	switch {
	case p.local:
		return nil
	case p.Client == "":
		return fhir.Errorf(fhir.Unauthorized, "authentication is required")
	}
	return fhir.Errorf(fhir.Forbidden, "this client may not do this")
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
