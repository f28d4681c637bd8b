package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const jwksPath = "/.well-known/jwks.json"

// archive is a server, a folder in which its certificates are kept, and a
// client that verifies them there.
type archive struct {
	*site
	folder string
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	s := newSite(t, onData(t.TempDir()))
	s.work()
	a := &archive{s, t.TempDir()}
	a.keep("jwks", a.get(jwksPath).body)
	return a
}

func (a *archive) keep(name, body string) { a.ok(os.WriteFile(a.at(name), []byte(body), 0o600)) }
func (a *archive) at(name string) string  { return filepath.Join(a.folder, name) }

// purge purges a new patient, and keeps the certificate by a name.
func (a *archive) purge(id, name string) (job string) {
	a.Helper()
	a.put("Patient/"+id, `,"name":[{"family":"Family-of-`+id+`"}]`)
	status := a.bulkPurging(patientIDs(id))
	a.purgeEnded(status)
	job = idOf(status)
	got := a.get("/jobs/" + job + "/certificate")
	a.is("the certificate", got, http.StatusOK)
	if got.header.Get("Content-Type") != "application/jose" {
		a.Errorf("%v", got.header)
	}
	a.keep(name, got.body)
	return job
}

// verify runs verify-purge with the kept keys, and gives its status and what it says.
func (a *archive) verify(args ...string) (code int, said string) {
	a.Helper()
	var out bytes.Buffer
	code = run(a.Context(), append([]string{"verify-purge", "--jwks", a.at("jwks")}, args...), &out, &out)
	return code, out.String()
}

func TestTheCertificateOfAPurgeIsVerifiedOffline(t *testing.T) {
	a := newArchive(t)
	first := a.purge("kestrel", "first")
	a.purge("merlin", "second")
	keys := filepath.Join(a.opts.Data, signingKeys)
	code, said := a.verify(a.at("second"), "--previous", a.at("first"), "--id", "Patient/merlin", "--keys", keys,
		"--canary", "Family-of-merlin", "--canary", "Family-of-kestrel", "--data", a.opts.Data)
	if code != exitOK {
		t.Fatalf("%d\n%s", code, said)
	}
	for _, want := range []string{
		"The signature is good. This is certificate 2 of the tenant default, issued by firebreak at ", "was asked for by local at ",
		"the records of 1 patients", "_shared=detach, _audit=keep, _verify=index", "The erased bytes were overwritten", "It does not reach: backups",
		"It follows number 1 of the chain, that of job " + first, "Patient/merlin is among the patients", "No canary is in any of the",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	cert, err := os.ReadFile(a.at("second"))
	if err != nil || strings.Contains(string(cert), "merlin") {
		t.Errorf("%v %s", err, cert)
	}
}

func TestVerifyPurgeFailsForEachThingThatDoesNotHold(t *testing.T) {
	a := newArchive(t)
	a.purge("kestrel", "first")
	a.purge("merlin", "second")
	a.put("Patient/stays", `,"name":[{"family":"Family-of-stays"}]`)
	keys := filepath.Join(a.opts.Data, signingKeys)
	other := newArchive(t)
	cert, err := os.ReadFile(a.at("first"))
	a.ok(err)
	next, err := os.ReadFile(a.at("second"))
	a.ok(err)
	mine, theirs := strings.Split(string(cert), "."), strings.Split(string(next), ".")
	a.keep("changed", mine[0]+"."+theirs[1]+"."+mine[2])
	a.keep("none", "eyJhbGciOiJub25lIn0.e30.")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"another server's keys":       {[]string{a.at("first"), "--jwks", other.at("jwks")}, exitFailed, "not among the keys"},
		"a changed certificate":       {[]string{a.at("changed")}, exitFailed, "signature"},
		"no signature":                {[]string{a.at("none")}, exitFailed, "only ES256"},
		"the wrong one before":        {[]string{a.at("second"), "--previous", a.at("second")}, exitFailed, "number 2, and the one before it number 2"},
		"an id that was not meant":    {[]string{a.at("first"), "--id", "Patient/merlin", "--keys", keys}, exitFailed, "not among the patients"},
		"a canary that is there":      {[]string{a.at("first"), "--canary", "Family-of-stays", "--data", a.opts.Data}, exitFailed, "firebreak.db"},
		"a folder that is not there":  {[]string{a.at("first"), "--canary", "Family-of-stays", "--data", a.at("never")}, exitFailed, "no such file"},
		"no keys for ids":             {[]string{a.at("first"), "--id", "Patient/merlin"}, exitUsage, "--keys"},
		"no folder for canaries":      {[]string{a.at("first"), "--canary", "Family"}, exitUsage, "--data"},
		"a canary of a few bytes":     {[]string{a.at("first"), "--canary", "Fam", "--data", "."}, exitUsage, "6 bytes"},
		"a file that is not there":    {[]string{a.at("never")}, exitFailed, "no such file"},
		"keys that are none":          {[]string{a.at("first"), "--jwks", a.at("first")}, exitFailed, "no JWK set"},
		"several things, all of them": {[]string{a.at("first"), "--previous", a.at("second"), "--id", "Patient/x", "--keys", keys}, exitFailed, "Patient/x"},
	} {
		if code, said := a.verify(c.args...); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d\n%s", name, code, said)
		}
	}
}

func TestVerifyPurgeReadsKeysFromAURLAndTheCertificateFromStandardInput(t *testing.T) {
	a := newArchive(t)
	a.purge("kestrel", "first")
	cert, err := os.ReadFile(a.at("first"))
	a.ok(err)
	var out bytes.Buffer
	c := verifyPurgeCommand{Certificate: "-", JWKS: a.Base() + jwksPath, in: bytes.NewReader(cert)}
	if err := c.Run(t.Context(), streams{&out, &out}); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	c = verifyPurgeCommand{Certificate: "-", JWKS: a.Base() + "/never", in: bytes.NewReader(cert)}
	if err := c.Run(t.Context(), streams{&out, &out}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("by keys that are not there: %v", err)
	}
}

func TestAnyoneHasThePublicKeysAndNobodyTheOthers(t *testing.T) {
	g := newGuarded(t, withTenants)
	first := g.get(jwksPath, "")
	for _, path := range []string{jwksPath, "/fhir" + jwksPath, "/t/a/fhir" + jwksPath} {
		r := g.get(path, "")
		g.want(path, r, 200)
		if r.body != first.body || r.header.Get("Content-Type") != "application/jwk-set+json" {
			t.Errorf("%s: %v %s", path, r.header, r.body)
		}
	}
	var set struct{ Keys []map[string]any }
	g.must(json.Unmarshal([]byte(first.body), &set))
	if len(set.Keys) != 1 || set.Keys[0]["kty"] != "EC" || set.Keys[0]["d"] != nil || set.Keys[0]["k"] != nil {
		t.Errorf("%s", first.body)
	}
}

func TestACertificateIsSignedByTheNewestKeyAndOldOnesStillVerify(t *testing.T) {
	a := newArchive(t)
	a.purge("kestrel", "first")
	if _, err := rotateKeys(filepath.Join(a.opts.Data, signingKeys)); err != nil {
		t.Fatal(err)
	}
	a.purge("merlin", "second")
	if code, said := a.verify(a.at("second")); code != exitFailed {
		t.Errorf("by the keys of before: %d\n%s", code, said)
	}
	a.keep("jwks", a.get(jwksPath).body)
	if code, said := a.verify(a.at("second"), "--previous", a.at("first")); code != exitOK {
		t.Errorf("by those of now: %d\n%s", code, said)
	}
}

func TestTheOperatorListsCertificatesOfJobsThatAreGone(t *testing.T) {
	a := newArchive(t)
	var want []string
	for _, id := range []string{"p1", "p2", "p3"} {
		want = append([]string{a.purge(id, id)}, want...)
	}
	for _, job := range want {
		a.is("DELETE", a.do(http.MethodDelete, "/Patient-bulk-purge/"+job, ""), http.StatusAccepted)
		a.is("the certificate of what was deleted", a.get("/jobs/"+job+"/certificate"), http.StatusNotFound)
	}
	listed := func(query string) (jobs []string) {
		t.Helper()
		r := httptest.NewRecorder()
		a.operatorRoutes().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/certificates"+query, nil))
		var page struct {
			Certificates []struct{ Job, Certificate string }
		}
		a.ok(json.Unmarshal(r.Body.Bytes(), &page))
		for _, c := range page.Certificates {
			jobs = append(jobs, c.Job)
		}
		return jobs
	}
	for query, some := range map[string][]string{"": want, "?before=3": want[1:], "?before=1": nil, "?tenant=other": nil, "?before=x": nil} {
		if diff := cmp.Diff(some, listed(query)); diff != "" {
			t.Errorf("%s (- want, + got)\n%s", query, diff)
		}
	}
}

func TestPurgesOfTwoInstancesAreOneChain(t *testing.T) {
	both := instances(t, 2, serving{SigningKeys: filepath.Join(t.TempDir(), "keys.json")})
	var all []string
	for i := range 6 {
		id := fmt.Sprint("p", i)
		both[i%2].put("Patient/"+id, "")
		all = append(all, idOf(both[i%2].bulkPurging(patientIDs(id))))
	}
	for i, job := range all {
		s := both[(i+1)%2]
		s.purgeEnded(s.Base() + "/Patient-bulk-purge/" + job)
		s.is("the certificate", s.get("/jobs/"+job+"/certificate"), http.StatusOK)
	}
	seen := map[string]bool{}
	for _, c := range chainOf(t, both[0].opts) {
		seen[c.Job] = true
		if c.Scrub.State != "unknown" || !slices.Contains(c.Scrub.Elsewhere, "database-log") {
			t.Errorf("it says of the log of changes: %+v", c.Scrub)
		}
	}
	if len(seen) != len(all) {
		t.Errorf("%d purges have %d certificates", len(all), len(seen))
	}
}

func TestAServerOnMongoWithoutKeysGivesNoCertificates(t *testing.T) {
	s := onGround(t, onMongo(t))
	s.work()
	status := s.bulkPurging(patientIDs("kestrel"))
	s.purgeEnded(status)
	s.is("the certificate", s.get("/jobs/"+idOf(status)+"/certificate"), http.StatusNotFound)
	s.is("the keys", s.get(jwksPath), http.StatusNotFound)
	if said := s.get("/metadata").body; !strings.Contains(said, "Purges have no certificate") {
		t.Error("/metadata does not say so")
	}
}

func TestMetadataSaysWhetherPurgesHaveCertificates(t *testing.T) {
	a := newArchive(t)
	if said := a.get("/metadata").body; !strings.Contains(said, "has a signed certificate") {
		t.Error("it does not say that they do")
	}
	if said := string(capability(false, false, false).JSON()); !strings.Contains(said, "Purges have no certificate") {
		t.Error("it does not say that they do not")
	}
}
