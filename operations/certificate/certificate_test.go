package certificate_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/operations/certificate"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = store.Tenant("north")

// office is a store, and an issuer over it.
type office struct {
	*testing.T
	store  *sqlite.Store
	keys   certificate.Keys
	issuer certificate.Issuer
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{T: t}
	var err error
	o.store, err = sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now})
	o.ok(err)
	t.Cleanup(func() { o.ok(o.store.Close()) })
	o.keys, err = certificate.NewKeys()
	o.ok(err)
	o.issuer = certificate.Issuer{Store: o.store, Now: time.Now, Name: "https://ehr.example.org/fhir", Keys: func() certificate.Keys { return o.keys }}
	return o
}

func (o *office) ok(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// job starts a job, and gives the fence of its unit.
func (o *office) job(id string) store.Fence {
	o.Helper()
	j := job.Job{ID: id, Kind: "of " + id, Tenant: string(tenant), Owner: job.Owner{Client: "app"}, State: job.Queued, Created: time.Now()}
	_, err := o.store.Create(o.Context(), j, []job.Unit{{Job: id, Tenant: string(tenant), Kind: j.Kind, ID: "a"}}, store.Limit{})
	o.ok(err)
	_, f, err := o.store.Claim(o.Context(), []string{j.Kind}, time.Hour)
	o.ok(err)
	return f
}

// statement is what a purge may come to.
func statement() certificate.Statement {
	now := time.Now().UTC()
	return certificate.Statement{
		Client: "app", User: "ann", Kind: "purge", Asked: certificate.Asked{At: now.Add(-time.Minute), Shared: "detach"},
		Started: now.Add(-time.Second), Ended: now, Counts: certificate.Counts{Erased: certificate.Count{Resources: 3, Versions: 4}}, Look: "index",
	}
}

// issued is the certificate of a new job.
func (o *office) issued(id string, patients ...string) []byte {
	o.Helper()
	o.ok(o.issuer.Issue(o.Context(), o.job(id), statement(), fmt.Sprint(patients), patients))
	c, err := o.store.Certificate(o.Context(), tenant, id)
	o.ok(err)
	return c.Doc
}

func (o *office) verifier() certificate.Verifier {
	o.Helper()
	public, err := o.keys.Public()
	o.ok(err)
	if strings.Contains(string(public), `"d"`) || strings.Contains(string(public), `"k"`) {
		o.Errorf("what is public has a secret: %s", public)
	}
	v, err := certificate.NewVerifier(public)
	o.ok(err)
	return v
}

func (o *office) verified(compact []byte) certificate.Statement {
	o.Helper()
	s, err := o.verifier().Verify(compact)
	o.ok(err)
	return s
}

func TestACertificateIsVerifiedByThePublicKeys(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	got := o.verified(append(o.issued("j1", "1", "2"), '\n'))
	want := statement()
	if got.Issuer != "https://ehr.example.org/fhir" || got.Job != "j1" || got.Tenant != "north" || got.Number != 1 || got.Before != "" ||
		got.Client != "app" || got.User != "ann" || got.Counts.Erased != want.Counts.Erased || got.Patients.Count != 2 || got.Asked.Patients != 2 {
		t.Errorf("it says %+v", got)
	}
}

func TestTheCertificatesOfATenantAreAChain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	all := [][]byte{o.issued("j1", "1"), o.issued("j2", "1"), o.issued("j3", "1")}
	first, second, third := o.verified(all[0]), o.verified(all[1]), o.verified(all[2])
	o.ok(second.Follows(first, all[0]))
	o.ok(third.Follows(second, append(all[1], '\n')))
	for name, err := range map[string]error{
		"one over another": third.Follows(first, all[0]), "itself": first.Follows(first, all[0]), "backwards": first.Follows(second, all[1]),
		"what was exchanged": second.Follows(first, all[2]),
	} {
		if err == nil {
			t.Errorf("%s is taken for the one before it", name)
		}
	}
	other := first
	other.Tenant = "south"
	if second.Follows(other, all[0]) == nil {
		t.Error("another tenant's is taken for the one before it")
	}
}

func TestAJobThatIsCertifiedAgainKeepsItsCertificate(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := o.job("j1")
	for range 2 {
		o.ok(o.issuer.Issue(t.Context(), f, statement(), "", []string{"1"}))
	}
	o.issued("j2", "1")
	all, err := o.store.Certificates(t.Context(), tenant, 0, 9)
	if err != nil || len(all) != 2 {
		t.Errorf("%d certificates, %v", len(all), err)
	}
}

func TestPurgesThatEndAtOnceAreOneChain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var all sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		f := o.job(fmt.Sprint("j", i))
		all.Go(func() { errs[i] = o.issuer.Issue(t.Context(), f, statement(), "", []string{"1"}) })
	}
	all.Wait()
	o.ok(errors.Join(errs...))
	chain, err := o.store.Certificates(t.Context(), tenant, 0, 99)
	o.ok(err)
	if len(chain) != len(errs) {
		t.Fatalf("%d certificates", len(chain))
	}
	for i, c := range chain[:len(chain)-1] {
		o.ok(o.verified(c.Doc).Follows(o.verified(chain[i+1].Doc), chain[i+1].Doc))
	}
}

func TestAnIDIsFoundWithTheKeyAndStandsNowhereInTheClear(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	compact := o.issued("j1", "kestrel-1", "kestrel-2")
	s := o.verified(compact)
	other, err := certificate.NewKeys()
	o.ok(err)
	for _, c := range []struct {
		keys certificate.Keys
		id   string
		want bool
	}{
		{o.keys, "Patient/kestrel-1", true},
		{o.keys, "Patient/kestrel-2", true},
		{o.keys, "Patient/kestrel", false},
		{o.keys, "kestrel-1", false},
		{other, "Patient/kestrel-1", false},
	} {
		if got, err := s.Means(c.keys, c.id); got != c.want || err != nil {
			t.Errorf("%s is meant: %t, %v", c.id, got, err)
		}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(compact), ".")[1])
	if err != nil || strings.Contains(string(payload), "kestrel") {
		t.Errorf("%v: %s", err, payload)
	}
	again := o.verified(o.issued("j2", "kestrel-1", "kestrel-2"))
	if again.Patients.HMAC[0] == s.Patients.HMAC[0] || again.Patients.HMAC[0] == s.Patients.HMAC[1] || again.Asked.Digest == s.Asked.Digest {
		t.Error("two certificates tell that they are of one patient")
	}
}

func TestSoManyPatientsAreADigest(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var patients []string
	for i := range certificate.MaxIDs + 1 {
		patients = append(patients, fmt.Sprint(i))
	}
	if s := o.verified(o.issued("j1", patients[1:]...)); len(s.Patients.HMAC) != certificate.MaxIDs || s.Patients.Digest != "" {
		t.Errorf("%d ids", len(s.Patients.HMAC))
	}
	compact := o.issued("j2", patients...)
	s := o.verified(compact)
	if len(s.Patients.HMAC) != 0 || len(s.Patients.Digest) != 64 || s.Patients.Count != len(patients) || len(compact) > 4000 {
		t.Errorf("%d bytes: %+v", len(compact), s.Patients)
	}
	if _, err := s.Means(o.keys, "Patient/1"); !errors.Is(err, certificate.ErrManyIDs) {
		t.Error(err)
	}
}

func TestRotatedKeysGoOnToVerify(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	old, before := o.issued("j1", "1"), o.verifier()
	var err error
	o.keys, err = o.keys.Rotated()
	o.ok(err)
	doc, err := o.keys.JSON()
	o.ok(err)
	o.keys, err = certificate.ReadKeys(doc)
	o.ok(err)
	fresh := o.issued("j2", "1")
	first, second := o.verified(old), o.verified(fresh)
	o.ok(second.Follows(first, old))
	if meant, err := first.Means(o.keys, "Patient/1"); !meant || err != nil {
		t.Error("an id of before is not found any more", err)
	}
	if ids := o.keys.IDs(); len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("keys %v", ids)
	}
	if _, err := before.Verify(fresh); err == nil || !strings.Contains(err.Error(), "not among the keys") {
		t.Errorf("by the keys of before: %v", err)
	}
}

// forged is a certificate with another header, or another payload, signed by a
// key.
func (o *office) forged(key jose.SigningKey, header map[string]any, payload []byte) []byte {
	o.Helper()
	opts := &jose.SignerOptions{}
	for name, value := range header {
		opts.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(key, opts)
	o.ok(err)
	signed, err := signer.Sign(payload)
	o.ok(err)
	compact, err := signed.CompactSerialize()
	o.ok(err)
	return []byte(compact)
}

// private are the server's own key to sign with, and its kid.
func (o *office) private() jose.JSONWebKey {
	o.Helper()
	doc, err := o.keys.JSON()
	o.ok(err)
	var set jose.JSONWebKeySet
	o.ok(json.Unmarshal(doc, &set))
	return set.Key(o.keys.IDs()[0])[0]
}

func TestACertificateThatNamesItsOwnKeysIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(o.issued("j1", "1")), ".")[1])
	o.ok(err)
	mine := o.private()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: mine.Key}
	good := map[string]any{"kid": mine.KeyID, "typ": certificate.Type}
	if _, err := o.verifier().Verify(o.forged(key, good, payload)); err != nil {
		t.Fatal("this one is good:", err)
	}
	for name, value := range map[string]any{
		"jwk": mine.Public(), "jku": "https://evil.example.org/jwks.json", "x5u": "https://evil.example.org/cert", "x5c": []string{"MIIB"},
		"b64": true, "typ": "JWT", "kid": "unknown", "cty": "x",
	} {
		header := map[string]any{"kid": mine.KeyID, "typ": certificate.Type}
		header[name] = value
		if _, err := o.verifier().Verify(o.forged(key, header, payload)); err == nil {
			t.Errorf("with %s it is taken", name)
		}
	}
	public, err := o.keys.Public()
	o.ok(err)
	if _, err := o.verifier().Verify(o.forged(jose.SigningKey{Algorithm: jose.HS256, Key: public}, good, payload)); err == nil {
		t.Error("an HMAC by the public key is taken")
	}
	theirs, err := certificate.NewKeys()
	o.ok(err)
	them := &office{T: t, keys: theirs}
	if _, err := o.verifier().Verify(o.forged(jose.SigningKey{Algorithm: jose.ES256, Key: them.private().Key}, good, payload)); err == nil {
		t.Error("another's signature under the kid is taken")
	}
}

func TestACertificateThatWasChangedIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	compact := string(o.issued("j1", "1"))
	parts := strings.Split(compact, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	o.ok(err)
	changed := strings.Replace(string(payload), `"versions":4`, `"versions":5`, 1)
	if changed == string(payload) {
		t.Fatalf("%s", payload)
	}
	encode := base64.RawURLEncoding.EncodeToString
	none := encode([]byte(`{"alg":"none","kid":"` + o.keys.IDs()[0] + `","typ":"` + certificate.Type + `"}`))
	for name, c := range map[string]string{
		"another payload": parts[0] + "." + encode([]byte(changed)) + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".",
		"alg none": none + "." + parts[1] + ".", "alg none, signed": none + "." + parts[1] + "." + parts[2],
		"another signature": parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86), "nothing": "", "half": compact[:len(compact)/2],
		"padding": compact + "=", "JSON": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"more": compact + "." + parts[2],
	} {
		if s, err := o.verifier().Verify([]byte(c)); err == nil {
			t.Errorf("%s: %+v is taken", name, s)
		}
	}
}

func TestWhatCannotBeIsRefusedThoughItIsSigned(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	good := o.verified(o.issued("j1", "1"))
	mine := o.private()
	for name, change := range map[string]func(s *certificate.Statement){
		"no job": func(s *certificate.Statement) { s.Job = "" }, "no number": func(s *certificate.Statement) { s.Number = 0 },
		"a first one after another": func(s *certificate.Statement) { s.Before = strings.Repeat("0", 64) },
		"a second one after none":   func(s *certificate.Statement) { s.Number = 2 },
		"an end before the start":   func(s *certificate.Statement) { s.Ended = s.Started.Add(-time.Second) },
		"a start before the call":   func(s *certificate.Statement) { s.Asked.At = s.Started.Add(time.Second) },
		"issued before the end":     func(s *certificate.Statement) { s.Issued -= 60 },
		"fewer ids":                 func(s *certificate.Statement) { s.Patients.HMAC = nil },
		"other counts":              func(s *certificate.Statement) { s.Asked.Patients = 7 },
	} {
		s := good
		change(&s)
		payload, err := json.Marshal(s)
		o.ok(err)
		header := map[string]any{"kid": mine.KeyID, "typ": certificate.Type}
		if _, err := o.verifier().Verify(o.forged(jose.SigningKey{Algorithm: jose.ES256, Key: mine.Key}, header, payload)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestKeysAreReadBackAndNothingElseIs(t *testing.T) {
	t.Parallel()
	keys, err := certificate.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := keys.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := certificate.ReadKeys(doc)
	if err != nil || again.ID("t", "j", "Patient/1") != keys.ID("t", "j", "Patient/1") {
		t.Error("the keys are others", err)
	}
	if diff := cmp.Diff(keys.IDs(), again.IDs()); diff != "" {
		t.Error(diff)
	}
	public, err := keys.Public()
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"nothing": "", "no keys": `{"keys":[]}`, "the public ones": string(public), "half": string(doc[:len(doc)/2]),
		"no key of ids": strings.Replace(string(doc), `"ids"`, `"other"`, 1), "a kid that is none": strings.ReplaceAll(string(doc), keys.IDs()[0], ""),
	} {
		_, err := certificate.ReadKeys([]byte(doc))
		if err == nil {
			t.Errorf("%s: they are read", name)
		} else if strings.Contains(err.Error(), `"d"`) || len(err.Error()) > 300 {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

func TestClocksThatDisagreeDoNotSpoilACertificate(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := statement()
	s.Asked.At, s.Started = s.Ended.Add(time.Hour), s.Ended.Add(time.Minute)
	o.ok(o.issuer.Issue(t.Context(), o.job("j1"), s, "", []string{"1"}))
	c, err := o.store.Certificate(t.Context(), tenant, "j1")
	o.ok(err)
	o.verified(c.Doc)
}
