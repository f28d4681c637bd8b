package selection_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 6, 15, 12, 30, 45, 0, time.UTC)

func group(members ...string) []byte {
	return []byte(`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[` + strings.Join(members, ",") + `]}`)
}

// member is a member by its reference, with more beside it.
func member(reference string, more ...string) string {
	return `{"entity":{"reference":"` + reference + `"}` + strings.Join(append([]string{""}, more...), ",") + `}`
}

func period(start, end string) string {
	var bounds []string
	if start != "" {
		bounds = append(bounds, `"start":"`+start+`"`)
	}
	if end != "" {
		bounds = append(bounds, `"end":"`+end+`"`)
	}
	return `"period":{` + strings.Join(bounds, ",") + `}`
}

func want(t *testing.T, body []byte, at time.Time, patients ...string) []fhir.Issue {
	t.Helper()
	got := selection.Members(body, at)
	if diff := cmp.Diff(patients, got.Patients, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (- want, + got)\n%s", body, diff)
	}
	return got.LeftOut
}

func wantAll(t *testing.T, leftOut []fhir.Issue) {
	t.Helper()
	if len(leftOut) > 0 {
		t.Errorf("left out: %+v", leftOut)
	}
}

func TestMembersAreThePatientsInTheirOrderAndOnceEach(t *testing.T) {
	wantAll(t, want(t, group(
		member("Patient/b"), member("Patient/a"), member("Patient/b"), member("Patient/c", `"inactive":false`),
		member("Patient/a/_history/3"), member("Patient/A"),
	), at, "b", "a", "c", "A"))
}

func TestAGroupWithoutMembersHasNone(t *testing.T) {
	for _, body := range []string{
		`{"resourceType":"Group","id":"g"}`, `{"resourceType":"Group","id":"g","member":[]}`,
		`{"resourceType":"Group","id":"g","contained":[{"resourceType":"Group","member":[{"entity":{"reference":"Patient/x"}}]}]}`,
	} {
		wantAll(t, want(t, []byte(body), at))
	}
}

func TestInactiveMembersAreNone(t *testing.T) {
	wantAll(t, want(t, group(member("Patient/a", `"inactive":true`), member("Patient/b")), at, "b"))
	wantAll(t, want(t, group(member("Practitioner/a", `"inactive":true`, period("nonsense", ""))), at))
}

func TestAPeriodHoldsToThePrecisionInWhichItIsWritten(t *testing.T) {
	instant := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct{ start, end, first, last string }{
		{"2026", "2026", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999999999Z"},
		{"2026-02", "2026-02", "2026-02-01T00:00:00Z", "2026-02-28T23:59:59.999999999Z"},
		{"2028-02", "2028-02", "2028-02-01T00:00:00Z", "2028-02-29T23:59:59.999999999Z"},
		{"2026-12", "2026-12", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59.999999999Z"},
		{"2026-06-15", "2026-06-15", "2026-06-15T00:00:00Z", "2026-06-15T23:59:59.999999999Z"},
		{"2026-06-15T10:00:00Z", "2026-06-15T11:00:00Z", "2026-06-15T10:00:00Z", "2026-06-15T11:00:00.999999999Z"},
		{"2026-06-15T10:00:00.5Z", "2026-06-15T11:00:00.50Z", "2026-06-15T10:00:00.5Z", "2026-06-15T11:00:00.509999999Z"},
		{"2026-06-15T10:00:00.123Z", "2026-06-15T10:00:00.123Z", "2026-06-15T10:00:00.123Z", "2026-06-15T10:00:00.123999999Z"},
		{"2026-06-15T00:00:00+14:00", "2026-06-15T00:00:00-12:00", "2026-06-14T10:00:00Z", "2026-06-15T12:00:00.999999999Z"},
		{"2026-06-15T02:00:00+05:30", "2026-06-15T02:00:00+05:30", "2026-06-14T20:30:00Z", "2026-06-14T20:30:00.999999999Z"},
		{"2025", "2026-06-15T10:00:00Z", "2025-01-01T00:00:00Z", "2026-06-15T10:00:00.999999999Z"},
	} {
		first, last := instant(c.first), instant(c.last)
		whole, from, until := group(member("Patient/a", period(c.start, c.end))), group(member("Patient/a", period(c.start, ""))), group(member("Patient/a", period("", c.end)))
		for _, in := range []time.Time{first, last, first.Add(last.Sub(first) / 2), first.In(time.FixedZone("", 9*3600))} {
			wantAll(t, want(t, whole, in, "a"))
			wantAll(t, want(t, from, in, "a"))
			wantAll(t, want(t, until, in, "a"))
		}
		wantAll(t, want(t, whole, first.Add(-1)))
		wantAll(t, want(t, from, first.Add(-1)))
		wantAll(t, want(t, until, first.Add(-1), "a"))
		wantAll(t, want(t, whole, last.Add(1)))
		wantAll(t, want(t, from, last.Add(1), "a"))
		wantAll(t, want(t, until, last.Add(1)))
	}
}

func TestAPeriodWithoutBoundsHoldsAlways(t *testing.T) {
	wantAll(t, want(t, group(member("Patient/a", `"period":{}`), member("Patient/b", `"period":{"extension":[{"url":"x"}]}`)), at, "a", "b"))
}

func TestAPeriodThatEndsBeforeItBeginsHoldsNever(t *testing.T) {
	wantAll(t, want(t, group(member("Patient/a", period("2027", "2025"))), at))
}

func TestAPatientWhoCameBackIsAMember(t *testing.T) {
	wantAll(t, want(t, group(member("Patient/a", period("2020", "2021")), member("Patient/a", period("2026", ""))), at, "a"))
}

func TestAMemberWhosePeriodCannotBeReadIsLeftOutAndNamed(t *testing.T) {
	for _, p := range []string{
		period("soon", ""), period("", "2026-13"), period("2026-02-30", ""), period("", "2030-01-01T10:00:00"), period("2026-6-1", ""),
		`"period":"2026"`, `"period":[{"start":"2020"}]`, `"period":{"start":2020}`, `"period":{"end":null}`, `"period":{"start":""}`,
	} {
		leftOut := want(t, group(member("Patient/a"), member("Patient/secret", p)), at, "a")
		wantOne(t, leftOut, "Group.member[1].period")
	}
}

// wantOne checks the one issue, which must not repeat what the Group says.
func wantOne(t *testing.T, leftOut []fhir.Issue, where string) {
	t.Helper()
	if len(leftOut) != 1 {
		t.Errorf("%d issues: %+v", len(leftOut), leftOut)
		return
	}
	i := leftOut[0]
	if i.Severity != fhir.Warning || i.Code != fhir.CodeIncomplete || i.Expression != where || i.Diagnostics == "" || strings.Contains(i.Diagnostics, "secret") {
		t.Errorf("%+v, want it at %s", i, where)
	}
}

func TestAMemberThatIsNoPatientOfThisServerIsLeftOutAndNamed(t *testing.T) {
	for _, m := range []string{
		member("https://example.org/fhir/Patient/secret"), member("http://localhost/fhir/Patient/secret"),
		member("#secret"), member("#"), member("urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"), member("urn:oid:1.2.3"),
		member("Observation/secret"), member("OperationOutcome/secret"), member("Organization/secret"), member("RelatedPerson/secret"),
		member("Patient"), member("Patient/"), member("Patient/secret/more"), member("Patient/a%20secret"), member("/Patient/secret"),
		member("patient/secret"), member("Patent/secret"), member("Patient?identifier=secret"), member(""),
		member("Patient/" + strings.Repeat("s", 65)),
		`{"entity":{"identifier":{"value":"secret"}}}`, `{"entity":{"display":"secret"}}`, `{"entity":{}}`, `{}`,
		`{"entity":"Patient/secret"}`, `{"entity":{"reference":["Patient/secret"]}}`, `"Patient/secret"`, `null`,
	} {
		leftOut := want(t, group(member("Patient/a"), member("Patient/a", `"inactive":true`), m, member("Patient/b")), at, "a", "b")
		wantOne(t, leftOut, "Group.member[2].entity")
	}
}

func TestAMemberOutsideItsPeriodIsNotNamedWhateverItIs(t *testing.T) {
	wantAll(t, want(t, group(member("Practitioner/a", period("2027", "")), member("#x", period("", "2020"))), at))
}

func TestMembersOfOtherTypesAreToldApart(t *testing.T) {
	got := selection.Members(group(
		member("Group/h"), member("Device/d"), member("Patient/a"), member("Practitioner/p"), member("PractitionerRole/r"),
		member("Medication/m"), member("Substance/s"), member("Device/d"), member("Group/h"), member("Device/off", `"inactive":true`),
	), at)
	want := selection.Membership{Patients: []string{"a"}, Groups: []string{"h"}, Others: []fhir.ID{
		{Type: "Device", ID: "d"}, {Type: "Practitioner", ID: "p"}, {Type: "PractitionerRole", ID: "r"}, {Type: "Medication", ID: "m"}, {Type: "Substance", ID: "s"},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(selection.Membership{})); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

func TestMembersOfSeveralGroupsAreAddedOnceEach(t *testing.T) {
	var got selection.Membership
	got.Add(selection.Members(group(member("Patient/a"), member("Group/h"), member("Device/d"), member("#x")), at))
	got.Add(selection.Members(group(member("Patient/b"), member("Patient/a"), member("Group/h"), member("Device/d"), member("Device/a")), at))
	want := selection.Membership{
		Patients: []string{"a", "b"}, Groups: []string{"h"}, Others: []fhir.ID{{Type: "Device", ID: "d"}, {Type: "Device", ID: "a"}},
	}
	ignore := cmpopts.IgnoreFields(selection.Membership{}, "LeftOut")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(selection.Membership{}), ignore); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
	wantOne(t, got.LeftOut, "Group.member[3].entity")
}

// Patients of a thousand groups of a hundred: what each adds does not grow
// with those before.
func TestAThousandGroupsAreAdded(t *testing.T) {
	var all selection.Membership
	for g := range 1000 {
		members := make([]string, 100)
		for i := range members {
			members[i] = member(fmt.Sprintf("Patient/p-%d", g*50+i))
		}
		all.Add(selection.Members(group(members...), at))
	}
	if len(all.Patients) != 50_050 {
		t.Errorf("%d patients", len(all.Patients))
	}
}

func TestCharacteristicsAreNamedAsPassedOver(t *testing.T) {
	body := []byte(`{"resourceType":"Group","characteristic":[{"exclude":false}],"member":[` + member("Patient/a") + `]}`)
	wantOne(t, want(t, body, at, "a"), "Group.characteristic")
	wantAll(t, want(t, []byte(`{"resourceType":"Group","characteristic":[],"member":[`+member("Patient/a")+`]}`), at, "a"))
}

func TestWhatAModifierExtensionChangesIsLeftOut(t *testing.T) {
	const extension = `"modifierExtension":[{"url":"secret"}]`
	body := []byte(`{"resourceType":"Group",` + extension + `,"member":[` + member("Patient/a") + `]}`)
	wantOne(t, want(t, body, at), "Group.modifierExtension")
	if !selection.Modified(body) || selection.Modified(group(member("Patient/a", extension))) {
		t.Error("a Group is modified by its own extension, and not by a member's")
	}
	wantOne(t, want(t, group(member("Patient/a"), member("Patient/b", extension)), at, "a"), "Group.member[1].modifierExtension")
}

// The work for a member does not grow with the number of members: what that
// would cost here is beyond the patience of any test.
func TestAHundredThousandMembersAreRead(t *testing.T) {
	const many = 100_000
	members := make([]string, 0, 2*many)
	for i := range many {
		m := member(fmt.Sprintf("Patient/p-%d", i), period("2020-01-01", "2030-01-01T00:00:00Z"))
		members = append(members, m, m)
	}
	got := selection.Members(group(members...), at)
	patients, leftOut := got.Patients, got.LeftOut
	if len(patients) != many || len(leftOut) != 0 || patients[0] != "p-0" || patients[many-1] != fmt.Sprintf("p-%d", many-1) {
		t.Errorf("%d patients, %d left out", len(patients), len(leftOut))
	}
}
