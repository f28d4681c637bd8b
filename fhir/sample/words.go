package sample

// What the generator chooses from. The names are such that nobody takes them
// for a person's; the telephone numbers are of the range kept for fiction.

func familyNames() []string {
	return []string{
		"Testberg", "Sampleton", "Mockingham", "Fictiva", "Placeholder", "Dummison", "Exampleby", "Nonesuch",
		"Specimen", "Prototypova", "Stubbs-Fixture", "Imaginary", "O'Example", "Müster", "Beispielmann",
	}
}

func givenNames() []string {
	return []string{
		"Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta", "Omikron", "Sigma", "Lorem", "Ipsum", "Dolor",
		"Amet", "Foo", "Quux", "Xyzzy", "Zoë-Test",
	}
}

func streets() []string {
	return []string{"Nowhere Lane", "Imaginary Row", "Placeholder Street", "Lorem Avenue", "Null Island Road"}
}

func cities() []string {
	return []string{"Exampleville", "Testington", "Mock Harbour", "Samplefield"}
}

// term is a code with its words.
type term struct{ system, code, display string }

func (t term) concept() object { return concept(t.system, t.code, t.display) }

const (
	snomed = "http://snomed.info/sct"
	loinc  = "http://loinc.org"
	rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
	cvx    = "http://hl7.org/fhir/sid/cvx"
	ucum   = "http://unitsofmeasure.org"
)

func conditions() []term {
	return []term{
		{snomed, "38341003", "Hypertensive disorder"},
		{snomed, "44054006", "Diabetes mellitus type 2"},
		{snomed, "195967001", "Asthma"},
		{snomed, "10509002", "Acute bronchitis"},
		{snomed, "444814009", "Viral sinusitis"},
		{snomed, "55822004", "Hyperlipidemia"},
	}
}

func procedures() []term {
	return []term{
		{snomed, "430193006", "Medication reconciliation"},
		{snomed, "23426006", "Measurement of respiratory function"},
		{snomed, "29303009", "Electrocardiographic procedure"},
		{snomed, "171207006", "Depression screening"},
	}
}

func vaccines() []term {
	return []term{
		{cvx, "140", "Influenza, seasonal, injectable, preservative free"},
		{cvx, "113", "Td (adult) preservative free"},
		{cvx, "133", "Pneumococcal conjugate PCV 13"},
		{cvx, "121", "Zoster live"},
	}
}

func medicines() []term {
	return []term{
		{rxnorm, "314076", "lisinopril 10 MG Oral Tablet"},
		{rxnorm, "860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"},
		{rxnorm, "313782", "acetaminophen 325 MG Oral Tablet"},
		{rxnorm, "308182", "amoxicillin 250 MG Oral Capsule"},
	}
}

func allergens() []term {
	return []term{
		{snomed, "91935009", "Allergy to peanut"},
		{snomed, "91936005", "Allergy to penicillin"},
		{snomed, "418689008", "Allergy to grass pollen"},
		{snomed, "300913006", "Allergy to shellfish"},
	}
}

// measure is what an Observation measures: a code, a unit and usual values.
type measure struct {
	code, display, unit string
	low, high           float64
	digits              int
}

func (m measure) concept() object { return concept(loinc, m.code, m.display) }

func vitals() []measure {
	return []measure{
		{"29463-7", "Body Weight", "kg", 48, 110, 1},
		{"8867-4", "Heart rate", "/min", 52, 104, 0},
	}
}

func bloodPressure() []measure {
	return []measure{
		{"8480-6", "Systolic blood pressure", "mm[Hg]", 100, 165, 0},
		{"8462-4", "Diastolic blood pressure", "mm[Hg]", 60, 98, 0},
	}
}

func labs() []measure {
	return []measure{
		{"2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", 65, 130, 2},
		{"2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 0.5, 1.6, 2},
		{"4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 4.6, 8.2, 1},
		{"718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 11, 18, 1},
		{"2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 140, 260, 0},
	}
}
