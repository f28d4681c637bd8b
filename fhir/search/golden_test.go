package search_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"firebreak/fhir/search"
)

const resources = "../../testdata/resources"

// TestTermsAreThoseOfTheReferenceEngine compares with what testdata/golden.mjs
// wrote. Its engine judges Ref by types, Terms does by names.
func TestTermsAreThoseOfTheReferenceEngine(t *testing.T) {
	for file, want := range goldens(t) {
		t.Run(file, func(t *testing.T) {
			typ, id, body := read(t, file)
			got := map[string][]string{}
			for _, term := range search.Terms(typ, id, body) {
				if term.Kind != search.Reference {
					t.Errorf("%s has a term of kind %d", term.Param, term.Kind)
				}
				got[term.Param] = append(got[term.Param], term.Value)
			}
			if typ == "Bundle" { // what it holds is no reference to the engine
				want["_ref"] = append(want["_ref"], held(body)...)
			}
			for name, values := range want {
				slices.Sort(values) // JavaScript sorts by UTF-16
				want[name] = slices.Compact(values)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// held are the resources of a Bundle that have an id.
func held(bundle []byte) (ids []string) {
	for _, one := range gjson.GetBytes(bundle, "entry.#.resource").Array() {
		if one.Get("id").Exists() {
			ids = append(ids, one.Get("resourceType").String()+"/"+one.Get("id").String())
		}
	}
	return ids
}

func TestEveryResourceHasGoldenAnswers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(resources, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no resources", err)
	}
	want := goldens(t)
	for _, file := range files {
		if want[filepath.Base(file)] == nil {
			t.Errorf("%s has no golden answers: run the script in testdata", file)
		}
	}
	if len(want) != len(files) {
		t.Errorf("golden answers for %d resources, not %d", len(want), len(files))
	}
}

func goldens(tb testing.TB) map[string]map[string][]string {
	tb.Helper()
	text, err := os.ReadFile("../../testdata/golden/references.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all map[string]map[string][]string
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

// read gives a resource of testdata as a store gets it.
func read(tb testing.TB, file string) (typ, id string, body []byte) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(resources, file))
	if err != nil {
		tb.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		tb.Fatal(err)
	}
	var head struct{ ResourceType, ID string }
	if err := json.Unmarshal(text, &head); err != nil {
		tb.Fatal(err)
	}
	return head.ResourceType, head.ID, compact.Bytes()
}
