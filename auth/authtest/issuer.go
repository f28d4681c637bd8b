// Package authtest is an OpenID provider for tests, in the test's own process.
// Its tokens are good unless the test asks for one that is not.
package authtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"firebreak/auth"

	"github.com/go-jose/go-jose/v4"
)

// Audience is whom tokens are for where the test does not say, and whom a
// server with Config takes them for.
const Audience = "https://fhir.example.org/fhir"

// TenantClaim is the claim that holds the tenant of a token.
const TenantClaim = "tenant"

// Issuer is a provider that listens on a loopback address until its test ends.
// It may be used by many goroutines at once.
type Issuer struct {
	// URL is its name in tokens.
	URL string

	server *httptest.Server

	mu    sync.Mutex
	keys  ring
	down  bool
	looks int
	says  map[string]any
}

// New starts an issuer.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{keys: newRing(1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.publish)
	i.server = httptest.NewServer(i.unlessDown(mux))
	// A client asks again on its own where a connection that it had breaks off,
	// and Looks would count that.
	i.server.Config.SetKeepAlivesEnabled(false)
	i.URL = i.server.URL
	t.Cleanup(func() {
		i.server.Client().CloseIdleConnections()
		i.server.Close()
	})
	return i
}

// Config is the configuration of a server that takes this issuer's tokens, all
// for the default tenant. It can be changed before it is used.
func (i *Issuer) Config() auth.Config {
	return auth.Config{Issuer: i.URL, Audiences: []string{Audience}, HTTP: i.server.Client()}
}

// Rotate puts new keys in place of all that there were.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = newRing(i.keys.number + 1)
}

// Down makes the issuer break off every request. It goes on making tokens.
func (i *Issuer) Down() { i.setDown(true) }

// Up ends Down.
func (i *Issuer) Up() { i.setDown(false) }

func (i *Issuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Say changes what the discovery document says: a value that is nil is left out.
func (i *Issuer) Say(values map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.says = values
}

// Looks is how often the discovery document was asked for, in vain or not: once
// for each time that a server wanted to know the keys.
func (i *Issuer) Looks() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.looks
}

func (i *Issuer) unlessDown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		down := i.down
		if r.URL.Path != "/keys" {
			i.looks++
		}
		i.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler) // the client sees a broken connection
		}
		next.ServeHTTP(w, r)
	})
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	document := map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys",
		"authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
	i.mu.Lock()
	maps.Copy(document, i.says)
	i.mu.Unlock()
	maps.DeleteFunc(document, func(_ string, value any) bool { return value == nil })
	answer(w, document)
}

// publish answers with the public keys, and with others that a server has to
// pass over.
func (i *Issuer) publish(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	ring := i.keys
	i.mu.Unlock()
	set := []any{
		map[string]string{"kty": "of the future", "kid": "future"},
		map[string]string{"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"},
	}
	for _, kind := range kinds() {
		set = append(set, jose.JSONWebKey{Key: ring.keys[kind].Public(), KeyID: ring.name(kind), Use: "sig"})
	}
	answer(w, map[string]any{"keys": set})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err)
	}
}
