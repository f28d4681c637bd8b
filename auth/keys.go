package auth

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"firebreak/fhir"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysFresh is how long keys are used before the provider is asked
	// whether it still has them: a key that was withdrawn is believed for so
	// long at most while the provider answers.
	keysFresh = 10 * time.Minute
	// keysRetry is how long keys that are older are used before a provider that
	// did not answer is asked again for them.
	keysRetry = time.Minute
	// lookEvery and looksAtOnce bound how often unknown keys make this server
	// ask: so many times at once, then one more each time this has passed.
	lookEvery   = 10 * time.Second
	looksAtOnce = 5
	// lookTimeout ends a look at a provider that does not answer.
	lookTimeout = 10 * time.Second
)

// keys are the provider's keys, as last read.
type keys struct {
	provider provider
	now      func() time.Time
	log      *slog.Logger

	ring atomic.Pointer[keyring]
	turn chan struct{} // holds one value; who takes it may look, and owns left
	left allowance
}

// keyring is what was known after a look. It does not change.
type keyring struct {
	keys   []jose.JSONWebKey
	proven *proven   // by these keys
	due    time.Time // when to look again, even if no key is missing
	failed bool      // the look did: keys are those of an earlier one
}

func newKeys(cfg Config) *keys {
	k := &keys{
		provider: newProvider(cfg), now: cfg.Now, log: cfg.Log,
		turn: make(chan struct{}, 1),
	}
	k.ring.Store(&keyring{proven: &proven{}})
	k.turn <- struct{}{}
	return k
}

// verify gives the payload of a token whose signature is the provider's. The
// token comes as it was sent, too.
func (k *keys) verify(ctx context.Context, sent string, token *jose.JSONWebSignature) ([]byte, error) {
	ring := k.fresh(ctx)
	if ring.proven.has(sent) {
		return token.UnsafePayloadWithoutVerification(), nil
	}
	payload, known := ring.verify(token)
	if !known {
		ring = k.look(ctx, ring)
		payload, known = ring.verify(token)
	}
	switch {
	case payload != nil:
		ring.proven.add(sent)
		return payload, nil
	case !known && ctx.Err() != nil:
		return nil, fhir.Errorf(fhir.Transient, "the request was broken off")
	case !known && ring.failed:
		return nil, fhir.Errorf(fhir.Transient, "the token cannot be checked now, as its provider does not answer; try again later")
	}
	return nil, errToken("the token is not signed by a key of its provider")
}

// fresh gives the keys, after a look if they are old. While one request looks,
// the others go on with the old ones.
func (k *keys) fresh(ctx context.Context) *keyring {
	ring := k.ring.Load()
	if len(ring.keys) == 0 || k.now().Before(ring.due) {
		return ring
	}
	select {
	case <-k.turn:
		defer k.giveTurn()
	default:
		return ring
	}
	if now := k.ring.Load(); now != ring {
		return now
	}
	return k.read(ctx, ring)
}

// look gives the keys after a look at the provider, which is left out if
// somebody has looked since seen, or if there were too many. It waits for its
// turn as long as ctx lasts.
func (k *keys) look(ctx context.Context, seen *keyring) *keyring {
	select {
	case <-ctx.Done():
		return seen
	case <-k.turn:
	}
	defer k.giveTurn()
	ring := k.ring.Load()
	if ring != seen || !k.left.take(k.now()) {
		return ring
	}
	return k.read(ctx, ring)
}

func (k *keys) giveTurn() { k.turn <- struct{}{} }

// read asks the provider, for whoever waits and not only for the request that
// has the turn. Who calls it has the turn.
func (k *keys) read(ctx context.Context, old *keyring) *keyring {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	ring := &keyring{proven: &proven{}}
	var err error
	if ring.keys, err = k.provider.keys(ctx); err == nil {
		ring.due = k.now().Add(keysFresh)
		k.log.DebugContext(ctx, "read the keys of the OpenID provider", "keys", len(ring.keys))
	} else {
		ring.keys, ring.proven = old.keys, old.proven
		ring.due, ring.failed = k.now().Add(keysRetry), true
		k.log.WarnContext(ctx, "the OpenID provider does not give its keys", "error", shorten(err))
	}
	k.ring.Store(ring)
	return ring
}

// verify gives the payload if a key fits, and whether the key that the token
// names is known at all. A token that names none is tried with every key.
func (r *keyring) verify(token *jose.JSONWebSignature) (payload []byte, known bool) {
	header := token.Signatures[0].Header
	for _, key := range r.keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := token.Verify(key); err == nil {
			return payload, true
		}
		known = known || header.KeyID != ""
	}
	return nil, known
}

// allowance is how many looks may still be made.
type allowance struct {
	n  int
	at time.Time // when n was true
}

// take uses one up, if there is one.
func (a *allowance) take(now time.Time) bool {
	more := int(now.Sub(a.at) / lookEvery)
	switch {
	case a.at.IsZero() || a.n+more >= looksAtOnce:
		a.n, a.at = looksAtOnce, now
	case more > 0:
		a.n, a.at = a.n+more, a.at.Add(time.Duration(more)*lookEvery)
	}
	if a.n == 0 {
		return false
	}
	a.n--
	return true
}

// shorten gives the beginning of an error: providers answer with whole pages.
func shorten(err error) error {
	const enough = 300
	if s := err.Error(); len(s) > enough {
		return errors.New(s[:enough] + "…")
	}
	return err
}
