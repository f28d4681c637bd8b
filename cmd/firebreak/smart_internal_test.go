package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const smartPath = "/.well-known/smart-configuration"

// smartConfiguration is what a client that knows the FHIR base learns.
type smartConfiguration struct {
	Issuer       string   `json:"issuer"`
	Token        string   `json:"token_endpoint"`
	Authorize    string   `json:"authorization_endpoint"`
	Grants       []string `json:"grant_types_supported"`
	Challenges   []string `json:"code_challenge_methods_supported"`
	Capabilities []string `json:"capabilities"`
}

// backendServices has the provider say what SMART Backend Services needs.
func (g *guarded) backendServices() {
	g.issuer.Say(map[string]any{
		"grant_types_supported":                            []string{"client_credentials"},
		"token_endpoint_auth_methods_supported":            []string{"private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"RS384", "ES384"},
		"code_challenge_methods_supported":                 []string{"S256"},
	})
}

func TestAnyoneLearnsWhereTokensAreHad(t *testing.T) {
	g := newGuarded(t, withTenants, func(o *serving) { o.CORSOrigin = []string{"https://app.example.org"} })
	g.backendServices()
	first := g.get("/fhir"+smartPath, "").body
	for _, base := range []string{"/fhir", "/t/a/fhir", "/t/b/fhir"} {
		for _, header := range [][]string{nil, {"Accept", "application/fhir+xml"}, {"Authorization", "Bearer garbage"}, {"Origin", "https://anyone.example.org"}} {
			r := g.get(base+smartPath, "", header...)
			g.want(base, r, 200)
			if got := r.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s %q: Content-Type %s", base, header, got)
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); len(header) > 0 && header[0] == "Origin" && got != "*" {
				t.Errorf("another origin: Access-Control-Allow-Origin %q", got)
			}
			if r.body != first {
				t.Errorf("%s: %s\nthe first: %s", base, r.body, first)
			}
		}
	}
	if r := g.do(call{method: "HEAD", path: "/fhir" + smartPath}); r.status != 200 || r.body != "" {
		t.Errorf("HEAD: %d %q", r.status, r.body)
	}
	g.want("POST", g.do(call{method: "POST", path: "/fhir" + smartPath}), 405)
	g.want("another document", g.get("/fhir/.well-known/other", ""), 401)
	g.want("an unknown tenant's", g.get("/t/c/fhir"+smartPath, ""), 404)
	if n := g.issuer.Looks(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestTheSMARTConfigurationServesABackendService(t *testing.T) {
	g := newGuarded(t)
	g.backendServices()
	r := g.get("/fhir"+smartPath, "")
	var c smartConfiguration
	g.must(json.Unmarshal([]byte(r.body), &c))
	if c.Token != g.issuer.URL+"/token" || c.Authorize != g.issuer.URL+"/authorize" || c.Issuer != "" ||
		!slices.Equal(c.Grants, []string{"client_credentials"}) || !slices.Equal(c.Challenges, []string{"S256"}) ||
		!slices.Contains(c.Capabilities, "client-confidential-asymmetric") || !slices.Contains(c.Capabilities, "permission-v1") {
		t.Errorf("%s", r.body)
	}
}

func TestWhereTokensAreHadIsNotKnownBeforeTheProviderHasSaid(t *testing.T) {
	g := newGuarded(t)
	g.issuer.Down()
	r := g.get("/fhir"+smartPath, "")
	g.want("while the provider is down", r, 503)
	if r.header.Get("Retry-After") == "" {
		t.Errorf("headers %v", r.header)
	}
	g.issuer.Up()
	g.want("when it is up", g.get("/fhir"+smartPath, ""), 200)
	g.issuer.Down()
	g.want("from then on", g.get("/fhir"+smartPath, ""), 200)
}

func TestAServerThatTakesNoTokensHasNoSMARTConfiguration(t *testing.T) {
	s := newSite(t, onData(t.TempDir()))
	s.is("the configuration", s.get(smartPath), 404)
	if a := s.get("/metadata"); strings.Contains(a.body, `"security"`) {
		t.Error("the CapabilityStatement speaks of tokens")
	}
}

func TestTheCapabilityStatementNamesSMART(t *testing.T) {
	g := newGuarded(t)
	var c struct {
		Rest []struct {
			Security struct {
				Service []struct {
					Coding []struct{ System, Code string }
				}
			}
		}
	}
	g.must(json.Unmarshal([]byte(g.get("/fhir/metadata", "").body), &c))
	coding := c.Rest[0].Security.Service[0].Coding[0]
	if coding.Code != "SMART-on-FHIR" || coding.System != "http://terminology.hl7.org/CodeSystem/restful-security-service" {
		t.Errorf("%+v", coding)
	}
}
