package auth_test

import (
	"errors"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func actions() []auth.Action {
	return []auth.Action{auth.Create, auth.Read, auth.Update, auth.Delete, auth.Search}
}

// challengeOf is what WWW-Authenticate would say, found as a renderer finds it.
func challengeOf(err error) string {
	if c := (interface{ Challenge() string })(nil); errors.As(err, &c) {
		return c.Challenge()
	}
	return ""
}

func TestNobodyMayDoNothing(t *testing.T) {
	nobody := auth.Principal{Tenant: auth.DefaultTenant}.With(auth.ParseScopes("system/*.cruds user/*.cruds", nil))
	for _, a := range actions() {
		for _, p := range []auth.Principal{{}, nobody} {
			err := auth.May(p, a, "Patient")
			if fhir.KindOf(err) != fhir.Unauthorized || challengeOf(err) != `Bearer realm="firebreak"` {
				t.Errorf("action %d: %v, %s", a, err, challengeOf(err))
			}
		}
	}
}

func TestTheLocalPrincipalMayDoEverything(t *testing.T) {
	p := auth.Local()
	p.Client, p.User = "another", "user" // acting for an owner
	for _, a := range actions() {
		if err := auth.May(p, a, "Patient"); err != nil {
			t.Errorf("action %d: %v", a, err)
		}
	}
}

func TestTheNameLocalGivesNoRights(t *testing.T) {
	p := auth.Principal{Tenant: auth.DefaultTenant, Client: "local"}
	if err := auth.May(p, auth.Read, "Patient"); fhir.KindOf(err) != fhir.Forbidden {
		t.Errorf("got %v", err)
	}
}

func TestAContextThatDoesNotSayWhoAsksMeansNobody(t *testing.T) {
	if got := auth.PrincipalOf(t.Context()); got != (auth.Principal{}) {
		t.Errorf("got %+v", got)
	}
	if got := auth.PrincipalOf(auth.WithPrincipal(t.Context(), auth.Local())); got != auth.Local() {
		t.Errorf("got %+v", got)
	}
}

func TestARefusalNamesTheScopeThatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		p      auth.Principal
		action auth.Action
		typ    string
		want   string
	}{
		"a client":              {client("system/Patient.rs"), auth.Read, "Observation", "system/Observation.r"},
		"another action":        {client("system/Patient.rs"), auth.Create, "Patient", "system/Patient.c"},
		"a user":                {user("user/Patient.rs"), auth.Update, "Patient", "user/Patient.u"},
		"a user, system scopes": {user("system/Patient.rs"), auth.Delete, "Patient", "system/Patient.d"},
		"all types":             {client("system/Patient.rs"), auth.Search, auth.AnyType, "system/*.s"},
		"no name of a type":     {client("system/Patient.rs"), auth.Search, `x" y`, "system/*.s"},
	} {
		err := auth.May(c.p, c.action, c.typ)
		want := `Bearer realm="firebreak", error="insufficient_scope", scope="` + c.want + `"`
		if fhir.KindOf(err) != fhir.Forbidden || err.Error() != "this needs the scope "+c.want || challengeOf(err) != want {
			t.Errorf("%s: %v, %s", name, err, challengeOf(err))
		}
	}
}

func TestARefusalTellsOfScopesThatGrantNothingYet(t *testing.T) {
	for _, scope := range []string{"patient/*.rs", "system/Observation.rs?category=laboratory"} {
		if err := auth.May(client(scope), auth.Read, "Observation"); err == nil || !strings.Contains(err.Error(), "grant nothing on this server yet") {
			t.Errorf("%s: %v", scope, err)
		}
	}
}

func TestAnActionThatDoesNotExistIsAllowedToNoToken(t *testing.T) {
	for _, a := range []auth.Action{0, auth.Search + 1, 255} {
		if err := auth.May(client("system/*.cruds"), a, "Patient"); fhir.KindOf(err) != fhir.Forbidden || challengeOf(err) == "" {
			t.Errorf("action %d: %v", a, err)
		}
	}
}

func client(scopes string) auth.Principal {
	return auth.Principal{Tenant: auth.DefaultTenant, Client: "client"}.With(auth.ParseScopes(scopes, nil))
}

func user(scopes string) auth.Principal {
	p := client(scopes)
	p.User = "user"
	return p
}
