package ingest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/ingest"
)

func TestLinesAreStoredInTheirOrder(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", lines(patient("b"), patient("a"), `{"resourceType":"Observation","id":"a"}`))
	l.file("2.ndjson", patient("c")) // without an end
	l.all()
	l.wantOrder("Patient/b", "Patient/a", "Observation/a", "Patient/c")
	l.wantSum(4, 0, 0, 0)
	l.wantProblems()
}

func TestNothingIsLostOrRepeatedOverManyChunksAndBatches(t *testing.T) {
	l := newLoad(t)
	const many = 25_000 // a megabyte
	l.file("1.ndjson", patients(many))
	l.all()
	slices.Sort(l.sink.order) // batches are put two at a time
	l.wantOrder(slices.Sorted(slices.Values(patientIDs(many)))...)
	if len(l.progress) < 3 {
		t.Errorf("told of progress %d times", len(l.progress))
	}
	for _, n := range l.sink.puts {
		if n > 1000 {
			t.Errorf("%d in one batch", n)
		}
	}
}

func TestGzipIsUnpacked(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson.gz", zip(lines(patient("a"), patient("b"))))
	l.file("2.ndjson.gz", zip(patient("c")+"\n"+`{"resourceType":"Pat`)+zip(`ient","id":"d"}`+"\n")) // as gzip appends
	l.file("3.json.gz", zip(bundle(entry(patient("e")))))
	l.file("4.ndjson.gz", zip(""))
	l.all()
	l.wantOrder("Patient/a", "Patient/b", "Patient/c", "Patient/d", "Patient/e")
	l.wantProblems()
}

func TestABundleIsTakenApart(t *testing.T) {
	l := newLoad(t)
	const urn = "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"
	l.file("1.json", `{"resourceType":"Bundle","id":"ours","type":"transaction","entry":[
		{"fullUrl":"`+urn+`","resource":{"resourceType":"Patient","id":"p"},"request":{"method":"POST","url":"Patient"}},
		{"resource":{"resourceType":"Observation","id":"o","subject":{"reference":"`+urn+`"},"valueQuantity":{"value":1.50}}}
	]}`)
	l.all()
	l.wantOrder("Patient/p", "Observation/o")
	want := `{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"},"valueQuantity":{"value":1.50}}`
	if got := l.sink.bodies[fhir.ID{Type: "Observation", ID: "o"}]; got != want {
		t.Error(got)
	}
}

func TestAnEntryThatCannotBeTakenIsNamedAndTheOthersAre(t *testing.T) {
	l := newLoad(t)
	l.file("1.json", bundle(
		entry(patient("a")), entry(`{"resourceType":"Patient"}`), entry(`{"resourceType":"Patent","id":"x"}`), `{"fullUrl":"urn:uuid:1"}`,
		entry(`{"resourceType":"Observation","id":"o","subject":{"reference":"urn:uuid:00000000-0000-0000-0000-000000000000"}}`), entry(patient("b")),
	))
	l.all()
	l.wantOrder("Patient/a", "Observation/o", "Patient/b")
	l.wantProblems("error 1.json entry 2", "error 1.json entry 3", "error 1.json entry 4", "warning 1.json entry 5 1 urn: reference")
	l.wantSum(3, 0, 0, 3) // a warning is no failure
}

// In ndjson a Bundle with an id is a resource like any other.
func TestABundleInALineIsTakenApartOnlyWithoutAnID(t *testing.T) {
	l := newLoad(t)
	stored := `{"resourceType":"Bundle","id":"b","type":"document","entry":[` + entry(patient("inside")) + `]}`
	l.file("1.ndjson", lines(stored, "", bundle(entry(patient("a")), entry(patient("bad id"))), bundle()))
	l.all()
	l.wantOrder("Bundle/b", "Patient/a")
	l.wantProblems("error 1.ndjson:3 entry 2")
}

func TestAFileOfOneResourceIsStored(t *testing.T) {
	l := newLoad(t)
	l.file("1.json", "\n {\"resourceType\": \"Patient\",\n \"id\": \"a\"}\n")
	l.file("2.json", "\xef\xbb\xbf"+patient("b"))
	l.all()
	l.wantOrder("Patient/a", "Patient/b")
	if got := l.sink.bodies[fhir.ID{Type: "Patient", ID: "a"}]; got != patient("a") {
		t.Error(got)
	}
}

func TestLineEndsMarksAndBlankLinesAreNoContent(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", "\xef\xbb\xbf"+patient("a")+"\r\n\r\n  \t\r\n"+patient("b")+"\r\n\n"+"nonsense\r\n"+patient("c"))
	l.file("2.ndjson", "\n\n\r\n")
	l.file("3.ndjson", "")
	l.all()
	l.wantOrder("Patient/a", "Patient/b", "Patient/c")
	l.wantProblems("error 1.ndjson:6 malformed JSON")
}

func TestABadLineIsReportedWithItsPlaceAndTheRestIsStored(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", lines(
		patient("a"),
		`{"resourceType":"Patient","id":"secret"`,
		`[`+patient("secret")+`]`,
		`{"resourceType":"Patent","id":"secret"}`,
		`{"resourceType":"Patient","name":[{"family":"secret"}]}`,
		`{"resourceType":"Patient","id":"secret id"}`,
		`{"resourceType":"Patient","id":"secret","id":"secret"}`,
		`{"resourceType":"Patient","id":"secret"} {}`,
		"{\"resourceType\":\"Patient\",\"id\":\"secret\",\"x\":\"\xff\"}",
		patient("b"),
	))
	l.all()
	l.wantOrder("Patient/a", "Patient/b")
	l.wantSum(2, 0, 0, 8)
	l.wantProblems("error 1.ndjson:2 malformed", "error 1.ndjson:3 ", "error 1.ndjson:4 ", "error 1.ndjson:5 the Patient has no id",
		"error 1.ndjson:6 ", "error 1.ndjson:7 ", "error 1.ndjson:8 ", "error 1.ndjson:9 ")
	for _, p := range l.problems {
		if strings.Contains(p, "secret") {
			t.Errorf("it repeats what was sent: %s", p)
		}
	}
}

func TestALineThatIsTooLongIsReportedAndTheNextIsStored(t *testing.T) {
	l := newLoad(t)
	l.maxLine = 200
	long := func(id string, n int) string {
		return `{"resourceType":"Patient","id":"` + id + `","x":"` + strings.Repeat("a", n) + `"}`
	}
	l.file("1.ndjson", lines(patient("a"), long("b", 200), long("c", 200_000), patient("d")))
	l.file("2.ndjson.gz", zip(long("e", 200_000)+"\n"+patient("f")))
	l.file("3.json", bundle(entry(long("g", 200))))
	l.file("4.json.gz", zip(bundle(entry(long("h", 200_000)))))
	l.file("5.ndjson", lines(patient("i")))
	l.all()
	l.wantOrder("Patient/a", "Patient/d", "Patient/f", "Patient/i")
	l.wantProblems("error 1.ndjson:2 line is too long", "error 1.ndjson:3 line is too long", "error 2.ndjson.gz:1 line is too long",
		"error 3.json it is larger than 200 bytes", "error 4.json.gz it is larger than 200 bytes")
}

func TestOfOneIDInAFileTheLaterOneWins(t *testing.T) {
	l := newLoad(t)
	l.file("1.ndjson", lines(patient("a"), patient("b"), `{"resourceType":"Patient","id":"a","active":true}`, patient("b"), `{"resourceType":"Observation","id":"a"}`))
	l.all()
	l.wantOrder("Patient/a", "Patient/b", "Patient/a", "Patient/b", "Observation/a")
	l.wantSum(3, 1, 1, 0)
	if got := l.sink.bodies[fhir.ID{Type: "Patient", ID: "a"}]; !strings.Contains(got, "active") {
		t.Error(got)
	}
}

func TestAResourceIsInABatchOnce(t *testing.T) {
	l := newLoad(t)
	var all []string
	for i := range 700 {
		all = append(all, patient(fmt.Sprint("p-", i%7)))
	}
	l.file("1.ndjson", lines(all...))
	l.all()
	for _, n := range l.sink.puts {
		if n > 7 {
			t.Errorf("%d of 7 different resources in one batch", n)
		}
	}
	if n := len(l.sink.puts); n != 100 {
		t.Errorf("%d batches for 100 versions", n)
	}
	l.wantSum(7, 0, 693, 0)
}

func TestAFileThatCannotBeReadIsReportedAndTheOthersAre(t *testing.T) {
	l := newLoad(t)
	whole := zip(patients(20_000))
	l.file("1.ndjson.gz", lines(patient("x")))
	l.file("2.json.gz", bundle(entry(patient("x"))))
	l.file("3.ndjson.gz", whole[:len(whole)/2])
	l.file("4.ndjson.gz", zip(lines(patient("whole")))+"and more")
	l.file("5.json", "")
	l.file("6.json", patient("a")+patient("b"))
	l.file("7.ndjson.gz", "")
	l.file("8.ndjson", lines(patient("last")))
	l.all()
	l.wantProblems("error 1.ndjson.gz it is not gzip", "error 2.json.gz it is not gzip", "error 3.ndjson.gz ", "error 4.ndjson.gz ",
		"error 5.json malformed", "error 6.json malformed", "error 7.ndjson.gz it is not gzip")
	for _, id := range []string{"whole", "last", "p-0"} { // the part before the fault is stored
		if _, ok := l.sink.bodies[fhir.ID{Type: "Patient", ID: id}]; !ok {
			t.Errorf("%s is not stored", id)
		}
	}
	if _, ok := l.sink.bodies[fhir.ID{Type: "Patient", ID: "x"}]; ok {
		t.Error("a file that is not gzip was read all the same")
	}
}

func TestAFileThatHasGoneOrIsAFolderIsReportedAndTheOthersAre(t *testing.T) {
	l := newLoad(t)
	last := l.sources(l.file("last.ndjson", lines(patient("last"))))
	sources := append([]ingest.Source{
		{Path: l.dir + "/gone.ndjson", Size: 100, Lines: true},
		{Path: l.dir + "/gone.json.gz", Size: 10, Gzip: true},
		{Path: l.dir, Size: 1, Lines: true},
		{Path: l.dir},
	}, last...)
	l.ok(l.run(t.Context(), sources))
	l.wantOrder("Patient/last")
	l.wantSum(1, 0, 0, 4)
	l.wantBytesOf(sources)
	for i, p := range l.problems {
		if i < 2 && (!strings.HasPrefix(p, "error gone.") || strings.Count(p, "gone.") != 1) {
			t.Error(p)
		}
	}
}

func TestProgressComesToItsEndThoughAFileIsNotReadToItsOwn(t *testing.T) {
	for name, content := range map[string]string{
		"1.ndjson.gz": patients(20_000), "1.json.gz": patients(20_000), "1.json": patients(20_000),
	} {
		l := newLoad(t)
		l.maxLine = 1000
		l.file(name, content)
		l.all()
		l.wantProblems("error " + name)
	}
}

func TestNothingIsLoadedOfNothing(t *testing.T) {
	l := newLoad(t)
	l.ok(l.run(t.Context(), nil))
	l.wantSum(0, 0, 0, 0)
}

func TestPlacesAreWrittenAsEditorsReadThem(t *testing.T) {
	for want, p := range map[string]ingest.Place{
		"a.ndjson": {File: "a.ndjson"}, "a.ndjson:7": {File: "a.ndjson", Line: 7},
		"a.json entry 3": {File: "a.json", Entry: 3}, "a.ndjson:7 entry 3": {File: "a.ndjson", Line: 7, Entry: 3},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
