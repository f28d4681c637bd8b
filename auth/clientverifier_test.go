package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/r4"
)

const (
	home   = "192.0.2.1"
	away   = "198.51.100.7"
	right  = "s"
	wrongs = 10 // how often one may be wrong
)

// house is a ClientVerifier, its clients and its clock.
type house struct {
	*testing.T
	*auth.ClientVerifier

	mu      sync.Mutex
	clients auth.Clients
	now     time.Time
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, clients: twoClients(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v, err := auth.NewClientVerifier(auth.ClientConfig{
		Clients: func() auth.Clients { h.mu.Lock(); defer h.mu.Unlock(); return h.clients },
		Now:     func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now },
		Key:     []byte(strings.Repeat("k", 32)), KnownType: r4.IsType,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.ClientVerifier = v
	return h
}

// plain is a house in which checks cost nothing.
func plain(t *testing.T) *house {
	h := newHouse(t)
	h.CheckPlainly(right)
	return h
}

func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func headersOf(pairs ...string) http.Header {
	header := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		header.Add(pairs[i], pairs[i+1])
	}
	return header
}

// try sends credentials from an address.
func (h *house) try(id, secret, from string, more ...string) (auth.Principal, error) {
	header := headersOf(append([]string{"client_id", id, "client_secret", secret}, more...)...)
	return h.Principal(context.Background(), header, netip.MustParseAddr(from))
}

// is checks the kind of an error; Internal, the zero Kind, stands for none.
func (h *house) is(what string, err error, want fhir.Kind) {
	h.Helper()
	if want == fhir.Internal && err == nil {
		return
	}
	if err == nil || fhir.KindOf(err) != want || want == fhir.Internal {
		h.Errorf("%s: %v; want kind %d", what, err, want)
	}
}

func retryAfter(err error) time.Duration {
	if r := (interface{ RetryAfter() time.Duration })(nil); errors.As(err, &r) {
		return r.RetryAfter()
	}
	return 0
}

func TestAClientActsForItselfOrForAUserOfItsOwn(t *testing.T) {
	h := newHouse(t)
	alone, err := h.try("app", right, home)
	h.is("alone", err, 0)
	if alone.Tenant != "default" || alone.Client != "app" || alone.User != "" || alone.Patient != "" {
		t.Errorf("%+v", alone)
	}
	h.is("read", auth.May(alone, auth.Read, "Patient"), 0)
	h.is("a scope of user/ without a user", auth.May(alone, auth.Read, "Observation"), fhir.Forbidden)
	h.is("purge", auth.MayPurge(alone, nil), 0)

	forUser, err := h.try("app", right, home, "x-oneup-user-id", "u1")
	h.is("for a user", err, 0)
	if forUser.User != "u1" {
		t.Errorf("%+v", forUser)
	}
	h.is("a scope of user/ with a user", auth.May(forUser, auth.Create, "Observation"), 0)

	_, err = h.try("app", right, home, "x-oneup-user-id", "stranger")
	h.is("for another's user", err, fhir.Forbidden)
	if !strings.Contains(err.Error(), "x-oneup-user-id") || strings.Contains(err.Error(), "stranger") {
		t.Error(err)
	}
}

func TestWrongCredentialsAreRefusedAlikeWithTheSameWork(t *testing.T) {
	h := newHouse(t)
	checks := h.CountChecks()
	said := map[string]bool{}
	for i, c := range [][2]string{{"app", "wrong"}, {"nobody", right}, {"web", right}, {"web", "wrong"}, {"", right}} {
		from := fmt.Sprintf("192.0.2.%d", i)
		before := checks.Load()
		_, err := h.try(c[0], c[1], from)
		h.is(c[0], err, fhir.Unauthorized)
		if c[0] == "" {
			continue // nothing to check
		}
		said[err.Error()+challengeOf(err)] = true
		if n := checks.Load() - before; n != 1 {
			t.Errorf("%q: %d hashes were checked", c, n)
		}
	}
	if len(said) != 1 {
		t.Errorf("they differ: %v", said)
	}
}

func TestHeadersThatCannotBeMeantAreRefused(t *testing.T) {
	h := plain(t)
	for name, c := range map[string]struct {
		header http.Header
		want   fhir.Kind
	}{
		"no secret":      {headersOf("client_id", "app"), fhir.Unauthorized},
		"no id":          {headersOf("client_secret", right), fhir.Unauthorized},
		"two ids":        {headersOf("client_id", "app", "client_id", "app", "client_secret", right), fhir.Invalid},
		"two secrets":    {headersOf("client_id", "app", "client_secret", right, "client_secret", right), fhir.Invalid},
		"two users":      {headersOf("client_id", "app", "client_secret", right, "x-oneup-user-id", "u1", "x-oneup-user-id", "u2"), fhir.Invalid},
		"an empty user":  {headersOf("client_id", "app", "client_secret", right, "x-oneup-user-id", ""), fhir.Invalid},
		"the client too": {headersOf("client_id", "app", "client_secret", right, "x-oneup-user-id", "app"), fhir.Forbidden},
	} {
		_, err := h.Principal(t.Context(), c.header, netip.MustParseAddr(home))
		h.is(name, err, c.want)
	}
}

func TestCredentialsAreCheckedOnceInAWhile(t *testing.T) {
	h := newHouse(t)
	checks := h.CountChecks()
	in := func(what, from string, want int64) {
		t.Helper()
		before := checks.Load()
		_, err := h.try("app", right, from)
		h.is(what, err, 0)
		if n := checks.Load() - before; n != want {
			t.Errorf("%s: %d hashes were checked, want %d", what, n, want)
		}
	}
	in("at first", home, 1)
	in("again", home, 0)
	for range 3 {
		h.wait(4 * time.Minute)
		in("while it is used", home, 0)
	}
	in("from elsewhere", away, 1)
	h.wait(6 * time.Minute)
	in("after a pause", home, 1)
	_, err := h.try("app", "wrong", home)
	h.is("another secret", err, fhir.Unauthorized)
}

func TestAChangeOfTheClientsForgetsOldSecretsAtOnce(t *testing.T) {
	h := newHouse(t)
	_, err := h.try("app", right, home)
	h.is("before", err, 0)
	change := func(c auth.Client) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.clients = auth.Clients{c.ID: c}
	}
	app := twoClients()["app"]

	app.SecretHash, app.Scopes = auth.HashSecret("new", [16]byte{9}), nil
	change(app)
	_, err = h.try("app", right, home)
	h.is("the old secret", err, fhir.Unauthorized)
	p, err := h.try("app", "new", home)
	h.is("the new one", err, 0)
	h.is("a scope that it has no more", auth.May(p, auth.Read, "Patient"), fhir.Forbidden)

	change(auth.Client{ID: "app", Tenant: "default", Method: auth.ByBearer})
	_, err = h.try("app", "new", home)
	h.is("another method", err, fhir.Unauthorized)
	change(twoClients()["web"])
	_, err = h.try("app", "new", home)
	h.is("removed", err, fhir.Unauthorized)
}

func TestRequestsAtOnceAreCheckedOnce(t *testing.T) {
	h := newHouse(t)
	checks := h.CountChecks()
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			_, err := h.try("app", right, home)
			h.is("a request", err, 0)
		})
	}
	all.Wait()
	if n := checks.Load(); n != 1 {
		t.Errorf("%d hashes were checked", n)
	}
}

func TestOnlySoManyWaitForACheck(t *testing.T) {
	h := plain(t)
	entered, release := h.HoldChecks()
	var all sync.WaitGroup
	all.Go(func() { _, _ = h.try("app", right, home) })
	<-entered
	broken, cancel := context.WithCancel(t.Context())
	for range auth.MaxWaiting {
		all.Go(func() {
			_, err := h.Principal(broken, headersOf("client_id", "app", "client_secret", right), netip.MustParseAddr(away))
			h.is("who does not wait", err, fhir.Transient)
		})
	}
	for h.Waiting() < auth.MaxWaiting {
		if _, err := h.try("x", "", home); err == nil { // which does not wait
			t.Fatal("an empty secret is taken")
		}
	}
	_, err := h.try("app", right, away)
	h.is("one too many", err, fhir.Transient)
	cancel()
	for h.Waiting() > 0 {
		_, _ = h.try("x", "", home)
	}
	release()
	all.Wait()
	_, err = h.try("app", right, away)
	h.is("later", err, 0)
}

func TestNoErrorHasAnyPartOfTheHeaders(t *testing.T) {
	h := newHouse(t)
	const mark = "canary"
	for i := range 2 * wrongs {
		_, err := h.try(mark+"-id", mark+"-secret", home, "x-oneup-user-id", mark+"-user")
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v %s", err, err, err, challengeOf(err)), mark) {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, err := h.try("app", right, away, "x-oneup-user-id", mark)
	if err == nil || strings.Contains(fmt.Sprintf("%#v", err), mark) {
		t.Error(err)
	}
}

func TestAClientVerifierThatWouldBeLaxIsRefused(t *testing.T) {
	clients, now, key := func() auth.Clients { return nil }, time.Now, make([]byte, 32)
	for name, cfg := range map[string]auth.ClientConfig{
		"no clients":  {Now: now, Key: key},
		"no clock":    {Clients: clients, Key: key},
		"no key":      {Clients: clients, Now: now},
		"a short key": {Clients: clients, Now: now, Key: key[:16]},
	} {
		if _, err := auth.NewClientVerifier(cfg); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
