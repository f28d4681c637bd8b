package sample

import (
	"encoding/base64"
	"fmt"
	"time"
)

// visit is one encounter and what came of it.
type visit struct {
	*patient
	start    time.Time
	coverage string
	id       string
}

func newVisit(p *patient, start time.Time, coverage string) *visit {
	return &visit{patient: p, start: start, coverage: coverage}
}

func (v *visit) ref() object { return ref("Encounter", v.id) }

// about is the content with what every resource of the visit names.
func (v *visit) about(content object) object {
	content["subject"] = v.subject()
	content["encounter"] = v.ref()
	return content
}

// record writes the visit and returns the id of its note. With all set, it has
// one of each kind; otherwise some by chance.
func (v *visit) record(all bool) (note string) {
	v.encounter()
	v.bloodPressure()
	for _, m := range vitals() {
		v.observation("vital-signs", "Vital Signs", m)
	}
	v.report()
	for _, write := range []func(){v.condition, v.procedure, v.immunization, v.medication} {
		if all || v.random.IntN(5) < 2 {
			write()
		}
	}
	v.claim()
	return v.note()
}

func (v *visit) encounter() {
	v.id = v.add("Encounter", object{
		"status":          "finished",
		"class":           coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB", "ambulatory"),
		"type":            list{concept(snomed, "185345009", "Encounter for symptom")},
		"subject":         v.subject(),
		"participant":     list{object{"individual": v.provider()}},
		"period":          object{"start": instant(v.start), "end": instant(v.start.Add(30 * time.Minute))},
		"location":        list{object{"location": ref("Location", v.staffID("Location", v.random.IntN(locations)))}},
		"serviceProvider": ref("Organization", v.house),
	})
}

func (v *visit) value(m measure) object {
	n := m.low + v.random.Float64()*(m.high-m.low)
	return object{"value": decimal(n, m.digits), "unit": m.unit, "system": ucum, "code": m.unit}
}

// measured is an Observation without its value.
func (v *visit) measured(category, words string, code object) object {
	return v.about(object{
		"status":            "final",
		"category":          list{hl7("observation-category", category, words)},
		"code":              code,
		"effectiveDateTime": instant(v.start.Add(5 * time.Minute)),
		"issued":            v.start.Add(time.Hour).Format("2006-01-02T15:04:05.000Z07:00"),
		"performer":         list{v.provider()},
	})
}

func (v *visit) observation(category, words string, m measure) string {
	content := v.measured(category, words, m.concept())
	content["valueQuantity"] = v.value(m)
	content["referenceRange"] = list{object{"text": fmt.Sprintf("%v to %v %s", m.low, m.high, m.unit)}}
	return v.add("Observation", content)
}

func (v *visit) bloodPressure() {
	content := v.measured("vital-signs", "Vital Signs", concept(loinc, "85354-9", "Blood pressure panel with all children optional"))
	var parts list
	for _, m := range bloodPressure() {
		parts = append(parts, object{"code": m.concept(), "valueQuantity": v.value(m)})
	}
	content["component"] = parts
	v.add("Observation", content)
}

// report writes three laboratory results and the report over them.
func (v *visit) report() {
	var results list
	first := v.random.IntN(len(labs()))
	for i := range 3 {
		m := labs()[(first+i)%len(labs())]
		results = append(results, ref("Observation", v.observation("laboratory", "Laboratory", m)))
	}
	v.add("DiagnosticReport", v.about(object{
		"status":            "final",
		"category":          list{hl7("v2-0074", "LAB", "Laboratory")},
		"code":              concept(loinc, "11502-2", "Laboratory report"),
		"effectiveDateTime": instant(v.start.Add(5 * time.Minute)),
		"issued":            instant(v.start.Add(2 * time.Hour)),
		"performer":         list{ref("Organization", v.house)},
		"result":            results,
	}))
}

func (v *visit) condition() {
	v.add("Condition", v.about(object{
		"clinicalStatus":     hl7("condition-clinical", "active", "Active"),
		"verificationStatus": hl7("condition-ver-status", "confirmed", "Confirmed"),
		"category":           list{hl7("condition-category", "encounter-diagnosis", "Encounter Diagnosis")},
		"code":               pick(v.random, conditions()).concept(),
		"onsetDateTime":      day(v.start.AddDate(0, 0, -v.random.IntN(30))),
		"recordedDate":       day(v.start),
		"recorder":           v.provider(),
	}))
}

func (v *visit) procedure() {
	v.add("Procedure", v.about(object{
		"status":          "completed",
		"code":            pick(v.random, procedures()).concept(),
		"performedPeriod": object{"start": instant(v.start), "end": instant(v.start.Add(15 * time.Minute))},
		"performer":       list{object{"actor": v.provider()}},
	}))
}

func (v *visit) immunization() {
	v.add("Immunization", object{
		"status":             "completed",
		"vaccineCode":        pick(v.random, vaccines()).concept(),
		"patient":            v.subject(),
		"encounter":          v.ref(),
		"occurrenceDateTime": instant(v.start),
		"primarySource":      true,
	})
}

// medication asks for a medicine by its code or, now and then, for one that is
// contained in the request.
func (v *visit) medication() {
	content := v.about(object{
		"status":            "active",
		"intent":            "order",
		"authoredOn":        instant(v.start),
		"requester":         v.provider(),
		"dosageInstruction": list{object{"sequence": 1, "text": "one a day", "asNeededBoolean": false}},
	})
	medicine := pick(v.random, medicines()).concept()
	if v.random.IntN(3) == 0 {
		content["contained"] = list{object{"resourceType": "Medication", "id": "med", "code": medicine}}
		content["medicationReference"] = object{"reference": "#med"}
	} else {
		content["medicationCodeableConcept"] = medicine
	}
	v.add("MedicationRequest", content)
}

func (v *visit) claim() {
	price := object{"value": decimal(40+160*v.random.Float64(), 2), "currency": "USD"}
	v.add("Claim", object{
		"status":         "active",
		"type":           hl7("claim-type", "professional", "Professional"),
		"use":            "claim",
		"patient":        v.subject(),
		"billablePeriod": object{"start": day(v.start), "end": day(v.start)},
		"created":        instant(v.start.Add(24 * time.Hour)),
		"provider":       ref("Organization", v.house),
		"priority":       hl7("processpriority", "normal", "Normal"),
		"insurance":      list{object{"sequence": 1, "focal": true, "coverage": ref("Coverage", v.coverage)}},
		"item": list{object{
			"sequence":         1,
			"productOrService": concept(snomed, "185345009", "Encounter for symptom"),
			"encounter":        list{v.ref()},
			"net":              price,
		}},
		"total": price,
	})
}

// note writes a text as a Binary and the DocumentReference to it, whose id it
// returns.
func (v *visit) note() string {
	words := fmt.Sprintf("Visit of %s. The patient is imaginary and feels so.\n", day(v.start))
	binary := v.add("Binary", object{
		"contentType":     "text/plain",
		"securityContext": v.subject(),
		"data":            base64.StdEncoding.EncodeToString([]byte(words)),
	})
	return v.add("DocumentReference", object{
		"status":  "current",
		"type":    concept(loinc, "34109-9", "Note"),
		"subject": v.subject(),
		"date":    instant(v.start),
		"author":  list{v.provider()},
		"content": list{object{"attachment": object{
			"contentType": "text/plain", "url": "Binary/" + binary, "title": "Note of the visit", "size": len(words),
		}}},
		"context": object{"encounter": list{v.ref()}, "period": object{"start": instant(v.start)}},
	})
}
