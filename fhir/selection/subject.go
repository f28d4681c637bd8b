package selection

import (
	"strings"
	"sync"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"

	"github.com/tidwall/gjson"
)

// The elements that say whom a resource of R4 (4.0.1) is about: its subject,
// patient or beneficiary. They are the elements behind those parameters of the
// Patient compartment that say so
// (https://hl7.org/fhir/R4/compartmentdefinition-patient.html), without the
// ones that say who did, wrote, asked for, got or paid for something; and those
// of the types that R4 leaves out of the compartment though they have a
// patient: Contract, Device, GuidanceResponse and Task.
//
// AuditEvent, Binary, Bundle, Group, Linkage, Patient and Provenance have no
// row: Concern says what holds for them.
const (
	bySubject = `Account AdverseEvent Basic CarePlan CareTeam ChargeItem ClinicalImpression Communication
		CommunicationRequest Composition Condition Contract DeviceRequest DeviceUseStatement DiagnosticReport
		DocumentManifest DocumentReference Encounter Flag Goal GuidanceResponse ImagingStudy Invoice List
		MeasureReport Media MedicationAdministration MedicationDispense MedicationRequest MedicationStatement
		Observation Procedure QuestionnaireResponse RequestGroup RiskAssessment ServiceRequest Specimen`

	byPatient = `AllergyIntolerance BodyStructure Claim ClaimResponse Consent CoverageEligibilityRequest
		CoverageEligibilityResponse DetectedIssue Device EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory
		Immunization ImmunizationEvaluation ImmunizationRecommendation MolecularSequence NutritionOrder
		RelatedPerson SupplyDelivery VisionPrescription`
)

// subjects has the steps to the subject element of each type.
var subjects = sync.OnceValue(func() map[string][]string {
	steps := map[string][]string{
		"Appointment":         {"participant", "actor"},
		"AppointmentResponse": {"actor"},
		"Coverage":            {"beneficiary"},
		"EnrollmentRequest":   {"candidate"},
		"Person":              {"link", "target"},
		"ResearchSubject":     {"individual"},
		"Schedule":            {"actor"},
		"SupplyRequest":       {"deliverTo"},
		"Task":                {"for"},
	}
	for _, typ := range strings.Fields(bySubject) {
		steps[typ] = []string{"subject"}
	}
	for _, typ := range strings.Fields(byPatient) {
		steps[typ] = []string{"patient"}
	}
	return steps
})

// about tells whether a resource is About.
func (r *Record) about(typ, id string, resource gjson.Result) bool {
	switch typ {
	case patient:
		return r.Has(fhir.ID{Type: typ, ID: id})
	case "AuditEvent":
		return r.audited(resource)
	case "Binary":
		return r.all(resource.Get("securityContext"))
	case "Bundle":
		return r.held(resource)
	case "Provenance":
		return r.all(resource.Get("target"))
	}
	steps, ok := subjects()[typ]
	return ok && r.subject(resource, steps)
}

// subject tells whether the references at a subject element name patients of
// the record, and no other Patient.
func (r *Record) subject(resource gjson.Result, steps []string) bool {
	ours, others := false, false
	each(resource, steps, func(reference gjson.Result) {
		id, ok := search.Target(reference.Get("reference").String())
		switch {
		case ok && id.Type == patient:
			has := r.Has(id)
			ours, others = ours || has, others || !has
		case !ok && namesPatient(resource, reference):
			others = true
		}
	})
	return ours && !others
}

// namesPatient tells whether a reference that is not relative names a Patient:
// one of another server, a contained one, or one by its type.
func namesPatient(resource, reference gjson.Result) bool {
	to := fhir.ParseReference(reference.Get("reference").String(), r4.IsType)
	if to.Fragment != "" && to.Contained() {
		found := false
		each(resource, []string{"contained"}, func(one gjson.Result) {
			found = found || one.Get("id").String() == to.Fragment && one.Get("resourceType").String() == patient
		})
		return found
	}
	return to.Type == patient || reference.Get("type").String() == patient
}

// audited tells whether an AuditEvent is in the compartment of a patient of the
// record.
func (r *Record) audited(event gjson.Result) bool {
	found := false
	for _, steps := range [][]string{{"agent", "who"}, {"entity", "what"}} {
		each(event, steps, func(reference gjson.Result) {
			id, ok := search.Target(reference.Get("reference").String())
			found = found || ok && id.Type == patient && r.Has(id)
		})
	}
	return found
}

// all tells whether there are references, and each names something of the
// record, but for those that name nothing any more.
func (r *Record) all(references gjson.Result) bool {
	some, others := false, false
	each(references, nil, func(reference gjson.Result) {
		id, ok := search.Target(reference.Get("reference").String())
		some, others = some || ok && r.Has(id), others || (!ok || !r.Has(id)) && !absent(reference)
	})
	return some && !others
}

// absent tells whether a reference says no more than that it is masked, as one
// does that was detached.
func absent(reference gjson.Result) bool {
	only := true
	reference.ForEach(func(name, _ gjson.Result) bool {
		only = only && (name.Str == "id" || name.Str == "extension")
		return only
	})
	extension := reference.Get("extension").Array()
	return only && len(extension) == 1 && extension[0].Get("valueCode").Str == "masked" &&
		extension[0].Get("url").Str == "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
}

// held tells whether an entry of a Bundle holds a resource of the record, or
// one that is About.
func (r *Record) held(bundle gjson.Result) bool {
	found := false
	each(bundle, []string{"entry", "resource"}, func(resource gjson.Result) {
		if found {
			return
		}
		id := fhir.ID{Type: resource.Get("resourceType").String(), ID: resource.Get("id").String()}
		found = r.Has(id) || r.about(id.Type, id.ID, resource)
	})
	return found
}

// each calls f for the objects that the steps lead to, through arrays.
func each(v gjson.Result, steps []string, f func(gjson.Result)) {
	switch {
	case v.IsArray():
		v.ForEach(func(_, one gjson.Result) bool {
			each(one, steps, f)
			return true
		})
	case len(steps) > 0:
		if v.IsObject() {
			each(v.Get(steps[0]), steps[1:], f)
		}
	case v.IsObject():
		f(v)
	}
}
