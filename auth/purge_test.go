package auth_test

import (
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/auth/authtest"
	"firebreak/fhir"

	"pgregory.net/rapid"
)

// patientGroups are patients that somebody may want to purge; p1 is the patient
// of the launch where there is one.
func patientGroups() map[string][]string {
	return map[string][]string{
		"own": {"p1"}, "other": {"p2"}, "own twice": {"p1", "p1"}, "both": {"p1", "p2"}, "other first": {"p2", "p1"},
		"in capitals": {"P1"}, "longer": {"p1 "}, "typed": {"Patient/p1"}, "no id": {""}, "unknown": nil, "none": {},
	}
}

// purges names the groups whose records p may purge: "all", or some, or "".
func purges(p auth.Principal) string {
	var may []string
	for _, name := range []string{"own", "own twice", "other", "both", "other first", "in capitals", "longer", "typed", "no id", "unknown", "none"} {
		if auth.MayPurge(p, patientGroups()[name]) == nil {
			may = append(may, name)
		}
	}
	if len(may) == len(patientGroups()) {
		return "all"
	}
	return strings.Join(may, ", ")
}

// purger has scopes, and p1 for its patient.
func purger(user, scopes string) auth.Principal {
	p := auth.Principal{Tenant: auth.DefaultTenant, Client: "client", User: user, Patient: "p1"}
	return p.With(auth.ParseScopes(scopes, nil, "kodjin", "acme-2"))
}

func TestAPurgeNeedsAScopeForIt(t *testing.T) {
	const own = "own, own twice"
	for scopes, want := range map[string][3]string{ // for a client alone, for a user, for a user without a patient
		"system/$patient-purge":                               {"all", "all", "all"},
		"user/$patient-purge":                                 {"", "all", "all"},
		"patient/$patient-purge":                              {own, own, ""},
		"system/kodjin/$patient-purge":                        {"all", "all", "all"},
		"user/kodjin/$patient-purge":                          {"", "all", "all"},
		"patient/kodjin/$patient-purge":                       {own, own, ""},
		"system/acme-2/$patient-purge":                        {"all", "all", "all"},
		"openid patient/$patient-purge launch/patient":        {own, own, ""},
		"patient/$patient-purge user/acme-2/$patient-purge":   {own, "all", "all"},
		"system/*.rs patient/$patient-purge":                  {own, own, ""},
		"system/Patient.cruds patient/kodjin/$patient-purge ": {own, own, ""},

		// Delete and update on all types:
		"system/*.write":            {"all", "all", "all"},
		"system/*.*":                {"all", "all", "all"},
		"system/*.cud":              {"all", "all", "all"},
		"system/*.ud":               {"all", "all", "all"},
		"system/*.u system/*.d":     {"all", "all", "all"},
		"user/*.write":              {"", "all", "all"},
		"user/*.ud":                 {"", "all", "all"},
		"system/*.d user/*.u":       {"", "all", "all"},
		"system/*.d":                {"", "", ""},
		"system/*.u":                {"", "", ""},
		"system/*.crus":             {"", "", ""},
		"system/*.crds":             {"", "", ""},
		"system/*.read":             {"", "", ""},
		"system/*.read user/*.read": {"", "", ""},
		"system/Patient.cruds":      {"", "", ""},
		"system/Patient.write user/Patient.write": {"", "", ""},
		"system/Patient.ud system/*.u":            {"", "", ""},
		"system/Patient.ud system/Observation.ud": {"", "", ""},
		"system/*.cruds?_id=p1":                   {"", "", ""},
		"system/*.ud?_tag=x system/*.u":           {"", "", ""},
		"patient/*.cruds":                         {"", "", ""},
		"patient/*.write":                         {"", "", ""},
	} {
		alone := purger("user", scopes)
		alone.Patient = ""
		got := [3]string{purges(purger("", scopes)), purges(purger("user", scopes)), purges(alone)}
		if got != want {
			t.Errorf("%q purge %q, want %q", scopes, got, want)
		}
	}
}

func TestWhatIsNoScopeForAPurgeGrantsNothing(t *testing.T) {
	for _, scope := range []string{
		"", "$patient-purge", "/$patient-purge", "*/$patient-purge", "kodjin/$patient-purge", "/kodjin/$patient-purge",
		"system/patient-purge", "system/$patient-purge/", "system/$patient-purg", "system/$patient-purges", "system/$Patient-purge",
		"system/$PATIENT-PURGE", "system/$purge", "system/$bulk-purge", "system/$", "system/$*", "system/*", "system/", "system",
		"System/$patient-purge", "USER/$patient-purge", "systems/$patient-purge", "launch/$patient-purge", "client/$patient-purge",
		"system/$patient-purge?", "system/$patient-purge?patient=p1", "user/$patient-purge?_id=p1", "patient/$patient-purge?x",
		"system/kodjin/$patient-purge?patient=p1", "patient/kodjin/$patient-purge?", "system?x=/$patient-purge",
		"system/other/$patient-purge", "system/Kodjin/$patient-purge", "system/kodji/$patient-purge", "system/kodjin2/$patient-purge",
		"system/acme/$patient-purge", "system/acme-2-/$patient-purge", "system/*/$patient-purge", "system/kodjin-acme-2/$patient-purge",
		"system/kodjin/acme-2/$patient-purge", "system/kodjin/kodjin/$patient-purge", "system//$patient-purge", "system//kodjin/$patient-purge",
		"system/kodjin//$patient-purge", "system/kodjin$patient-purge", "system/$patient-purge/kodjin", "system/kodjin/", "system/kodjin",
		"system/Patient/$patient-purge", "system/Patient/p1/$patient-purge", "system/$patient-purge.d", "system/$patient-purge.*",
		"system/*.$patient-purge", "system/Patient.$patient-purge", "system/*.purge", "system/$patient-purge,x", "system/$patient-purge\n",
		"system/$patient-purge\tx", "\tsystem/$patient-purge", "system/$patient-purge\x00", "system/$patient-purge\u00a0", "system/\\$patient-purge",
		"system/%24patient-purge", "__system/$patient-purge", "https://example.org/system/$patient-purge", "system\\$patient-purge",
	} {
		if got := purges(purger("user", scope)); got != "" {
			t.Errorf("%q purges %s", scope, got)
		}
		if got := allowed(purger("user", scope), "Patient"); got != "" {
			t.Errorf("%q grants %q on Patient", scope, got)
		}
	}
}

func TestAScopeForAPurgeGrantsNothingElse(t *testing.T) {
	p := purger("user", "system/$patient-purge user/$patient-purge patient/$patient-purge")
	for _, typ := range []string{"Patient", "Observation", "$patient-purge", "", auth.AnyType} {
		if got := allowed(p, typ); got != "" {
			t.Errorf("granted %q on %q", got, typ)
		}
	}
}

func TestAVendorThatIsNotNamedGrantsNothing(t *testing.T) {
	const scopes = "system/kodjin/$patient-purge user/kodjin/$patient-purge patient/kodjin/$patient-purge"
	if got := auth.ParseScopes(scopes, nil); got != (auth.Scopes{}) {
		t.Errorf("got %+v", got)
	}
	if got, want := auth.ParseScopes(scopes, nil, "kodjin"), auth.ParseScopes(strings.ReplaceAll(scopes, "kodjin/", ""), nil); got != want {
		t.Errorf("%+v is not %+v", got, want)
	}
}

func TestTheOperatorMayPurgeAndNobodyMayNot(t *testing.T) {
	if got := purges(auth.Local()); got != "all" {
		t.Errorf("the operator purges %q", got)
	}
	nobody := auth.Principal{Tenant: auth.DefaultTenant, User: "user", Patient: "p1"}.
		With(auth.ParseScopes("system/*.cruds system/$patient-purge user/$patient-purge patient/$patient-purge", nil))
	for _, p := range []auth.Principal{{}, nobody} {
		for name, patients := range patientGroups() {
			err := auth.MayPurge(p, patients)
			if fhir.KindOf(err) != fhir.Unauthorized || challengeOf(err) != `Bearer realm="firebreak"` {
				t.Errorf("%s: %v, %s", name, err, challengeOf(err))
			}
		}
	}
}

func TestARefusedPurgeNamesTheScopeThatIsMissing(t *testing.T) {
	const own = "; patient/$patient-purge is for the record of the token's own patient alone"
	const unkept = "; scopes of patient/ for resources and scopes with a query grant nothing on this server yet"
	for name, c := range map[string]struct {
		p          auth.Principal
		want, hint string
	}{
		"a client":                  {purger("", "system/*.rs"), "system/$patient-purge", ""},
		"a client, scopes of users": {purger("", "user/$patient-purge"), "system/$patient-purge", ""},
		"a user":                    {purger("eve", "user/Patient.cruds"), "user/$patient-purge", ""},
		"a user, system scopes":     {purger("eve", "system/Patient.cruds"), "system/$patient-purge", ""},
		"a patient":                 {purger("eve", "patient/$patient-purge"), "system/$patient-purge", own},
		"a patient, and more":       {purger("eve", "patient/$patient-purge user/*.rs patient/*.rs"), "user/$patient-purge", unkept + own},
		"a patient's resources":     {purger("", "patient/*.cruds"), "system/$patient-purge", unkept},
	} {
		err := auth.MayPurge(c.p, []string{"s3cret"})
		want := `Bearer realm="firebreak", error="insufficient_scope", scope="` + c.want + `"`
		if fhir.KindOf(err) != fhir.Forbidden || err.Error() != "this needs the scope "+c.want+c.hint || challengeOf(err) != want {
			t.Errorf("%s: %v, %s", name, err, challengeOf(err))
		}
	}
}

func TestAUserWhoMayOnlyPurgeIsToldOfScopesOfUsers(t *testing.T) {
	err := auth.May(purger("eve", "user/$patient-purge"), auth.Read, "Patient")
	if err == nil || err.Error() != "this needs the scope user/Patient.r" {
		t.Error(err)
	}
}

func TestATokenPurgesThePatientThatItWasLaunchedFor(t *testing.T) {
	issuer := authtest.New(t)
	cfg := issuer.Config()
	cfg.PurgeVendors = []string{"kodjin"}
	v := newVerifier(t, cfg)
	for _, scope := range []string{"patient/$patient-purge", "patient/kodjin/$patient-purge"} {
		for _, user := range []string{"", "eve"} {
			p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", User: user, Scope: scope, Patient: "p1"}))
			if err != nil || p.Patient != "p1" || purges(p) != "own, own twice" {
				t.Errorf("%s: %+v purges %q, %v", scope, p, purges(p), err)
			}
			p, err = ask(v, issuer.Token(authtest.Claims{Client: "app", User: user, Scope: scope}))
			if err != nil || p.Patient != "" || purges(p) != "" {
				t.Errorf("%s, no patient: %+v purges %q, %v", scope, p, purges(p), err)
			}
		}
	}
	p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Scope: "system/other/$patient-purge", Patient: "p1"}))
	if err != nil || purges(p) != "" {
		t.Errorf("another vendor: %+v purges %q, %v", p, purges(p), err)
	}
}

func TestAPatientThatIsNoIDCountsAsNone(t *testing.T) {
	issuer := authtest.New(t)
	v := newVerifier(t, issuer.Config())
	for name, patient := range map[string]any{
		"empty": "", "a reference": "Patient/p1", "a URL": "https://ehr.example.org/fhir/Patient/p1", "too long": strings.Repeat("1", 65),
		"a space": "p1 ", "a newline": "p1\n", "a letter beyond ASCII": "pé", "a wildcard": "*", "a number": 1, "a list": []string{"p1"},
		"an object": map[string]any{"reference": "Patient/p1"}, "null": jsonNull{}, "true": true,
	} {
		p, err := ask(v, issuer.Token(authtest.Claims{
			Client: "app", Scope: "patient/$patient-purge", Others: map[string]any{"patient": patient},
		}))
		if err != nil || p.Client != "app" || p.Patient != "" || purges(p) != "" {
			t.Errorf("%s: %+v purges %q, %v", name, p, purges(p), err)
		}
	}
	for _, id := range []string{"1", "A-b.9", strings.Repeat("1", 64)} {
		p, err := ask(v, issuer.Token(authtest.Claims{Client: "app", Patient: id}))
		if err != nil || p.Patient != id {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
}

// Whatever the scopes, a purge that is allowed for some is allowed for fewer,
// and one for patients that are not known only if it is for anyone.
func TestAPurgeOfFewerIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SampledFrom([]string{"p1", "p2", "P1", ""})
		scope := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"system", "user", "patient", ""}).Draw(t, "level") + "/" +
				rapid.SampledFrom([]string{"", "", "kodjin/", "other/"}).Draw(t, "vendor") +
				rapid.SampledFrom([]string{"$patient-purge", "$patient-purge", "*.u", "*.d", "*.write", "Patient.cruds"}).Draw(t, "what") +
				rapid.SampledFrom([]string{"", "", "?", "?a=b"}).Draw(t, "query")
		})
		scopes := strings.Join(rapid.SliceOfN(scope, 0, 4).Draw(t, "scopes"), " ")
		p := purger(rapid.SampledFrom([]string{"", "eve"}).Draw(t, "user"), scopes)
		p.Patient = ids.Draw(t, "patient")
		some := rapid.SliceOfN(ids, 1, 4).Draw(t, "patients")
		may := auth.MayPurge(p, some) == nil
		for _, id := range some {
			if may && auth.MayPurge(p, []string{id}) != nil {
				t.Fatalf("%q purge %q, but not %q", scopes, some, id)
			}
		}
		if auth.MayPurge(p, nil) == nil && !may {
			t.Fatalf("%q purge anyone, but not %q", scopes, some)
		}
	})
}
