package auth_test

import (
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
)

func TestNobodyMayDoNothing(t *testing.T) {
	for _, a := range []auth.Action{auth.Create, auth.Read, auth.Update, auth.Delete} {
		if err := auth.May(auth.Principal{}, a, "Patient"); fhir.KindOf(err) != fhir.Unauthorized {
			t.Errorf("action %d: %v", a, err)
		}
	}
}

func TestTheLocalPrincipalMayDoEverything(t *testing.T) {
	p := auth.Local()
	p.Client, p.User = "another", "user" // acting for an owner
	for _, a := range []auth.Action{auth.Create, auth.Read, auth.Update, auth.Delete} {
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
