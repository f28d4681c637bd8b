package auth

import (
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash costs, as OWASP's Password Storage Cheat Sheet has it for
// Argon2id: 19 MiB, two passes, one lane. All secrets have the same cost, so
// that the time of a check does not say whose it was.
const (
	argonMemory = 19 << 10 // KiB
	argonPasses = 2
	argonLanes  = 1

	// argonWords is how a hash of this cost begins, as a PHC string.
	argonWords = "$argon2id$v=19$m=19456,t=2,p=1$"

	saltBytes = 16
	sumBytes  = 32
)

// HashSecret gives what is kept of a secret in its place: a PHC string of
// Argon2id, with its parameters and its salt. The salt is random bytes that
// were used for no other secret.
func HashSecret(secret string, salt [saltBytes]byte) string {
	return phcOf(salt[:], argon2.IDKey([]byte(secret), salt[:], argonPasses, argonMemory, argonLanes, sumBytes))
}

func phcOf(salt, sum []byte) string {
	return argonWords + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum)
}

// parsePHC takes a hash apart, if it is one that HashSecret could have made.
func parsePHC(phc string) (salt, sum []byte, ok bool) {
	rest, ok := strings.CutPrefix(phc, argonWords)
	first, second, both := strings.Cut(rest, "$")
	strict := base64.RawStdEncoding.Strict()
	salt, err := strict.DecodeString(first)
	sum, err2 := strict.DecodeString(second)
	return salt, sum, ok && both && err == nil && err2 == nil && len(salt) == saltBytes && len(sum) == sumBytes
}

// isSecret tells whether the hash is the secret's. It takes as long if it is
// not.
func isSecret(secret, phc string) bool {
	salt, sum, ok := parsePHC(phc)
	if !ok {
		return false
	}
	got := argon2.IDKey([]byte(secret), salt, argonPasses, argonMemory, argonLanes, sumBytes)
	return subtle.ConstantTimeCompare(got, sum) == 1
}
