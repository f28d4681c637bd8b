package sample_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/sample"

	"github.com/google/go-cmp/cmp"
)

// write collects a set.
func write(t *testing.T, patients int, seed uint64) [][]byte {
	t.Helper()
	var all [][]byte
	keep := func(resource []byte) error {
		all = append(all, resource)
		return nil
	}
	if err := sample.Write(keep, patients, seed); err != nil {
		t.Fatal(err)
	}
	return all
}

// identified is a set by identity.
func identified(t *testing.T, all [][]byte) map[fhir.ID]map[string]any {
	t.Helper()
	byID := map[fhir.ID]map[string]any{}
	for _, resource := range all {
		var content map[string]any
		if err := json.Unmarshal(resource, &content); err != nil {
			t.Fatal(err)
		}
		id := fhir.ID{Type: content["resourceType"].(string), ID: content["id"].(string)}
		if byID[id] != nil {
			t.Errorf("%s occurs twice", id)
		}
		byID[id] = content
	}
	return byID
}

// references calls f with every literal reference and attachment URL.
func references(v any, f func(string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			references(e, f)
		}
	case map[string]any:
		for name, e := range v {
			s, isText := e.(string)
			if isText && (name == "reference" || name == "url" && v["contentType"] != nil) {
				f(s)
			}
			references(e, f)
		}
	}
}

func isType(s string) bool { return slices.Contains(sample.Types(), s) }

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	one, two := write(t, 5, 7), write(t, 5, 7)
	if !slices.EqualFunc(one, two, bytes.Equal) {
		t.Error("two runs differ")
	}
	other := write(t, 5, 8)
	if slices.EqualFunc(one, other, bytes.Equal) {
		t.Error("another seed gives the same")
	}
}

func TestAPatientIsTheSameHoweverManyThereAre(t *testing.T) {
	few, many := identified(t, write(t, 2, 7)), identified(t, write(t, 20, 7))
	for id, content := range few {
		if id.Type != "Group" && !cmp.Equal(content, many[id]) {
			t.Errorf("%s differs", id)
		}
	}
}

func TestEveryReferenceResolvesWithinTheSet(t *testing.T) {
	for _, patients := range []int{0, 1, 2, 25} {
		all := identified(t, write(t, patients, 7))
		for id, content := range all {
			references(content, func(s string) { resolve(t, all, id, s) })
		}
	}
}

func resolve(t *testing.T, all map[fhir.ID]map[string]any, from fhir.ID, literal string) {
	t.Helper()
	r := fhir.ParseReference(literal, isType)
	if r.Contained() {
		inside, _ := json.Marshal(all[from]["contained"])
		if !strings.Contains(string(inside), `"id":"`+r.Fragment+`"`) {
			t.Errorf("%s contains no %s", from, literal)
		}
		return
	}
	if !r.Local() || all[r.Target()] == nil {
		t.Errorf("%s refers to %s, which is not in the set", from, literal)
	}
}

func TestIdsAreValidAndShapedLikeAUUID(t *testing.T) {
	for id := range identified(t, write(t, 25, 7)) {
		if err := fhir.CheckID(id.ID); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		parts := strings.Split(id.ID, "-")
		if id.Type != "Group" && (len(id.ID) != 36 || len(parts) != 5 || parts[2][0] != '8') {
			t.Errorf("%s is not shaped like a UUID", id)
		}
	}
}

func TestASetHasTheTypesItPromises(t *testing.T) {
	seen := map[string]bool{}
	for id := range identified(t, write(t, 1, 7)) {
		seen[id.Type] = true
	}
	var got []string
	for name := range seen {
		got = append(got, name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(sample.Types(), got); diff != "" {
		t.Errorf("types (-promised +written):\n%s", diff)
	}
}

func TestAPatientComesWithFiftyToAHundredResources(t *testing.T) {
	counts := map[string]int{}
	for id, content := range identified(t, write(t, 60, 7)) {
		about := map[string]bool{}
		references(content, func(s string) { about[s] = strings.HasPrefix(s, "Patient/") })
		if id.Type == "Group" {
			continue
		}
		for s, isPatient := range about {
			if isPatient {
				counts[s]++
			}
		}
	}
	if len(counts) != 60 {
		t.Errorf("%d patients are referred to, want 60", len(counts))
	}
	for id, n := range counts {
		if n++; n < 50 || n > 100 { // the patient itself
			t.Errorf("%s comes with %d resources", id, n)
		}
	}
}

func TestGroupsHoldThePatientsTheyName(t *testing.T) {
	for patients, firstTen := range map[int]int{0: 0, 3: 3, 25: 10} {
		all := identified(t, write(t, patients, 7))
		for group, want := range map[string]int{sample.GroupAll: patients, sample.GroupFirst10: firstTen} {
			members, _ := all[fhir.ID{Type: "Group", ID: group}]["member"].([]any)
			if len(members) != want {
				t.Errorf("%d patients: Group/%s has %d members, want %d", patients, group, len(members), want)
			}
		}
		for n := range patients {
			if all[fhir.ID{Type: "Patient", ID: sample.PatientID(7, n)}] == nil {
				t.Errorf("patient %d is not where PatientID says", n)
			}
		}
	}
}

func TestAnAppointmentIsSharedByTwoPatients(t *testing.T) {
	for id, content := range identified(t, write(t, 6, 7)) {
		patients := 0
		references(content, func(s string) {
			if strings.HasPrefix(s, "Patient/") {
				patients++
			}
		})
		if id.Type == "Appointment" && patients != 2 {
			t.Errorf("%s has %d patients", id, patients)
		}
	}
}

func TestAnErrorOfTheWriterEndsTheSet(t *testing.T) {
	full := errors.New("disk full")
	calls := 0
	err := sample.Write(func([]byte) error {
		calls++
		return full
	}, 3, 7)
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("error is %v after %d calls", err, calls)
	}
}

func TestEveryResourceIsOneTheServerReads(t *testing.T) {
	for _, resource := range write(t, 3, 7) {
		if bytes.ContainsRune(resource, '\n') || !json.Valid(resource) {
			t.Errorf("not one line of JSON: %.80s", resource)
		}
		if !bytes.HasPrefix(resource, []byte(`{"resourceType":"`)) {
			t.Errorf("the type does not come first: %.80s", resource)
		}
	}
}
