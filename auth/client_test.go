package auth_test

import (
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir/r4"

	"github.com/google/go-cmp/cmp"
)

// hash is one that stands in files of these tests.
func hash(secret string) string { return auth.HashSecret(secret, [16]byte{1, 2, 3}) }

func twoClients() auth.Clients {
	return auth.Clients{
		"app": {
			ID: "app", Tenant: "default", Method: auth.ByHeader, Users: []string{"u1", "u2"},
			Scopes: []string{"system/Patient.rs", "user/*.cruds", "system/$patient-purge"}, SecretHash: hash("s"),
		},
		"web": {ID: "web", Tenant: "a", Method: auth.ByBearer},
	}
}

func TestAHashIsAPHCStringOfArgon2idWithItsParameters(t *testing.T) {
	a, b := auth.HashSecret("secret", [16]byte{1}), auth.HashSecret("secret", [16]byte{2})
	if !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") || len(strings.Split(a, "$")) != 6 || a == b {
		t.Errorf("%s\n%s", a, b)
	}
	// Of the reference implementation: printf secret | argon2 somesaltsomesalt -id -t 2 -k 19456 -p 1 -l 32
	got := auth.HashSecret("secret", [16]byte([]byte("somesaltsomesalt")))
	if want := "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$14ukWqiThj4Xz77NYv01V28GbBZHY9AaZwsFswQFO0U"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAListOfClientsIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []auth.Clients{twoClients(), {}} {
		text, err := want.Format()
		if err != nil {
			t.Fatal(err)
		}
		got, err := auth.ParseClients(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAListOfClientsThatIsOffIsRefusedWithoutAWordOfIt(t *testing.T) {
	hashed := hash("s")
	good := `{"id":"secret-id","tenant":"t","method":"header","users":["secret-user"],"scopes":["system/*.rs"],"secretHash":"` + hashed + `"}`
	but := func(old, changed string) string {
		one := strings.Replace(good, old, changed, 1)
		if one == good {
			t.Fatalf("%s is not there", old)
		}
		return "{\"clients\":[\n" + one + "]}"
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":              {"", "line 1"},
		"no JSON":              {"{\n\nsecret", "line 3"},
		"half of it":           {"{\"clients\":[\n" + good, "line 2"},
		"no list":              {`{}`, `"clients"`},
		"another member":       {but(`"id"`, `"secretKey":1,"id"`), "line 2"},
		"a name twice":         {but(`"id"`, `"tenant":"secret","id"`), "line 2"},
		"a number":             {but(`"secret-id"`, `5`), "line 2"},
		"more after it":        {"{\"clients\":[]}\nsecret", "line 2"},
		"two of an id":         {`{"clients":[` + good + "," + good + `]}`, "client 2 of the list: the id"},
		"no id":                {but(`"secret-id"`, `""`), "client 1 of the list: the id"},
		"an id with a space":   {but(`secret-id`, `secret id`), "the id cannot be sent"},
		"no tenant":            {but(`"t"`, `""`), "the tenant"},
		"a tenant of dots":     {but(`"t"`, `".."`), "the tenant"},
		"another method":       {but(`"header"`, `"secret"`), "the method"},
		"bearer with a secret": {but(`"header"`, `"bearer"`), "with the method bearer"},
		"an empty user":        {but(`secret-user`, ``), "a user"},
		"a user twice":         {but(`"secret-user"`, `"secret","secret"`), "twice"},
		"the client as user":   {but(`secret-user`, `secret-id`), "own id"},
		"scopes in one":        {but(`system/*.rs`, `secret secret`), "a scope"},
		"the secret itself":    {but(hashed, "secret"), "argon2id"},
		"another cost":         {but("m=19456", "m=1"), "argon2id"},
		"another algorithm":    {but("argon2id", "argon2i"), "argon2id"},
		"half of a hash":       {but(hashed, hashed[:60]), "argon2id"},
	} {
		_, err := auth.ParseClients([]byte(c.text))
		if err == nil {
			t.Errorf("%s: it is taken", name)
		} else if text := err.Error(); !strings.Contains(text, c.says) || strings.Contains(text, "secret-") || strings.Contains(text, hashed[40:60]) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestOnlyScopesThatGrantSomethingPassTheCheck(t *testing.T) {
	for scope, ok := range map[string]bool{
		"system/*.read": true, "user/Patient.cruds": true, "system/$patient-purge": true, "user/kodjin/$patient-purge": true,
		"system/*.reed": false, "system/Nonsense.rs": false, "patient/*.rs": false, "patient/$patient-purge": false,
		"system/Observation.rs?category=x": false, "openid": false, "": false, "system/a/b/$patient-purge": false,
	} {
		if err := auth.CheckScope(scope, r4.IsType); (err == nil) != ok {
			t.Errorf("%q: %v", scope, err)
		}
	}
}
