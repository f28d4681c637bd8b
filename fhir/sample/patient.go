package sample

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// today is the end of every story: a fixed day, so that a set does not depend
// on the day it is made.
func today() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// patient is one record in the making.
type patient struct {
	*set
	random *rand.Rand
	n      int
	id     string
	doctor string // the id of the general practitioner
	house  string // the id of the managing organization
	born   time.Time
	counts map[string]int
}

func newPatient(s *set, n int) *patient {
	r := s.random(n)
	return &patient{
		set: s, random: r, n: n,
		id:     PatientID(s.seed, n),
		doctor: s.staffID("Practitioner", r.IntN(practitioners)),
		house:  s.staffID("Organization", r.IntN(organizations)),
		born:   today().AddDate(-3-r.IntN(90), 0, -r.IntN(365)),
		counts: map[string]int{},
	}
}

// add writes the next resource of a type and returns its id.
func (p *patient) add(name string, content object) string {
	n := p.counts[name]
	p.counts[name]++
	id := uuid(p.seed, name, p.n, n)
	p.put(name, id, content)
	return id
}

func (p *patient) subject() object  { return ref("Patient", p.id) }
func (p *patient) provider() object { return ref("Practitioner", p.doctor) }

// record writes the patient, what stays, and four to six encounters.
func (p *patient) record() {
	p.person()
	coverage := p.coverage()
	for range 1 + p.random.IntN(2) {
		p.allergy()
	}
	visits := 4 + p.random.IntN(3)
	at := today().AddDate(0, 0, -visits*120)
	var note string
	for i := range visits {
		v := newVisit(p, at.Add(time.Duration(8*60+p.random.IntN(500))*time.Minute), coverage)
		note = v.record(i == 0)
		at = at.AddDate(0, 0, 60+p.random.IntN(60))
	}
	p.carePlan(at)
	p.provenance(at, p.subject(), ref("DocumentReference", note))
}

func (p *patient) person() {
	family, given := pick(p.random, familyNames()), pick(p.random, givenNames())
	content := object{
		"text": object{
			"status": "generated",
			"div":    fmt.Sprintf(`<div xmlns="http://www.w3.org/1999/xhtml">%s %s (not a person)</div>`, given, family),
		},
		"identifier":           list{object{"system": "https://firebreak.example/mrn", "value": fmt.Sprintf("S%06d", p.n+1)}},
		"active":               true,
		"name":                 list{object{"use": "official", "family": family, "given": list{given, pick(p.random, givenNames())}}},
		"telecom":              list{object{"system": "phone", "use": "home", "value": fmt.Sprintf("+1-202-555-01%02d", p.random.IntN(100))}},
		"gender":               pick(p.random, []string{"female", "male", "other", "unknown"}),
		"birthDate":            day(p.born),
		"address":              list{p.address()},
		"generalPractitioner":  list{p.provider()},
		"managingOrganization": ref("Organization", p.house),
	}
	if p.random.IntN(3) == 0 {
		content["_birthDate"] = object{"extension": list{object{
			"url":           "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
			"valueDateTime": instant(p.born.Add(time.Duration(p.random.IntN(1440)) * time.Minute)),
		}}}
	}
	p.put("Patient", p.id, content)
}

func (p *patient) address() object {
	return object{
		"use":        "home",
		"line":       list{fmt.Sprintf("%d %s", 1+p.random.IntN(400), pick(p.random, streets()))},
		"city":       pick(p.random, cities()),
		"postalCode": fmt.Sprintf("000%02d", p.random.IntN(100)),
	}
}

func (p *patient) coverage() string {
	return p.add("Coverage", object{
		"status":       "active",
		"type":         hl7("v3-ActCode", "PUBLICPOL", "public healthcare"),
		"subscriberId": fmt.Sprintf("C%06d", p.n+1),
		"beneficiary":  p.subject(),
		"payor":        list{ref("Organization", p.staffID("Organization", 0))},
	})
}

func (p *patient) allergy() {
	p.add("AllergyIntolerance", object{
		"clinicalStatus":     hl7("allergyintolerance-clinical", "active", "Active"),
		"verificationStatus": hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
		"type":               "allergy",
		"category":           list{"environment"},
		"criticality":        pick(p.random, []string{"low", "high", "unable-to-assess"}),
		"code":               pick(p.random, allergens()).concept(),
		"patient":            p.subject(),
		"recordedDate":       instant(p.born.AddDate(2, 0, 0)),
		"recorder":           p.provider(),
	})
}

func (p *patient) carePlan(at time.Time) {
	p.add("CarePlan", object{
		"status":  "active",
		"intent":  "plan",
		"title":   "Imaginary care plan",
		"subject": p.subject(),
		"period":  object{"start": day(at)},
		"created": instant(at),
		"author":  p.provider(),
		"activity": list{object{"detail": object{
			"status":      "in-progress",
			"code":        concept(snomed, "229065009", "Exercise therapy"),
			"description": "Walk to the end of " + pick(p.random, streets()) + " and back",
		}}},
	})
}

// provenance says who wrote some resources; after a shared appointment its
// targets are two patients.
func (p *patient) provenance(at time.Time, targets ...any) {
	p.add("Provenance", object{
		"target":   targets,
		"recorded": instant(at),
		"activity": hl7("v3-DataOperation", "CREATE", "create"),
		"agent": list{object{
			"type":       hl7("provenance-participant-type", "author", "Author"),
			"who":        p.provider(),
			"onBehalfOf": ref("Organization", p.house),
		}},
	})
}

// appointment is one that this patient shares with the patient before it; the
// last of an odd number comes alone.
func (p *patient) appointment(first int) {
	participants := list{object{"actor": p.provider(), "status": "accepted"}}
	var targets list
	for n := first; n <= p.n; n++ {
		who := ref("Patient", PatientID(p.seed, n))
		targets = append(targets, who)
		participants = append(participants, object{"actor": who, "status": "accepted", "required": "required"})
	}
	start := today().AddDate(0, 1, p.n%28).Add(9 * time.Hour)
	id := p.add("Appointment", object{
		"status":      "booked",
		"description": "Group class on sleep",
		"start":       instant(start),
		"end":         instant(start.Add(45 * time.Minute)),
		"created":     instant(today()),
		"participant": participants,
	})
	p.provenance(today(), append(targets, ref("Appointment", id))...)
}
