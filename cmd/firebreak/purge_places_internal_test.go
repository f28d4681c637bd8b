package main

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// A version of a resource is written as a template. What stands between << and
// >> after the number of a patient is a Reference or an Attachment that names
// something of this patient's record, and that a purge of the record masks.

// written is one version of a resource, as it was written.
type written struct {
	n       int64
	text    string // a template
	about   []int  // whom it is about; none: nobody, or nobody who is purged
	any     bool   // about one of them is enough for it to go
	deleted bool
}

// place is a kind of place where something of patient i can be. Patient j is
// somebody else.
type place struct {
	name string
	fill func(w *world, i, j int)
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// say is a text of a patient that must not be found after the purge.
func (w *world) say(i int, where string) string { return w.canaries[i] + " in " + where }

// id is that of something of a patient's record.
func (w *world) id(i int, what string) string { return w.prefixes[i] + what }

func (w *world) patient(i int) string { return "Patient/" + w.id(i, "pt") }

// respell is the same reference, written otherwise.
func (w *world) respell(ref string) string {
	switch w.rand.IntN(6) {
	case 0:
		return ref + "/_history/1"
	case 1:
		return strings.Replace(ref, "/", `\/`, 1)
	case 2:
		return fmt.Sprintf(`\u%04x%s`, ref[0], ref[1:])
	default:
		return ref
	}
}

// named is a Reference to something of patient i's record.
func (w *world) named(i int, ref, where string) string {
	r := fmt.Sprintf(`"reference":"%s"`, w.respell(ref))
	if w.rand.IntN(3) == 0 {
		r = fmt.Sprintf(`"id":"e%d",`, w.rand.IntN(100)) + r
	}
	if w.rand.IntN(3) == 0 {
		r += fmt.Sprintf(`,"identifier":{"system":"urn:x","value":%q}`, w.say(i, where+" identifier"))
	}
	return fmt.Sprintf(`<<%d:{%s,"display":%q}>>`, i, r, w.say(i, where))
}

// versionOf is one about some patients.
func versionOf(about []int, typ, id, format string, args ...any) written {
	return written{text: fmt.Sprintf(`{"resourceType":%q,"id":%q`, typ, id) + fmt.Sprintf(format, args...) + "}", about: about}
}

func gone(about ...int) written { return written{deleted: true, about: about} }

// places are all kinds of places.
func places() []place {
	return append(ownPlaces(), sharedPlaces()...)
}

// ownPlaces are about patient i.
func ownPlaces() []place {
	return []place{
		{"the Patient", (*world).fillPatient},
		{"an Observation with versions", func(w *world, i, j int) {
			id := w.id(i, "obs")
			body := func(n string) written {
				return versionOf([]int{i}, "Observation", id, `,"text":{"status":"generated","div":%q},"subject":{"reference":%q},"valueString":%q,"performer":[%s]`,
					"<div>"+w.say(i, "narrative "+n)+"</div>", w.respellPlain(w.patient(i)), w.say(i, "value "+n), w.named(j, w.patient(j), "performer of another"))
			}
			w.write("Observation/"+id, body("one"), body("two"), body("three"))
		}},
		{"what was deleted", func(w *world, i, _ int) {
			id := w.id(i, "del")
			w.write("Condition/"+id, versionOf([]int{i}, "Condition", id, `,"subject":{"reference":%q},"note":[{"text":%q}]`, w.patient(i), w.say(i, "deleted")), gone(i))
		}},
		{"an attachment and its Binary", func(w *world, i, _ int) {
			doc, bin := w.id(i, "doc"), w.id(i, "bin")
			w.write("Binary/"+bin, w.binary(i, bin, "first"), w.binary(i, bin, "second"))
			w.write("DocumentReference/"+doc, versionOf([]int{i}, "DocumentReference", doc,
				`,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s","title":%q}},{"attachment":{"contentType":"text/plain","data":%q}}]`,
				w.patient(i), bin, w.say(i, "title"), encoded("A letter. "+w.say(i, "attachment"))))
		}},
		{"a Binary that an earlier version referred to", func(w *world, i, _ int) {
			doc, bin := w.id(i, "olddoc"), w.id(i, "oldbin")
			w.write("Binary/"+bin, w.binary(i, bin, "old"))
			w.write("DocumentReference/"+doc,
				versionOf([]int{i}, "DocumentReference", doc, `,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s"}}]`, w.patient(i), bin),
				versionOf([]int{i}, "DocumentReference", doc, `,"subject":{"reference":%q}`, w.patient(i)))
		}},
		{"a Binary that something deleted referred to", func(w *world, i, _ int) {
			doc, bin := w.id(i, "deldoc"), w.id(i, "delbin")
			w.write("Binary/"+bin, w.binary(i, bin, "left"))
			w.write("Media/"+doc, versionOf([]int{i}, "Media", doc, `,"subject":{"reference":%q},"content":{"url":"Binary/%s/_history/1"}`, w.patient(i), bin), gone(i))
		}},
		{"a Binary with a security context", func(w *world, i, _ int) {
			bin := w.id(i, "secbin")
			w.write("Binary/"+bin, versionOf([]int{i}, "Binary", bin, `,"contentType":"text/plain","securityContext":{"reference":%q},"data":%q`, w.patient(i), encoded(w.say(i, "secured"))))
		}},
		{"contained", func(w *world, i, _ int) {
			id := w.id(i, "con")
			w.write("MedicationRequest/"+id, versionOf([]int{i}, "MedicationRequest", id,
				`,"contained":[{"resourceType":"Medication","id":"m","code":{"text":%q}}],"subject":{"reference":%q},"medicationReference":{"reference":"#m"}`,
				w.say(i, "contained"), w.patient(i)))
		}},
		{"Provenances", (*world).fillProvenance},
		{"stored Bundles", (*world).fillBundles},
		{"a Device and a Task", func(w *world, i, _ int) {
			device, task := w.id(i, "dev"), w.id(i, "task")
			w.write("Device/"+device, versionOf([]int{i}, "Device", device, `,"serialNumber":%q,"patient":{"reference":%q}`, w.say(i, "device"), w.patient(i)))
			w.write("Task/"+task, versionOf([]int{i}, "Task", task, `,"for":{"reference":%q},"input":[{"valueString":%q}]`, w.patient(i), w.say(i, "task")))
		}},
		{"what was another's before", func(w *world, i, j int) {
			id := w.id(i, "was")
			w.write("Observation/"+id,
				versionOf([]int{j}, "Observation", id, `,"subject":{"reference":%q},"valueString":"nothing"`, w.patient(j)),
				versionOf([]int{i}, "Observation", id, `,"subject":{"reference":%q},"valueString":%q`, w.patient(i), w.say(i, "taken over")))
		}},
		{"a subject by a version", func(w *world, i, _ int) {
			id := w.id(i, "ver")
			w.write("Observation/"+id, versionOf([]int{i}, "Observation", id, `,"subject":{"reference":"%s/_history/1"},"valueString":%q`, w.patient(i), w.say(i, "by version")))
		}},
		{"any other type", (*world).fillAnyType},
		{"a Bundle that was deleted", func(w *world, i, _ int) {
			id := w.id(i, "delbundle")
			w.write("Bundle/"+id, versionOf([]int{i}, "Bundle", id, `,"type":"collection","entry":[{"resource":{"resourceType":"Patient","id":%q,"name":[{"text":%q}]}}]`,
				w.id(i, "pt"), w.say(i, "deleted Bundle")), gone(i))
		}},
		{"an earlier version of a Bundle", func(w *world, i, _ int) {
			id := w.id(i, "oldbundle")
			w.write("Bundle/"+id,
				versionOf([]int{i}, "Bundle", id, `,"type":"collection","entry":[{"resource":{"resourceType":"Patient","id":%q,"name":[{"text":%q}]}}]`, w.id(i, "pt"), w.say(i, "old Bundle")),
				versionOf(nil, "Bundle", id, `,"type":"collection"`))
		}},
		{"a Bundle of a Binary", func(w *world, i, _ int) {
			doc, bin, bundle := w.id(i, "bdoc"), w.id(i, "bbin"), w.id(i, "bbundle")
			w.write("Binary/"+bin, w.binary(i, bin, "bundled"))
			w.write("DocumentReference/"+doc, versionOf([]int{i}, "DocumentReference", doc, `,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s"}}]`, w.patient(i), bin))
			w.write("Bundle/"+bundle, versionOf([]int{i}, "Bundle", bundle, `,"type":"collection","entry":[{"resource":{"resourceType":"Binary","id":%q,"data":%q}}]`, bin, encoded(w.say(i, "Binary in a Bundle"))))
		}},
		{"a Binary with a Provenance", func(w *world, i, _ int) {
			doc, bin, prov := w.id(i, "pdoc"), w.id(i, "pbin"), w.id(i, "pprov")
			w.write("Binary/"+bin, w.binary(i, bin, "of known origin"))
			w.write("DocumentReference/"+doc, versionOf([]int{i}, "DocumentReference", doc, `,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s"}}]`, w.patient(i), bin))
			w.write("Provenance/"+prov, versionOf([]int{i}, "Provenance", prov, `,"target":[{"reference":"Binary/%s"}],"reason":[{"text":%q}]`, bin, w.say(i, "Provenance of a Binary")))
		}},
		{"a Binary of a document with the wrong subject", func(w *world, i, j int) {
			doc, bin := w.id(j, "wrongdoc"+strconv.Itoa(i)), w.id(i, "wrongbin")
			b := w.binary(i, bin, "of the wrong document")
			b.about, b.any = []int{i, j}, true // it is with the document, whoever that is about
			w.write("Binary/"+bin, b)
			w.write("DocumentReference/"+doc,
				versionOf([]int{i}, "DocumentReference", doc, `,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s"}}]`, w.patient(i), bin),
				versionOf([]int{j}, "DocumentReference", doc, `,"subject":{"reference":%q}`, w.patient(j)))
		}},
		{"an AuditEvent of a client", func(w *world, i, _ int) {
			id := w.id(i, "audit")
			w.write("AuditEvent/"+id, versionOf([]int{i}, "AuditEvent", id,
				`,"type":{"code":"rest"},"entity":[{"what":{"reference":%q,"display":%q},"name":%q,"query":%q}]`,
				w.patient(i), w.say(i, "audit display"), w.say(i, "audit name"), encoded(w.say(i, "audit query"))))
		}},
	}
}

func (w *world) respellPlain(ref string) string { // as Go quotes it
	if w.rand.IntN(4) == 0 {
		return ref + "/_history/1"
	}
	return ref
}

func (w *world) binary(i int, id, which string) written {
	return versionOf([]int{i}, "Binary", id, `,"contentType":"text/plain","data":%q`, encoded(strings.Repeat(".", w.rand.IntN(4))+w.say(i, which+" Binary")))
}

func (w *world) fillPatient(i, j int) {
	id, about := w.id(i, "pt"), []int{i}
	link := ""
	if !w.alone {
		link = `,"link":[{"other":` + w.named(j, w.patient(j), "link of another") + `,"type":"seealso"}]`
	}
	vs := []written{
		versionOf(about, "Patient", id, `,"name":[{"family":%q,"_family":{"extension":[{"url":"urn:x","valueString":%q}]}}]`, w.say(i, "family"), w.say(i, "primitive's extension")),
		versionOf(about, "Patient", id, `,"photo":[{"contentType":"text/plain","data":%q}],"identifier":[{"system":"urn:mrn","value":%q}]`, encoded(w.say(i, "photo")), w.say(i, "identifier")),
		versionOf(about, "Patient", id, `,"contact":[{"name":{"text":%q}}],"extension":[{"url":"urn:a","extension":[{"url":"b","valueString":%q}]}]%s`,
			w.say(i, "contact"), w.say(i, "extension"), link),
	}
	if !w.alone && w.rand.IntN(4) == 0 {
		vs = append(vs, gone(i))
	}
	w.write("Patient/"+id, vs...)
}

func (w *world) fillProvenance(i, j int) {
	one, two, both, target := w.id(i, "prov"), w.id(i, "provprov"), w.id(i, "provboth"), w.id(i, "provobs")
	other := w.id(j, "provother"+strconv.Itoa(i))
	w.write("Observation/"+target, versionOf([]int{i}, "Observation", target, `,"subject":{"reference":%q}`, w.patient(i)))
	w.write("Observation/"+other, versionOf([]int{j}, "Observation", other, `,"subject":{"reference":%q}`, w.patient(j)))
	w.write("Provenance/"+one, versionOf([]int{i}, "Provenance", one, `,"target":[{"reference":"Observation/%s"}],"agent":[{"who":{"display":%q}}],"signature":[{"data":%q}]`,
		target, w.say(i, "agent"), encoded(w.say(i, "signature"))))
	w.write("Provenance/"+two, versionOf([]int{i}, "Provenance", two, `,"target":[{"reference":"Provenance/%s/_history/1"}],"reason":[{"text":%q}]`, one, w.say(i, "provenance of provenance")))
	w.write("Provenance/"+both, versionOf([]int{i, j}, "Provenance", both, `,"target":[%s,%s]`,
		w.named(i, "Observation/"+target, "target"), w.named(j, "Observation/"+other, "target")))
}

func (w *world) fillBundles(i, j int) {
	patient, theirs, list := w.id(i, "bundle"), w.id(i, "bundleboth"), w.id(i, "bundlenames")
	w.write("Bundle/"+patient, versionOf([]int{i}, "Bundle", patient, `,"type":"document","entry":[{"resource":{"resourceType":"Patient","id":%q,"name":[{"family":%q}]}}]`,
		w.id(i, "pt"), w.say(i, "Bundle")))
	both := versionOf([]int{i, j}, "Bundle", theirs, `,"type":"collection","entry":[{"resource":{"resourceType":"Observation","subject":{"reference":%q},"valueString":%q}},{"resource":{"resourceType":"Observation","subject":{"reference":%q}}}]`,
		w.patient(i), w.say(i, "Bundle of two"), w.patient(j))
	both.any = true
	w.write("Bundle/"+theirs, both)
	w.write("Bundle/"+list, versionOf(nil, "Bundle", list, `,"type":"collection","entry":[{"resource":{"resourceType":"List","status":"current","entry":[{"item":%s}]}}]`,
		w.named(i, w.patient(i), "List in a Bundle")))
}

// anyType are types with the element that says whom they are about.
func anyType() []string {
	return strings.Fields(`Coverage.beneficiary ResearchSubject.individual EnrollmentRequest.candidate SupplyRequest.deliverTo GuidanceResponse.subject
		Account.subject[] AllergyIntolerance.patient Immunization.patient MolecularSequence.patient Specimen.subject Goal.subject
		List.subject Communication.subject Basic.subject MeasureReport.subject DetectedIssue.patient ImagingStudy.subject Invoice.subject
		VisionPrescription.patient Composition.subject Flag.subject CarePlan.subject CareTeam.subject ClaimResponse.patient
		ExplanationOfBenefit.patient AppointmentResponse.actor Schedule.actor[] Contract.subject[] DeviceUseStatement.subject
		NutritionOrder.patient EpisodeOfCare.patient QuestionnaireResponse.subject Consent.patient Procedure.subject Claim.patient
		DeviceRequest.subject BodyStructure.patient RiskAssessment.subject AdverseEvent.subject ChargeItem.subject
		MedicationStatement.subject FamilyMemberHistory.patient ServiceRequest.subject SupplyDelivery.patient DocumentManifest.subject`)
}

func (w *world) fillAnyType(i, j int) {
	all := anyType()
	for range 4 {
		at := w.rand.IntN(len(all))
		typ, element, _ := strings.Cut(all[at], ".")
		subject := fmt.Sprintf(`{"reference":%q}`, w.patient(i))
		element, list := strings.CutSuffix(element, "[]")
		if list {
			subject = "[" + subject + "]"
		}
		all = append(all[:at], all[at+1:]...)
		id := w.id(i, "any")
		w.write(typ+"/"+id, versionOf([]int{i}, typ, id, `,%q:%s,"extension":[{"url":"urn:a","valueReference":%s},{"url":"urn:b","valueString":%q}]`,
			element, subject, w.named(j, w.patient(j), "extension of another's "+typ), w.say(i, typ)))
	}
}

// sharedPlaces are about others, and name patient i.
func sharedPlaces() []place {
	return []place{
		{"a List", func(w *world, i, j int) {
			id := w.id(j, "list"+strconv.Itoa(i))
			one, two := w.named(i, w.patient(i), "List, first"), w.named(i, w.patient(i), "List, second")
			w.write("List/"+id,
				versionOf(nil, "List", id, `,"entry":[{"item":%s}],"note":[{"text":"1"}]`, one),
				versionOf(nil, "List", id, `,"entry":[{"item":%s},{"item":%s}]`, two, w.named(j, w.patient(j), "List")),
				versionOf(nil, "List", id, `,"entry":[{"item":%s}],"note":[{"text":"3"}]`, w.named(j, w.patient(j), "List, third")))
		}},
		{"an Appointment of two", func(w *world, i, j int) {
			id := w.id(i, "app"+strconv.Itoa(j))
			w.write("Appointment/"+id, versionOf([]int{i, j}, "Appointment", id, `,"status":"booked","participant":[{"actor":%s},{"actor":%s},{"actor":{"reference":"Practitioner/doctor"}}]`,
				w.named(i, w.patient(i), "Appointment"), w.named(j, w.patient(j), "Appointment")))
		}},
		{"an Observation of another in an Encounter", func(w *world, i, j int) {
			enc, obs := w.id(i, "enc"), w.id(j, "inenc"+strconv.Itoa(i))
			w.write("Encounter/"+enc, versionOf([]int{i}, "Encounter", enc, `,"status":"finished","subject":{"reference":%q},"reasonCode":[{"text":%q}]`, w.patient(i), w.say(i, "Encounter")))
			w.write("Observation/"+obs,
				versionOf([]int{j}, "Observation", obs, `,"subject":{"reference":%q},"valueDecimal":1.0`, w.patient(j)),
				versionOf([]int{j}, "Observation", obs, `,"subject":{"reference":%q},"encounter":%s,"valueDecimal":1.50`, w.patient(j), w.named(i, "Encounter/"+enc, "encounter")))
			report := w.id(j, "report"+strconv.Itoa(i))
			w.write("DiagnosticReport/"+report, versionOf([]int{j}, "DiagnosticReport", report, `,"subject":{"reference":%q},"result":[{"reference":"Observation/%s"}]`, w.patient(j), obs))
		}},
		{"what was the patient's before", func(w *world, i, j int) {
			id := w.id(j, "wrong"+strconv.Itoa(i))
			w.write("Observation/"+id,
				versionOf([]int{i}, "Observation", id, `,"subject":{"reference":%q},"valueString":%q`, w.patient(i), w.say(i, "wrong subject")),
				versionOf([]int{j}, "Observation", id, `,"subject":{"reference":%q},"valueString":"right"`, w.patient(j)))
		}},
		{"a RelatedPerson who performed for another", func(w *world, i, j int) {
			rel, obs := w.id(i, "rel"), w.id(j, "byrel"+strconv.Itoa(i))
			w.write("RelatedPerson/"+rel, versionOf([]int{i}, "RelatedPerson", rel, `,"patient":{"reference":%q},"name":[{"text":%q}]`, w.patient(i), w.say(i, "relative")))
			w.write("Procedure/"+obs, versionOf([]int{j}, "Procedure", obs, `,"subject":{"reference":%q},"performer":[{"actor":%s}]`, w.patient(j), w.named(i, "RelatedPerson/"+rel, "performer")))
		}},
		{"an attachment of another", func(w *world, i, j int) {
			id, obs := w.id(j, "att"+strconv.Itoa(i)), w.id(i, "attobs")
			w.write("Observation/"+obs, versionOf([]int{i}, "Observation", obs, `,"subject":{"reference":%q},"valueString":%q`, w.patient(i), w.say(i, "attached Observation")))
			w.write("DocumentReference/"+id, versionOf([]int{j}, "DocumentReference", id, `,"subject":{"reference":%q},"content":[{"attachment":<<%d:{"url":"%s","title":%q}>>}]`,
				w.patient(j), i, w.respell("Observation/"+obs), w.say(i, "attachment of another")))
		}},
		{"a contained resource of another", func(w *world, i, j int) {
			id := w.id(j, "contains"+strconv.Itoa(i))
			w.write("CarePlan/"+id, versionOf([]int{j}, "CarePlan", id, `,"contained":[{"resourceType":"Task","id":"t","focus":%s,"owner":{"reference":"Practitioner/doctor"}}],"subject":{"reference":%q},"activity":[{"reference":{"reference":"#t"}}]`,
				w.named(i, w.patient(i), "contained in another's"), w.patient(j)))
		}},
		{"a performer without a subject", func(w *world, i, _ int) {
			id := w.id(i, "nosubject")
			w.write("Observation/"+id, versionOf(nil, "Observation", id, `,"status":"final","performer":[%s]`, w.named(i, w.patient(i), "performer alone")))
		}},
		{"a Person of two", func(w *world, i, j int) {
			id := w.id(i, "person"+strconv.Itoa(j))
			w.write("Person/"+id, versionOf([]int{i, j}, "Person", id, `,"link":[{"target":%s},{"target":%s}]`, w.named(i, w.patient(i), "Person"), w.named(j, w.patient(j), "Person")))
		}},
		{"what of another was deleted", func(w *world, i, j int) {
			id := w.id(j, "delshared"+strconv.Itoa(i))
			w.write("Observation/"+id, versionOf([]int{j}, "Observation", id, `,"subject":{"reference":%q},"focus":[%s]`, w.patient(j), w.named(i, w.patient(i), "focus, deleted")), gone(j))
		}},
		{"a Binary of two", func(w *world, i, j int) {
			bin, mine, theirs := fmt.Sprintf("leaflet-%d-%d", i, j), w.id(i, "onedoc"), w.id(j, "otherdoc"+strconv.Itoa(i))
			w.write("Binary/"+bin, versionOf([]int{i, j}, "Binary", bin, `,"contentType":"text/plain","data":%q`, encoded("a leaflet")))
			for doc, whose := range map[string]int{mine: i, theirs: j} {
				w.write("DocumentReference/"+doc, versionOf([]int{whose}, "DocumentReference", doc, `,"subject":{"reference":%q},"content":[{"attachment":{"url":"Binary/%s"}}]`, w.patient(whose), bin))
			}
		}},
		{"a Linkage", func(w *world, i, j int) {
			id := w.id(i, "linkage"+strconv.Itoa(j))
			w.write("Linkage/"+id, versionOf(nil, "Linkage", id, `,"item":[{"type":"source","resource":%s},{"type":"alternate","resource":%s}]`,
				w.named(i, w.patient(i), "Linkage"), w.named(j, w.patient(j), "Linkage")))
		}},
		{"a Slot of a Schedule", func(w *world, i, _ int) {
			sched, slot := w.id(i, "sched"), w.id(i, "slot")
			w.write("Schedule/"+sched, versionOf([]int{i}, "Schedule", sched, `,"actor":[{"reference":%q}],"comment":%q`, w.patient(i), w.say(i, "Schedule")))
			w.write("Slot/"+slot, versionOf(nil, "Slot", slot, `,"schedule":%s,"status":"free"`, w.named(i, "Schedule/"+sched, "Slot")))
		}},
	}
}
