package auth_test

import (
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"

	"pgregory.net/rapid"
)

func TestWhoMayDeleteAllThatWouldGoMayPurgeAHolding(t *testing.T) {
	for _, c := range []struct {
		user, scopes string
		types        string
		may          bool
	}{
		{"", "system/*.d", "", true},
		{"", "system/*.cud", "Observation", true},
		{"", "system/*.write", "", true},
		{"", "system/Observation.d", "Observation", true},
		{"", "system/Observation.d system/Patient.cruds", "Patient Observation", true},
		{"", "system/$patient-purge", "", true},
		{"", "system/kodjin/$patient-purge", "Patient", true},
		{"eve", "user/$patient-purge", "", true},
		{"eve", "user/*.d", "", true},
		{"eve", "system/*.d", "", true},
		{"", "system/Observation.d", "", false},
		{"", "system/Observation.d", "Observation Patient", false},
		{"", "system/*.cru", "", false},
		{"", "system/*.rs", "Observation", false},
		{"", "user/*.cruds", "", false},
		{"", "user/$patient-purge", "", false},
		{"eve", "patient/$patient-purge", "", false},
		{"eve", "patient/*.cruds patient/$patient-purge", "Observation", false},
		{"", "system/*.d?category=x", "Observation", false},
		{"", "system/other/$patient-purge", "", false},
		{"", "", "", false},
	} {
		p := auth.Principal{Tenant: auth.DefaultTenant, Client: "app", User: c.user, Patient: "p1"}.With(auth.ParseScopes(c.scopes, nil, "kodjin"))
		err := auth.MayPurgeHolding(p, strings.Fields(c.types))
		if (err == nil) != c.may || err != nil && (fhir.KindOf(err) != fhir.Forbidden || !strings.Contains(challengeOf(err), "insufficient_scope")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := auth.MayPurgeHolding(auth.Local(), nil); err != nil {
		t.Errorf("the operator: %v", err)
	}
	nobody := auth.Principal{Tenant: auth.DefaultTenant, User: "eve"}.With(auth.ParseScopes("system/*.cruds system/$patient-purge user/$patient-purge", nil))
	for _, p := range []auth.Principal{{}, nobody} {
		if err := auth.MayPurgeHolding(p, nil); fhir.KindOf(err) != fhir.Unauthorized {
			t.Errorf("nobody: %v", err)
		}
	}
}

// Who may purge all types may purge some, and who may not delete one of the
// types, nor purge anyone, may not purge them.
func TestAPurgeOfFewerTypesIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []string{"Patient", "Observation", "Group"}
		scope := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"system", "user", "patient"}).Draw(t, "level") + "/" +
				rapid.SampledFrom([]string{"*.d", "*.cud", "*.u", "Patient.d", "Observation.cruds", "Group.write", "$patient-purge"}).Draw(t, "what")
		})
		scopes := strings.Join(rapid.SliceOfN(scope, 0, 4).Draw(t, "scopes"), " ")
		p := auth.Principal{Tenant: auth.DefaultTenant, Client: "app", User: rapid.SampledFrom([]string{"", "eve"}).Draw(t, "user")}.
			With(auth.ParseScopes(scopes, nil))
		types := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 3, func(s string) string { return s }).Draw(t, "types")
		may := auth.MayPurgeHolding(p, types) == nil
		if auth.MayPurgeHolding(p, nil) == nil && !may {
			t.Fatalf("%q purge all, but not %q", scopes, types)
		}
		for _, typ := range types {
			if may && auth.MayPurgeHolding(p, []string{typ}) != nil {
				t.Fatalf("%q purge %q, but not %s", scopes, types, typ)
			}
			if may && auth.May(p, auth.Delete, typ) != nil && !strings.Contains(scopes, "/$patient-purge") {
				t.Fatalf("%q purge %s, and may not delete it", scopes, typ)
			}
		}
	})
}
