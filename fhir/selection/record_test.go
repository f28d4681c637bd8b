package selection_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
)

// In the cases $P is a patient of the record, $X another one and $D a
// practitioner.
var persons = strings.NewReplacer(
	"$P", `{"reference":"Patient/p"}`, "$X", `{"reference":"Patient/x"}`, "$D", `{"reference":"Practitioner/d"}`,
)

// written is a version of a resource: its type, its id and then the members.
func written(typ, id, members string) []byte {
	return fmt.Appendf(nil, `{"resourceType":%q,"id":%q,%s}`, typ, id, members)
}

func concern(r *selection.Record, typ, members string) selection.Concern {
	return r.Concern(typ, "1", written(typ, "1", members))
}

func recordOf(patients ...string) *selection.Record { return selection.NewRecord(patients) }

// golden has, for each type, members that make it about P, and members by which
// it names P but is about somebody else, where R4 lets it.
var golden = map[string]struct{ about, names string }{
	"Account":                     {`"subject":[$P]`, `"subject":[$X],"guarantor":[{"party":$P}]`},
	"AdverseEvent":                {`"subject":$P`, `"subject":$X,"recorder":$P`},
	"AllergyIntolerance":          {`"patient":$P`, `"patient":$X,"asserter":$P`},
	"Appointment":                 {`"participant":[{"actor":$P},{"actor":$D}]`, `"participant":[{"actor":$P},{"actor":$X}]`},
	"AppointmentResponse":         {`"actor":$P`, ``},
	"AuditEvent":                  {`"entity":[{"what":$D},{"what":$P}]`, `"source":{"observer":$P}`},
	"Basic":                       {`"subject":$P`, `"subject":$X,"author":$P`},
	"Binary":                      {`"securityContext":$P`, ``},
	"BodyStructure":               {`"patient":$P`, ``},
	"Bundle":                      {`"entry":[{"resource":{"resourceType":"Flag","subject":$P}}]`, `"entry":[{"resource":{"resourceType":"Flag","author":$P}}]`},
	"CarePlan":                    {`"subject":$P`, `"subject":$X,"activity":[{"detail":{"performer":[$P]}}]`},
	"CareTeam":                    {`"subject":$P`, `"subject":$X,"participant":[{"member":$P}]`},
	"ChargeItem":                  {`"subject":$P`, `"subject":$X,"enterer":$P`},
	"Claim":                       {`"patient":$P`, `"patient":$X,"payee":{"party":$P}`},
	"ClaimResponse":               {`"patient":$P`, ``},
	"ClinicalImpression":          {`"subject":$P`, `"subject":$X,"supportingInfo":[$P]`},
	"Communication":               {`"subject":$P`, `"subject":$X,"sender":$P`},
	"CommunicationRequest":        {`"subject":$P`, `"subject":$X,"recipient":[$P]`},
	"Composition":                 {`"subject":$P`, `"subject":$X,"author":[$P]`},
	"Condition":                   {`"subject":$P`, `"subject":$X,"asserter":$P`},
	"Consent":                     {`"patient":$P`, `"patient":$X,"provision":{"actor":[{"reference":$P}]}`},
	"Contract":                    {`"subject":[$P]`, `"subject":[$D],"signer":[{"party":$P}]`},
	"Coverage":                    {`"beneficiary":$P,"subscriber":$X`, `"beneficiary":$X,"policyHolder":$P,"subscriber":$P,"payor":[$P]`},
	"CoverageEligibilityRequest":  {`"patient":$P`, `"patient":$X,"supportingInfo":[{"information":$P}]`},
	"CoverageEligibilityResponse": {`"patient":$P`, ``},
	"DetectedIssue":               {`"patient":$P`, `"patient":$X,"evidence":[{"detail":[$P]}]`},
	"Device":                      {`"patient":$P`, ``},
	"DeviceRequest":               {`"subject":$P`, `"subject":$X,"performer":$P`},
	"DeviceUseStatement":          {`"subject":$P`, `"subject":$X,"source":$P`},
	"DiagnosticReport":            {`"subject":$P`, `"subject":$X,"extension":[{"valueReference":$P}]`},
	"DocumentManifest":            {`"subject":$P`, `"subject":$X,"recipient":[$P]`},
	"DocumentReference":           {`"subject":$P`, `"subject":$X,"context":{"sourcePatientInfo":$P}`},
	"Encounter":                   {`"subject":$P`, ``},
	"EnrollmentRequest":           {`"candidate":$P`, ``},
	"EpisodeOfCare":               {`"patient":$P`, ``},
	"ExplanationOfBenefit":        {`"patient":$P`, `"patient":$X,"payee":{"party":$P}`},
	"FamilyMemberHistory":         {`"patient":$P`, `"patient":$X,"extension":[{"valueReference":$P}]`},
	"Flag":                        {`"subject":$P`, `"subject":$X,"author":$P`},
	"Goal":                        {`"subject":$P`, `"subject":$X,"expressedBy":$P`},
	"Group":                       {``, `"member":[{"entity":$P}]`},
	"GuidanceResponse":            {`"subject":$P`, ``},
	"ImagingStudy":                {`"subject":$P`, `"subject":$X,"series":[{"performer":[{"actor":$P}]}]`},
	"Immunization":                {`"patient":$P`, ``},
	"ImmunizationEvaluation":      {`"patient":$P`, ``},
	"ImmunizationRecommendation":  {`"patient":$P`, `"patient":$X,"recommendation":[{"supportingPatientInformation":[$P]}]`},
	"Invoice":                     {`"subject":$P`, `"subject":$X,"recipient":$P`},
	"Linkage":                     {``, `"item":[{"resource":$P},{"resource":$P}]`},
	"List":                        {`"subject":$P,"entry":[{"item":$X}]`, `"subject":$X,"source":$P,"entry":[{"item":$P}]`},
	"MeasureReport":               {`"subject":$P`, `"subject":$X,"evaluatedResource":[$P]`},
	"Media":                       {`"subject":$P`, `"subject":$X,"operator":$P`},
	"MedicationAdministration":    {`"subject":$P`, `"subject":$X,"performer":[{"actor":$P}]`},
	"MedicationDispense":          {`"subject":$P`, `"subject":$X,"receiver":[$P]`},
	"MedicationRequest":           {`"subject":$P`, `"subject":$X,"reportedReference":$P`},
	"MedicationStatement":         {`"subject":$P`, `"subject":$X,"informationSource":$P`},
	"MolecularSequence":           {`"patient":$P`, ``},
	"NutritionOrder":              {`"patient":$P`, ``},
	"Observation":                 {`"subject":$P`, `"subject":$X,"performer":[$P],"focus":[$P]`},
	"Patient":                     {``, `"link":[{"other":$P,"type":"seealso"}]`},
	"Person":                      {`"link":[{"target":$P},{"target":$D}]`, `"link":[{"target":$P},{"target":$X}]`},
	"Procedure":                   {`"subject":$P`, `"subject":$X,"performer":[{"actor":$P}]`},
	"Provenance":                  {`"target":[$P]`, `"target":[$P,$X]`},
	"QuestionnaireResponse":       {`"subject":$P`, `"subject":$X,"source":$P`},
	"RelatedPerson":               {`"patient":$P`, ``},
	"RequestGroup":                {`"subject":$P`, `"subject":$X,"action":[{"participant":[$P]}]`},
	"ResearchSubject":             {`"individual":$P`, ``},
	"RiskAssessment":              {`"subject":$P`, `"subject":$X,"basis":[$P]`},
	"Schedule":                    {`"actor":[$P]`, `"actor":[$D,$P,$X]`},
	"ServiceRequest":              {`"subject":$P`, `"subject":$X,"requester":$P`},
	"Specimen":                    {`"subject":$P`, ``},
	"SupplyDelivery":              {`"patient":$P`, ``},
	"SupplyRequest":               {`"deliverTo":$P`, `"deliverTo":$X,"requester":$P`},
	"Task":                        {`"for":$P`, `"for":$X,"owner":$P`},
	"VisionPrescription":          {`"patient":$P`, ``},
}

func TestEveryTypeIsAboutItsSubjectAndMerelyNamesOthers(t *testing.T) {
	r := recordOf("p")
	for typ, c := range golden {
		for members, want := range map[string]selection.Concern{c.about: selection.About, c.names: selection.Names} {
			if members == "" {
				continue
			}
			members = persons.Replace(members)
			if got := concern(r, typ, members); got != want {
				t.Errorf("%s with %s: %v, not %v", typ, members, got, want)
			}
			if got := concern(recordOf("q"), typ, members); got != selection.None {
				t.Errorf("%s with %s: %v for a patient that it does not name", typ, members, got)
			}
		}
	}
}

func TestEveryTypeOfTheCompartmentHasACase(t *testing.T) {
	beyond := []string{"Binary", "Bundle", "Contract", "Device", "GuidanceResponse", "Linkage", "Task"}
	types := slices.Concat(r4.CompartmentTypes(), beyond)
	for _, typ := range types {
		if _, ok := golden[typ]; !ok {
			t.Errorf("%s has no case", typ)
		}
	}
	if len(types) != len(golden) {
		t.Errorf("%d cases for %d types", len(golden), len(types))
	}
}

// A store finds by the compartment what is about a patient.
func TestWhatIsAboutAPatientIsInItsCompartment(t *testing.T) {
	for _, typ := range r4.CompartmentTypes() {
		body := written(typ, "1", persons.Replace(golden[typ].about))
		if golden[typ].about != "" && !slices.Contains(search.Compartments(search.Terms(typ, "1", body)), "p") {
			t.Errorf("%s is not in the compartment of its subject", typ)
		}
	}
}

// Every element of R4 that can refer to a patient is tried, whether it is one
// or a list.
func TestNoOtherReferenceMakesAResourceAboutAPatient(t *testing.T) {
	r := recordOf("p")
	aside := []string{"AuditEvent", "Bundle"} // about more than their subjects
	for _, path := range r4.Paths() {
		typ, rest, _ := strings.Cut(path, ".")
		e, ok := r4.At(path)
		if !ok || !r4.IsType(typ) || slices.Contains(aside, typ) || !slices.Contains(e.Types, "Reference") {
			continue
		}
		for _, format := range []string{"%s", "[%s]"} {
			members := nest(rest, e, format)
			want := selection.Names
			if strings.HasPrefix(golden[typ].about, members[:strings.IndexByte(members, ':')+1]) {
				want = selection.About
			}
			if got := concern(r, typ, members); got != want {
				t.Errorf("%s with %s: %v, not %v", typ, members, got, want)
			}
		}
	}
}

// nest makes the members that lead to a reference to P.
func nest(path string, e r4.Element, format string) string {
	steps := strings.Split(path, ".")
	last := len(steps) - 1
	steps[last] = e.Member(steps[last], "Reference")
	v := `{"reference":"Patient/p"}`
	for i := last; i > 0; i-- {
		v = fmt.Sprintf(format, fmt.Sprintf(`{%q:%s}`, steps[i], v))
	}
	return fmt.Sprintf(`%q:`+format, steps[0], v)
}

func TestEveryPatientAmongTheSubjectsMustBeOfTheRecord(t *testing.T) {
	r := recordOf("p", "q")
	for subject, want := range map[string]selection.Concern{
		`$P,{"reference":"Patient/q"}`: selection.About,
		`$P,$P`:                        selection.About,
		`$P,$D`:                        selection.About,
		`$P,{"display":"a room"}`:      selection.About,
		`$P,{"reference":"#l"}`:        selection.About,
		`$P,{"reference":"#"}`:         selection.About,
		`$P,{"reference":"Device/d","type":"Patient"}`: selection.About,
		`$P,$X`:                           selection.Names,
		`$P,{"reference":"Patient/q"},$X`: selection.Names,
		`$P,{"reference":"#c"}`:           selection.Names,
		`$P,{"reference":"https://other.org/Patient/p"}`:             selection.Names,
		`$P,{"type":"Patient","identifier":{"value":"8"}}`:           selection.Names,
		`$P,{"reference":"urn:uuid:2d0d8e7a-0000","type":"Patient"}`: selection.Names,
		`$X,$D`: selection.None,
		`{"type":"Patient","identifier":{"value":"8"}}`:                selection.None,
		`{"reference":"https://other.org/Patient/p","type":"Patient"}`: selection.None,
	} {
		members := persons.Replace(`"subject":[` + subject + `],"contained":[{"resourceType":"Location","id":"l"},{"resourceType":"Patient","id":"c"}]`)
		if got := concern(r, "Account", members); got != want {
			t.Errorf("subjects %s: %v, not %v", subject, got, want)
		}
	}
}

func TestReferencesAreReadAsTheyAreWritten(t *testing.T) {
	r := recordOf("p")
	for reference, want := range map[string]selection.Concern{
		`Patient/p`:                   selection.About,
		`Patient/p/_history/3`:        selection.About,
		`Patient/p#name`:              selection.About,
		`Patient\/p`:                  selection.About,
		`\u0050atient/p`:              selection.About,
		`Patient/P`:                   selection.None,
		`Patient/p/name`:              selection.None,
		`Patient/p/_history/3/x`:      selection.None,
		`Patient?identifier=p`:        selection.None,
		`patient/p`:                   selection.None,
		`/Patient/p`:                  selection.None,
		`p`:                           selection.None,
		`#p`:                          selection.None,
		`https://other.org/Patient/p`: selection.None,
		`urn:uuid:9b0e6a5e-0000-4000-8000-000000000001`: selection.None,
		`Group/p`:    selection.None,
		`Location/p`: selection.None,
		``:           selection.None,
	} {
		if got := concern(r, "Observation", `"subject":{"reference":"`+reference+`"}`); got != want {
			t.Errorf("subject %s: %v, not %v", reference, got, want)
		}
	}
}

func TestANameAnywhereIsSeen(t *testing.T) {
	r := recordOf("p")
	r.Add(fhir.ID{Type: "Encounter", ID: "e"}, fhir.ID{Type: "Binary", ID: "b"})
	for members, want := range map[string]selection.Concern{
		`"subject":$X,"encounter":{"reference":"Encounter/e"}`:                                   selection.Names,
		`"subject":$X,"encounter":{"reference":"Encounter/e/_history/1#x"}`:                      selection.Names,
		`"subject":{"reference":"#c"},"contained":[{"resourceType":"Device","patient":$P}]`:      selection.Names,
		`"subject":$X,"extension":[{"extension":[{"valueReference":$P}]}]`:                       selection.Names,
		`"subject":$X,"_status":{"extension":[{"valueReference":$P}]}`:                           selection.Names,
		`"subject":$X,"extension":[{"valueAttachment":{"url":"Binary/b"}}]`:                      selection.Names,
		`"subject":{"reference":"Group/1"},"meta":{"extension":[{"valueReference":$P}]}`:         selection.Names,
		`"subject":{"reference":"#c"},"contained":[{"resourceType":"Patient","id":"p"}]`:         selection.None,
		`"subject":{"display":"Patient/p","identifier":{"value":"Patient/p"}}`:                   selection.None,
		`"subject":$X,"encounter":{"reference":"Encounter/f"},"note":[{"text":"Patient/p was"}]`: selection.None,
	} {
		if got := concern(r, "Observation", persons.Replace(members)); got != want {
			t.Errorf("%s: %v, not %v", members, got, want)
		}
	}
}

func TestAPatientIsAboutItself(t *testing.T) {
	r := recordOf("p")
	other := persons.Replace(`"link":[{"other":$X}]`)
	for id, want := range map[string]selection.Concern{"p": selection.About, "x": selection.None, "": selection.None} {
		if got := r.Concern("Patient", id, written("Patient", id, other)); got != want {
			t.Errorf("Patient %q: %v, not %v", id, got, want)
		}
	}
}

func TestAnAuditEventIsAboutWhoeverActedOrWasActedOn(t *testing.T) {
	for members, want := range map[string]selection.Concern{
		`"agent":[{"who":$P}],"entity":[{"what":$X}]`: selection.About,
		`"agent":[{"who":$X}],"entity":[{"what":$P}]`: selection.About,
		`"agent":[{"who":$D}],"entity":[{"what":$D}]`: selection.None,
	} {
		if got := concern(recordOf("p"), "AuditEvent", persons.Replace(members)); got != want {
			t.Errorf("%s: %v, not %v", members, got, want)
		}
	}
}

func TestBinariesAreListedOnceEach(t *testing.T) {
	body := []byte(`{"resourceType":"DocumentReference","id":"1","content":[{"attachment":{"url":"Binary/b"}},` +
		`{"attachment":{"url":"Binary\/a/_history/2"}},{"attachment":{"url":"Binary/b/_history/2#p/2"}},{"attachment":{"url":"Binary/b.x"}},{"attachment":{"url":"https://other.org/Binary/c"}}],` +
		`"context":{"related":[{"reference":"Binary/a"},{"reference":"Media/a"}]},"contained":[{"resourceType":"Media","content":{"url":"Binary/d"}}]}`)
	want := []fhir.ID{{Type: "Binary", ID: "a"}, {Type: "Binary", ID: "b"}, {Type: "Binary", ID: "b.x"}, {Type: "Binary", ID: "d"}}
	if diff := cmp.Diff(want, recordOf().Binaries(body)); diff != "" {
		t.Error(diff)
	}
	if got := recordOf("p").Binaries([]byte(`{"resourceType":"Flag","id":"1"}`)); got != nil {
		t.Errorf("none, but %v", got)
	}
}
