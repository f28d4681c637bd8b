package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/operations/certificate"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// killedKeys is the file with the keys of the children on a place.
func killedKeys(place storage) string { return filepath.Join(place.Data, signingKeys) }

// chainOf is the chain of a place without a server, the first first: each is
// verified, and follows the one before it.
func chainOf(t *testing.T, o serving) []certificate.Statement {
	t.Helper()
	st, _, done := opened(t, o.storage)
	defer done()
	return chainIn(t, st, o.keysFile())
}

// chainIn is chainOf in a store that is open, with the keys of a file.
func chainIn(t *testing.T, st store.Store, file string) (all []certificate.Statement) {
	t.Helper()
	keys, err := readKeys(file)
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

// certifiedOnce holds the chain to one certificate of each job, of which one is
// the purge's, and gives that.
func (k *purging) certifiedOnce(st store.Store, jobs int) (of certificate.Statement) {
	k.Helper()
	all := chainIn(k.T, st, killedKeys(k.place))
	seen := map[string]bool{}
	for i, s := range all {
		if seen[s.Job] || s.Number != int64(i+1) {
			k.Errorf("number %d is of %s, again", s.Number, s.Job)
		}
		seen[s.Job] = true
		if s.Job == k.id() {
			of = s
		}
	}
	if len(all) != jobs || !seen[k.id()] {
		k.Fatalf("%d certificates, of %v; the purge is %s", len(all), seen, k.id())
	}
	return of
}

// certified wants one certificate, which says what became of the place.
func (k *purging) certified(st store.Store, truth loss) {
	k.Helper()
	k.says = k.certifiedOnce(st, 1)
	all := certificate.CountOf(truth.Erased)
	is, byType := k.says.Counts, certificate.Count{}
	for _, n := range is.ByType {
		byType = certificate.Count{Resources: byType.Resources + n.Resources, Versions: byType.Versions + n.Versions}
	}
	if is.Before != all || is.Erased != all || is.After != (certificate.Count{}) || byType != all || int64(is.Detached) != truth.Detached || is.Kept+is.Since+is.LeftOut > 0 {
		k.Errorf("%+v is gone; the certificate counts %+v", truth, is)
	}
}

// saysAs holds the certificate to that of a purge that was not killed, for the
// same call.
func (k *purging) saysAs(other *purging) {
	k.Helper()
	if diff := cmp.Diff(saidOfIt(other.says, k.says), saidOfIt(k.says, other.says)); diff != "" {
		k.Errorf("the certificate (- undisturbed, + got)\n%s", diff)
	}
}

// saidOfIt is what of a certificate is the same as in another of the same call,
// however often it was begun. Of which types everything was is not known where
// two units came to the same at once.
func saidOfIt(s, other certificate.Statement) certificate.Statement {
	if s.Counts.ByType[""] != (certificate.Count{}) || other.Counts.ByType[""] != (certificate.Count{}) {
		s.Counts.ByType = nil
	}
	s.Job, s.Issued, s.TransactionTime, s.Started, s.Ended, s.Asked.At = "", 0, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.Patients.HMAC, s.Asked.Digest, s.Scrub.Until = nil, "", nil
	return s
}

// callsOfACertificate are the places to die from the last step before the
// certificate until the job has ended with its last unit.
func callsOfACertificate(last string) []string {
	var all []string
	for _, call := range []string{"Note for " + last, "Certificate", "Certificates", "Certify", "End of " + last} {
		all = append(all, "before "+call, call)
	}
	return all
}

func TestAPurgeThatIsKilledAtItsCertificateHasOne(t *testing.T) {
	t.Parallel()
	killedAtTheirCertificates(t, onSQLite(), 2)
}

func TestAPurgeOnMongoThatIsKilledAtItsCertificateHasOne(t *testing.T) {
	t.Parallel()
	killedAtTheirCertificates(t, onMongo(t), 1)
}

func killedAtTheirCertificates(t *testing.T, g ground, few int64) {
	for _, kind := range kindsOfPurge() {
		t.Run(kind.call.key, func(t *testing.T) {
			t.Parallel()
			kind.meanwhile = nil
			tpl := kind.template(t, g)
			undisturbed := tpl.purge(t, kind.call)
			undisturbed.recover()
			for _, call := range some(t, callsOfACertificate(kind.last), few) {
				t.Run(call, func(t *testing.T) {
					t.Parallel()
					k := tpl.purge(t, kind.call)
					k.diesAt(call)
					k.recover()
					k.saysAs(undisturbed)
				})
			}
		})
	}
}

// diesAt has a child work at the purge until it dies at a call.
func (k *purging) diesAt(call string) {
	k.Helper()
	if c := k.disturb(strike{call: call}); !strings.Contains(c.died, strings.TrimPrefix(call, "before ")) {
		k.Fatalf("the child died %q\n%s", c.died, c.stderr)
	}
}

func TestTheChainGoesOnAfterAKill(t *testing.T) {
	tpl := newPurgeTemplate(t, onSQLite(), 0)
	first := tpl.purge(t, ofThree("first"))
	first.diesAt("Certify")
	second := &purging{T: t, purgeTemplate: tpl, place: first.place, call: ofThree("second"), looks: newLooks(t)}
	c, base, ok := second.serves(order{})
	if !ok || !second.kickoff(base) {
		t.Fatalf("no answer\n%s", c.stderr)
	}
	first.untilEnd(base)
	second.untilEnd(base)
	c.end()
	st, _, done := opened(t, first.place)
	defer done()
	first.certifiedOnce(st, 2)
	second.certifiedOnce(st, 2)
}
