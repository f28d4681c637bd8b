package interaction_test

import (
	"errors"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/r4"

	"github.com/google/go-cmp/cmp"
)

var bundleReader = fhir.Reader{Known: r4.IsType, MaxBytes: 2000}

// entry is what is compared of an interaction.Entry.
type entry struct {
	ID, Body, Err string
	Unresolved    []string
}

func entriesOf(t *testing.T, bundle string) []entry {
	t.Helper()
	list, err := interaction.EntriesOf(bundleReader, []byte(bundle))
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	for i, e := range list {
		g := entry{Body: string(e.Resource.Body), Unresolved: e.Unresolved}
		if !e.Resource.ID.IsZero() {
			g.ID = e.Resource.ID.String()
		}
		if e.Err != nil {
			g.Err = e.Err.Error()
		}
		if e.Index != i {
			t.Errorf("entry %d has the index %d", i, e.Index)
		}
		got = append(got, g)
	}
	return got
}

const (
	uuidA = "urn:uuid:0a0a0a0a-0000-0000-0000-000000000001"
	uuidB = "urn:uuid:0b0b0b0b-0000-0000-0000-000000000002"
	uuidC = "urn:uuid:0c0c0c0c-0000-0000-0000-000000000003"
)

func TestEntriesHaveTheirURNsResolved(t *testing.T) {
	got := entriesOf(t, `{
	"entry": [
		{"fullUrl":"`+uuidA+`","request":{"method":"POST","url":"Patient"},"resource":
			{"resourceType":"Patient","id":"p","photo":[{"url":"`+uuidB+`"}],"generalPractitioner":[{"reference":"`+uuidC+`"}]}},
		{"fullUrl":"`+uuidB+`","resource":{"resourceType":"Binary","id":"b"}},
		{"resource":{"meta":{"versionId":"1","profile":["`+uuidA+`"]},"resourceType":"Observation","id":"o","subject":{"reference":"`+strings.ToUpper(uuidA[9:])+`"},
			"performer":[{"reference":"`+uuidA+`","display":"`+uuidA+`"},{"reference":"#x"},{"reference":"Patient/q"},{"reference":"`+uuidC+`"},{"reference":"`+uuidC+`"}],
			"contained":[{"resourceType":"Media","id":"x","subject":{"reference":"`+uuidA+`"},"content":{"url":"`+uuidB+`"}}],
			"extension":[{"url":"`+uuidA+`","valueAttachment":{"url":"`+uuidB+`"}},{"url":"u","valueUri":"`+uuidA+`"}],
			"valueQuantity":{"value":1.50}}}
	], "type":"transaction", "resourceType":"Bundle"}`)
	want := []entry{
		{ID: "Patient/p", Body: `{"resourceType":"Patient","id":"p","photo":[{"url":"Binary/b"}],"generalPractitioner":[{"reference":"` + uuidC + `"}]}`, Unresolved: []string{uuidC}},
		{ID: "Binary/b", Body: `{"resourceType":"Binary","id":"b"}`},
		{ID: "Observation/o", Body: `{"meta":{"profile":["` + uuidA + `"]},"resourceType":"Observation","id":"o","subject":{"reference":"` + strings.ToUpper(uuidA[9:]) + `"},` +
			`"performer":[{"reference":"Patient/p","display":"` + uuidA + `"},{"reference":"#x"},{"reference":"Patient/q"},{"reference":"` + uuidC + `"},{"reference":"` + uuidC + `"}],` +
			`"contained":[{"resourceType":"Media","id":"x","subject":{"reference":"Patient/p"},"content":{"url":"Binary/b"}}],` +
			`"extension":[{"url":"` + uuidA + `","valueAttachment":{"url":"Binary/b"}},{"url":"u","valueUri":"` + uuidA + `"}],` +
			`"valueQuantity":{"value":1.50}}`, Unresolved: []string{uuidC}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAResolvedEntryIsShownWithItsMetaInPlace(t *testing.T) {
	list, err := interaction.EntriesOf(bundleReader, []byte(`{"resourceType":"Bundle","entry":[
		{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient","id":"p"}},
		{"resource":{"subject":{"reference":"`+uuidA+`"},"resourceType":"Observation","id":"o"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r := list[1].Resource
	want := `{"subject":{"reference":"Patient/p"},"resourceType":"Observation","id":"o","meta":{"versionId":"1","lastUpdated":"1970-01-01T00:00:00.000Z"}}`
	if got := string(fhir.AppendShown(nil, r.Body, r.MetaAt, 1, 0)); got != want {
		t.Errorf("shown\n got %s\nwant %s", got, want)
	}
}

func TestAnEntryThatCannotBeStoredIsNamedAndTheOthersGoOn(t *testing.T) {
	got := entriesOf(t, `{"resourceType":"Bundle","entry":[
		{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient"}},
		{"fullUrl":"https://secret.example/John"},
		{"resource":{"resourceType":"Patent","id":"1"}},
		{"resource":{"resourceType":"Patient","id":"1","id":"2"}},
		{"resource":{"resourceType":"Patient","id":"a b"}},
		{"resource":null},
		{"resource":{"resourceType":"Patient","id":"1","name":"`+"\xff"+`"}},
		{"resource":{"resourceType":"Patient","id":"1","text":"`+strings.Repeat("x", 2000)+`"}},
		{"resource":{"resourceType":"Observation","id":"o","subject":{"reference":"`+uuidA+`"}}}]}`)
	if len(got) != 9 {
		t.Fatalf("%d entries", len(got))
	}
	for i, says := range []string{
		"entry 0 (" + uuidA + ") has a resource without an id", "entry 1 has no resource", "not a resource type", "twice",
		"1 to 64", "one JSON object", "malformed", "2000 bytes at most",
	} {
		if got[i].ID != "" || got[i].Body != "" || !strings.Contains(got[i].Err, says) || strings.Contains(got[i].Err, "secret") {
			t.Errorf("entry %d: %+v, want %q", i, got[i], says)
		}
	}
	if diff := cmp.Diff([]string{uuidA}, got[8].Unresolved); diff != "" || got[8].ID != "Observation/o" {
		t.Errorf("the last: %+v", got[8])
	}
}

func TestAURNOfTwoResourcesIsOfNone(t *testing.T) {
	got := entriesOf(t, `{"resourceType":"Bundle","entry":[
		{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient","id":"1"}},
		{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient","id":"2"}},
		{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient","id":"1"}},
		{"resource":{"resourceType":"Observation","id":"o","subject":{"reference":"`+uuidA+`"}}}]}`)
	if diff := cmp.Diff([]string{uuidA}, got[3].Unresolved); diff != "" {
		t.Error(diff)
	}
}

func TestABundleWithinTheBundleKeepsItsURNs(t *testing.T) {
	inner := `{"resourceType":"Bundle","id":"i","entry":[{"fullUrl":"` + uuidA + `","resource":{"resourceType":"List","id":"l","subject":{"reference":"` + uuidA + `"}}}]}`
	got := entriesOf(t, `{"resourceType":"Bundle","entry":[{"fullUrl":"`+uuidA+`","resource":{"resourceType":"Patient","id":"p"}},{"resource":`+inner+`}]}`)
	if got[1].Body != inner {
		t.Errorf("got %s", got[1].Body)
	}
}

func TestABundleMayBeEmpty(t *testing.T) {
	for _, b := range []string{`{"resourceType":"Bundle"}`, ` {"entry":[],"resourceType":"Bundle"} `} {
		if got := entriesOf(t, b); len(got) != 0 {
			t.Errorf("%s: %v", b, got)
		}
	}
}

func TestWhatIsNoBundleIsRefused(t *testing.T) {
	for _, b := range []string{
		``, `null`, `[]`, `{}`, `{"resourceType":"Patient"}`, `{"resourceType":5}`, `{"resourceType":"Bundle"`, `{"resourceType":"Bundle"}{}`,
		`{"resourceType":"Bundle","entry":{}}`, `{"resourceType":"Bundle","entry":[1]}`, `{"resourceType":"Bundle","entry":[{"fullUrl":1}]}`,
		`{"resourceType":"Bundle","entry":[],"entry":[]}`, `{"resourceType":"Bundle","entry":[{"secret":}]}`, `{"resourceType":"Bundle"} secret`,
		`{"resourceType":"Bundle","entry":[{"resource":{"x":` + strings.Repeat("[", 20_000),
	} {
		list, err := interaction.EntriesOf(bundleReader, []byte(b))
		if e := (*fhir.Error)(nil); !errors.As(err, &e) || e.Kind != fhir.Invalid || strings.Contains(e.Error(), "secret") || list != nil {
			t.Errorf("%.80s: %v, %.200v", b, list, err)
		}
	}
}

func FuzzEntriesAreStoredAsTheReaderWouldReadThem(f *testing.F) {
	f.Add(`{"resourceType":"Bundle","entry":[{"fullUrl":"` + uuidA + `","resource":{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"` + uuidA + `"}}]}}]}`)
	f.Fuzz(func(t *testing.T, bundle string) {
		list, err := interaction.EntriesOf(bundleReader, []byte(bundle))
		if err != nil {
			return
		}
		for _, e := range list {
			if e.Err != nil {
				continue
			}
			again, err := bundleReader.Read(e.Resource.Body)
			if diff := cmp.Diff(e.Resource, again); err != nil || diff != "" {
				t.Errorf("read again: %v %s", err, diff)
			}
		}
	})
}
