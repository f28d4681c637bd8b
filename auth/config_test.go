package auth_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
)

func TestALaxConfigurationIsRefused(t *testing.T) {
	good := auth.Config{Issuer: "https://id.example.org", Audiences: []string{"https://fhir.example.org"}}
	for name, change := range map[string]func(*auth.Config){
		"no issuer":              func(c *auth.Config) { c.Issuer = "" },
		"no scheme":              func(c *auth.Config) { c.Issuer = "id.example.org" },
		"http":                   func(c *auth.Config) { c.Issuer = "http://id.example.org" },
		"http, like a loopback":  func(c *auth.Config) { c.Issuer = "http://127.0.0.1.example.org" },
		"another scheme":         func(c *auth.Config) { c.Issuer = "file:///etc/keys" },
		"not a URL":              func(c *auth.Config) { c.Issuer = "https://%" },
		"no audience":            func(c *auth.Config) { c.Audiences = nil },
		"an empty audience":      func(c *auth.Config) { c.Audiences = []string{"a", ""} },
		"none":                   func(c *auth.Config) { c.Algorithms = []string{"none"} },
		"HS256":                  func(c *auth.Config) { c.Algorithms = []string{"RS256", "HS256"} },
		"es256":                  func(c *auth.Config) { c.Algorithms = []string{"es256"} },
		"a negative skew":        func(c *auth.Config) { c.Skew = -1 },
		"a skew of hours":        func(c *auth.Config) { c.Skew = time.Hour },
		"a claim, no tenants":    func(c *auth.Config) { c.TenantClaim = "tenant" },
		"a vendor with a slash":  func(c *auth.Config) { c.PurgeVendors = []string{"kodjin", "a/b"} },
		"a vendor with a space":  func(c *auth.Config) { c.PurgeVendors = []string{"a b"} },
		"a vendor, any":          func(c *auth.Config) { c.PurgeVendors = []string{"*"} },
		"an empty vendor":        func(c *auth.Config) { c.PurgeVendors = []string{""} },
		"a vendor beyond ASCII":  func(c *auth.Config) { c.PurgeVendors = []string{"kodjiñ"} },
		"a patient as a tenant":  func(c *auth.Config) { c.TenantClaim, c.Tenants = "patient", func(string) bool { return true } },
		"the issuer as a tenant": func(c *auth.Config) { c.TenantClaim, c.Tenants = "iss", func(string) bool { return true } },
	} {
		cfg := good
		change(&cfg)
		if v, err := auth.NewVerifier(cfg); err == nil || v != nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, issuer := range []string{good.Issuer, "https://id.example.org/realms/a/", "http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost"} {
		cfg := good
		cfg.Issuer = issuer
		if _, err := auth.NewVerifier(cfg); err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestAConfigurationThatChangesLaterChangesNothing(t *testing.T) {
	issuer := authtest.New(t)
	cfg := issuer.Config()
	cfg.Algorithms, cfg.PurgeVendors = []string{"ES384"}, []string{"kodjin"}
	v := newVerifier(t, cfg)
	cfg.Audiences[0], cfg.Algorithms[0], cfg.PurgeVendors[0] = "evil", "ES256", "evil"
	p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Scope: "system/evil/$patient-purge"}))
	if err != nil || purges(p) != "" {
		t.Errorf("%+v purges %q, %v", p, purges(p), err)
	}
	p, err = ask(v, issuer.Token(authtest.Claims{Client: "app", Audience: "evil"}))
	wantInvalid(t, "another audience", p, err)
	p, err = ask(v, issuer.Sign(authtest.Header{Algorithm: "ES256"}, issuer.Values(authtest.Claims{Client: "app"})))
	wantInvalid(t, "another algorithm", p, err)
}

// twice is claims with another azp before them.
type twice struct{ claims map[string]any }

func (c twice) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(c.claims)
	return bytes.Replace(b, []byte("{"), []byte(`{"azp":"admin",`), 1), err
}
