package auth

import "sync/atomic"

// Sizes of what is remembered, and how much of it there may be.
const (
	MaxDebtors    = maxDebtors
	MaxRemembered = maxRemembered
)

// CountChecks has v count how many hashes it checks; what is no hash, and would
// cost nothing, does not count.
func (v *ClientVerifier) CountChecks() *atomic.Int64 {
	n := new(atomic.Int64)
	check := v.verify
	v.verify = func(secret, hash string) bool {
		if _, _, ok := parsePHC(hash); ok {
			n.Add(1)
		}
		return check(secret, hash)
	}
	return n
}

// CheckPlainly spares the cost of hashes: a secret is right if it is the one.
func (v *ClientVerifier) CheckPlainly(secret string) {
	v.verify = func(sent, hash string) bool { return sent == secret && hash != v.nobody }
}

// HoldChecks has each check wait until the function is called; entered is sent
// a value when one waits.
func (v *ClientVerifier) HoldChecks() (entered <-chan struct{}, release func()) {
	began, gate := make(chan struct{}, maxWaiting), make(chan struct{})
	check := v.verify
	v.verify = func(secret, hash string) bool {
		began <- struct{}{}
		<-gate
		return check(secret, hash)
	}
	return began, func() { close(gate) }
}

// MaxWaiting is how many requests wait for a check.
const MaxWaiting = maxWaiting

// Waiting is how many do now.
func (v *ClientVerifier) Waiting() int { return int(v.turns.waiting.Load()) }

// Remembers is how many failures by address and by client, and how many pairs
// that came in, are remembered.
func (v *ClientVerifier) Remembers() (addresses, clients, pairs int) {
	return len(v.addresses.free), len(v.clients.free), len(v.known.pairs)
}
