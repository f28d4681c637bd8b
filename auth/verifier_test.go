package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"
)

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// newClock stands at the beginning of a second, as tokens count in seconds.
func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newVerifier makes a verifier of an issuer's tokens.
func newVerifier(t testing.TB, cfg auth.Config) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ask sends a token.
func ask(v *auth.Verifier, token string) (auth.Principal, error) {
	r := httptest.NewRequest(http.MethodGet, "/fhir/Patient/1", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	return v.Principal(r.Context(), r)
}

// wantInvalid checks that a token was refused, and for being a bad one.
func wantInvalid(t testing.TB, name string, p auth.Principal, err error) {
	t.Helper()
	if p != (auth.Principal{}) || fhir.KindOf(err) != fhir.Unauthorized ||
		challengeOf(err) != `Bearer realm="firebreak", error="invalid_token"` {
		t.Errorf("%s: %+v, %v, %s", name, p, err, challengeOf(err))
	}
}

func TestATokenSaysWhoAsksAndWhatTheyMay(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	backend := auth.Principal{Tenant: auth.DefaultTenant, Client: "app"}.With(auth.ParseScopes("system/*.rs", nil))
	person := auth.Principal{Tenant: auth.DefaultTenant, Client: "app", User: "eve"}.With(auth.ParseScopes("user/Patient.r", nil))
	for name, c := range map[string]struct {
		claims authtest.Claims
		want   auth.Principal
	}{
		"a client":               {authtest.Claims{Client: "app", Scope: "system/*.rs"}, backend},
		"a client, SMART v1":     {authtest.Claims{Client: "app", Scope: "openid system/*.read"}, backend},
		"a user":                 {authtest.Claims{Client: "app", User: "eve", Scope: "user/Patient.r"}, person},
		"no sub":                 {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"sub": nil}}, backend},
		"client_id, no azp":      {authtest.Claims{Scope: "system/*.rs", Others: map[string]any{"client_id": "app", "sub": "app"}}, backend},
		"azp before client_id":   {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"client_id": "x"}}, backend},
		"scp, a string":          {authtest.Claims{Client: "app", Others: map[string]any{"scope": nil, "scp": "system/*.rs"}}, backend},
		"scp, a list":            {authtest.Claims{Client: "app", Others: map[string]any{"scope": nil, "scp": []string{"system/*.r", "openid", "system/*.s"}}}, backend},
		"scope, a list":          {authtest.Claims{Client: "app", Others: map[string]any{"scope": []string{"system/*.rs"}}}, backend},
		"scope before scp":       {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"scp": "system/*.cruds"}}, backend},
		"one of audiences":       {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"aud": []string{"x", authtest.Audience}}}, backend},
		"other claims":           {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"encounter": "1", "deep": map[string]any{"a": []int{1}}, "": nil}}, backend},
		"times with fractions":   {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"exp": float64(time.Now().Unix()) + 60.5}}, backend},
		"a claim in other cases": {authtest.Claims{Client: "app", Scope: "system/*.rs", Others: map[string]any{"AZP": "x", "Scope": "system/*.cruds", "SUB": "x"}}, backend},
	} {
		got, err := ask(v, issuer.Token(c.claims))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestEveryPublicKeyAlgorithmCanBeUsed(t *testing.T) {
	issuer := authtest.New(t)
	usual := newVerifier(t, issuer.Config())
	cfg := issuer.Config()
	cfg.Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	wide := newVerifier(t, cfg)
	for _, name := range cfg.Algorithms {
		token := issuer.Sign(authtest.Header{Algorithm: name}, issuer.Values(authtest.Claims{Client: "app"}))
		if p, err := ask(wide, token); err != nil || p.Client != "app" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		p, err := ask(usual, token)
		if strings.HasSuffix(name, "512") || name == "EdDSA" {
			wantInvalid(t, name, p, err)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNameOfTheKeyAndTheTypeMayBeLeftOut(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	for _, h := range []authtest.Header{{KeyID: "-"}, {Type: "-"}, {Type: "JWT"}, {Type: "application/at+JWT"}} {
		if _, err := ask(v, issuer.Sign(h, issuer.Values(authtest.Claims{Client: "app"}))); err != nil {
			t.Errorf("%+v: %v", h, err)
		}
	}
}

func TestATokenThatIsNotSignedByTheProviderIsRefused(t *testing.T) {
	issuer, other := authtest.New(t), authtest.New(t)
	v := newVerifier(t, issuer.Config())
	good := issuer.Values(authtest.Claims{Client: "app", Scope: "system/*.cruds"})
	for name, h := range map[string]authtest.Header{
		"not signed":                     {Algorithm: "none"},
		"HS256 by the public key":        {Algorithm: "HS256"},
		"HS384 by the public key":        {Algorithm: "HS384"},
		"HS256 by a published secret":    {Algorithm: "HS256", KeyID: "secret"},
		"RS256 by another key":           {Algorithm: "RS256", Forged: true},
		"ES256 by another key":           {Algorithm: "ES256", Forged: true},
		"ES384, no kid, by another key":  {KeyID: "-", Forged: true},
		"an unknown key":                 {KeyID: "unknown"},
		"the kid of another of its keys": {KeyID: "P-256-1"},
		"a logout token":                 {Type: "logout+jwt"},
		"a request for authorization":    {Type: "oauth-authz-req+jwt"},
	} {
		p, err := ask(v, issuer.Sign(h, good))
		wantInvalid(t, name, p, err)
	}
	p, err := ask(v, other.Sign(authtest.Header{}, good))
	wantInvalid(t, "another provider's key of the same name", p, err)
}

func TestATokenThatSaysTheWrongThingIsRefused(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	for name, others := range map[string]map[string]any{
		"another issuer":            {"iss": "https://evil.example.org"},
		"a longer issuer":           {"iss": issuer.URL + "/"},
		"issuer in other cases":     {"iss": strings.ToUpper(issuer.URL)},
		"no issuer":                 {"iss": nil},
		"another audience":          {"aud": "https://other.example.org"},
		"other audiences":           {"aud": []string{"a", authtest.Audience + "/"}},
		"no audience":               {"aud": nil},
		"empty audiences":           {"aud": []string{}},
		"audience of another kind":  {"aud": map[string]any{authtest.Audience: true}},
		"no client":                 {"azp": nil},
		"an empty client":           {"azp": "", "client_id": ""},
		"a client of another kind":  {"azp": []string{"app"}},
		"a client with a newline":   {"azp": "a\nb"},
		"a long client":             {"azp": strings.Repeat("a", 256)},
		"a user with a NUL":         {"sub": "a\x00b"},
		"a user that is a number":   {"sub": 1},
		"no end":                    {"exp": nil},
		"an end as text":            {"exp": "9999999999"},
		"an end that is null":       {"exp": jsonNull{}},
		"no end in sight":           {"exp": 1e300},
		"an end too far to mean it": {"exp": 999999999999},
		"a start before all times":  {"nbf": -1},
		"a start as text":           {"nbf": "0"},
		"scope of another kind":     {"scope": 1},
		"bound to a key":            {"cnf": map[string]string{"jkt": "x"}},
		"claims kept elsewhere":     {"_claim_names": map[string]string{"azp": "src"}},
	} {
		p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Scope: "system/*.cruds", Others: others}))
		wantInvalid(t, name, p, err)
	}
	for _, payload := range []any{nil, 1, "text", []string{}, map[string]any{}} {
		p, err := ask(v, issuer.Sign(authtest.Header{}, payload))
		wantInvalid(t, "no claims", p, err)
	}
}

// jsonNull is null where nil would leave the claim out.
type jsonNull struct{}

func (jsonNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func TestAClaimThatIsThereTwiceMakesATokenUnreadable(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	p, err := ask(v, issuer.Sign(authtest.Header{}, twice{issuer.Values(authtest.Claims{Client: "app"})}))
	wantInvalid(t, "two azp", p, err)
}

func TestATokenHoldsWithinTheSkewOfTheClocks(t *testing.T) {
	for _, skew := range []time.Duration{0, 10 * time.Second} {
		issuer, now := authtest.New(t), newClock()
		cfg := issuer.Config()
		cfg.Now, cfg.Skew = now.Now, skew
		v := newVerifier(t, cfg)
		if skew == 0 {
			skew = 30 * time.Second // the default
		}
		at := func(d time.Duration) int64 { return now.Now().Add(d).Unix() }
		for name, c := range map[string]struct {
			claims map[string]any
			good   bool
		}{
			"ended, within the skew":     {map[string]any{"exp": at(1 - skew + time.Second)}, true},
			"ended by the skew":          {map[string]any{"exp": at(-skew)}, false},
			"ended long ago":             {map[string]any{"exp": at(-time.Hour)}, false},
			"starts within the skew":     {map[string]any{"nbf": at(skew)}, true},
			"starts after the skew":      {map[string]any{"nbf": at(skew + time.Second)}, false},
			"issued within the skew":     {map[string]any{"iat": at(skew)}, true},
			"issued after the skew":      {map[string]any{"iat": at(skew + time.Second)}, false},
			"no times but its end":       {map[string]any{"iat": nil, "nbf": nil}, true},
			"issued long ago, still on":  {map[string]any{"iat": at(-24 * time.Hour)}, true},
			"starts tomorrow, ends then": {map[string]any{"nbf": at(24 * time.Hour), "exp": at(25 * time.Hour)}, false},
		} {
			p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Others: c.claims}))
			if c.good && err != nil {
				t.Errorf("skew %s, %s: %v", skew, name, err)
			} else if !c.good {
				wantInvalid(t, name, p, err)
			}
		}
	}
}

func TestATokenThatWasGoodEnds(t *testing.T) {
	issuer, now := authtest.New(t), newClock()
	cfg := issuer.Config()
	cfg.Now = now.Now
	v, token := newVerifier(t, cfg), issuer.Token(authtest.Claims{Client: "app", Expires: now.Now().Add(time.Minute)})
	if _, err := ask(v, token); err != nil {
		t.Fatal(err)
	}
	now.Forward(90 * time.Second)
	p, err := ask(v, token)
	wantInvalid(t, "after its end", p, err)
}

func TestOnlyOneAuthorizationHeaderSaysWhoAsks(t *testing.T) {
	issuer := authtest.New(t)
	v, token := newVerifier(t, issuer.Config()), issuer.Token(authtest.Claims{Client: "app"})
	long := issuer.Token(authtest.Claims{Client: "app", Others: map[string]any{"x": strings.Repeat("x", 16<<10)}})
	const nobody, invalid = `Bearer realm="firebreak"`, `Bearer realm="firebreak", error="invalid_token"`
	for name, c := range map[string]struct {
		headers []string
		kind    fhir.Kind
		want    string
	}{
		"none":                   {nil, fhir.Unauthorized, nobody},
		"empty":                  {[]string{""}, fhir.Unauthorized, nobody},
		"Basic":                  {[]string{"Basic YTpi"}, fhir.Unauthorized, nobody},
		"another scheme":         {[]string{"DPoP " + token}, fhir.Unauthorized, nobody},
		"no scheme":              {[]string{token}, fhir.Unauthorized, nobody},
		"no token":               {[]string{"Bearer"}, fhir.Unauthorized, invalid},
		"an empty token":         {[]string{"Bearer "}, fhir.Unauthorized, invalid},
		"two tokens":             {[]string{"Bearer " + token + ", Bearer " + token}, fhir.Unauthorized, invalid},
		"more after it":          {[]string{"Bearer " + token + " x"}, fhir.Unauthorized, invalid},
		"an opaque token":        {[]string{"Bearer 0123456789abcdef"}, fhir.Unauthorized, invalid},
		"JSON":                   {[]string{`Bearer {"payload":"","signatures":[]}`}, fhir.Unauthorized, invalid},
		"three empty parts":      {[]string{"Bearer .."}, fhir.Unauthorized, invalid},
		"an encrypted token":     {[]string{"Bearer " + token + ".x.x"}, fhir.Unauthorized, invalid},
		"a space within":         {[]string{"Bearer " + token[:9] + " " + token[9:]}, fhir.Unauthorized, invalid},
		"too long":               {[]string{"Bearer " + long}, fhir.Unauthorized, invalid},
		"two headers":            {[]string{"Bearer " + token, "Bearer " + token}, fhir.Invalid, `Bearer realm="firebreak", error="invalid_request"`},
		"Basic, and then Bearer": {[]string{"Basic YTpi", "Bearer " + token}, fhir.Invalid, `Bearer realm="firebreak", error="invalid_request"`},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header["Authorization"] = c.headers
		p, err := v.Principal(r.Context(), r)
		if p != (auth.Principal{}) || fhir.KindOf(err) != c.kind || challengeOf(err) != c.want {
			t.Errorf("%s: %+v, %v, %s", name, p, err, challengeOf(err))
		}
	}
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER  "} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Authorization", scheme+token)
		if p, err := v.Principal(r.Context(), r); err != nil || p.Client != "app" {
			t.Errorf("%q: %+v, %v", scheme, p, err)
		}
	}
}

func TestATokenInTheQueryOrTheBodyIsNotSeen(t *testing.T) {
	issuer := authtest.New(t)
	v, token := newVerifier(t, issuer.Config()), issuer.Token(authtest.Claims{Client: "app"})
	r := httptest.NewRequest(http.MethodPost, "/?access_token="+token, strings.NewReader("access_token="+token))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p, err := v.Principal(r.Context(), r); p != (auth.Principal{}) || fhir.KindOf(err) != fhir.Unauthorized {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestATokenIsOfTheTenantThatItsClaimNames(t *testing.T) {
	issuer := authtest.New(t)
	cfg := issuer.Config()
	cfg.TenantClaim, cfg.Tenants = authtest.TenantClaim, func(s string) bool { return s == "north" || s == "" }
	v := newVerifier(t, cfg)
	p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Tenant: "north"}))
	if err != nil || p.Tenant != "north" {
		t.Errorf("%+v, %v", p, err)
	}
	for name, tenant := range map[string]any{
		"none": nil, "empty": "", "unknown": "south", "the default": auth.DefaultTenant,
		"a list": []string{"north"}, "null": jsonNull{}, "other cases": "North",
	} {
		p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Others: map[string]any{authtest.TenantClaim: tenant}}))
		wantInvalid(t, name, p, err)
	}
}

func TestWithoutAClaimForItTheTenantIsTheDefault(t *testing.T) {
	issuer := authtest.New(t)
	p, err := ask(newVerifier(t, issuer.Config()), issuer.Token(authtest.Claims{Client: "app", Tenant: "north"}))
	if err != nil || p.Tenant != auth.DefaultTenant {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestTheNameLocalInATokenGivesNoRights(t *testing.T) {
	issuer := authtest.New(t)
	p, err := ask(newVerifier(t, issuer.Config()), issuer.Token(authtest.Claims{Client: auth.Local().Client}))
	if err != nil || fhir.KindOf(auth.May(p, auth.Read, "Patient")) != fhir.Forbidden {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestNoErrorHoldsWhatTheTokenSays(t *testing.T) {
	issuer := authtest.New(t)
	cfg := issuer.Config()
	cfg.TenantClaim, cfg.Tenants = authtest.TenantClaim, func(string) bool { return false }
	v := newVerifier(t, cfg)
	const secret = "s3cret"
	for _, claim := range []string{"iss", "aud", "sub", "azp", "exp", "nbf", "scope", "cnf", authtest.TenantClaim, "nonce"} {
		for _, value := range []any{secret, []string{secret}, map[string]string{secret: secret}} {
			token := issuer.Token(authtest.Claims{Client: "app", Others: map[string]any{claim: value}})
			_, err := ask(v, token)
			for ; err != nil; err = errors.Unwrap(err) {
				if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), token[:20]) {
					t.Errorf("%s: %v", claim, err)
				}
			}
		}
	}
}
