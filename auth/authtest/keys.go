package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// ring is the keys of an issuer until it rotates them.
type ring struct {
	number int // how many rings there were, with this one
	keys   map[string]crypto.Signer
}

// kinds are the kinds of keys that an issuer has.
func kinds() []string { return []string{"RSA", "P-256", "P-384", "P-521", "Ed25519"} }

func newRing(number int) ring {
	r := ring{number: number, keys: map[string]crypto.Signer{}}
	for _, kind := range kinds() {
		r.keys[kind] = newKey(kind)
	}
	return r
}

func newKey(kind string) crypto.Signer {
	switch kind {
	case "P-256":
		return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "P-384":
		return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "P-521":
		return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "Ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	}
	return must(rsa.GenerateKey(rand.Reader, 2048))
}

// kindOf is the kind of key for an algorithm; where there is none, RSA.
func kindOf(algorithm string) string {
	kind, ok := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}[algorithm]
	if !ok {
		return "RSA"
	}
	return kind
}

// name is the id of the key of a kind.
func (r ring) name(kind string) string { return fmt.Sprintf("%s-%d", kind, r.number) }

// must gives v; a provider for tests that cannot do its work ends the test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
