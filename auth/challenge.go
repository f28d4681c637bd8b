package auth

import "firebreak/fhir"

// realm is what the challenges of this server protect.
const realm = `Bearer realm="firebreak"`

// refusal is an error that asks for a better token.
type refusal struct {
	err       *fhir.Error
	challenge string
}

// refuse makes a refusal with an error code of RFC 6750, "" for none.
func refuse(k fhir.Kind, code, message string) error {
	r := &refusal{err: fhir.Errorf(k, "%s", message), challenge: realm}
	if code != "" {
		r.challenge += `, error="` + code + `"`
	}
	return r
}

// Error gives the message, which holds nothing of the token.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap gives the *fhir.Error.
func (r *refusal) Unwrap() error { return r.err }

// Challenge is the value of WWW-Authenticate that goes with the answer
// (RFC 6750, section 3). Whoever renders errors looks for it with errors.As,
// and need not know this package.
func (r *refusal) Challenge() string { return r.challenge }

// errToken refuses a token that was read.
func errToken(message string) error {
	return refuse(fhir.Unauthorized, "invalid_token", message)
}

// errMissing refuses for want of a scope. The hint, which may be "", says why
// those that are held do not do.
func errMissing(scope, hint string) error {
	r := &refusal{err: fhir.Errorf(fhir.Forbidden, "this needs the scope %s%s", scope, hint)}
	r.challenge = realm + `, error="insufficient_scope", scope="` + scope + `"`
	return r
}
