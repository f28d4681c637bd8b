package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"firebreak/operations/fetch"

	"github.com/google/go-cmp/cmp"
)

// secretive is how a client says who it is, each in its way.
func secretive() map[string]fetch.Credentials {
	return map[string]fetch.Credentials{
		"a token": fetch.Bearer(func(context.Context) (string, error) { return "secret", nil }),
		"header credentials": func(context.Context) (http.Header, error) {
			return http.Header{"Client_id": {"app"}, "Client_secret": {"secret"}, "X-Oneup-User-Id": {"secret"}}, nil
		},
	}
}

// with has a client say who it is.
func with(who fetch.Credentials) func(*fetch.Config) {
	return func(c *fetch.Config) { c.Credentials = who }
}

// secrets are the names of the headers that hold one.
func secrets(r *http.Request) (names []string) {
	for _, name := range []string{"Authorization", "Client_id", "Client_secret", "X-Oneup-User-Id"} {
		if value := r.Header.Get(name); value == "secret" || value == "Bearer secret" {
			names = append(names, name)
		}
	}
	return names
}

func TestCredentialsStayWithTheServer(t *testing.T) {
	body := patients(2)
	for what, who := range secretive() {
		for _, required := range []bool{true, false} {
			elsewhere, s := newServer(t), newServer(t)
			elsewhere.offer("there", body, content(body, `"a"`))
			elsewhere.offer("stored", body, content(body, `"a"`))
			s.offer("here", body, content(body, `"a"`))
			s.offer("redirected", body, status(307, "", "Location", elsewhere.URL+"/files/stored"))
			s.offer("there", body).URL = elsewhere.URL + "/files/there"
			s.manifest.RequiresAccessToken = required
			s.mustRun(t.TempDir(), with(who))
			for path, want := range map[string]bool{"$export": true, "jobs/1": true, "here": required, "redirected": required} {
				if got := secrets(s.requests(path)[0]); (len(got) > 0) != want {
					t.Errorf("%s: %s was sent %q (required %v)", what, path, got, required)
				}
			}
			if len(elsewhere.seen) != 2 {
				t.Errorf("the other host was asked %d times", len(elsewhere.seen))
			}
			for _, r := range elsewhere.seen {
				if got := secrets(r); len(got) > 0 {
					t.Errorf("%s: another host was sent %q with %s", what, got, r.URL)
				}
			}
		}
	}
}

func TestNoRedirectCarriesCredentialsElsewhereNorBack(t *testing.T) {
	for what, who := range secretive() {
		elsewhere, s := newServer(t), newServer(t)
		s.files["/fhir/Patient/near"] = []http.HandlerFunc{status(307, "", "Location", "/fhir/Patient/p")}
		s.files["/fhir/Patient/p"] = []http.HandlerFunc{status(201, "")}
		s.files["/fhir/Patient/far"] = []http.HandlerFunc{status(307, "", "Location", elsewhere.URL+"/fhir/Patient/back")}
		elsewhere.files["/fhir/Patient/back"] = []http.HandlerFunc{status(307, "", "Location", s.URL+"/fhir/Patient/last")}
		s.files["/fhir/Patient/last"] = []http.HandlerFunc{status(200, "")}
		client, _ := s.client(with(who))
		for address, want := range map[string]int{"Patient/near": 201, "Patient/far": 200} {
			if got, _, err := client.Put(t.Context(), address, []byte("{}")); err != nil || got != want {
				t.Errorf("%s: %d %v", address, got, err)
			}
		}
		for r, want := range map[*http.Request]bool{
			s.requests("/near")[0]: true, s.requests("/p")[0]: true, s.requests("/far")[0]: true,
			elsewhere.requests("/back")[0]: false, s.requests("/last")[0]: false,
		} {
			if got := secrets(r); (len(got) > 0) != want || r.Header.Get("Prefer") != "return=minimal" {
				t.Errorf("%s: %s was sent %v", what, r.URL, r.Header)
			}
		}
	}
}

func TestCredentialsGoElsewhereOnlyWhenToldTo(t *testing.T) {
	for _, who := range secretive() {
		elsewhere, s := newServer(t), newServer(t)
		elsewhere.offer("there", "{}\n", func(w http.ResponseWriter, r *http.Request) {
			if len(secrets(r)) == 0 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte("{}\n"))
		})
		s.offer("there", "{}\n").URL = elsewhere.URL + "/files/there"
		s.manifest.RequiresAccessToken = true
		dir := t.TempDir()
		_, err := s.run(dir, with(who))
		wantError(t, err, "there", "401", "the credentials go to no other")
		s.mustRun(dir, with(who), func(c *fetch.Config) { c.InsecureCredentialsToAnyHost = true })
	}
}

func TestOriginIsSchemeHostAndPort(t *testing.T) {
	for url, want := range map[string]bool{
		"https://EHR.example:443/x":  true,
		"https://ehr.example/x":      true,
		"https://ehr.example:8443/x": false,
		"https://sub.ehr.example/x":  false,
		"http://ehr.example/x":       false,
		"http://ehr.example:443/x":   false,
	} {
		for what, who := range secretive() {
			var got []string
			client, err := fetch.New(fetch.Config{
				Base: "https://ehr.example/fhir", Credentials: who,
				HTTP: &http.Client{Transport: always{"{}\n", func(r *http.Request) { got = secrets(r) }}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Delete(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != want {
				t.Errorf("%s: %s was sent %q", what, url, got)
			}
		}
	}
}

func TestCredentialsThatCannotBeHadEndTheRun(t *testing.T) {
	s := newServer(t)
	none := with(fetch.Bearer(func(context.Context) (string, error) { return "", errors.New("no key") }))
	_, err := s.run(t.TempDir(), none)
	wantError(t, err, "access token", "no key")
	client, _ := s.client(none)
	_, _, err = client.Put(t.Context(), "Patient/p", []byte("{}"))
	if want := (*fetch.CredentialsError)(nil); !errors.As(err, &want) || len(s.seen) > 0 {
		t.Errorf("%v, after %d requests", err, len(s.seen))
	}
}

func TestPutSendsAResourceToItsAddress(t *testing.T) {
	s := newServer(t)
	s.files["/fhir/Patient/p"] = []http.HandlerFunc{outcome(422, "invalid", "no")}
	client, _ := s.client()
	code, body, err := client.Put(t.Context(), "Patient/p", []byte(`{"resourceType":"Patient","id":"p"}`))
	if err != nil || code != 422 || !strings.Contains(string(body), `"no"`) {
		t.Errorf("%d %s %v", code, body, err)
	}
	r := s.requests("/fhir/Patient/p")[0]
	got := []string{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Prefer")}
	if d := cmp.Diff([]string{http.MethodPut, "application/fhir+json", "return=minimal"}, got); d != "" || r.ContentLength != 35 {
		t.Errorf("%s\n%d bytes", d, r.ContentLength)
	}
	s.Close()
	if _, _, err := client.Put(t.Context(), "Patient/p", nil); err == nil || strings.Contains(err.Error(), "Patient/p") {
		t.Errorf("without a server: %v", err)
	}
}
