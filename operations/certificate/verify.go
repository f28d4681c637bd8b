package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Verifier verifies certificates by public keys.
type Verifier struct{ keys map[string]*ecdsa.PublicKey }

// NewVerifier reads a JWK set. Keys of other sorts are passed over.
func NewVerifier(jwks []byte) (Verifier, error) {
	var set jose.JSONWebKeySet
	if json.Unmarshal(jwks, &set) != nil { // its error may quote a key
		return Verifier{}, errors.New("certificate: the keys are no JWK set")
	}
	v := Verifier{keys: map[string]*ecdsa.PublicKey{}}
	for _, jwk := range set.Keys {
		key, ok := jwk.Public().Key.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() || jwk.KeyID == "" || jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		if len(set.Key(jwk.KeyID)) != 1 {
			return Verifier{}, fmt.Errorf("certificate: the keys have the kid %q more than once", jwk.KeyID)
		}
		v.keys[jwk.KeyID] = key
	}
	if len(v.keys) == 0 {
		return Verifier{}, errors.New("certificate: there is no key of P-256 with a kid among the keys")
	}
	return v, nil
}

// header is all that a certificate's header may have.
type header struct {
	Algorithm string `json:"alg"`
	Key       string `json:"kid"`
	Type      string `json:"typ"`
}

// headerOf reads the header. A member beside these, such as jwk, jku, x5c or
// crit, refuses the certificate: keys are never taken from it.
func headerOf(compact []byte) (h header, err error) {
	encoded, _, _ := bytes.Cut(compact, []byte("."))
	doc, err := base64.RawURLEncoding.Strict().DecodeString(string(encoded))
	if err != nil {
		return h, errors.New("certificate: it is no compact JWS")
	}
	strict := json.NewDecoder(bytes.NewReader(doc))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&h); err != nil {
		return h, errors.New("certificate: the header has something else than alg, kid and typ; keys are not taken from a certificate")
	}
	switch {
	case h.Algorithm != string(jose.ES256):
		return h, fmt.Errorf("certificate: it is signed with %q, and only ES256 is taken", h.Algorithm)
	case h.Type != Type:
		return h, fmt.Errorf("certificate: its typ is %q, and not %q", h.Type, Type)
	}
	return h, nil
}

// Verify gives what a certificate says if its signature is good and what it says
// can be. White space around it does not matter.
func (v Verifier) Verify(compact []byte) (s Statement, err error) {
	compact = bytes.TrimSpace(compact)
	h, err := headerOf(compact)
	if err != nil {
		return s, err
	}
	key, ok := v.keys[h.Key]
	if !ok {
		return s, fmt.Errorf("certificate: it is signed with the key %q, which is not among the keys", h.Key)
	}
	signed, err := jose.ParseSignedCompact(string(compact), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return s, fmt.Errorf("certificate: it is no compact JWS: %w", err)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return s, errors.New("certificate: the signature is not that of its key: it was changed, or is not this server's")
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return s, fmt.Errorf("certificate: what it says cannot be read: %w", err)
	}
	return s, s.check()
}

// check tells of what cannot be.
func (s Statement) check() error {
	ids := len(s.Patients.HMAC)
	switch {
	case s.Job == "" || s.Tenant == "" || s.Number < 1:
		return errors.New("certificate: it does not say which job it is of, or has no place in a chain")
	case (s.Number == 1) != (s.Before == ""):
		return errors.New("certificate: the first of a chain, and only it, has none before it")
	case s.Started.Before(s.Asked.At) || s.Ended.Before(s.Started) || s.Issued < s.Ended.Unix():
		return errors.New("certificate: its times are not in their order")
	case s.Patients.Count != s.Asked.Patients || ids != s.Patients.Count && s.Patients.Digest == "" || ids > MaxIDs:
		return errors.New("certificate: its patients are not as many as it says")
	}
	return nil
}

// Follows tells whether it is the next one of the chain after another, whose
// signature was verified.
func (s Statement) Follows(before Statement, compact []byte) error {
	switch {
	case s.Tenant != before.Tenant:
		return errors.New("certificate: the two are of different tenants, so of different chains")
	case s.Number != before.Number+1:
		return fmt.Errorf("certificate: it is number %d, and the one before it number %d", s.Number, before.Number)
	case s.Before != Hash(bytes.TrimSpace(compact)):
		return errors.New("certificate: it names another as the one before it")
	}
	return nil
}

// ErrManyIDs says that a certificate is of so many patients that it has a digest
// of them only.
var ErrManyIDs = fmt.Errorf("certificate: it is of more than %d patients, and has no single ones", MaxIDs)

// Means tells whether an id, such as "Patient/1", is among those that are meant,
// by the keys of the server that issued it.
func (s Statement) Means(k Keys, id string) (bool, error) {
	if s.Patients.Digest != "" {
		return false, ErrManyIDs
	}
	_, found := slices.BinarySearch(s.Patients.HMAC, k.ID(s.Tenant, s.Job, id))
	return found, nil
}
