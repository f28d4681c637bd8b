package auth

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/go-jose/go-jose/v4"
)

// maxToken is how many bytes of a token are read.
const maxToken = 16 << 10

// bearer finds the token of a request.
func bearer(h http.Header) (string, error) {
	sent := h.Values("Authorization")
	switch len(sent) {
	case 0:
		return "", errNobody()
	case 1:
	default:
		return "", refuse(fhir.Invalid, "invalid_request", "there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(sent[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", errNobody()
	case len(token) > maxToken:
		return "", errToken(fmt.Sprintf("the token is longer than %d bytes", maxToken))
	case !isCompact(token):
		return "", errToken("the token is not a signed JWT")
	}
	return token, nil
}

// isCompact tells whether s could be a JWS in its compact form, which is the
// only one that a header may hold.
func isCompact(s string) bool {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	dots := 0
	for i := range len(s) {
		switch {
		case s[i] == '.':
			dots++
		case strings.IndexByte(base64url, s[i]) < 0:
			return false
		}
	}
	return dots == 2
}

// attempt is the reading of one token, in the form that go-oidc wants of a set
// of keys. It keeps its error, which go-oidc only repeats as text.
type attempt struct {
	*Verifier
	claims claims
	err    error
}

// VerifySignature gives the payload of a token that says the right things and
// is signed by the provider. What it says comes first: a token that could not
// be believed anyway does not make this server ask for keys.
func (a *attempt) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := a.read(ctx, token)
	a.err = err
	return payload, err
}

func (a *attempt) read(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, a.algorithms)
	if err != nil {
		return nil, errToken("the token is not a signed JWT")
	}
	if !isAccessToken(jws.Signatures[0].Header) {
		return nil, errToken("the token is not an access token")
	}
	if a.claims, err = readClaims(jws.UnsafePayloadWithoutVerification()); err != nil {
		return nil, err
	}
	if err := a.claims.check(a.cfg); err != nil {
		return nil, err
	}
	return a.keys.verify(ctx, token, jws)
}

// isAccessToken tells whether the header's type, if it has one, is that of an
// access token (RFC 9068, section 2.1) or of JWTs in general. A provider signs
// other things too, such as logout tokens.
func isAccessToken(h jose.Header) bool {
	typ, has := h.ExtraHeaders[jose.HeaderType]
	if !has {
		return true
	}
	name, ok := typ.(string)
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return ok && slices.Contains([]string{"jwt", "at+jwt"}, name)
}
