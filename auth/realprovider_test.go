package auth_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"

	"github.com/go-jose/go-jose/v4"
)

// asked is the environment variable that asks for tests with real providers.
const asked = "FIREBREAK_TEST_OIDC"

const audience = "https://fhir.example.org/fhir"

func TestTokensOfARealProvider(t *testing.T) {
	if os.Getenv(asked) != "1" {
		t.Skipf("%s is not 1: this test installs npm's oidc-provider and needs its registry", asked)
	}
	key := newKey(t)
	issuer := startProvider(t, key)
	v := newVerifier(t, auth.Config{Issuer: issuer, Audiences: []string{audience}})
	for _, client := range []string{"backend-RS256", "backend-ES384"} {
		token := fetchToken(t, issuer, client, key)
		want := auth.Principal{Tenant: auth.DefaultTenant, Client: client}.With(auth.ParseScopes("system/*.rs", nil))
		p, err := ask(v, token)
		if err != nil || p != want {
			t.Errorf("%s: %+v, %v", client, p, err)
		}
		if auth.May(p, auth.Read, "Patient") != nil || fhir.KindOf(auth.May(p, auth.Update, "Patient")) != fhir.Forbidden {
			t.Errorf("%s may not do what its scope says", client)
		}
		other := newVerifier(t, auth.Config{Issuer: issuer, Audiences: []string{"https://other.example.org"}})
		p, err = ask(other, token)
		wantInvalid(t, "at another server", p, err)
	}
}

// startProvider installs the provider in a temporary folder and runs it until
// the test ends.
func startProvider(t *testing.T, key *ecdsa.PrivateKey) (issuer string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "provider"))); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	public := setOf(t, jose.JSONWebKey{Key: key.Public(), KeyID: "client", Use: "sig"})
	var log bytes.Buffer
	server := exec.CommandContext(t.Context(), "node", "server.mjs", public, audience)
	server.Dir, server.Stderr = dir, &log
	stdin, err := server.StdinPipe() // open for as long as the provider shall run
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = server.Wait() // it was told to end
		http.DefaultClient.CloseIdleConnections()
	})
	var said struct{ Issuer string }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &said) != nil {
		stdin.Close()
		_ = server.Wait() // for all of its words
		t.Fatalf("the provider did not start: %v\n%s%s", err, line, log.String())
	}
	return said.Issuer
}

// fetchToken asks for a token as a SMART backend service does.
func fetchToken(t *testing.T, issuer, client string, key *ecdsa.PrivateKey) string {
	t.Helper()
	endpoint := issuer + "/token"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, bytes.NewBufferString(url.Values{
		"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "resource": {audience},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion(t, endpoint, client, key)},
	}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Token == "" {
		t.Fatalf("%s: %v %s", answer.Status, err, got.Error)
	}
	return got.Token
}

// assertion is the JWT by which a client says who it is.
func assertion(t *testing.T, endpoint, client string, key *ecdsa.PrivateKey) string {
	t.Helper()
	return sign(t, key, "client", map[string]any{
		"iss": client, "sub": client, "aud": endpoint, "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	})
}

// sign gives a JWT.
func sign(t *testing.T, key *ecdsa.PrivateKey, name string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: jose.JSONWebKey{Key: key, KeyID: name}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}
