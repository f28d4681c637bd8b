package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
)

// threeFiles is an export that has a file of each category: output, deletions,
// and errors.
func (g *guarded) threeFiles(token string) (status string, m fhir.Manifest) {
	g.Helper()
	g.put("/fhir", "Patient", "p", "text", token)
	g.put("/fhir", "Patient", "q", "text", token)
	g.put("/fhir", "Observation", "o", "text", token)
	g.want("delete", g.do(call{method: "DELETE", path: "/fhir/Observation/o", token: token}), http.StatusNoContent)
	status, m = g.exported("/fhir/$export?_type=Patient,Observation&_since=2020-01-01T00:00:00Z&x=1", token, "Prefer", "handling=lenient")
	if len(m.Output) != 1 || len(m.Deleted) != 1 || len(m.Error) != 1 {
		g.Fatalf("the manifest is %+v", m)
	}
	return status, m
}

func TestDeletionsAndErrorsNeedReadFromTheTokenAtHandToo(t *testing.T) {
	g := newGuarded(t)
	g.engine()
	status, m := g.threeFiles(g.token("c", everything))
	patients, deleted, notes := m.Output[0].URL, m.Deleted[0].URL, m.Error[0].URL
	narrow, other := g.token("c", "system/Patient.r"), g.token("c", "system/Encounter.rs")
	g.want("output, with read on its type", g.get(patients, narrow), 200)
	g.want("errors, with read on a type of the export", g.get(notes, narrow), 200)
	g.lacks("deletions, with read on one of their types", g.get(deleted, narrow), "system/Observation.r")
	g.lacks("output, with other scopes", g.get(patients, other), "system/Patient.r")
	g.lacks("deletions, with other scopes", g.get(deleted, other), "system/Observation.r")
	g.want("errors, with other scopes", g.get(notes, other), 403)
	g.want("deletions, with all of their types", g.get(deleted, g.token("c", "system/Patient.r system/Observation.r")), 200)

	// The manifest is whole for any token of the owner: one that leaves files
	// out would look like an export that has none.
	bare := g.token("c", "")
	if r := g.get(status, bare); r.status != 200 || strings.Count(r.body, `"url"`) != 3 {
		t.Errorf("the manifest for a token without scopes: %d %s", r.status, r.body)
	}
	for _, f := range []string{patients, deleted, notes} {
		g.want(f+" without scopes", g.get(f, bare), 403)
		absent := g.get(strings.Replace(f, "1.", "7.", 1), bare)
		foreign := g.get(f, g.token("stranger", everything))
		g.want("a file that is not there", absent, 404)
		if absent.said() != foreign.said() {
			t.Errorf("a file that is not there: %s\nanother's: %s", absent.said(), foreign.said())
		}
	}
}

func TestALinkIsSignedOnlyForATokenThatMayReadTheFile(t *testing.T) {
	g := newGuarded(t, func(o *serving) { o.SignedLinks = time.Hour })
	g.engine()
	status, m := g.threeFiles(g.token("c", everything))
	for _, f := range []string{m.Output[0].URL, m.Deleted[0].URL, m.Error[0].URL} {
		g.want("a link of the token that may", g.get(f, ""), 200)
	}
	_, m = g.manifest(status, g.token("c", "system/Patient.r"))
	g.want("output, by the link of a narrower token", g.get(m.Output[0].URL, ""), 200)
	g.want("errors, by the link of a narrower token", g.get(m.Error[0].URL, ""), 200)
	g.want("deletions, by the link of a narrower token", g.get(m.Deleted[0].URL, ""), 401)
	g.lacks("deletions, by that link and that token", g.get(m.Deleted[0].URL, g.token("c", "system/Patient.r")), "system/Observation.r")
	_, m = g.manifest(status, g.token("c", ""))
	for _, f := range []string{m.Output[0].URL, m.Deleted[0].URL, m.Error[0].URL} {
		g.want("a link of a token without scopes", g.get(f, ""), 401)
	}
}
