package auth_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
)

func TestFailuresOfAnAddressAreLimited(t *testing.T) {
	h := plain(t)
	for i := range wrongs {
		_, err := h.try(fmt.Sprint("guess", i), "wrong", away)
		h.is("a guess", err, fhir.Unauthorized)
	}
	_, err := h.try("app", right, away)
	h.is("even what is right", err, fhir.Throttled)
	if got := retryAfter(err); got != 6*time.Second {
		t.Errorf("to wait %s", got)
	}
	_, err = h.try("app", right, home)
	h.is("elsewhere", err, 0)
	h.wait(5 * time.Second)
	_, err = h.try("app", right, away)
	h.is("too early", err, fhir.Throttled)
	h.wait(time.Second)
	_, err = h.try("app", "wrong", away)
	h.is("one more", err, fhir.Unauthorized)
	_, err = h.try("app", right, away)
	h.is("and no more than one", err, fhir.Throttled)
	h.wait(6 * time.Second)
	_, err = h.try("app", right, away)
	h.is("at last", err, 0)
	h.wait(time.Hour)
	for range wrongs {
		_, err = h.try("app", "wrong", away)
		h.is("after a while", err, fhir.Unauthorized)
	}
}

func TestANetworkOfIPv6IsOneAddress(t *testing.T) {
	h := plain(t)
	for i := range wrongs {
		_, err := h.try("app", "wrong", fmt.Sprintf("2001:db8:1:2:%x::1", i))
		h.is("a guess", err, fhir.Unauthorized)
	}
	_, err := h.try("app", right, "2001:db8:1:2:ffff::9")
	h.is("the same network", err, fhir.Throttled)
	_, err = h.try("app", right, "2001:db8:1:3::1")
	h.is("the next one", err, 0)
}

func TestWhoeverGuessesAtAClientDoesNotLockItOut(t *testing.T) {
	h := plain(t)
	_, err := h.try("app", right, home)
	h.is("the client", err, 0)
	h.wait(time.Hour) // its credentials are not fresh any more
	held := 0
	for i := range 100 {
		from := fmt.Sprintf("203.0.113.%d", i)
		_, err := h.try("app", "wrong", from)
		h.is("the first guess from there", err, fhir.Unauthorized)
		if _, err = h.try("app", "wrong", from); fhir.KindOf(err) == fhir.Throttled {
			held++
		}
	}
	if held < 90 {
		t.Errorf("guesses from many addresses were held up %d times", held)
	}
	_, err = h.try("app", right, away)
	h.is("the client, from where it never was", err, 0)
	_, err = h.try("app", "wrong", home)
	h.is("the client, mistaken once", err, fhir.Unauthorized)
	_, err = h.try("app", right, home)
	h.is("the client, at home", err, 0)
}

func TestAClientThatIsInStaysInWhenItsNeighboursFail(t *testing.T) {
	h := plain(t)
	_, err := h.try("app", right, home)
	h.is("the client", err, 0)
	for range 2 * wrongs {
		_, err = h.try("app", "wrong", home)
	}
	h.is("who guesses from the same address", err, fhir.Throttled)
	if _, clients, _ := h.Remembers(); clients != 0 {
		t.Error("guesses from where the client is are held against it elsewhere")
	}
	_, err = h.try("app", right, home)
	h.is("the client", err, 0)
}

func TestAnUnknownClientIsLimitedAsAKnownOne(t *testing.T) {
	h := plain(t)
	said := func(id, base string) (all []string) {
		for i := range 30 {
			for range 2 {
				_, err := h.try(id, "wrong", fmt.Sprintf(base, i))
				all = append(all, fmt.Sprint(err, retryAfter(err)))
			}
		}
		return all
	}
	if a, b := said("app", "203.0.113.%d"), said("nobody", "198.51.100.%d"); strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("they differ:\n%q\n%q", a, b)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	h := plain(t)
	for i := range max(auth.MaxDebtors, auth.MaxRemembered) + 100 {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		_, err := h.try("app", right, from)
		h.is("the client", err, 0)
		_, _ = h.try(fmt.Sprint("guess", i), "wrong", from)
	}
	a, c, p := h.Remembers()
	if a != auth.MaxDebtors || c != auth.MaxDebtors || p != auth.MaxRemembered {
		t.Errorf("%d addresses, %d clients, %d pairs", a, c, p)
	}
	h.wait(time.Minute)
	_, err := h.try("guess", "wrong", "192.0.2.77")
	h.is("a guess", err, fhir.Unauthorized)
	if a, c, _ = h.Remembers(); a != 1 || c != 1 {
		t.Errorf("of those who are free %d addresses and %d clients are kept", a-1, c-1)
	}
}
