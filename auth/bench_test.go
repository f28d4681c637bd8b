package auth_test

import (
	"testing"

	"firebreak/auth/authtest"
)

// BenchmarkVerify measures what a token costs each request but the first.
func BenchmarkVerify(b *testing.B) {
	issuer := authtest.New(b)
	v := newVerifier(b, issuer.Config())
	for _, algorithm := range []string{"RS256", "ES256", "ES384"} {
		token := issuer.Sign(authtest.Header{Algorithm: algorithm}, issuer.Values(authtest.Claims{Client: "app", Scope: "system/*.rs"}))
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ask(v, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
