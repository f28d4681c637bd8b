package opshttp_test

import (
	"context"
	"testing"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"
)

// certified is a world where jobs of a kind have certificates, by their ids.
func certified(t *testing.T) (*world, map[string]string) {
	t.Helper()
	w, docs := newWorld(t), map[string]string{}
	opshttp.RegisterCertificates(w.echo.Group(fhirhttp.Root), opshttp.Config{Store: w.store, Now: w.now}, opshttp.Certificates{
		Kinds: []string{chore},
		Of: func(_ context.Context, of store.Tenant, id string) ([]byte, error) {
			if doc, ok := docs[id]; ok && of == auth.DefaultTenant {
				return []byte(doc), nil
			}
			return nil, store.ErrNotFound
		},
	})
	return w, docs
}

func mine() auth.Principal { return auth.Principal{Tenant: auth.DefaultTenant, Client: "me"} }

func TestTheCertificateOfAJobThatSucceededIsItsOwners(t *testing.T) {
	t.Parallel()
	w, docs := certified(t)
	id := w.of(chore, mine(), job.Job.Start, job.Job.Succeed)
	docs[id] = "e30.e30.AAAA"
	r := w.do(get, "/fhir/jobs/"+id+"/certificate")
	w.is("mine", r, 200, "")
	if r.Body.String() != docs[id] || r.Header().Get("Content-Type") != "application/jose" || r.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", r.Header(), r.Body)
	}
	w.is("HEAD", w.do(head, "/fhir/jobs/"+id+"/certificate"), 200, "")
	unknown := w.do(get, "/fhir/jobs/01NEVER/certificate")
	w.is("unknown", unknown, 404, "not-found")
	for _, who := range []string{"other", "me/ann"} {
		if r := w.do(get, "/fhir/jobs/"+id+"/certificate", "X-Client", who); dump(r) != dump(unknown) {
			t.Errorf("%s is told %s, and of an unknown one %s", who, dump(r), dump(unknown))
		}
	}
	w.pass(2 * lifetime)
	if r := w.do(get, "/fhir/jobs/"+id+"/certificate"); dump(r) != dump(unknown) {
		t.Errorf("when the job has expired: %s", dump(r))
	}
}

func TestAJobThatDidNotDoAllHasNoCertificate(t *testing.T) {
	t.Parallel()
	w, docs := certified(t)
	for _, c := range []struct {
		what   string
		id     string
		status int
		code   string
	}{
		{"queued", w.of(chore, mine()), 409, "conflict"},
		{"running", w.of(chore, mine(), job.Job.Start), 409, "conflict"},
		{"failed", w.of(chore, mine(), job.Job.Start, fail), 404, "not-found"},
		{"cancelled", w.of(chore, mine(), job.Job.RequestCancel, job.Job.Stop), 404, "not-found"},
		{"dismissed", w.of(chore, mine(), job.Job.Start, job.Job.Succeed, job.Job.Dismiss), 404, "not-found"},
		{"of another kind", w.in(job.Job.Start, job.Job.Succeed), 404, "not-found"},
	} {
		docs[c.id] = "e30.e30.AAAA"
		w.is(c.what, w.do(get, "/fhir/jobs/"+c.id+"/certificate"), c.status, c.code)
	}
	w.is("without keys", w.do(get, "/fhir/jobs/"+w.of(chore, mine(), job.Job.Start, job.Job.Succeed)+"/certificate"), 404, "not-found")
}
