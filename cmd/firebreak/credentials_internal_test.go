package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/fhir"
)

func TestTheSecretOfAClientIsReadAnewFromItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	source := credentials{ClientID: "app", ClientSecretFile: file, UserID: "u1"}.source()
	for text, want := range map[string]string{
		"first\n": "first", " second": "second", "se:cond\n": "se:cond",
		"client_id: app\nclient_secret: third\n":    "third",
		"client_secret: fourth":                     "fourth",
		"Client_Secret:fifth\r\nclient_id: app\r\n": "fifth",
		"client_id: other\nclient_secret: canary\n": "",
		"client_id: app\n":                          "",
		"client_secret: \n":                         "",
		"canary canary":                             "",
		"canary\x00":                                "",
		"canaryä":                                   "",
		"":                                          "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := source(t.Context())
		if got := h.Get("client_secret"); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), file)) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (h.Get("client_id") != "app" || h.Get("x-oneup-user-id") != "u1" || len(h) != 3) {
			t.Errorf("%q: %v", text, h)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := source(t.Context()); err == nil {
		t.Error("a file that is not there has a secret")
	}
}

func TestTheSecretOfAClientMayBeInTheEnvironment(t *testing.T) {
	t.Setenv(clientSecretVariable, "env")
	h, err := credentials{ClientID: "app"}.source()(t.Context())
	if err != nil || h.Get("client_secret") != "env" || len(h.Values("x-oneup-user-id")) > 0 {
		t.Errorf("%v, %v", h, err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err = (credentials{ClientID: "app", ClientSecretFile: file}).source()(t.Context()); err != nil || h.Get("client_secret") != "file" {
		t.Errorf("%v, %v", h, err)
	}
	if (credentials{}).source() != nil {
		t.Error("a secret without a client is sent")
	}
}

func TestCredentialsThatDoNotGoTogetherAreAWrongCall(t *testing.T) {
	t.Setenv(clientSecretVariable, "")
	for what, c := range map[string]struct {
		options []string
		says    string
	}{
		"a token and a client":     {[]string{"--token-file", "t", "--client-id", "app", "--client-secret-file", "s"}, "two kinds of credentials"},
		"a token and a secret":     {[]string{"--token-file", "t", "--client-secret-file", "s"}, "go with --client-id"},
		"a token and a user":       {[]string{"--token-file", "t", "--user-id", "u1"}, "go with --client-id"},
		"a user alone":             {[]string{"--user-id", "u1"}, "go with --client-id"},
		"a client without secret":  {[]string{"--client-id", "app"}, "FIREBREAK_CLIENT_SECRET"},
		"a client of two words":    {[]string{"--client-id", "a b", "--client-secret-file", "s"}, "visible ASCII"},
		"a user that is no header": {[]string{"--client-id", "app", "--client-secret-file", "s", "--user-id", "u\n1"}, "visible ASCII"},
		"the secret itself":        {[]string{"--client-id", "app", "--client-secret", "canary"}, "unknown flag --client-secret"},
	} {
		for _, command := range [][]string{
			{"export", "--server", "http://127.0.0.1:1/fhir", "--out", t.TempDir()},
			{"load", "--server", "http://127.0.0.1:1/fhir", t.TempDir()},
			{"purge", "--server", "http://127.0.0.1:1/fhir", "--mine", "--yes"},
		} {
			code, out, wrong := program(t, append(command, c.options...)...)
			if code != exitUsage || !strings.Contains(wrong, c.says) || strings.Contains(out+wrong, "canary") {
				t.Errorf("%s, %s: %d %s", command[0], what, code, wrong)
			}
		}
	}
}

func TestALoadThatIsNotLetInEndsWithoutMoreTries(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == parallelPuts {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	sink, err := newRESTSink(server.URL+"/fhir", nil)
	if err != nil {
		t.Fatal(err)
	}
	var rs []fhir.Resource
	for i := range 2 * parallelPuts {
		rs = append(rs, fhir.Resource{ID: fhir.ID{Type: "Patient", ID: fmt.Sprint("p", i)}, Body: []byte("{}")})
	}
	began := time.Now()
	if _, err := sink.Put(t.Context(), rs); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("it ends with %v", err)
	}
	if took := time.Since(began); took > 30*time.Second { // a minute is how long each is tried
		t.Errorf("it takes %s", took)
	}
}
