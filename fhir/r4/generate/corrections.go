package main

import "slices"

// added are search parameters that the package adds to those of 4.0.1.
var added = []string{"DetectedIssue-status", "DeviceDefinition-classification", "ServiceRequest-order-detail"}

// compartment401 is what CompartmentDefinition/patient of 4.0.1 says of the
// types for which the package says otherwise
// (http://hl7.org/fhir/R4/compartmentdefinition-patient.html).
var compartment401 = map[string][]string{
	"Encounter": {"patient"},
	"Task":      nil,
}

// correct takes out what the package has changed of 4.0.1, so that the tables
// hold the standard and nothing else.
func correct(defs *definitions) {
	defs.Types = slices.DeleteFunc(defs.Types, func(s structure) bool { return s.FhirVersion != release })
	defs.Params = slices.DeleteFunc(defs.Params, func(p param) bool { return slices.Contains(added, p.ID) })
	for i, m := range defs.Compartment {
		if params, changed := compartment401[m.Code]; changed {
			defs.Compartment[i].Param = params
		}
	}
}
