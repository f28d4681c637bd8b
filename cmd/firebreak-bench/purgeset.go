package main

import (
	"bytes"
	"cmp"
	"slices"

	"firebreak/fhir"

	"github.com/tidwall/gjson"
)

// Of a set that is large enough, so many patients are purged, and the rest is
// left to be read meanwhile.
const (
	purgedTogether = 100 // by one job; there are two
	purgedSingly   = 5   // by jobs of their own, and as many by calls that wait
	fewestPurged   = 5   // what it takes to have one of each, and one that stays
	recordOf       = 400 // resources that those who are purged singly should have
)

// record is a patient of the set, and how many resources name the patient.
type record struct {
	patient   string
	resources int
}

// purgeSet is whose records are purged; ids are those of the set.
type purgeSet struct {
	alone, beside []string // in turn by one job each
	singly, sync  []string
	resources     map[string][]fhir.ID // of those who are purged singly
	stay          []fhir.ID            // about patients who are not purged
}

// choosePurged is false if the set has too few patients.
func (s *set) choosePurged() (p purgeSet, ok bool, err error) {
	all, err := s.records()
	if err != nil || len(all) < fewestPurged {
		return p, false, err
	}
	p = divide(all)
	return p, true, s.gather(&p)
}

// records counts what each patient has. Those of the resources that are created
// again are left out: they have many more by now.
func (s *set) records() ([]record, error) {
	count, busy := map[string]int{}, map[string]bool{}
	for _, line := range s.small {
		for _, p := range namedPatients(line) {
			busy[p] = true
		}
	}
	var all []record
	for _, path := range s.paths {
		err := eachLine(path, func(line []byte) error {
			switch id := identity(line); id.Type {
			case "Patient":
				all = append(all, record{patient: id.ID})
			case "Group":
			default:
				for _, p := range namedPatients(line) {
					count[p]++
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range all {
		all[i].resources = 1 + count[all[i].patient]
	}
	return slices.DeleteFunc(all, func(r record) bool { return busy[r.patient] }), nil
}

func identity(line []byte) fhir.ID {
	got := gjson.GetManyBytes(line, "resourceType", "id")
	return fhir.ID{Type: got[0].String(), ID: got[1].String()}
}

// namedPatients are the patients whom a body refers to, each once.
func namedPatients(body []byte) (all []string) {
	for {
		_, rest, found := bytes.Cut(body, []byte(`"Patient/`))
		if !found {
			return all
		}
		id, _, _ := bytes.Cut(rest[:min(len(rest), fhir.MaxID+1)], []byte(`"`))
		if !slices.Contains(all, string(id)) {
			all = append(all, string(id))
		}
		body = rest
	}
}

// divide deals patients out: first those whose records are nearest to the size
// that is asked for, to be purged singly, then by turns.
func divide(all []record) (p purgeSet) {
	distance := func(r record) int { return max(r.resources-recordOf, recordOf-r.resources) }
	nearest := slices.SortedStableFunc(slices.Values(all), func(a, b record) int { return cmp.Compare(distance(a), distance(b)) })
	singles := min(purgedSingly, len(all)/fewestPurged)
	chosen := map[string]bool{}
	for i, r := range nearest[:2*singles] {
		to := []*[]string{&p.singly, &p.sync}[i%2]
		*to, chosen[r.patient] = append(*to, r.patient), true
	}
	all = slices.DeleteFunc(all, func(r record) bool { return chosen[r.patient] })
	each := min(purgedTogether, len(all)/3)
	for i := range 2 * each {
		to := []*[]string{&p.alone, &p.beside}[i%2]
		*to = append(*to, all[i*len(all)/(2*each)].patient)
	}
	return p
}

// gather finds the resources of those who are purged singly, and what can be
// read whoever is purged.
func (s *set) gather(p *purgeSet) error {
	purged, single := map[string]bool{}, map[string]bool{}
	for _, id := range slices.Concat(p.singly, p.sync) {
		purged[id], single[id] = true, true
	}
	for _, id := range slices.Concat(p.alone, p.beside) {
		purged[id] = true
	}
	drawn := map[fhir.ID]bool{}
	for _, id := range s.ids {
		drawn[id] = true
	}
	p.resources = map[string][]fhir.ID{}
	each := func(line []byte) error {
		id := identity(line)
		of := namedPatients(line)
		if id.Type == "Patient" {
			of = append(of, id.ID)
		}
		if id.Type == "Group" || len(of) == 0 {
			return nil
		}
		if drawn[id] && !slices.ContainsFunc(of, func(id string) bool { return purged[id] }) {
			p.stay = append(p.stay, id)
		}
		for _, patient := range of {
			if single[patient] {
				p.resources[patient] = append(p.resources[patient], id)
			}
		}
		return nil
	}
	for _, path := range s.paths {
		if err := eachLine(path, each); err != nil {
			return err
		}
	}
	return nil
}

// last gives the same patients, and their resources, of the last copy: they
// were loaded together, after all others. What stays is not given other ids.
func (p purgeSet) last(copies int) purgeSet {
	if copies == 1 {
		return p
	}
	r := newRenamer(copies - 1)
	rename := r.all
	renamed := map[string][]fhir.ID{}
	for patient, ids := range p.resources {
		var of []fhir.ID
		for _, id := range ids {
			of = append(of, fhir.ID{Type: id.Type, ID: r.id(id.ID)})
		}
		renamed[r.id(patient)] = of
	}
	return purgeSet{rename(p.alone), rename(p.beside), rename(p.singly), rename(p.sync), renamed, p.stay}
}
