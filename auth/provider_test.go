package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"

	"github.com/go-jose/go-jose/v4"
)

// answers is a provider that gives set answers by their addresses.
type answers struct {
	bodies map[string]string
	asked  chan struct{} // if there is one, it is told of each request
	hold   chan struct{} // if there is one, answers wait for it
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.hold != nil {
		a.asked <- struct{}{}
		select {
		case <-a.hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: http.NoBody}
	body, ok := a.bodies[r.URL.String()]
	switch to, redirects := strings.CutPrefix(body, "redirect "); {
	case !ok:
		return nil, errors.New("nobody is there")
	case redirects:
		answer.StatusCode = http.StatusFound
		answer.Header.Set("Location", to)
	default:
		answer.Body = io.NopCloser(strings.NewReader(body))
	}
	return answer, nil
}

const (
	provider  = "https://id.example.org/realm"
	discovery = provider + "/.well-known/openid-configuration"
	keysURL   = "https://id.example.org/keys"
	document  = `{"issuer":"` + provider + `","jwks_uri":"` + keysURL + `"}`
)

// served gives a verifier of such a provider, its log, and a token that it could
// have made, but for its key.
func served(t *testing.T, a answers) (*auth.Verifier, *strings.Builder, string) {
	var log strings.Builder
	v := newVerifier(t, auth.Config{
		Issuer: provider, Audiences: []string{authtest.Audience}, HTTP: &http.Client{Transport: a},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	issuer := authtest.New(t)
	return v, &log, issuer.Token(authtest.Claims{Client: "app", Others: map[string]any{"iss": provider}})
}

func TestAProviderThatAnswersNonsenseIsTakenForDown(t *testing.T) {
	for name, bodies := range map[string]map[string]string{
		"no answer":                 {},
		"no keys":                   {discovery: document},
		"a page":                    {discovery: "<html>" + strings.Repeat("x", 2000)},
		"another issuer":            {discovery: strings.Replace(document, "realm", "realm/", 1), keysURL: `{"keys":[]}`},
		"an endless document":       {discovery: strings.Repeat(" ", 2<<20) + document, keysURL: `{"keys":[]}`},
		"no address of keys":        {discovery: `{"issuer":"` + provider + `"}`},
		"keys over http":            {discovery: strings.Replace(document, keysURL, "http://id.example.org/keys", 1), "http://id.example.org/keys": `{"keys":[]}`},
		"keys that move to http":    {discovery: document, keysURL: "redirect http://id.example.org/keys", "http://id.example.org/keys": `{"keys":[]}`},
		"keys that are none":        {discovery: document, keysURL: `{}`},
		"keys that are text":        {discovery: document, keysURL: `{"keys":"x"}`},
		"keys that are broken off":  {discovery: document, keysURL: `{"keys":[{"kty":`},
		"keys that begin too far":   {discovery: document, keysURL: strings.Repeat(" ", 2<<20) + `{"keys":[]}`},
		"a document that moves off": {discovery: "redirect http://example.org/x", "http://example.org/x": document, keysURL: `{"keys":[]}`},
	} {
		v, log, token := served(t, answers{bodies: bodies})
		p, err := ask(v, token)
		wantTransient(t, name, p, err)
		if !strings.Contains(log.String(), "level=WARN") || log.Len() > 600 || strings.Contains(log.String(), token[:20]) {
			t.Errorf("%s: the log says %s", name, log)
		}
	}
}

func TestAProviderWithoutAKeyForATokenRefusesIt(t *testing.T) {
	for name, keys := range map[string]string{
		"none":           `{"keys":[]}`,
		"none of use":    `{"keys":[{"kty":"x"},1,{"kty":"RSA","kid":"P-384-1"},{"kty":"oct","kid":"P-384-1","k":"AAAA"}]}`,
		"for encryption": `{"keys":[{"kty":"EC","use":"enc","crv":"P-256","kid":"P-384-1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`,
	} {
		v, _, token := served(t, answers{bodies: map[string]string{discovery: document, keysURL: keys}})
		p, err := ask(v, token)
		wantInvalid(t, name, p, err)
	}
}

func TestAKeyIsForWhatItsProviderSays(t *testing.T) {
	key := newKey(t)
	token := signed(t, key)
	for name, c := range map[string]struct {
		key  jose.JSONWebKey
		good bool
	}{
		"anything":          {jose.JSONWebKey{Key: key.Public()}, true},
		"signing":           {jose.JSONWebKey{Key: key.Public(), Use: "sig", Algorithm: "ES384"}, true},
		"encryption":        {jose.JSONWebKey{Key: key.Public(), Use: "enc"}, false},
		"another algorithm": {jose.JSONWebKey{Key: key.Public(), Algorithm: "ES512"}, false},
		"what is secret":    {jose.JSONWebKey{Key: key}, false},
	} {
		c.key.KeyID = "key"
		v, _, _ := served(t, answers{bodies: map[string]string{discovery: document, keysURL: setOf(t, c.key)}})
		p, err := ask(v, token)
		if c.good && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.good {
			wantInvalid(t, name, p, err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// setOf is the JWK set of a key.
func setOf(t *testing.T, key jose.JSONWebKey) string {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

// signed gives a token of the provider by a key of the test's own, which is
// named "key".
func signed(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	return sign(t, key, "key", map[string]any{
		"iss": provider, "aud": authtest.Audience, "azp": "app", "exp": time.Now().Add(time.Minute).Unix(),
	})
}

// send sends a token with a context.
func send(ctx context.Context, v *auth.Verifier, token string) (auth.Principal, error) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	return v.Principal(ctx, r)
}

func TestARequestThatEndsDoesNotWaitForTheProvider(t *testing.T) {
	asked, hold := make(chan struct{}, 8), make(chan struct{})
	v, _, token := served(t, answers{asked: asked, hold: hold})
	var first sync.WaitGroup
	first.Go(func() {
		p, err := ask(v, token)
		wantTransient(t, "the one that asks", p, err)
	})
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := send(ctx, v, token)
	wantTransient(t, "the one that ends", p, err)
	close(hold)
	first.Wait()
}

func TestTheProviderIsAskedForAllEvenIfTheRequestThatAsksEnds(t *testing.T) {
	key := newKey(t)
	asked, hold := make(chan struct{}, 8), make(chan struct{})
	v, _, _ := served(t, answers{
		bodies: map[string]string{discovery: document, keysURL: setOf(t, jose.JSONWebKey{Key: key.Public(), KeyID: "key"})},
		asked:  asked, hold: hold,
	})
	token := signed(t, key)
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() {
		if p, err := send(ctx, v, token); err != nil && fhir.KindOf(err) != fhir.Transient {
			t.Errorf("the one that ends: %+v, %v", p, err)
		}
	})
	<-asked
	cancel()
	both.Go(func() {
		if _, err := ask(v, token); err != nil {
			t.Errorf("the other: %v", err)
		}
	})
	close(hold)
	both.Wait()
	if len(asked) != 1 {
		t.Errorf("asked %d times more, want once, for the keys", len(asked))
	}
}
