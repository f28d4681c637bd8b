package auth_test

import (
	"strings"
	"testing"

	"firebreak/auth"

	"pgregory.net/rapid"
)

// allowed is the letters that p may use on a type.
func allowed(p auth.Principal, typ string) string {
	letters := ""
	for i, a := range actions() {
		if auth.May(p, a, typ) == nil {
			letters += "cruds"[i : i+1]
		}
	}
	return letters
}

func TestScopesGrantWhatTheySay(t *testing.T) {
	for scope, want := range map[string][3]string{ // on Patient, on Observation, on all types
		"system/Patient.read":                      {"rs", "", ""},
		"system/Patient.write":                     {"cud", "", ""},
		"system/Patient.*":                         {"cruds", "", ""},
		"system/*.read":                            {"rs", "rs", "rs"},
		"system/*.write":                           {"cud", "cud", "cud"},
		"system/*.*":                               {"cruds", "cruds", "cruds"},
		"system/*.rs":                              {"rs", "rs", "rs"},
		"system/*.cruds":                           {"cruds", "cruds", "cruds"},
		"system/Patient.r":                         {"r", "", ""},
		"system/Patient.cd":                        {"cd", "", ""},
		"system/Patient.r system/Patient.u":        {"ru", "", ""},
		"system/Patient.rs system/*.s":             {"rs", "s", "s"},
		"system/Patient.read system/Observation.s": {"rs", "s", ""},
		"user/Patient.rs":                          {"rs", "", ""},
		"user/Patient.r system/Observation.c":      {"r", "c", ""},
		"openid fhirUser launch system/Patient.r":  {"r", "", ""},
		"  system/Patient.r   system/Patient.s ":   {"rs", "", ""},
	} {
		p := user(scope)
		got := [3]string{allowed(p, "Patient"), allowed(p, "Observation"), allowed(p, auth.AnyType)}
		if got != want {
			t.Errorf("%q grants %q, want %q", scope, got, want)
		}
	}
}

func TestWhatIsNoScopeGrantsNothing(t *testing.T) {
	for _, scope := range []string{
		"", " ", "openid", "launch", "launch/patient", "offline_access", "fhirUser", "*", "*.*", "/*.*", "*/*.*",
		"system/Patient", "system/Patient.", "system/.r", "system/.", "system/*", "system/*.", "system/", "system",
		"system/Patient.sr", "system/Patient.dus", "system/Patient.rr", "system/Patient.rx", "system/Patient.xyz",
		"system/Patient.reads", "system/Patient.Read", "system/Patient.READ", "system/Patient.R", "system/Patient.writ",
		"system/Patient.r.s", "system/Patient/1.r", "system/Patient:1.r", "system/Patient.read,write", "system/Patient.**",
		"system/patient.r", "system/Pat ient.r", "system/Pa*.r", "system/Patient1.r", "system/Patïent.r", "system/**.r",
		"System/Patient.r", "systems/Patient.r", "client/Patient.r", " /Patient.r", "system//Patient.r", "system/Patient\t.r",
		"system/Patient.r\n", "\tsystem/Patient.r", "system/Patient.r\tsystem/Patient.s", "system/Patient.r+system/Patient.s",
		"https://example.org/system/Patient.r", "http://smarthealthit.org/fhir/scopes/system/Patient.r", "__system/Patient.r",
		"system\\Patient.r", "system/Patient.r?", "system/Patient.?x=y", "system/Patient.r\x00", "system/Patient.r\u00a0",
		"system/" + strings.Repeat("A", 65) + ".r",
		// Understood, and not kept yet:
		"patient/Patient.r", "patient/*.cruds", "patient/*.read", "patient/Patient.rs?_id=1",
		"system/Patient.rs?gender=female", "system/*.cruds?_tag=x", "user/Patient.cruds?_id=1", "system/Patient.read?_id=1",
	} {
		p := user(scope)
		for _, typ := range []string{"Patient", "Observation", "Pat", "ient", auth.AnyType, "", scope} {
			if got := allowed(p, typ); got != "" {
				t.Errorf("%q grants %q on %q", scope, got, typ)
			}
		}
	}
}

func TestScopesOfAUserNeedAUser(t *testing.T) {
	const scopes = "user/Patient.cruds system/Patient.r"
	if got := allowed(client(scopes), "Patient"); got != "r" {
		t.Errorf("a client alone may %q", got)
	}
	if got := allowed(user(scopes), "Patient"); got != "cruds" {
		t.Errorf("a user may %q", got)
	}
}

func TestATypeThatIsNotKnownIsNotGranted(t *testing.T) {
	known := func(typ string) bool { return typ == "Patient" }
	p := auth.Principal{Client: "client"}.With(auth.ParseScopes("system/Patient.r system/Other.r system/*.s", known))
	if got := allowed(p, "Patient") + " " + allowed(p, "Other"); got != "rs s" {
		t.Errorf("granted %q", got)
	}
}

func TestATypeIsNotMistakenForPartOfTheScopes(t *testing.T) {
	p := client("system/Observation.cud system/Patient.rs")
	for _, typ := range []string{"", " ", "Observation.cud Patient", " Patient", "Patient.rs", "atient", "Observatio", "."} {
		if got := allowed(p, typ); got != "" {
			t.Errorf("%q may be used with %q", typ, got)
		}
	}
}

func TestScopesThatGrantTheSameAreEqual(t *testing.T) {
	a := auth.ParseScopes("system/Patient.read user/*.cruds openid", nil)
	b := auth.ParseScopes("user/*.write user/*.r system/Patient.s user/*.s system/Patient.r", nil)
	if a != b {
		t.Errorf("%+v is not %+v", a, b)
	}
	if auth.ParseScopes("openid", nil) != (auth.Scopes{}) {
		t.Error("a scope that grants nothing leaves a trace")
	}
}

// grant is one scope, and what it means.
type grant struct{ level, typ, permission, query string }

func (g grant) String() string { return g.level + "/" + g.typ + "." + g.permission + g.query }

func (g grant) letters() string {
	if mapped, ok := map[string]string{"read": "rs", "write": "cud", "*": "cruds"}[g.permission]; ok {
		return mapped
	}
	at := -1
	for _, l := range g.permission {
		next := strings.IndexRune("cruds", l)
		if next <= at {
			return ""
		}
		at = next
	}
	return g.permission
}

func TestNoScopesGrantWhatTheirLettersDoNotSay(t *testing.T) {
	types := []string{"Patient", "Observation", "*"}
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) grant {
			return grant{
				level: rapid.SampledFrom([]string{"system", "user", "patient", "launch", ""}).Draw(t, "level"),
				typ:   rapid.SampledFrom(append(types, "", "patient", "Pa tient")).Draw(t, "type"),
				permission: rapid.OneOf(rapid.SampledFrom([]string{"read", "write", "*", "cruds", "rs"}),
					rapid.StringOfN(rapid.RuneFrom([]rune("crudsx*.")), 0, 5, -1)).Draw(t, "permission"),
				query: rapid.SampledFrom([]string{"", "", "?", "?a=b"}).Draw(t, "query"),
			}
		})
		all := rapid.SliceOfN(one, 0, 6).Draw(t, "scopes")
		hasUser := rapid.Bool().Draw(t, "user")
		words := make([]string, 0, len(all))
		for _, g := range all {
			words = append(words, g.String())
		}
		p := client(strings.Join(words, " "))
		if hasUser {
			p.User = "user"
		}
		for _, typ := range types {
			if got, want := allowed(p, typ), expected(all, typ, hasUser); got != want {
				t.Fatalf("%q grant %q on %s, want %q", words, got, typ, want)
			}
		}
	})
}

// expected is what scopes grant on a type, worked out one letter at a time.
func expected(all []grant, typ string, hasUser bool) string {
	letters := ""
	for _, l := range "cruds" {
		for _, g := range all {
			holds := g.level == "system" || g.level == "user" && hasUser
			if holds && g.query == "" && (g.typ == typ || g.typ == "*") && strings.ContainsRune(g.letters(), l) {
				letters += string(l)
				break
			}
		}
	}
	return letters
}

func FuzzScopes(f *testing.F) {
	f.Add("system/Patient.rs patient/*.read", "Patient")
	f.Add("user/*.cruds?x=y", "*")
	f.Add("user/kodjin/$patient-purge patient/$patient-purge system/$patient-purge?x", "$patient-purge")
	f.Fuzz(func(t *testing.T, scopes, typ string) {
		got := allowed(user(scopes), typ)
		if got != "" && !strings.Contains(scopes, "/"+typ+".") && !strings.Contains(scopes, "/*.") {
			t.Errorf("%q grant %q on %q", scopes, got, typ)
		}
		if auth.MayPurge(user(scopes), nil) == nil && !strings.Contains(scopes, "/$patient-purge") && !strings.Contains(scopes, "/*.") {
			t.Errorf("%q purge", scopes)
		}
	})
}
