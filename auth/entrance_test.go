package auth_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"
)

func TestARequestHasOneKindOfCredentials(t *testing.T) {
	issuer := authtest.New(t)
	tokens, clients := newVerifier(t, issuer.Config()), plain(t)
	token := func(client string) string {
		return "Bearer " + issuer.Token(authtest.Claims{Client: client, Scope: "system/*.rs"})
	}
	both, tokensOnly, clientsOnly := auth.Entrance{Tokens: tokens, Clients: clients.ClientVerifier}, auth.Entrance{Tokens: tokens}, auth.Entrance{Clients: clients.ClientVerifier}
	sent := []string{"client_id", "app", "client_secret", right}
	for name, c := range map[string]struct {
		entrance auth.Entrance
		header   []string
		want     fhir.Kind // 0: let in
		says     string
	}{
		"headers":                      {both, sent, 0, ""},
		"headers for a user":           {both, append(sent, "x-oneup-user-id", "u1"), 0, ""},
		"a token":                      {both, []string{"Authorization", token("other")}, 0, ""},
		"both":                         {both, append(sent, "Authorization", token("other")), fhir.Invalid, "two kinds"},
		"headers and Basic":            {both, append(sent, "Authorization", "Basic YTpi"), fhir.Invalid, "two kinds"},
		"headers and nothing":          {both, append(sent, "Authorization", ""), fhir.Invalid, "two kinds"},
		"half of one and the other":    {both, []string{"client_id", "app", "Authorization", token("other")}, fhir.Invalid, "two kinds"},
		"a token with a user":          {both, []string{"Authorization", token("other"), "x-oneup-user-id", "u1"}, fhir.Invalid, "x-oneup-user-id"},
		"a token with a user, alone":   {tokensOnly, []string{"Authorization", token("other"), "x-oneup-user-id", "u1"}, fhir.Invalid, "x-oneup-user-id"},
		"neither":                      {both, nil, fhir.Unauthorized, "client_id"},
		"a user alone":                 {both, []string{"x-oneup-user-id", "u1"}, fhir.Unauthorized, "client_id"},
		"headers where tokens are":     {tokensOnly, sent, fhir.Unauthorized, "Bearer"},
		"a gateway's headers":          {tokensOnly, append(sent, "Authorization", token("other")), 0, ""},
		"a token where headers are":    {clientsOnly, []string{"Authorization", token("other")}, fhir.Unauthorized, "no tokens"},
		"nothing where headers are":    {clientsOnly, nil, fhir.Unauthorized, "client_id"},
		"headers where they are":       {clientsOnly, sent, 0, ""},
		"a token of a header client":   {both, []string{"Authorization", token("app")}, fhir.Unauthorized, "header credentials"},
		"a token of another tenant's":  {both, []string{"Authorization", token("web")}, fhir.Unauthorized, "another tenant"},
		"headers of a client by token": {both, []string{"client_id", "web", "client_secret", right}, fhir.Unauthorized, "not those of a client"},
	} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://x/fhir", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = headersOf(c.header...)
		p, err := c.entrance.Principal(t.Context(), r, netip.MustParseAddr(home))
		clients.is(name, err, c.want)
		switch {
		case c.want == 0 && p.Client == "", c.want != 0 && p != (auth.Principal{}):
			t.Errorf("%s: %+v", name, p)
		case c.want == fhir.Unauthorized && challengeOf(err) == "":
			t.Errorf("%s: there is no challenge", name)
		case c.want != 0 && !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATokenOfAClientThatIsConfiguredForTokensIsTaken(t *testing.T) {
	h := plain(t)
	for p, want := range map[auth.Principal]fhir.Kind{
		{Tenant: "a", Client: "web"}:        0,
		{Tenant: "b", Client: "web"}:        fhir.Unauthorized,
		{Tenant: "a", Client: "app"}:        fhir.Unauthorized,
		{Tenant: "default", Client: "app"}:  fhir.Unauthorized,
		{Tenant: "default", Client: "else"}: 0,
	} {
		h.is(p.Tenant+" "+p.Client, h.Admit(p), want)
	}
}
