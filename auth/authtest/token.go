package authtest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are what a token says. The zero value of each but Client has a use.
type Claims struct {
	Client   string    // azp; "": the token names no client
	User     string    // sub; "": the client itself, as with client_credentials
	Scope    string    // scope, with spaces between
	Tenant   string    // the claim TenantClaim; "": left out
	Patient  string    // patient, that of the launch; "": left out
	Audience string    // "": Audience
	Expires  time.Time // zero: in five minutes
	Others   map[string]any
}

// Values gives the claims as they stand in a token, to be changed and signed.
// Others come last, and one of them that is nil removes the claim.
func (i *Issuer) Values(c Claims) map[string]any {
	v := map[string]any{
		"iss": i.URL, "sub": c.Client, "aud": Audience, "azp": c.Client, "scope": c.Scope,
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(), "jti": "1",
	}
	if c.User != "" {
		v["sub"] = c.User
	}
	if c.Tenant != "" {
		v[TenantClaim] = c.Tenant
	}
	if c.Patient != "" {
		v["patient"] = c.Patient
	}
	if c.Audience != "" {
		v["aud"] = c.Audience
	}
	if !c.Expires.IsZero() {
		v["exp"] = c.Expires.Unix()
	}
	maps.Copy(v, c.Others)
	maps.DeleteFunc(v, func(name string, value any) bool {
		return value == nil || name == "azp" && value == ""
	})
	return v
}

// Token gives a token with these claims, signed as Header{} says.
func (i *Issuer) Token(c Claims) string { return i.Sign(Header{}, i.Values(c)) }

// Header says how a token is signed. The zero value is as it should be.
type Header struct {
	// Algorithm is ES384 unless said. "none" leaves the token unsigned; HS256,
	// HS384 and HS512 use the public RSA key as the secret, which a careless
	// server would take.
	Algorithm string
	// KeyID is the name of the key that signs unless said, such as P-384-1:
	// its kind (RSA, P-256, P-384, P-521, Ed25519) and how many there were of
	// it. "-" is none.
	KeyID string
	// Type is at+jwt unless said; "-" is none.
	Type string
	// Forged signs with a key that is not the issuer's.
	Forged bool
}

// Sign gives a token with any claims, and panics where it cannot.
func (i *Issuer) Sign(h Header, claims any) string {
	i.mu.Lock()
	ring := i.keys
	i.mu.Unlock()
	if h.Algorithm == "" {
		h.Algorithm = string(jose.ES384)
	}
	kind := kindOf(h.Algorithm)
	key := ring.keys[kind]
	h.KeyID = choose(h.KeyID, ring.name(kind))
	h.Type = choose(h.Type, "at+jwt")
	if h.Forged {
		key = newKey(kind)
	}
	payload := must(json.Marshal(claims))
	switch {
	case h.Algorithm == "none":
		return encode(must(json.Marshal(h.values()))) + "." + encode(payload) + "."
	case strings.HasPrefix(h.Algorithm, "HS"):
		public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key.Public()))})
		return h.sign(public, payload)
	}
	return h.sign(key, payload)
}

// choose gives what was said, the usual where nothing was, and "" for "-".
func choose(said, usual string) string {
	switch said {
	case "":
		return usual
	case "-":
		return ""
	}
	return said
}

func (h Header) values() map[string]string {
	v := map[string]string{"alg": h.Algorithm, "kid": h.KeyID, "typ": h.Type}
	maps.DeleteFunc(v, func(_, value string) bool { return value == "" })
	return v
}

func (h Header) sign(key any, payload []byte) string {
	options := &jose.SignerOptions{}
	if h.Type != "" {
		options.WithType(jose.ContentType(h.Type))
	}
	signer := must(jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(h.Algorithm), Key: jose.JSONWebKey{Key: key, KeyID: h.KeyID},
	}, options))
	return must(must(signer.Sign(payload)).CompactSerialize())
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
