package main

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir/sample"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestAPurgeIsShownThenDoneAsShown(t *testing.T)        { previewedPurge(t, onSQLite()) }
func TestOnMongoAPurgeIsShownThenDoneAsShown(t *testing.T) { previewedPurge(t, onMongo(t)) }

const totalVersions = `parameter.#(name=="total").part.#(name=="versions").valueInteger`

func previewedPurge(t *testing.T, g ground) {
	s := onGround(t, g)
	s.fill(3)
	s.work()
	first, second := sample.PatientID(1, 0), sample.PatientID(1, 1)
	before := s.dump()
	list := parametersOf("patientId", first, "patientId", second, "_preview", "true")
	a := s.do(http.MethodPost, "/Patient/$bulk-purge", list, "Prefer", "respond-async")
	s.is("a preview", a, http.StatusAccepted)
	at := a.header.Get("Content-Location")
	if !strings.HasPrefix(at, s.Base()+"/purge-preview/") {
		t.Fatalf("it is at %s", at)
	}
	done := s.finished(at)
	shown := gjson.Get(done.body, "entry.0.resource")
	plan := shown.Get(`parameter.#(name=="plan").valueId`).String()
	if shown.Get(totalVersions).Int() == 0 || plan == "" || gjson.Get(done.body, "entry.0.response.status").String() != "200 OK" {
		t.Fatalf("it shows %s", done.body)
	}
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("it changed what is there:\n%s", diff)
	}
	s.is("its certificate", s.get("/jobs/"+plan+"/certificate"), http.StatusNotFound)
	if jobs := s.get("/jobs"); gjson.Get(jobs.body, "jobs.0.status").String() != at || gjson.Get(jobs.body, "jobs.0.kind").String() != "purge-preview" {
		t.Errorf("the jobs are %s", jobs.body)
	}

	one := s.do(http.MethodPost, "/Patient/"+second+"/$purge?_preview=true", "")
	s.is("of one, at once", one, http.StatusOK)
	ofOne := gjson.Get(one.body, `parameter.#(name=="plan").valueId`).String()
	s.put("Observation/new", `,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/`+second+`"}`)
	late := s.do(http.MethodPost, "/Patient/"+second+"/$purge?_plan="+ofOne, "")
	s.is("what is not true any more", late, http.StatusConflict)
	if !strings.Contains(late.body, "Nothing was touched") {
		t.Errorf("it says %s", late)
	}
	said := s.purgeEnded(s.bulkPurging(parametersOf("patientId", first, "patientId", second, "_plan", plan)))
	if outcome := gjson.Get(said, outcomeOf).Raw; !strings.Contains(outcome, "Nothing was touched") {
		t.Errorf("the list: %s", outcome)
	}
	ofFirst := s.do(http.MethodPost, "/Patient/"+first+"/$purge?_preview=true", "")
	s.is("of the other", ofFirst, http.StatusOK)
	versions := len(s.dump())
	s.is("what is true still", s.do(http.MethodPost, "/Patient/"+first+"/$purge?_plan="+gjson.Get(ofFirst.body, `parameter.#(name=="plan").valueId`).String(), ""), http.StatusOK)
	s.gone404("Patient/" + first)
	if detached := gjson.Get(ofFirst.body, `parameter.#(name=="total").part.#(name=="detached").valueInteger`).Int(); int64(versions-len(s.dump())) != gjson.Get(ofFirst.body, totalVersions).Int()-detached {
		t.Errorf("of %d versions %d are left; it has shown %s", versions, len(s.dump()), ofFirst.body)
	}
	s.is("DELETE of a preview", s.do(http.MethodDelete, at, ""), http.StatusAccepted)
	s.is("which is gone then", s.get(at), http.StatusNotFound)
	s.is("and no plan any more", s.do(http.MethodPost, "/Patient/"+second+"/$purge?_plan="+plan, ""), http.StatusConflict)
}

func TestWhatNamesTwoOfAListIsFreeOfBoth(t *testing.T)        { namesTwo(t, onSQLite()) }
func TestOnMongoWhatNamesTwoOfAListIsFreeOfBoth(t *testing.T) { namesTwo(t, onMongo(t)) }

func namesTwo(t *testing.T, g ground) {
	s := onGround(t, g)
	s.put("Patient/ann", "")
	s.put("Patient/ben", "")
	s.put("Observation/a", `,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ann"}`)
	s.put("Observation/b", `,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ben"}`)
	s.put("List/l", `,"status":"current","mode":"working","entry":[{"item":{"reference":"Observation/a"}},{"item":{"reference":"Observation/b"}}]`)
	s.work()
	done := s.finished(s.do(http.MethodPost, "/Patient/$bulk-purge", parametersOf("patientId", "ann", "patientId", "ben", "_preview", "true"), "Prefer", "respond-async").header.Get("Content-Location"))
	plan := gjson.Get(done.body, `entry.0.resource.parameter.#(name=="plan").valueId`).String()
	s.bulkPurged("patientId", "ann", "patientId", "ben", "_plan", plan)
	if l := s.get("/List/l").body; strings.Contains(l, "Observation/") || !strings.Contains(l, "masked") {
		t.Errorf("the List is %s", l)
	}
}

func TestACommandShowsAPurgeAndDoesIt(t *testing.T) {
	s := onGround(t, onSQLite())
	s.fill(3)
	s.work()
	first := sample.PatientID(1, 0)
	run := func(c purgeCommand) (string, error) {
		var out bytes.Buffer
		c.Server, c.Shared = s.Base(), "detach"
		err := c.Run(t.Context(), streams{&out, new(bytes.Buffer)})
		return out.String(), err
	}
	before := s.dump()
	said, err := run(purgeCommand{Patient: []string{first}, previewFlags: previewFlags{Preview: true}})
	plan := regexp.MustCompile(`--plan (\S+)`).FindStringSubmatch(said)
	if err != nil || plan == nil || !strings.Contains(said, "Observation") {
		t.Fatalf("%v\n%s", err, said)
	}
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("it changed what is there:\n%s", diff)
	}
	if said, err = run(purgeCommand{Patient: []string{first}, Yes: true, previewFlags: previewFlags{Plan: plan[1]}}); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	s.gone404("Patient/" + first)
	if said, err = run(purgeCommand{holdingFlags: holdingFlags{Mine: true}, previewFlags: previewFlags{Preview: true}}); err != nil || !slices.Contains(strings.Fields(said), "Patient") {
		t.Errorf("%v\n%s", err, said)
	}
}
