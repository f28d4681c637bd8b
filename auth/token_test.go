package auth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"

	"pgregory.net/rapid"
)

// choice is a value that a token may have, and whether a good one may.
type choice struct {
	value any // nil leaves the claim out
	good  bool
}

// choices are the claims of generated tokens. More of the values are good than
// are bad, so that whole tokens are good often enough.
func choices(issuer string, now time.Time) map[string][]choice {
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	good := func(v any) []choice { return []choice{{v, true}, {v, true}, {v, true}, {v, true}} }
	return map[string][]choice{
		"iss":                append(good(issuer), choice{issuer + "/", false}, choice{nil, false}, choice{[]string{issuer}, false}),
		"aud":                append(good([]string{"x", authtest.Audience}), choice{authtest.Audience, true}, choice{"x", false}, choice{nil, false}, choice{"", false}),
		"azp":                append(good("app"), choice{"", false}, choice{nil, false}, choice{1, false}, choice{"a\tb", false}),
		"sub":                append(good("eve"), choice{"app", true}, choice{nil, true}, choice{strings.Repeat("x", 300), false}),
		"exp":                append(good(at(time.Minute)), choice{at(-29 * time.Second), true}, choice{at(-30 * time.Second), false}, choice{nil, false}, choice{"1", false}),
		"nbf":                append(good(nil), choice{at(30 * time.Second), true}, choice{at(31 * time.Second), false}),
		"iat":                append(good(at(0)), choice{nil, true}, choice{at(time.Hour), false}),
		"cnf":                append(good(nil), choice{map[string]string{"jkt": "x"}, false}),
		authtest.TenantClaim: append(good("north"), choice{nil, false}, choice{"south", false}),
	}
}

// drawHeader gives a way to sign, and whether it is a good one.
func drawHeader(t *rapid.T) (authtest.Header, bool) {
	if rapid.Bool().Draw(t, "the usual header") {
		return authtest.Header{}, true
	}
	h := authtest.Header{
		Algorithm: rapid.SampledFrom([]string{"", "ES256", "RS256", "PS384", "none", "HS256", "ES512"}).Draw(t, "alg"),
		KeyID:     rapid.SampledFrom([]string{"", "", "-", "P-256-1", "unknown"}).Draw(t, "kid"),
		Type:      rapid.SampledFrom([]string{"", "-", "JWT", "logout+jwt"}).Draw(t, "typ"),
		Forged:    rapid.Bool().Draw(t, "forged"),
	}
	usable := slices.Contains([]string{"", "ES256", "RS256", "PS384"}, h.Algorithm)
	named := h.KeyID == "" || h.KeyID == "-" || h.KeyID == "P-256-1" && h.Algorithm == "ES256"
	return h, usable && named && h.Type != "logout+jwt" && !h.Forged
}

func TestOnlyATokenThatIsGoodInEveryRespectGivesAPrincipal(t *testing.T) {
	issuer, now := authtest.New(t), newClock()
	cfg := issuer.Config()
	cfg.Now, cfg.TenantClaim, cfg.Tenants = now.Now, authtest.TenantClaim, func(s string) bool { return s == "north" }
	v := newVerifier(t, cfg)
	all := choices(issuer.URL, now.Now())
	rapid.Check(t, func(t *rapid.T) {
		claims, good := map[string]any{"scope": "system/*.rs"}, true
		for _, name := range []string{"iss", "aud", "azp", "sub", "exp", "nbf", "iat", "cnf", authtest.TenantClaim} {
			c := rapid.SampledFrom(all[name]).Draw(t, name)
			good = good && c.good
			if c.value != nil {
				claims[name] = c.value
			}
		}
		h, signed := drawHeader(t)
		good = good && signed
		p, err := ask(v, issuer.Sign(h, claims))
		if good != (err == nil) || !good && p != (auth.Principal{}) {
			t.Fatalf("good: %t, got %+v, %v", good, p, err)
		}
		if good && (p.Client != "app" || p.Tenant != "north" || p.User != "" && p.User != "eve") {
			t.Fatalf("got %+v", p)
		}
	})
}

func TestAChangedTokenGivesNobodyElse(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	token := issuer.Token(authtest.Claims{Client: "app", User: "eve", Scope: "user/Patient.r"})
	want, err := ask(v, token)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(token)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				b[at] = rapid.SampledFrom([]byte("AQgw_-.9=+ ")).Draw(t, "to")
			case 1:
				b = append(b[:at:at], b[at+1:]...)
			case 2:
				b = append(b[:at:at], append([]byte{b[at]}, b[at:]...)...)
			}
		}
		// The last bits of a part may mean nothing: then it is the same token.
		if p, err := ask(v, string(b)); err == nil && p != want {
			t.Fatalf("got %+v", p)
		}
	})
}
