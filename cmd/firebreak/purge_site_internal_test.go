package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// parametersOf is a Parameters resource of strings, by names and values.
func parametersOf(pairs ...string) string {
	type parameter struct {
		Name  string `json:"name"`
		Value string `json:"valueString"`
	}
	all := []parameter{}
	for at := 0; at < len(pairs); at += 2 {
		all = append(all, parameter{pairs[at], pairs[at+1]})
	}
	b, _ := json.Marshal(map[string]any{"resourceType": "Parameters", "parameter": all}) // strings
	return string(b)
}

// patientIDs is a Parameters resource for $bulk-purge.
func patientIDs(ids ...string) string {
	var pairs []string
	for _, id := range ids {
		pairs = append(pairs, "patientId", id)
	}
	return parametersOf(pairs...)
}

// onGround is a server on a new place of a ground, whose engine does not work
// yet.
func onGround(t *testing.T, g ground) *site {
	t.Helper()
	place := g.fresh(t)
	o := onData(place.Data)
	o.storage = place
	return newSite(t, o)
}

// bulkPurging starts a purge and returns where it is polled.
func (s *site) bulkPurging(body string) string {
	s.Helper()
	a := s.do(http.MethodPost, "/Patient/$bulk-purge", body, "Prefer", "respond-async")
	s.is("$bulk-purge", a, http.StatusAccepted)
	if a.body != "" || !strings.HasPrefix(a.header.Get("Content-Location"), s.Base()+"/Patient-bulk-purge/") {
		s.Fatalf("the kick-off answers %s", a)
	}
	return a.header.Get("Content-Location")
}

const outcomeOf = `parameter.#(name=="outcome").resource`

// purgeEnded polls a bulk purge until its outcome is there.
func (s *site) purgeEnded(status string) string {
	s.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		a := s.get(status)
		s.is("the poll", a, http.StatusOK)
		if gjson.Get(a.body, outcomeOf).Exists() {
			return a.body
		}
	}
	s.Fatal("the purge does not end")
	return ""
}

// bulkPurged is what a bulk purge with parameters comes to.
func (s *site) bulkPurged(pairs ...string) string {
	s.Helper()
	said := s.purgeEnded(s.bulkPurging(parametersOf(pairs...)))
	for _, r := range resultsOf(said) {
		if r.status != "completed" {
			s.Errorf("a patient is %s: %s", r.status, said)
		}
	}
	return said
}

// finishedPurge asks for a $purge asynchronously, and returns what its end is.
func (s *site) finishedPurge(path, body string) answer {
	s.Helper()
	a := s.do(http.MethodPost, path, body, "Prefer", "respond-async")
	s.is(path, a, http.StatusAccepted)
	if a.body != "" {
		s.Errorf("the kick-off has a body: %s", a.body)
	}
	end := s.finished(a.header.Get("Content-Location"))
	s.is("the result", end, http.StatusOK)
	return end
}

var saysGone = regexp.MustCompile(`patients are gone: ([0-9,]+) resources`)

// saidGone is how many resources an outcome says that went; -1: it does not.
func saidGone(body string) int64 {
	m := saysGone.FindStringSubmatch(body)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// purgeResult is what a bulk purge says of one patient.
type purgeResult struct {
	patient, updated, status string
	total, purged            *int64 // nil: it is not there
	parts                    []string
}

func resultsOf(body string) (all []purgeResult) {
	for _, p := range gjson.Get(body, `parameter.#(name=="result")#`).Array() {
		var r purgeResult
		for _, part := range p.Get("part").Array() {
			n := part.Get("valueInteger").Int()
			r.parts = append(r.parts, part.Get("name").String())
			switch part.Get("name").String() {
			case "patientId":
				r.patient = part.Get("valueId").String()
			case "updatedAt":
				r.updated = part.Get("valueDateTime").String()
			case "status":
				r.status = part.Get("valueCode").String()
			case "totalResourcesCount":
				r.total = &n
			case "purgedResourcesCount":
				r.purged = &n
			}
		}
		all = append(all, r)
	}
	return all
}
