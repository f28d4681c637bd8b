package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Type is the typ of a certificate's header.
const Type = "purge-certificate+jwt"

// idKey is the kid of the key of ids; idKeySize is its size in bytes.
const (
	idKey     = "ids"
	idKeySize = 32
)

// Keys are what certificates are signed with and ids hidden with: a set of JWKs
// (RFC 7517). Of the keys to sign with the last one signs; the public halves of
// all verify. The zero Keys sign nothing.
type Keys struct {
	signing []jose.JSONWebKey // private
	ids     []byte
}

// NewKeys makes a key of each sort.
func NewKeys() (Keys, error) {
	ids := make([]byte, idKeySize)
	_, _ = rand.Read(ids) // it never fails
	return Keys{ids: ids}.Rotated()
}

// Rotated has one more key, which signs from now on. The key of ids stays.
func (k Keys) Rotated() (Keys, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, fmt.Errorf("certificate: make a key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private, Algorithm: string(jose.ES256), Use: "sig"}
	print, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return k, fmt.Errorf("certificate: name a key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(print)
	k.signing = append(append([]jose.JSONWebKey(nil), k.signing...), jwk)
	return k, nil
}

var errKeys = errors.New("certificate: these are no signing keys: a JWK set with private keys of P-256, each with a kid of its own, and the key of ids, an oct key with the kid 'ids'")

// ReadKeys reads what JSON wrote.
func ReadKeys(doc []byte) (k Keys, err error) {
	var set jose.JSONWebKeySet
	if json.Unmarshal(doc, &set) != nil { // its error may quote a key
		return k, errKeys
	}
	for _, jwk := range set.Keys {
		switch key := jwk.Key.(type) {
		case *ecdsa.PrivateKey:
			if key.Curve != elliptic.P256() || jwk.KeyID == "" || jwk.KeyID == idKey || len(set.Key(jwk.KeyID)) != 1 {
				return Keys{}, errKeys
			}
			k.signing = append(k.signing, jwk)
		case []byte:
			if jwk.KeyID == idKey && len(set.Key(idKey)) == 1 && len(key) >= idKeySize {
				k.ids = key
			}
		}
	}
	if len(k.signing) == 0 || k.ids == nil {
		return Keys{}, errKeys
	}
	return k, nil
}

// JSON is the set with all that is secret.
func (k Keys) JSON() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{{Key: k.ids, KeyID: idKey, Algorithm: "HS256"}}, k.signing...)}
	return json.MarshalIndent(set, "", "  ")
}

// Public is the set of the public keys, as JSON: what verifies.
func (k Keys) Public() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, jwk := range k.signing {
		set.Keys = append(set.Keys, jwk.Public())
	}
	return json.MarshalIndent(set, "", "  ")
}

// IDs are the kids, the oldest first; the last one signs.
func (k Keys) IDs() (kids []string) {
	for _, jwk := range k.signing {
		kids = append(kids, jwk.KeyID)
	}
	return kids
}

// ID is how a certificate has an id, such as "Patient/1". It is another in each
// certificate, so that two do not tell that one patient is in both.
func (k Keys) ID(tenant, job, id string) string { return k.hide("id", tenant, job, id) }

// hide is an HMAC-SHA-256. None of the names has a NUL in it.
func (k Keys) hide(names ...string) string {
	mac := hmac.New(sha256.New, k.ids)
	mac.Write([]byte(strings.Join(names, "\x00")))
	return hex.EncodeToString(mac.Sum(nil))
}

func (k Keys) sign(payload []byte) ([]byte, error) {
	if len(k.signing) == 0 {
		return nil, errKeys
	}
	newest := k.signing[len(k.signing)-1]
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: newest.Key, KeyID: newest.KeyID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(Type))
	if err != nil {
		return nil, fmt.Errorf("certificate: sign: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("certificate: sign: %w", err)
	}
	compact, err := signed.CompactSerialize()
	return []byte(compact), err
}
