package purge_test

import (
	"context"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"

	"github.com/google/go-cmp/cmp"
)

// family is a newborn, Kestrel, with a mother and a sibling, their group,
// practitioner and organization. Each thing that is Kestrel's alone says so.
var family = []string{
	`{"resourceType":"Organization","id":"clinic","name":"Clinic"}`,
	`{"resourceType":"Practitioner","id":"doctor","name":[{"family":"Doctor"}]}`,
	`{"resourceType":"Patient","id":"mother","name":[{"family":"Mother"}],"link":[{"other":{"reference":"Patient/kestrel","display":"Kestrel"},"type":"seealso"}]}`,
	`{"resourceType":"Patient","id":"sibling","name":[{"family":"Sibling"}]}`,
	`{"resourceType":"Patient","id":"kestrel","name":[{"family":"Kestrel"}],"generalPractitioner":[{"reference":"Practitioner/doctor"}],"managingOrganization":{"reference":"Organization/clinic"}}`,
	`{"resourceType":"Encounter","id":"birth","status":"finished","subject":{"reference":"Patient/kestrel"},"serviceProvider":{"reference":"Organization/clinic"}}`,
	`{"resourceType":"Observation","id":"weight","status":"final","subject":{"reference":"Patient/kestrel"},"encounter":{"reference":"Encounter/birth"},"valueString":"Kestrel weighs 3.10 kg","performer":[{"reference":"Practitioner/doctor"}]}`,
	`{"resourceType":"Observation","id":"mothers","status":"final","subject":{"reference":"Patient/mother"},"encounter":{"reference":"Encounter/birth","display":"Kestrel was born"},"valueDecimal":1.50}`,
	`{"resourceType":"Observation","id":"bynewborn","status":"final","subject":{"reference":"Patient/sibling"},"performer":[{"reference":"Patient/kestrel","display":"Kestrel"},{"reference":"Practitioner/doctor"}]}`,
	`{"resourceType":"Binary","id":"scan","contentType":"text/plain","data":"S2VzdHJlbA=="}`,
	`{"resourceType":"Binary","id":"leaflet","contentType":"text/plain","data":"TGVhZmxldA=="}`,
	`{"resourceType":"DocumentReference","id":"scanned","status":"current","subject":{"reference":"Patient/kestrel"},"content":[{"attachment":{"url":"Binary/scan","title":"Kestrel"}},{"attachment":{"url":"Binary/leaflet"}}]}`,
	`{"resourceType":"DocumentReference","id":"mothersDoc","status":"current","subject":{"reference":"Patient/mother"},"content":[{"attachment":{"url":"Binary/leaflet"}}]}`,
	`{"resourceType":"Provenance","id":"ofWeight","target":[{"reference":"Observation/weight"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
	`{"resourceType":"Provenance","id":"ofBoth","target":[{"reference":"Observation/weight"},{"reference":"Observation/mothers"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
	`{"resourceType":"Appointment","id":"alone","status":"booked","participant":[{"actor":{"reference":"Patient/kestrel"},"status":"accepted"},{"actor":{"reference":"Practitioner/doctor"},"status":"accepted"}]}`,
	`{"resourceType":"Appointment","id":"together","status":"booked","participant":[{"actor":{"reference":"Patient/kestrel","display":"Kestrel"},"status":"accepted"},{"actor":{"reference":"Patient/mother"},"status":"accepted"}]}`,
	`{"resourceType":"Group","id":"family","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/kestrel","display":"Kestrel"}},{"entity":{"reference":"Patient/mother"}}]}`,
	`{"resourceType":"Device","id":"pump","patient":{"reference":"Patient/kestrel"}}`,
	`{"resourceType":"Task","id":"call","status":"requested","intent":"order","for":{"reference":"Patient/kestrel"}}`,
	`{"resourceType":"FamilyMemberHistory","id":"siblings","status":"completed","patient":{"reference":"Patient/sibling"},"relationship":{"text":"brother"},"extension":[{"url":"http://example.org/who","valueReference":{"reference":"Patient/kestrel","display":"Kestrel"}}],"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">A brother</div>"}}`,
	`{"resourceType":"Bundle","id":"message","type":"collection","entry":[{"resource":{"resourceType":"Patient","id":"kestrel","name":[{"family":"Kestrel"}]}}]}`,
}

func TestTheRecordOfANewbornGoesAndTheFamilyStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(strings.Replace(family[6], "3.10", "3.20", 1)) // a second version
	w.put(`{"resourceType":"Condition","id":"old","subject":{"reference":"Patient/kestrel"}}`)
	w.remove("Condition/old")
	before := map[string]string{}
	untouched := []string{"Organization/clinic", "Practitioner/doctor", "Patient/sibling", "Binary/leaflet", "DocumentReference/mothersDoc"}
	for _, ref := range untouched {
		before[ref] = w.body(ref)
	}
	said := w.purged("kestrel")
	w.gone("Patient/kestrel", "Encounter/birth", "Observation/weight", "Binary/scan", "DocumentReference/scanned", "Provenance/ofWeight",
		"Appointment/alone", "Device/pump", "Task/call", "Condition/old", "Bundle/message")
	for _, ref := range untouched {
		if diff := cmp.Diff(before[ref], w.body(ref)); diff != "" || len(w.versions(ref)) != 1 {
			t.Errorf("%s has versions %v\n%s", ref, w.versions(ref), diff)
		}
	}
	const masked = `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}`
	for ref, has := range map[string]string{
		"Patient/mother":               `"link":[{"other":` + masked,
		"Observation/mothers":          `"encounter":` + masked + `,"valueDecimal":1.50`,
		"Observation/bynewborn":        `"performer":[` + masked + `,{"reference":"Practitioner/doctor"}]`,
		"Provenance/ofBoth":            `"target":[` + masked + `,{"reference":"Observation/mothers"}]`,
		"Appointment/together":         `{"actor":` + masked + `,"status":"accepted"}`,
		"Group/family":                 `"member":[{"entity":` + masked + `},{"entity":{"reference":"Patient/mother"}}]`,
		"FamilyMemberHistory/siblings": `"valueReference":` + masked,
	} {
		if !strings.Contains(w.body(ref), has) {
			t.Errorf("%s is %s", ref, w.body(ref))
		}
		if diff := cmp.Diff([]int64{2}, w.versions(ref)); diff != "" {
			t.Errorf("versions of %s (- want, + got):\n%s", ref, diff)
		}
	}
	w.says(said, "the records of 1 of 1 patients are gone: 11 resources, and 20 versions", "7 resources are about others", "FamilyMemberHistory/siblings was detached")
	if len(w.told) != 1 || w.told[0].Act != "purge" {
		t.Errorf("told: %+v", w.told)
	}
	w.canary("Kestrel", "S2VzdHJlbA")
}

func TestPurgingAgainOrWhatIsNotThereSucceeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.purged("kestrel")
	w.says(w.purged("kestrel"), "1 of 1 patients", "0 resources, and 0 versions")
	w.says(w.purged("nobody"), "1 of 1 patients", "0 resources, and 0 versions")
	w.put(family[4])
	if diff := cmp.Diff([]int64{1}, w.versions("Patient/kestrel")); diff != "" {
		t.Errorf("the id is used again, at (- want, + got)\n%s", diff)
	}
}

func TestWhatIsSharedIsKeptOrDeletedIfThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, shared := range []string{"keep", "delete"} {
		w := newWorld(t)
		w.put(family...)
		said := w.purged("kestrel", "_shared", shared)
		w.gone("Patient/kestrel", "Observation/weight", "Appointment/alone")
		if shared == "keep" {
			w.says(w.body("Appointment/together"), "Patient/kestrel")
			w.says(said, "left as they are")
			continue
		}
		w.gone("Appointment/together", "Observation/bynewborn", "Provenance/ofBoth", "FamilyMemberHistory/siblings")
		w.says(w.body("Group/family"), "masked", "Patient/mother")
		w.says(w.body("Patient/mother"), "masked")
	}
}

// What was about the patient in earlier versions only: those versions go.
func TestVersionsOfOthersThatWereAboutThePatientGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(
		`{"resourceType":"Observation","id":"wrong","status":"final","subject":{"reference":"Patient/kestrel"},"valueString":"Kestrel 1"}`,
		`{"resourceType":"Observation","id":"wrong","status":"final","subject":{"reference":"Patient/mother"},"valueString":"hers"}`,
		`{"resourceType":"Observation","id":"wrong","status":"final","subject":{"reference":"Patient/kestrel"},"valueString":"Kestrel 3"}`,
		`{"resourceType":"Observation","id":"wrong","status":"final","subject":{"reference":"Patient/mother"},"valueString":"hers again"}`,
	)
	w.purged("kestrel")
	if diff := cmp.Diff([]int64{4, 2}, w.versions("Observation/wrong")); diff != "" {
		t.Errorf("versions (- want, + got):\n%s", diff)
	}
	w.canary("Kestrel")
}

func TestWhatWasDeletedAndNamedThePatientGoesWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.remove("Appointment/together", "Observation/weight", "Patient/kestrel")
	w.purged("kestrel")
	w.gone("Appointment/together", "Observation/weight", "Patient/kestrel", "Encounter/birth")
	w.canary("Kestrel")
}

func TestAuditEventsOfClientsStayUnlessTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	const event = `{"resourceType":"AuditEvent","id":"e","type":{"code":"rest"},"recorded":"2026-01-01T00:00:00Z","agent":[{"requestor":true,"who":{"reference":"Practitioner/doctor"}}],"source":{"observer":{"display":"x"}},"entity":[{"what":{"reference":"Patient/kestrel"}}]}`
	w := newWorld(t)
	w.put(family...)
	w.put(event)
	w.purged("kestrel")
	w.says(w.body("AuditEvent/e"), "Patient/kestrel")
	w.purged("kestrel", "_audit", "purge")
	w.gone("AuditEvent/e")
}

func TestFilesOfExportsThatHoldThePatientGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	j, err := w.exports.Kickoff(t.Context(), auth.Local(), export.Call{Level: selection.System, URL: "u", Base: "b"})
	w.ok("export", err)
	w.ended(j)
	w.purged("kestrel")
	w.canary("Kestrel", "S2VzdHJlbA")
}

func TestEachPatientOfAListGoesAtItsOwnPaceAndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	c := purge.Call{Bulk: true}
	for _, id := range []string{"kestrel", "nobody", "sibling", "kestrel"} {
		c.Params = append(c.Params, fhir.Parameter{Name: "patientId", Type: "String", Value: id})
	}
	said := w.succeeded(w.start(c))
	if n := strings.Count(said, `"name":"result"`); n != 3 {
		t.Errorf("%d results in %s", n, said)
	}
	w.says(said, `"valueId":"kestrel"`, `"name":"totalResourcesCount","valueInteger":11},{"name":"purgedResourcesCount","valueInteger":11`,
		`{"name":"totalResourcesCount","valueInteger":2},{"name":"purgedResourcesCount","valueInteger":2}`,
		`{"name":"totalResourcesCount","valueInteger":0},{"name":"purgedResourcesCount","valueInteger":0}`, `"valueCode":"completed"`, `"name":"outcome"`)
	w.gone("Patient/kestrel", "Patient/sibling", "Observation/bynewborn", "FamilyMemberHistory/siblings")
	w.says(w.body("Patient/mother"), "Mother")
	w.canary("Kestrel", "Sibling")
}

func TestTheMembersOfAGroupGoAndTheGroupStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	said := w.succeeded(w.start(purge.Call{Group: "family"}))
	w.gone("Patient/kestrel", "Patient/mother", "Appointment/together", "Provenance/ofBoth", "Binary/leaflet", "Observation/mothers")
	w.says(w.body("Group/family"), "masked")
	w.says(w.body("Patient/sibling"), "Sibling")
	w.says(said, "2 of 2 patients", "was read for it")
	w.canary("Kestrel", "Mother")
}

func TestWhatIsWrittenAfterTheKickoffStaysAndIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	c := purge.Call{Patient: "kestrel", Announce: nil}
	j, err := w.purge.Kickoff(t.Context(), auth.Local(), withWrite(c, w))
	w.ok("kick-off", err)
	said := w.succeeded(j)
	w.gone("Patient/kestrel", "Encounter/birth")
	if diff := cmp.Diff([]int64{2}, w.versions("Observation/weight")); diff != "" {
		t.Errorf("versions of what was written since (- want, + got):\n%s", diff)
	}
	w.says(said, "at least 2 resources were written after")
	w.says(w.body("Observation/new"), "new")
}

// withWrite has the record written to after the job's instant, and before any
// of its units begins.
func withWrite(c purge.Call, w *world) purge.Call {
	c.Announce = func(context.Context, job.Job) error {
		w.put(
			`{"resourceType":"Observation","id":"weight","status":"amended","subject":{"reference":"Patient/kestrel"}}`,
			`{"resourceType":"Observation","id":"new","status":"final","subject":{"reference":"Patient/kestrel"}}`,
		)
		return nil
	}
	return c
}

func TestABinaryGoesThoughProvenanceAndAuditEventsNameIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(
		`{"resourceType":"Provenance","id":"ofScan","target":[{"reference":"DocumentReference/scanned"},{"reference":"Binary/scan"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`,
		`{"resourceType":"AuditEvent","id":"e","type":{"code":"rest"},"recorded":"2026-01-01T00:00:00Z","agent":[{"requestor":true}],"source":{"observer":{"display":"x"}},"entity":[{"what":{"reference":"Binary/scan"}}]}`,
		`{"resourceType":"DocumentReference","id":"turned","status":"current","subject":{"reference":"Patient/kestrel"},"content":[{"attachment":{"url":"Binary/before"}}]}`,
		`{"resourceType":"DocumentReference","id":"turned","status":"current","subject":{"reference":"Patient/mother"},"content":[{"attachment":{"url":"Binary/leaflet"}}]}`,
		`{"resourceType":"Binary","id":"before","contentType":"text/plain","data":"S2VzdHJlbA=="}`,
	)
	w.purged("kestrel")
	w.gone("Binary/scan", "Binary/before", "Provenance/ofScan")
	w.says(w.body("DocumentReference/turned"), "Binary/leaflet")
	w.says(w.body("Binary/leaflet"), "TGVhZmxldA==")
	w.canary("S2VzdHJlbA")
}

func TestABundleGoesThoughItIsDeletedOrHeldThePatientEarlier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(
		strings.Replace(family[21], `"id":"message"`, `"id":"deleted"`, 1),
		strings.Replace(family[21], `"id":"message"`, `"id":"earlier"`, 1),
		`{"resourceType":"Bundle","id":"earlier","type":"collection"}`,
	)
	w.remove("Bundle/deleted")
	w.purged("kestrel")
	w.gone("Bundle/deleted", "Bundle/message")
	if diff := cmp.Diff([]int64{2}, w.versions("Bundle/earlier")); diff != "" {
		t.Errorf("versions (- want, + got):\n%s", diff)
	}
	w.canary("Kestrel")
}

func TestAProvenanceOfTwoGoesWithTheSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.purged("kestrel")
	w.says(w.body("Provenance/ofBoth"), "masked", "Observation/mothers")
	w.purged("mother")
	w.gone("Provenance/ofBoth", "Observation/mothers", "Binary/leaflet")
}

// What goes because it names the record takes nothing else with it.
func TestDeletingWhatIsSharedEndsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"DiagnosticReport","id":"hers","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mother"},"result":[{"reference":"Observation/mothers"}]}`)
	w.purged("kestrel", "_shared", "delete")
	w.gone("Observation/mothers")
	w.says(w.body("DiagnosticReport/hers"), "masked", "Patient/mother")
}

func TestWhatWasDeletedAndSharedTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"Provenance","id":"ofTogether","target":[{"reference":"Appointment/together"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/doctor"}}]}`)
	w.remove("Appointment/together")
	w.purged("kestrel")
	w.gone("Appointment/together")
	if diff := cmp.Diff([]int64{1}, w.versions("Provenance/ofTogether")); diff != "" {
		t.Errorf("versions (- want, + got):\n%s", diff)
	}
}

func TestWhatIsDeletedWhileThePurgeWaitsGoesToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	c := purge.Call{Patient: "kestrel", Announce: func(context.Context, job.Job) error {
		w.remove("Observation/weight", "Patient/kestrel")
		return nil
	}}
	w.succeeded(w.start(c))
	w.gone("Observation/weight", "Patient/kestrel", "Encounter/birth")
}

func TestAGroupIsVerifiedThoughOthersNamedTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"Group","id":"one","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/kestrel"}}]}`)
	w.succeeded(w.start(purge.Call{Group: "one"}))
	w.gone("Patient/kestrel")
	w.says(w.body("Observation/mothers"), "masked")
}

// The purge of the mother is asked for, then that of her child is asked for and
// ends: what it detached from the child is written after her instant.
func TestWhatAnotherPurgeDetachedMeanwhileIsNoNewData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	j := w.start(purge.Call{Patient: "mother", Announce: func(context.Context, job.Job) error {
		w.purged("kestrel")
		w.put(`{"resourceType":"Observation","id":"new","status":"final","subject":{"reference":"Patient/mother"}}`)
		return nil
	}})
	w.succeeded(j)
	w.gone("Patient/mother", "Observation/mothers", "Appointment/together", "Provenance/ofBoth", "DocumentReference/mothersDoc", "Binary/leaflet")
	w.says(w.body("Observation/new"), "Patient/mother")
	w.canary("Kestrel", "Mother")
}
