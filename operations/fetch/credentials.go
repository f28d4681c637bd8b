package fetch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Credentials returns the headers of the moment that tell a server who asks. It is asked before each request that
// needs them, by several goroutines at once, so it should keep what is expensive to get. No error may hold a secret.
type Credentials func(ctx context.Context) (http.Header, error)

// Bearer makes credentials of an access token.
func Bearer(token func(ctx context.Context) (string, error)) Credentials {
	return func(ctx context.Context) (http.Header, error) {
		text, err := token(ctx)
		if err != nil {
			return nil, fmt.Errorf("getting an access token: %w", err)
		}
		return http.Header{"Authorization": {"Bearer " + text}}, nil
	}
}

// CredentialsError tells that there were no credentials to send, so that no request was made.
type CredentialsError struct{ Err error }

// Error is the text of the cause.
func (e *CredentialsError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// authorize adds the credentials if the request goes where they may go.
func (c *Client) authorize(req *http.Request) error {
	if c.Credentials == nil || !c.mayKnow(req.URL) {
		return nil
	}
	header, err := c.Credentials(req.Context())
	if err != nil {
		return &CredentialsError{err}
	}
	maps.Copy(req.Header, header)
	return nil
}

// mayKnow tells whether the credentials go to a URL.
func (c *Client) mayKnow(u *url.URL) bool {
	return c.InsecureCredentialsToAnyHost || sameOrigin(u, c.base)
}

// redirects wraps a policy on redirects. What net/http itself withholds from another host is Authorization and cookies
// alone, and these it gives to another port, to a subdomain, and from https to http. Here none of them gets a header
// that could be a credential, nor does the first origin once a request has been elsewhere.
func redirects(policy func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		elsewhere := func(r *http.Request) bool { return !sameOrigin(r.URL, via[0].URL) }
		if elsewhere(req) || slices.ContainsFunc(via, elsewhere) {
			maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return !isPlain(name) })
		}
		if policy != nil {
			return policy(req, via)
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
}

// isPlain tells whether a header says only what is asked for, and in which form.
func isPlain(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Content-Type", "If-Range", "Prefer", "Range", "User-Agent":
		return true
	}
	return false
}

func isHTTP(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}
