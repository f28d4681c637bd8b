package main

import (
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/operations/certificate"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// chainOf is the chain of a place without a server, the first first: each is
// verified, and follows the one before it.
func chainOf(t *testing.T, o serving) (all []certificate.Statement) {
	t.Helper()
	keys, err := readKeys(o.keysFile())
	if err != nil {
		t.Fatal(err)
	}
	public, err := keys.Public()
	if err != nil {
		t.Fatal(err)
	}
	v, err := certificate.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	st, _, done := opened(t, o.storage)
	defer done()
	found, err := st.Certificates(t.Context(), store.Tenant(auth.DefaultTenant), 0, 99)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(found) - 1; i >= 0; i-- {
		s, err := v.Verify(found[i].Doc)
		if err == nil && i < len(found)-1 {
			err = s.Follows(all[len(all)-1], found[i+1].Doc)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// certifiedOnce holds the chain to one certificate of each job, of which the
// last is the purge's.
func (k *purging) certifiedOnce(jobs int) certificate.Statement {
	k.Helper()
	all := chainOf(k.T, serving{storage: k.place})
	seen := map[string]bool{}
	for i, s := range all {
		if seen[s.Job] || s.Number != int64(i+1) {
			k.Errorf("number %d is of %s, again", s.Number, s.Job)
		}
		seen[s.Job] = true
	}
	if len(all) != jobs || !seen[k.id()] {
		k.Fatalf("%d certificates, of %v; the purge is %s", len(all), seen, k.id())
	}
	return all[len(all)-1]
}

// saidOfIt is what of a certificate is the same as in another of the same call,
// however often it was begun. Of which types everything was is not known where
// two units came to the same at once.
func saidOfIt(s, other certificate.Statement) certificate.Statement {
	if s.Counts.ByType[""] != (certificate.Count{}) || other.Counts.ByType[""] != (certificate.Count{}) {
		s.Counts.ByType = nil
	}
	s.Job, s.Issued, s.TransactionTime, s.Started, s.Ended, s.Asked.At = "", 0, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.Patients.HMAC, s.Asked.Digest = nil, ""
	return s
}

// These do not run beside others, as those begin processes, which hold the lock
// of a data directory for a moment after it was given back.
func TestAPurgeThatIsKilledAtItsCertificateHasOne(t *testing.T) {
	kinds := kindsOfPurge()
	for name, calls := range map[string][]string{
		"of a list": {"Scrub", "Certificates", "Certify", "End of 2-finish"}, "of a group": {"Note for 3-read", "Certify"},
	} {
		kind := kinds[name]
		t.Run(name, func(t *testing.T) {
			tpl := newPurgeTemplate(t, onSQLite(), 0)
			k := tpl.purge(t, kind.call)
			k.recover()
			want := k.certifiedOnce(1)
			for _, call := range calls {
				t.Run(call, func(t *testing.T) {
					k := tpl.purge(t, kind.call)
					c := k.disturbAt(call)
					if !strings.Contains(c.died, call) {
						t.Fatalf("the child died %q", c.died)
					}
					k.recover()
					got := k.certifiedOnce(1)
					if diff := cmp.Diff(saidOfIt(want, got), saidOfIt(got, want)); diff != "" {
						t.Errorf("(- undisturbed, + got)\n%s", diff)
					}
				})
			}
		})
	}
}

// disturbAt has a child work at the purge until it dies after a call.
func (k *purging) disturbAt(call string) *victim {
	k.Helper()
	c, base, ok := k.serves(order{Call: call})
	if !ok || !k.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	c.await("dies")
	c.end()
	return c
}

func TestTheChainGoesOnAfterAKill(t *testing.T) {
	tpl := newPurgeTemplate(t, onSQLite(), 0)
	first := tpl.purge(t, ofThree("first"))
	first.disturbAt("Certify")
	second := &purging{T: t, purgeTemplate: tpl, place: first.place, call: ofThree("second"), looks: newLooks(t)}
	c, base, ok := second.serves(order{})
	if !ok || !second.kickoff(base) {
		t.Fatalf("no answer\n%s", c.stderr)
	}
	first.untilEnd(base)
	second.untilEnd(base)
	c.end()
	first.certifiedOnce(2)
	second.certifiedOnce(2)
}
