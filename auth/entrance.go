package auth

import (
	"context"
	"net/http"
	"net/netip"

	"firebreak/fhir"
)

// The header credentials.
const (
	idHeader     = "client_id"
	secretHeader = "client_secret"
	userHeader   = "x-oneup-user-id"
)

// Entrance says who sends a request, by a token or by header credentials. One
// of both may be nil: then that kind is not taken.
type Entrance struct {
	Tokens  *Verifier
	Clients *ClientVerifier
}

// Principal says who sends r from an address, as Verifier.Principal and
// ClientVerifier.Principal do.
//
// A request that has both kinds of credentials is Invalid (RFC 6750, section
// 3.1: no more than one method), as one of them would be passed over unseen;
// so is a token with x-oneup-user-id, since it names a user itself and the
// request may mean another. Where header credentials are not taken, client_id
// and client_secret are headers that mean nothing.
func (e Entrance) Principal(ctx context.Context, r *http.Request, from netip.Addr) (Principal, error) {
	hasHeaders := e.Clients != nil && (isSent(r.Header, idHeader) || isSent(r.Header, secretHeader))
	hasToken := isSent(r.Header, "Authorization")
	switch {
	case hasHeaders && hasToken:
		return Principal{}, fhir.Errorf(fhir.Invalid, "there are two kinds of credentials: send either Authorization, or client_id and client_secret")
	case hasHeaders:
		return e.Clients.Principal(ctx, r.Header, from)
	case e.Tokens == nil:
		return Principal{}, refuseClient("authentication is required: send client_id and client_secret as headers; this server takes no tokens")
	case !hasToken && e.Clients != nil:
		return Principal{}, refuse(fhir.Unauthorized, "", "authentication is required: send a token as Authorization: Bearer …, or client_id and client_secret as headers")
	case hasToken && isSent(r.Header, userHeader):
		return Principal{}, fhir.Errorf(fhir.Invalid, "%s goes with client_id and client_secret; a token says itself which user it is for", userHeader)
	}
	p, err := e.Tokens.Principal(ctx, r)
	if err == nil && e.Clients != nil {
		err = e.Clients.Admit(p)
	}
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

func isSent(h http.Header, name string) bool { return len(h.Values(name)) > 0 }

// headers are header credentials as they were sent.
type headers struct{ id, secret, user string }

// readHeaders reads the credentials; user is "" where none was named.
func readHeaders(h http.Header) (headers, error) {
	for _, name := range []string{idHeader, secretHeader, userHeader} {
		if len(h.Values(name)) > 1 {
			return headers{}, fhir.Errorf(fhir.Invalid, "there is more than one %s header", name)
		}
	}
	sent := headers{h.Get(idHeader), h.Get(secretHeader), h.Get(userHeader)}
	switch {
	case sent.id == "" || sent.secret == "":
		return headers{}, refuseClient("client_id and client_secret go together, and neither may be empty")
	case sent.user == "" && isSent(h, userHeader):
		return headers{}, fhir.Errorf(fhir.Invalid, "%s is empty: name a user, or leave it out to act for the client itself", userHeader)
	}
	return sent, nil
}

// refuseClient refuses who sent no header credentials, or wrong ones. HTTP
// wants a challenge with 401, and there is no registered one for these headers.
func refuseClient(message string) error {
	return &refusal{err: fhir.Errorf(fhir.Unauthorized, "%s", message), challenge: `ClientHeaders realm="firebreak"`}
}

// errCredentials refuses credentials that were checked, without a word about
// what was wrong with them.
func errCredentials() error {
	return refuseClient("client_id and client_secret are not those of a client that this server takes by headers")
}
