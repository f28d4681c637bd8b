package auth_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"
)

// timed gives a verifier whose clock the test moves.
func timed(t *testing.T, issuer *authtest.Issuer) (*auth.Verifier, *clock) {
	now := newClock()
	cfg := issuer.Config()
	cfg.Now = now.Now
	return newVerifier(t, cfg), now
}

// lasting gives a token that outlives what the test does to the clock.
func lasting(issuer *authtest.Issuer) string {
	return issuer.Token(authtest.Claims{Client: "app", Expires: time.Now().Add(48 * time.Hour)})
}

func wantTransient(t *testing.T, when string, p auth.Principal, err error) {
	t.Helper()
	if p != (auth.Principal{}) || fhir.KindOf(err) != fhir.Transient || challengeOf(err) != "" {
		t.Errorf("%s: %+v, %v", when, p, err)
	}
}

func TestTheProviderIsAskedOnceForManyTokens(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	if issuer.Looks() != 0 {
		t.Error("the provider was asked before there was a token")
	}
	for range 5 {
		if _, err := ask(v, lasting(issuer)); err != nil {
			t.Error(err)
		}
		now.Forward(time.Minute)
	}
	if issuer.Looks() != 1 {
		t.Errorf("asked %d times", issuer.Looks())
	}
}

func TestANewKeyIsFoundWhenItIsUsed(t *testing.T) {
	issuer := authtest.New(t)
	v, _ := timed(t, issuer)
	old := lasting(issuer)
	if _, err := ask(v, old); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		issuer.Rotate()
		if _, err := ask(v, lasting(issuer)); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	}
	p, err := ask(v, old)
	wantInvalid(t, "signed by a key that is gone", p, err)
}

func TestANewKeyIsFoundByATokenThatNamesNone(t *testing.T) {
	issuer := authtest.New(t)
	v, _ := timed(t, issuer)
	for range 3 {
		if _, err := ask(v, issuer.Sign(authtest.Header{KeyID: "-"}, issuer.Values(authtest.Claims{Client: "app"}))); err != nil {
			t.Error(err)
		}
		issuer.Rotate()
	}
}

func TestAKeyThatWasWithdrawnIsNotBelievedForLong(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	old := lasting(issuer)
	if _, err := ask(v, old); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate()
	now.Forward(9 * time.Minute)
	if _, err := ask(v, old); err != nil {
		t.Errorf("within ten minutes: %v", err)
	}
	now.Forward(time.Minute)
	p, err := ask(v, old)
	wantInvalid(t, "after ten minutes", p, err)
}

func TestATokenThatWasGoodIsNotTheProofOfAnother(t *testing.T) {
	issuer := authtest.New(t)
	v, _ := timed(t, issuer)
	good := lasting(issuer)
	if _, err := ask(v, good); err != nil {
		t.Fatal(err)
	}
	other := issuer.Sign(authtest.Header{Forged: true}, issuer.Values(authtest.Claims{Client: "admin"}))
	claims, signature := other[:strings.LastIndex(other, ".")], good[strings.LastIndex(good, "."):]
	for range 2 {
		p, err := ask(v, claims+signature)
		wantInvalid(t, "other claims with a signature that was good", p, err)
	}
}

func TestMoreTokensThanAreRememberedAreAllRead(t *testing.T) {
	issuer := authtest.New(t)
	v, _ := timed(t, issuer)
	for n := range 5000 {
		token := issuer.Sign(authtest.Header{Algorithm: "ES256"}, issuer.Values(authtest.Claims{Client: fmt.Sprint(n)}))
		if p, err := ask(v, token); err != nil || p.Client != fmt.Sprint(n) {
			t.Fatalf("token %d: %+v, %v", n, p, err)
		}
	}
}

func TestAProviderThatIsDownAtTheStartIsAskedAgain(t *testing.T) {
	issuer := authtest.New(t)
	issuer.Down()
	v, now := timed(t, issuer)
	token := lasting(issuer)
	for range 20 {
		p, err := ask(v, token)
		wantTransient(t, "down", p, err)
	}
	if got := issuer.Looks(); got != 5 {
		t.Errorf("asked %d times at once", got)
	}
	issuer.Up()
	p, err := ask(v, token)
	wantTransient(t, "asked too often", p, err)
	now.Forward(10 * time.Second)
	if _, err := ask(v, token); err != nil {
		t.Errorf("up again: %v", err)
	}
}

func TestWhileTheProviderIsDownTokensOfKnownKeysAreBelieved(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	known := lasting(issuer)
	if _, err := ask(v, known); err != nil {
		t.Fatal(err)
	}
	issuer.Down()
	issuer.Rotate()
	unknown := lasting(issuer)
	for range 3 {
		if _, err := ask(v, known); err != nil {
			t.Errorf("a known key: %v", err)
		}
		p, err := ask(v, unknown)
		wantTransient(t, "an unknown key", p, err)
		now.Forward(time.Hour)
	}
	p, err := ask(v, issuer.Sign(authtest.Header{KeyID: "P-384-1"}, issuer.Values(authtest.Claims{Client: "app", Expires: now.Now().Add(time.Hour)})))
	wantInvalid(t, "the name of a known key, but not the key", p, err)
	issuer.Up()
	now.Forward(time.Minute)
	if _, err := ask(v, unknown); err != nil {
		t.Errorf("up again: %v", err)
	}
	p, err = ask(v, known)
	wantInvalid(t, "a key that went meanwhile", p, err)
}

func TestAProviderThatIsDownIsNotAskedForOldKeysWithEveryToken(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	token := lasting(issuer)
	if _, err := ask(v, token); err != nil {
		t.Fatal(err)
	}
	issuer.Down()
	now.Forward(time.Hour)
	for range 10 {
		if _, err := ask(v, token); err != nil {
			t.Error(err)
		}
	}
	if got := issuer.Looks(); got != 2 {
		t.Errorf("asked %d times", got)
	}
}

func TestUnknownKeysDoNotMakeTheServerAskWithoutLimit(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	good := issuer.Values(authtest.Claims{Client: "app", Expires: now.Now().Add(time.Hour)})
	unknown := func(n int) {
		for i := range n {
			p, err := ask(v, issuer.Sign(authtest.Header{KeyID: fmt.Sprintf("unknown-%d", i)}, good))
			wantInvalid(t, "an unknown key", p, err)
		}
	}
	unknown(30)
	if got := issuer.Looks(); got != 5 {
		t.Errorf("asked %d times at once", got)
	}
	now.Forward(25 * time.Second)
	unknown(30)
	if got := issuer.Looks(); got != 7 {
		t.Errorf("asked %d times after 25 s", got)
	}
	now.Forward(5 * time.Second)
	unknown(30)
	if got := issuer.Looks(); got != 8 {
		t.Errorf("asked %d times after 30 s", got)
	}
	now.Forward(24 * time.Hour)
	good["exp"] = now.Now().Add(time.Hour).Unix()
	unknown(30)
	if got := issuer.Looks(); got != 14 { // one for keys that are old
		t.Errorf("asked %d times after a day", got)
	}
}

func TestATokenThatCannotBeGoodDoesNotMakeTheServerAsk(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	for name, others := range map[string]map[string]any{
		"another issuer": {"iss": "x"}, "another audience": {"aud": "x"}, "ended": {"exp": 1},
	} {
		p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Others: others}))
		wantInvalid(t, name, p, err)
	}
	p, err := ask(v, issuer.Sign(authtest.Header{Algorithm: "none"}, issuer.Values(authtest.Claims{Client: "app"})))
	wantInvalid(t, "not signed", p, err)
	if issuer.Looks() != 0 {
		t.Errorf("asked %d times", issuer.Looks())
	}
}

func TestManyTokensAtOnceMakeTheServerAskOnce(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	for round := range 3 {
		tokens := []string{lasting(issuer), issuer.Sign(authtest.Header{Algorithm: "RS256"}, issuer.Values(authtest.Claims{Client: "app"}))}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				if p, err := ask(v, tokens[i%2]); err != nil || p.Client != "app" {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		all.Wait()
		if got := issuer.Looks(); got != round+1 {
			t.Errorf("asked %d times in %d rounds", got, round+1)
		}
		issuer.Rotate()
	}
}

func TestKeysChangeUnderLoad(t *testing.T) {
	issuer := authtest.New(t)
	v, now := timed(t, issuer)
	var all sync.WaitGroup
	var good atomic.Int64
	for range 4 {
		all.Go(func() {
			for range 30 {
				p, err := ask(v, lasting(issuer))
				switch {
				case err == nil && p.Client == "app":
					good.Add(1)
				case fhir.KindOf(err) != fhir.Transient && fhir.KindOf(err) != fhir.Unauthorized:
					t.Errorf("%+v, %v", p, err)
				}
			}
		})
	}
	all.Go(func() {
		for range 4 {
			issuer.Down()
			issuer.Rotate()
			now.Forward(11 * time.Minute)
			issuer.Up()
		}
	})
	all.Wait()
	now.Forward(time.Hour)
	if _, err := ask(v, lasting(issuer)); err != nil || good.Load() == 0 {
		t.Errorf("%d were good; in the end %v", good.Load(), err)
	}
}
