package auth

import (
	"crypto/sha256"
	"sync"
)

// maxProven is how many tokens are remembered: more than are in use at once.
const maxProven = 4096

// proven is the tokens whose signatures were found good by certain keys. A
// client sends its token with every request, and to check ES384 each time would
// cost most of a millisecond. Only hashes are kept, and only the signature is
// remembered: what a token says is checked each time.
type proven struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]struct{}
}

func (p *proven) has(token string) bool {
	hash := sha256.Sum256([]byte(token))
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.tokens[hash]
	return ok
}

// add remembers a token, and forgets all others when there are too many.
func (p *proven) add(token string) {
	hash := sha256.Sum256([]byte(token))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens == nil || len(p.tokens) >= maxProven {
		p.tokens = make(map[[sha256.Size]byte]struct{})
	}
	p.tokens[hash] = struct{}{}
}
