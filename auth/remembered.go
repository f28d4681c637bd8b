package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// freshFor is how long credentials are believed after they were last sent,
	// without a look at their hash.
	freshFor = 5 * time.Minute
	// knownFor is how long an address is remembered as one from where a client
	// came in.
	knownFor = 24 * time.Hour
	// maxRemembered is how many pairs of client and address are remembered.
	maxRemembered = 4096
)

// digest stands for something that is not kept.
type digest [sha256.Size]byte

// remembered is who came in of late, and from where. Of a secret it has only an
// HMAC under a key of the process.
type remembered struct {
	mu    sync.Mutex
	pairs map[digest]pass // by client and address
}

// pass is what a pair came in with.
type pass struct {
	secret digest
	hash   string // what the secret was found to be; with another one it is nothing
	at     time.Time
}

// fresh tells whether the pair came in lately with this secret, which has this
// hash, and takes note that it did so again.
func (r *remembered) fresh(pair, secret digest, hash string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pairs[pair]
	if !hmac.Equal(p.secret[:], secret[:]) || !ok || p.hash != hash || now.Sub(p.at) > freshFor {
		return false
	}
	p.at = now
	r.pairs[pair] = p
	return true
}

// knows tells whether the pair came in with a secret of this hash within a day.
func (r *remembered) knows(pair digest, hash string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pairs[pair]
	return ok && p.hash == hash && now.Sub(p.at) <= knownFor
}

// add remembers a pair, and forgets the oldest one when there are too many.
func (r *remembered) add(pair, secret digest, hash string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pairs == nil {
		r.pairs = map[digest]pass{}
	}
	if _, ok := r.pairs[pair]; !ok && len(r.pairs) >= maxRemembered {
		r.forget()
	}
	r.pairs[pair] = pass{secret, hash, now}
}

func (r *remembered) forget() {
	var oldest digest
	var at time.Time
	for pair, p := range r.pairs {
		if at.IsZero() || p.at.Before(at) {
			oldest, at = pair, p.at
		}
	}
	delete(r.pairs, oldest)
}
