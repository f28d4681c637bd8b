package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// maxAnswer is how many bytes of an answer of the provider are read.
const maxAnswer = 1 << 20

// provider asks an OpenID provider for its keys, and for what it is.
type provider struct {
	issuer string
	client *http.Client
}

func newProvider(cfg Config) provider {
	client := *cfg.HTTP
	client.Transport = guard{next: client.Transport}
	return provider{issuer: cfg.Issuer, client: &client}
}

// discover reads the discovery document, which must name the issuer exactly.
func (p provider) discover(ctx context.Context, document any) error {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.issuer)
	if err == nil {
		err = found.Claims(document)
	}
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	return nil
}

// keys reads the discovery document and the keys it points to.
func (p provider) keys(ctx context.Context) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.discover(ctx, &document); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, document.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the keys: %s", answer.Status)
	}
	return readKeys(answer.Body)
}

// readKeys reads a JWK set. Keys that cannot be used here are passed over
// (RFC 7517, section 5), and so are secret ones: those are not for signatures
// that others check.
func readKeys(r io.Reader) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("read the keys: the answer is not a JWK set")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// guard lets only requests pass that nobody on the way can answer instead of
// the provider, and bounds what is read of an answer. Redirects pass it too.
type guard struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if !private(r.URL) {
		return nil, errors.New("the address is neither https nor of a loopback address")
	}
	next := g.next
	if next == nil {
		next = http.DefaultTransport
	}
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "application/json")
	answer, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = limited{Reader: io.LimitReader(answer.Body, maxAnswer), Closer: answer.Body}
	return answer, nil
}

// limited is the beginning of a body.
type limited struct {
	io.Reader
	io.Closer
}
