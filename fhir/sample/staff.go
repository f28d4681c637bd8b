package sample

import (
	"fmt"
	"strconv"
)

// The house has as many of each, so that a search by one of them has a
// sensible number of hits.
const (
	organizations = 3
	practitioners = 12
	locations     = 6
)

func (s *set) staffID(name string, n int) string { return uuid(s.seed, name, -1, n) }

// staff writes what belongs to no patient.
func (s *set) staff() {
	for i := range organizations {
		s.organization(i)
	}
	for i := range locations {
		s.location(i)
	}
	for i := range practitioners {
		s.practitioner(i)
	}
}

func (s *set) organization(n int) {
	name := cities()[n%len(cities())] + " Imaginary Hospital"
	s.put("Organization", s.staffID("Organization", n), object{
		"identifier": list{object{"system": "https://firebreak.example/organization", "value": strconv.Itoa(n + 1)}},
		"active":     true,
		"type":       list{hl7("organization-type", "prov", "Healthcare Provider")},
		"name":       name,
		"telecom":    list{object{"system": "phone", "value": fmt.Sprintf("+1-202-555-01%02d", n)}},
	})
}

func (s *set) location(n int) {
	s.put("Location", s.staffID("Location", n), object{
		"status":               "active",
		"name":                 fmt.Sprintf("Imaginary Ward %d", n+1),
		"mode":                 "instance",
		"managingOrganization": ref("Organization", s.staffID("Organization", n%organizations)),
	})
}

func (s *set) practitioner(n int) {
	family := familyNames()[n%len(familyNames())]
	s.put("Practitioner", s.staffID("Practitioner", n), object{
		"identifier": list{object{"system": "https://firebreak.example/practitioner", "value": fmt.Sprintf("D%04d", n+1)}},
		"active":     true,
		"name":       list{object{"family": family, "given": list{"Doctor"}, "prefix": list{"Dr."}}},
		"gender":     []string{"female", "male"}[n%2],
	})
}

// groups writes the two Groups over the first patients of the set.
func (s *set) groups(patients int) {
	s.group(GroupAll, "All sample patients", patients)
	s.group(GroupFirst10, "The first ten sample patients", min(patients, 10))
}

func (s *set) group(id, name string, patients int) {
	content := object{"active": true, "type": "person", "actual": true, "name": name, "quantity": patients}
	if patients > 0 {
		members := make(list, patients)
		for i := range patients {
			members[i] = object{"entity": ref("Patient", PatientID(s.seed, i))}
		}
		content["member"] = members
	}
	s.put("Group", id, content)
}
