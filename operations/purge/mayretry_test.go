package purge_test

import (
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
)

func TestWhoMayNotStartAPurgeMayNotHaveItTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	j := w.ended(w.start(bulk("mother")))
	now := func(scopes string) auth.Principal {
		return auth.Principal{Tenant: auth.DefaultTenant, Client: "app", Patient: "mother"}.With(auth.ParseScopes(scopes, func(string) bool { return false }))
	}
	for scopes, may := range map[string]bool{
		"system/*.cruds": true, "system/$patient-purge": true, "patient/$patient-purge": true, "system/*.rs": false, "system/Patient.cruds": false,
	} {
		if err := w.purge.MayRetry(t.Context(), now(scopes), j); (err == nil) != may || err != nil && fhir.KindOf(err) != fhir.Forbidden {
			t.Errorf("with %s: %v", scopes, err)
		}
	}
}

func TestWhoMayPurgeSomeTypesOfAHoldingMayHaveThatTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := as("app", "ann")
	w.owns(ann, note("n", "x"))
	j := w.ended(w.holding(ann, "_type", "Observation"))
	for scopes, may := range map[string]bool{"user/Observation.cruds": true, "user/Condition.cruds": false, "user/Observation.rs": false} {
		p := auth.Principal{Tenant: auth.DefaultTenant, Client: "app", User: "ann"}.With(auth.ParseScopes(scopes, nil))
		if err := w.purge.MayRetryHolding(t.Context(), p, j); (err == nil) != may {
			t.Errorf("with %s: %v", scopes, err)
		}
	}
}
