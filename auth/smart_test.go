package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"
	"firebreak/fhir/r4"

	"github.com/google/go-cmp/cmp"
)

// described gives a verifier of a provider that says so of itself, and its log.
func described(t *testing.T, document string) (*auth.Verifier, *strings.Builder) {
	var log strings.Builder
	return newVerifier(t, auth.Config{
		Issuer: provider, Audiences: []string{authtest.Audience}, KnownType: r4.IsType,
		HTTP: &http.Client{Transport: answers{bodies: map[string]string{discovery: document}}},
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
	}), &log
}

// saying is the discovery document with more in it.
func saying(more string) string {
	return strings.TrimSuffix(document, "}") + `,"token_endpoint":"https://id.example.org/token"` + more + "}"
}

// smart is the SMART configuration.
func smart(t *testing.T, v *auth.Verifier) map[string]any {
	t.Helper()
	b, err := v.SMART(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func list(words string) []any {
	all := []any{}
	for word := range strings.FieldsSeq(words) {
		all = append(all, word)
	}
	return all
}

func TestTheSMARTConfigurationIsTheProvidersOwnWord(t *testing.T) {
	v, _ := described(t, saying(`,
		"authorization_endpoint":"https://id.example.org/authorize", "registration_endpoint":"https://id.example.org/register",
		"introspection_endpoint":"https://id.example.org/introspect", "revocation_endpoint":"https://id.example.org/revoke",
		"userinfo_endpoint":"https://id.example.org/userinfo", "end_session_endpoint":"https://id.example.org/end",
		"response_types_supported":["code","id_token"], "grant_types_supported":["authorization_code","refresh_token","client_credentials","password"],
		"token_endpoint_auth_methods_supported":["private_key_jwt","client_secret_basic","tls_client_auth"],
		"token_endpoint_auth_signing_alg_values_supported":["RS256","ES384","RS384"], "code_challenge_methods_supported":["plain","S256"],
		"scopes_supported":["openid","fhirUser","offline_access","system/*.rs","system/Patient.read","user/Observation.cruds","patient/*.rs","system/Observation.rs?category=x","system/Patent.r","system/Patient.sr"]`))
	want := map[string]any{
		"issuer": provider, "jwks_uri": keysURL,
		"authorization_endpoint": "https://id.example.org/authorize", "token_endpoint": "https://id.example.org/token",
		"registration_endpoint": "https://id.example.org/register", "introspection_endpoint": "https://id.example.org/introspect",
		"revocation_endpoint":                              "https://id.example.org/revoke",
		"response_types_supported":                         list("code id_token"),
		"grant_types_supported":                            list("authorization_code client_credentials"),
		"token_endpoint_auth_methods_supported":            list("private_key_jwt client_secret_basic tls_client_auth"),
		"token_endpoint_auth_signing_alg_values_supported": list("RS256 ES384 RS384"),
		"code_challenge_methods_supported":                 list("S256"),
		"scopes_supported":                                 list("openid fhirUser offline_access system/*.rs system/Patient.read user/Observation.cruds"),
		"capabilities":                                     list("client-confidential-asymmetric client-confidential-symmetric permission-user permission-v1 sso-openid-connect"),
	}
	if d := cmp.Diff(want, smart(t, v)); d != "" {
		t.Error(d)
	}
}

func TestScopesForPurgesAreToldWhereTheProviderHasThemAndTheyCount(t *testing.T) {
	const scopes = `,"scopes_supported":["system/$patient-purge","user/kodjin/$patient-purge","patient/$patient-purge","patient/kodjin/$patient-purge",` +
		`"system/other/$patient-purge","system/$patient-purge?x=y","system/$purge"]`
	for vendor, want := range map[string]string{
		"":       "system/$patient-purge patient/$patient-purge",
		"kodjin": "system/$patient-purge user/kodjin/$patient-purge patient/$patient-purge patient/kodjin/$patient-purge",
	} {
		cfg := auth.Config{
			Issuer: provider, Audiences: []string{authtest.Audience}, KnownType: r4.IsType, PurgeVendors: strings.Fields(vendor),
			HTTP: &http.Client{Transport: answers{bodies: map[string]string{discovery: saying(scopes)}}},
		}
		if d := cmp.Diff(list(want), smart(t, newVerifier(t, cfg))["scopes_supported"]); d != "" {
			t.Errorf("%q: %s", vendor, d)
		}
	}
}

func TestWhatTheProviderLeavesOutIsWhatItsStandardSays(t *testing.T) {
	v, _ := described(t, saying(""))
	want := map[string]any{
		"jwks_uri": keysURL, "token_endpoint": "https://id.example.org/token",
		"grant_types_supported":                 list("authorization_code"),
		"token_endpoint_auth_methods_supported": list("client_secret_basic"),
		"code_challenge_methods_supported":      list(""),
		"capabilities":                          list("client-confidential-symmetric permission-user permission-v1"),
	}
	if d := cmp.Diff(want, smart(t, v)); d != "" {
		t.Error(d)
	}
}

func TestACapabilityIsToldOnlyIfItHolds(t *testing.T) {
	for more, want := range map[string]string{
		`"token_endpoint_auth_methods_supported":["none"]`:                                                                                      "client-public",
		`"token_endpoint_auth_methods_supported":["client_secret_post"]`:                                                                        "client-confidential-symmetric",
		`"token_endpoint_auth_methods_supported":["private_key_jwt"]`:                                                                           "",
		`"token_endpoint_auth_methods_supported":["private_key_jwt"],"token_endpoint_auth_signing_alg_values_supported":["RS256","ES256"]`:      "",
		`"token_endpoint_auth_methods_supported":["private_key_jwt"],"token_endpoint_auth_signing_alg_values_supported":["RS384"]`:              "client-confidential-asymmetric",
		`"token_endpoint_auth_methods_supported":["client_secret_jwt"],"token_endpoint_auth_signing_alg_values_supported":["RS384"]`:            "",
		`"token_endpoint_auth_methods_supported":[],"scopes_supported":["openid"]`:                                                              "",
		`"token_endpoint_auth_methods_supported":[],"scopes_supported":["fhirUser","profile"]`:                                                  "",
		`"token_endpoint_auth_methods_supported":[],"scopes_supported":["fhirUser","openid"]`:                                                   "sso-openid-connect",
		`"token_endpoint_auth_methods_supported":[],"scopes_supported":["fhirUser","openid"],"jwks_uri":null`:                                   "",
		`"token_endpoint_auth_methods_supported":[],"scopes_supported":["launch","launch/patient"],"code_challenge_methods_supported":["S256"]`: "",
	} {
		v, _ := described(t, saying(","+more))
		if strings.Contains(more, `"jwks_uri"`) {
			v, _ = described(t, strings.Replace(saying(","+more), `"jwks_uri":"`+keysURL+`",`, "", 1))
		}
		got := smart(t, v)
		var other []string
		for _, c := range got["capabilities"].([]any) {
			if c != "permission-user" && c != "permission-v1" {
				other = append(other, fmt.Sprint(c))
			}
		}
		if strings.Join(other, " ") != want {
			t.Errorf("%s: capabilities %q, want %q", more, other, want)
		}
		if _, issuer := got["issuer"]; issuer != (want == "sso-openid-connect") {
			t.Errorf("%s: issuer is %v", more, got["issuer"])
		}
	}
}

func TestAnAddressThatCannotBeToldOnIsLeftOut(t *testing.T) {
	v, _ := described(t, saying(`,"authorization_endpoint":"/authorize","registration_endpoint":"http://id.example.org/register","revocation_endpoint":"%zz","introspection_endpoint":"http://127.0.0.1:1/i"`))
	got := smart(t, v)
	for _, name := range []string{"authorization_endpoint", "registration_endpoint", "revocation_endpoint"} {
		if got[name] != nil {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if got["introspection_endpoint"] != "http://127.0.0.1:1/i" {
		t.Errorf("%v", got)
	}
}

func wantNotYet(t *testing.T, when string, b []byte, err error) {
	t.Helper()
	if b != nil || fhir.KindOf(err) != fhir.Transient {
		t.Errorf("%s: %s, %v", when, b, err)
	}
}

func TestAProviderThatCannotBeToldOnIsTakenForDown(t *testing.T) {
	for name, document := range map[string]string{
		"no document": "", "a page": "<html>", "another issuer": strings.Replace(saying(""), "realm", "other", 1),
		"no token endpoint": document, "one without a host": saying(`,"token_endpoint":"/token"`),
		"one over http": saying(`,"token_endpoint":"http://id.example.org/token"`), "a list for a text": saying(`,"authorization_endpoint":["x"]`),
	} {
		v, log := described(t, document)
		b, err := v.SMART(t.Context())
		wantNotYet(t, name, b, err)
		if !strings.Contains(log.String(), "level=WARN") || log.Len() > 600 {
			t.Errorf("%s: the log says %s", name, log)
		}
	}
}

func TestTheSMARTConfigurationIsReadAgainWhenItIsOld(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	grants := func() string { t.Helper(); return fmt.Sprint(smart(t, v)["grant_types_supported"]) }
	for range 3 {
		if got := grants(); got != "[authorization_code]" || issuer.Looks() != 1 {
			t.Errorf("%s after %d looks", got, issuer.Looks())
		}
	}
	issuer.Say(map[string]any{"grant_types_supported": []string{"client_credentials"}})
	now.Forward(9 * time.Minute)
	if got := grants(); got != "[authorization_code]" {
		t.Errorf("before it is old: %s", got)
	}
	now.Forward(time.Minute)
	if got := grants(); got != "[client_credentials]" || issuer.Looks() != 2 {
		t.Errorf("when it is old: %s after %d looks", got, issuer.Looks())
	}
	issuer.Down()
	for i := range 3 {
		now.Forward(10 * time.Minute)
		if got := grants(); got != "[client_credentials]" || issuer.Looks() != 3+i {
			t.Errorf("while the provider is down: %s after %d looks", got, issuer.Looks())
		}
		grants() // and not at each request
	}
	issuer.Say(nil)
	issuer.Up()
	now.Forward(time.Minute)
	if got := grants(); got != "[authorization_code]" {
		t.Errorf("when it is up again: %s", got)
	}
}

func TestAProviderThatIsDownIsAskedASetNumberOfTimes(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	issuer.Down()
	for range 20 {
		b, err := v.SMART(t.Context())
		wantNotYet(t, "down", b, err)
	}
	if issuer.Looks() != 5 {
		t.Errorf("asked %d times at once", issuer.Looks())
	}
	now.Forward(10 * time.Second)
	issuer.Up()
	if got := smart(t, v)["token_endpoint"]; got != issuer.URL+"/token" {
		t.Errorf("when it is up: %v", got)
	}
}

func TestManyWhoWantTheSMARTConfigurationAskTheProviderOnce(t *testing.T) {
	asked, hold := make(chan struct{}, 64), make(chan struct{})
	v, _, _ := served(t, answers{bodies: map[string]string{discovery: saying("")}, asked: asked, hold: hold})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if b, err := v.SMART(ctx); err != nil || !bytes.Contains(b, []byte("token_endpoint")) {
			t.Errorf("the one that asks: %s, %v", b, err)
		}
	})
	<-asked
	cancel() // the others still want to know
	b, err := v.SMART(ctx)
	wantNotYet(t, "one that does not wait", b, err)
	for range 20 {
		all.Go(func() {
			if _, err := v.SMART(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	close(hold)
	all.Wait()
	if len(asked) != 0 {
		t.Errorf("asked %d times more", len(asked))
	}
}
