package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"firebreak/fhir"
)

// ClientConfig is what NewClientVerifier needs. Clients, Key and Now must be
// set.
type ClientConfig struct {
	// Clients gives the clients as they are now. It is called for each request
	// with header credentials and for each token, and must be quick.
	Clients func() Clients
	// Key is 32 random bytes, made anew in each process.
	Key []byte
	// Now is the clock.
	Now func() time.Time
	// Parallel is how many hashes are checked at once, each on a core and with
	// 19 MiB; by default 1.
	Parallel int
	// KnownType and PurgeVendors are as in Config.
	KnownType    func(string) bool
	PurgeVendors []string
}

// ClientVerifier says who sends a request, by its header credentials. It may be
// used by many goroutines at once.
//
// Credentials that fail take the same time and give the same error, whether
// there is such a client or not. They are limited to 10 at once and then one
// each 6 s, by address, which for IPv6 is a network of 64 bits; past that
// nothing that comes from there is looked at but credentials that came in from
// there within 5 minutes.
// They are limited likewise by client, for addresses that have failed lately
// and from where that client has not come in within a day: whoever guesses at
// a client's secret from many addresses is held up, and the client is not, from
// wherever it comes.
type ClientVerifier struct {
	cfg       ClientConfig
	nobody    string // a hash that is no secret's
	verify    func(secret, hash string) bool
	turns     turns
	known     remembered
	addresses limiter[netip.Prefix]
	clients   limiter[digest]
}

const keyBytes = 32

// NewClientVerifier makes a ClientVerifier, and refuses a configuration that
// cannot work or would be lax.
func NewClientVerifier(cfg ClientConfig) (*ClientVerifier, error) {
	switch {
	case cfg.Clients == nil || cfg.Now == nil:
		return nil, errors.New("auth: the clients or the clock are not given")
	case len(cfg.Key) != keyBytes:
		return nil, errors.New("auth: the key is not 32 bytes")
	}
	cfg.PurgeVendors = slices.Clone(cfg.PurgeVendors)
	v := &ClientVerifier{cfg: cfg, verify: isSecret, turns: newTurns(max(1, cfg.Parallel))}
	sum := v.mac("nobody", "")
	v.nobody = phcOf(sum[:saltBytes], sum[:])
	return v, nil
}

// Principal says who sends the headers from an address. Any error has within
// it an *fhir.Error: Unauthorized, Invalid for headers that contradict each
// other, Forbidden for a user whom the client may not name, Throttled, which
// has a RetryAfter, or Transient. No error holds any part of the headers.
func (v *ClientVerifier) Principal(ctx context.Context, h http.Header, from netip.Addr) (Principal, error) {
	sent, err := readHeaders(h)
	if err != nil {
		return Principal{}, err
	}
	client, err := v.authenticate(ctx, sent, networkOf(from))
	if err != nil {
		return Principal{}, err
	}
	if sent.user != "" && !slices.Contains(client.Users, sent.user) {
		return Principal{}, fhir.Errorf(fhir.Forbidden, "this client may not act for the user that %s names: only for those in its configuration", userHeader)
	}
	p := Principal{Tenant: client.Tenant, Client: client.ID, User: sent.user}
	return p.With(ParseScopes(strings.Join(client.Scopes, " "), v.cfg.KnownType, v.cfg.PurgeVendors...)), nil
}

// Admit refuses the principal of a token whose client must not use tokens, or
// is configured for another tenant. A client that is not configured is
// admitted: its token says all.
func (v *ClientVerifier) Admit(p Principal) error {
	client, ok := v.cfg.Clients()[p.Client]
	switch {
	case ok && client.Method != ByBearer:
		return errToken("this client is configured for header credentials: send client_id and client_secret as headers, and no token")
	case ok && client.Tenant != p.Tenant:
		return errToken("this client is configured for another tenant than the token's")
	}
	return nil
}

// networkOf is what counts as one address.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p
}

// authenticate gives the client whose credentials were sent.
func (v *ClientVerifier) authenticate(ctx context.Context, sent headers, from netip.Prefix) (Client, error) {
	client, ok := v.cfg.Clients()[sent.id]
	if !ok || client.Method != ByHeader {
		client, ok = Client{SecretHash: v.nobody}, false
	}
	a := v.attempt(sent, from, client.SecretHash)
	if in, err := a.early(); in || err != nil {
		return client, err
	}
	if err := v.turns.wait(ctx); err != nil {
		return Client{}, err
	}
	defer v.turns.pass()
	if in, err := a.early(); in || err != nil { // another request may have told meanwhile
		return client, err
	}
	if right := v.verify(sent.secret, client.SecretHash); !right || !ok {
		a.fail()
		return Client{}, errCredentials()
	}
	v.known.add(a.pair, a.secret, a.hash, v.cfg.Now())
	return client, nil
}

// try is one attempt to come in.
type try struct {
	*ClientVerifier
	from         netip.Prefix
	client       digest // stands for the id that was sent
	pair, secret digest
	hash         string // which the secret must have
}

func (v *ClientVerifier) attempt(sent headers, from netip.Prefix, hash string) *try {
	a := &try{ClientVerifier: v, from: from, hash: hash, client: sha256.Sum256([]byte(sent.id))}
	a.pair = v.mac("pair", string(a.client[:])+from.String())
	a.secret = v.mac("secret", string(a.pair[:])+sent.secret)
	return a
}

// mac stands for a text within this process; use keeps texts of different
// meaning apart.
func (v *ClientVerifier) mac(use, text string) (d digest) {
	h := hmac.New(sha256.New, v.cfg.Key)
	_, _ = h.Write([]byte(use + ":" + text)) // a hash takes anything
	h.Sum(d[:0])
	return d
}

// early tells whether the credentials are known to be right, or refuses those
// that came too often; neither, if a look at the hash is needed.
func (a *try) early() (in bool, err error) {
	now := a.cfg.Now()
	if a.known.fresh(a.pair, a.secret, a.hash, now) {
		return true, nil
	}
	wait := a.addresses.wait(a.from, now)
	if !a.addresses.isClean(a.from, now) && !a.known.knows(a.pair, a.hash, now) {
		wait = max(wait, a.clients.wait(a.client, now))
	}
	if wait > 0 {
		return false, errThrottled(wait)
	}
	return false, nil
}

// fail counts the attempt as failed.
func (a *try) fail() {
	now := a.cfg.Now()
	a.addresses.fail(a.from, now)
	if !a.known.knows(a.pair, a.hash, now) {
		a.clients.fail(a.client, now)
	}
}

// turns bounds how many hashes are checked at once, and how many wait.
type turns struct {
	taken   chan struct{}
	waiting *atomic.Int32
}

// maxWaiting is how many requests wait for a check at most.
const maxWaiting = 64

func newTurns(n int) turns { return turns{make(chan struct{}, n), new(atomic.Int32)} }

// wait takes a turn, which pass gives back.
func (t turns) wait(ctx context.Context) error {
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > maxWaiting {
		return fhir.Errorf(fhir.Transient, "too many clients send their credentials at once; try again later")
	}
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fhir.Errorf(fhir.Transient, "the request was broken off")
	}
}

func (t turns) pass() { <-t.taken }
