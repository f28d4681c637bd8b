package selection_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
)

// family is what a hospital keeps of a birth: Ida, her mother Mia, her brother
// Ben, and those who took care of them.
var family = map[string]string{
	"Patient/ida":            `"name":[{"given":["Ida"]}],"link":[{"other":{"reference":"RelatedPerson/mia"},"type":"seealso"}]`,
	"Patient/mia":            `"name":[{"given":["Mia"]}],"generalPractitioner":[{"reference":"Practitioner/who"}]`,
	"Patient/ben":            `"name":[{"given":["Ben"]}],"link":[{"other":{"reference":"Patient/ida"},"type":"seealso"}]`,
	"RelatedPerson/mia":      `"patient":{"reference":"Patient/ida"}`,
	"Practitioner/who":       `"name":[{"given":["Noa"]}]`,
	"Organization/ward":      `"name":"Maternity"`,
	"Encounter/birth":        `"subject":{"reference":"Patient/ida"},"partOf":{"reference":"Encounter/labour"}`,
	"Encounter/labour":       `"subject":{"reference":"Patient/mia"}`,
	"Observation/apgar":      `"subject":{"reference":"Patient/ida"},"encounter":{"reference":"Encounter/birth"},"performer":[{"reference":"Practitioner/who"}]`,
	"Observation/fetal":      `"subject":{"reference":"Patient/mia"},"focus":[{"reference":"Patient/ida"}]`,
	"Observation/pulse":      `"subject":{"reference":"Patient/mia"},"encounter":{"reference":"Encounter/labour"}`,
	"Observation/feeding":    `"subject":{"reference":"Patient/ida"},"performer":[{"reference":"Patient/mia"}]`,
	"FamilyMemberHistory/b":  `"patient":{"reference":"Patient/ben"},"extension":[{"valueReference":{"reference":"Patient/ida"}}]`,
	"Group/family":           `"member":[{"entity":{"reference":"Patient/ida"}},{"entity":{"reference":"Patient/mia"}}]`,
	"Group/staff":            `"member":[{"entity":{"reference":"Practitioner/who"}}]`,
	"Appointment/checkup":    `"participant":[{"actor":{"reference":"Patient/ida"}},{"actor":{"reference":"Patient/mia"}}]`,
	"Appointment/hips":       `"participant":[{"actor":{"reference":"Patient/ida"}},{"actor":{"reference":"Practitioner/who"}}]`,
	"Account/family":         `"subject":[{"reference":"Patient/mia"},{"reference":"Patient/ida"}]`,
	"Coverage/ida":           `"beneficiary":{"reference":"Patient/ida"},"policyHolder":{"reference":"Patient/mia"}`,
	"Device/tag":             `"patient":{"reference":"Patient/ida"}`,
	"Task/screening":         `"for":{"reference":"Patient/ida"},"owner":{"reference":"Practitioner/who"}`,
	"DocumentReference/card": `"subject":{"reference":"Patient/ida"},"content":[{"attachment":{"url":"Binary/card"}}]`,
	"Binary/card":            `"contentType":"application/pdf","securityContext":{"reference":"DocumentReference/card"}`,
	"Provenance/both":        `"target":[{"reference":"Observation/apgar"},{"reference":"Observation/pulse"}]`,
	"Provenance/ida":         `"target":[{"reference":"Observation/apgar/_history/1"},{"reference":"Patient/ida"}]`,
	"Provenance/mia":         `"target":[{"reference":"Observation/pulse"}],"agent":[{"who":{"reference":"Practitioner/who"}}]`,
	"Bundle/sent":            `"type":"transaction","entry":[{"resource":{"resourceType":"Organization","id":"ward"}},{"resource":{"resourceType":"Patient","id":"ida"}},{"request":{}},{"resource":{"resourceType":"Location"}}]`,
	"Bundle/document":        `"type":"document","entry":[{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Flag","subject":{"reference":"Patient/ida"}}}]}}]`,
	"Bundle/results":         `"type":"collection","entry":[{"resource":{"resourceType":"Observation","id":"apgar"}}]`,
	"Bundle/staff":           `"type":"collection","entry":[{"resource":{"resourceType":"Practitioner","id":"who"}}]`,
	"Bundle/labour":          `"type":"collection","entry":[{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/mia"},"focus":[{"reference":"Patient/ida"}]}}]`,
}

// concerns says of each resource what it has to do with the record of some
// patients, whose resources are found first.
func concerns(patients ...string) map[selection.Concern][]string {
	r := selection.NewRecord(patients)
	for range 3 { // what refers to what is found
		for name, members := range family {
			if id := idOf(name); r.Concern(id.Type, id.ID, written(id.Type, id.ID, members)) == selection.About {
				r.Add(id)
			}
		}
	}
	found := map[selection.Concern][]string{}
	for _, name := range slices.Sorted(maps.Keys(family)) {
		id := idOf(name)
		c := r.Concern(id.Type, id.ID, written(id.Type, id.ID, family[name]))
		found[c] = append(found[c], name)
	}
	return found
}

func idOf(name string) fhir.ID {
	typ, id, _ := strings.Cut(name, "/")
	return fhir.ID{Type: typ, ID: id}
}

func TestTheRecordOfANewbornIsNotThatOfItsMother(t *testing.T) {
	want := map[selection.Concern][]string{
		selection.About: {
			"Appointment/hips", "Binary/card", "Bundle/document", "Bundle/results", "Bundle/sent", "Coverage/ida", "Device/tag",
			"DocumentReference/card", "Encounter/birth", "Observation/apgar", "Observation/feeding", "Patient/ida",
			"Provenance/ida", "RelatedPerson/mia", "Task/screening",
		},
		selection.Names: {
			"Account/family", "Appointment/checkup", "Bundle/labour", "FamilyMemberHistory/b", "Group/family",
			"Observation/fetal", "Patient/ben", "Provenance/both",
		},
		selection.None: {
			"Bundle/staff", "Encounter/labour", "Group/staff", "Observation/pulse", "Organization/ward",
			"Patient/mia", "Practitioner/who", "Provenance/mia",
		},
	}
	if diff := cmp.Diff(want, concerns("ida")); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

func TestTheRecordOfAMotherIsNotThatOfHerChild(t *testing.T) {
	got := concerns("mia")
	want := map[selection.Concern][]string{
		selection.About: {"Bundle/labour", "Encounter/labour", "Observation/fetal", "Observation/pulse", "Patient/mia", "Provenance/mia"},
		selection.Names: {
			"Account/family", "Appointment/checkup", "Coverage/ida", "Encounter/birth", "Group/family",
			"Observation/feeding", "Provenance/both",
		},
	}
	delete(got, selection.None)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

func TestTheRecordOfBothHasWhatTheyShare(t *testing.T) {
	got := concerns("ida", "mia")
	for _, name := range []string{"Account/family", "Appointment/checkup", "Provenance/both"} {
		if !slices.Contains(got[selection.About], name) {
			t.Errorf("%s is about both", name)
		}
	}
	if want := []string{"FamilyMemberHistory/b", "Group/family", "Patient/ben"}; !slices.Equal(got[selection.Names], want) {
		t.Errorf("what names them is %v, not %v", got[selection.Names], want)
	}
}
