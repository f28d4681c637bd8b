package detach_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/detach"

	"github.com/google/go-cmp/cmp"
)

const masked = `"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]`

// gone tells whether a resource is one of those to be detached from.
func gone(id fhir.ID) bool {
	return id == fhir.ID{Type: "Patient", ID: "p"} || id == fhir.ID{Type: "Binary", ID: "b"}
}

// after writes what a body shall become: * stands for a masked element.
func after(body string) string { return strings.ReplaceAll(body, "*", "{"+masked+"}") }

func wantDetached(t *testing.T, body, want string, n int) {
	t.Helper()
	out, got := detach.Detach([]byte(body), gone)
	if diff := cmp.Diff(after(want), string(out)); diff != "" || got != n {
		t.Errorf("%s: %d masked, not %d (- want, + got)\n%s", body, got, n, diff)
	}
}

func TestReferencesAreMaskedWhereverTheyStand(t *testing.T) {
	for body, want := range map[string]string{
		`{"subject":{"reference":"Patient/p"}}`:                                                     `{"subject":*}`,
		`{"subject":{"reference":"Patient/p/_history/7"}}`:                                          `{"subject":*}`,
		`{"subject":{"reference":"Patient/p#x"}}`:                                                   `{"subject":*}`,
		`{"subject":{"reference":"Patient/p/_history/7#x"}}`:                                        `{"subject":*}`,
		`{"subject":{"reference":"Patient\/p"}}`:                                                    `{"subject":*}`,
		`{"subject":{"reference":"\u0050atient/\u0070"}}`:                                           `{"subject":*}`,
		`{"subject":{"type":"Patient","reference":"Patient/p","display":"I, \"a}"}}`:                `{"subject":*}`,
		`{"subject":{"identifier":{"value":"1"},"reference":"Patient/p"}}`:                          `{"subject":*}`,
		`{"subject":{"reference":"Patient/p","_reference":{"id":"x"},"_display":{}}}`:               `{"subject":*}`,
		`{"_status":{"extension":[{"valueReference":{"reference":"Patient/p"}}]}}`:                  `{"_status":{"extension":[{"valueReference":*}]}}`,
		`{"contained":[{"id":"c","patient":{"reference":"Patient/p"}}]}`:                            `{"contained":[{"id":"c","patient":*}]}`,
		`{"contained":[{"reference":"Patient/q","who":[[{"reference":"Patient/p"}]]}]}`:             `{"contained":[{"reference":"Patient/q","who":[[*]]}]}`,
		`{"entry":[{"resource":{"resourceType":"Flag","subject":{"reference":"Patient/p"}}}]}`:      `{"entry":[{"resource":{"resourceType":"Flag","subject":*}}]}`,
		`{"item":[{"resource":{"reference":"Patient/p"}}]}`:                                         `{"item":[{"resource":*}]}`,
		`{"future":{"reference":"Patient/p"}}`:                                                      `{"future":*}`,
		`{"photo":{"url":"Binary/b","title":"me"}}`:                                                 `{"photo":*}`,
		`{"content":[{"attachment":{"url":"Binary\/b/_history/1"}}]}`:                               `{"content":[{"attachment":*}]}`,
		`{"extension":[{"url":"x","valueAttachment":{"url":"Binary/b"}}]}`:                          `{"extension":[{"url":"x","valueAttachment":*}]}`,
		`{"subject":{"identifier":{"assigner":{"reference":"Patient/p"}}}}`:                         `{"subject":{"identifier":{"assigner":*}}}`,
		`{"subject":{"identifier":{"assigner":{"reference":"Patient/p"}},"reference":"Patient/p"}}`: `{"subject":*}`,
	} {
		wantDetached(t, body, want, 1)
	}
}

func TestEveryOtherByteStaysAsItIs(t *testing.T) {
	wantDetached(t,
		`{"resourceType":"Group","id":"g","quantity":1.50,"z":1e400,"a":"\u00e4\/ä","member":[{"entity":{"reference":"Patient/p"}},{"entity":{"reference":"Patient/q"}},`+
			`{"entity":{"reference":"Patient/p"},"inactive":true}],"name":"\ud83d\ude00 Patient/p","managingEntity":{"reference":"Patient/pp","display":"Patient/p"}}`,
		`{"resourceType":"Group","id":"g","quantity":1.50,"z":1e400,"a":"\u00e4\/ä","member":[{"entity":*},{"entity":{"reference":"Patient/q"}},`+
			`{"entity":*,"inactive":true}],"name":"\ud83d\ude00 Patient/p","managingEntity":{"reference":"Patient/pp","display":"Patient/p"}}`, 2)
	wantDetached(t, "{ \"a\" : [ 1 , {\"reference\" :\t\"Patient/p\" } , 2 ]\n}", "{ \"a\" : [ 1 , * , 2 ]\n}", 1)
}

func TestTheIDOfAnElementStays(t *testing.T) {
	wantDetached(t, `{"subject":{"display":"x","reference":"Patient/p","id":"e\u0031","extension":[{"id":"no","url":"u"}]}}`,
		`{"subject":{"id":"e\u0031",`+masked+`}}`, 1)
	wantDetached(t, `{"subject":{"id":1,"reference":"Patient/p"}}`, `{"subject":*}`, 1)
}

func TestWhatIsNoReferenceStays(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"subject":{}}`, `[]`, `"Patient/p"`, ``, `{"subject":{"reference":"Patient/p"}`, `{"subject":{"reference":"Patient/p"}}x`,
		`{"subject":{"reference":"Patient/p"},"status":"\q"}`, `{"subject":{"reference":"Patient/p"},1}`,
		`{"subject":{"reference":"https://other.org/Patient/p"}}`,
		`{"subject":{"reference":"urn:uuid:p"}}`,
		`{"subject":{"reference":"#p"}}`,
		`{"subject":{"reference":"Patient/q"}}`,
		`{"subject":{"reference":"Group/p"}}`,
		`{"subject":{"reference":"/Patient/p"}}`,
		`{"subject":{"reference":"Patient/p/x"}}`,
		`{"subject":{"reference":"Patient/p/_history/1/x"}}`,
		`{"subject":{"reference":"Patient"}}`,
		`{"subject":{"reference":["Patient/p"]}}`,
		`{"subject":{"display":"Patient/p","type":"Patient","identifier":{"value":"p"}}}`,
		`{"reference":"Patient/p"}`,
		`{"contained":[{"reference":"Patient/p"}]}`,
		`{"entry":[{"resource":{"reference":"Patient/p","resourceType":"DetectedIssue"}}]}`,
		`{"education":[{"reference":"Patient/p"}]}`,
		`{"valueExpression":{"reference":"Patient/p"}}`,
		`{"link":[{"url":"Binary/b"}],"url":"Binary/b","extension":[{"url":"Patient/p"}]}`,
		`{"photo":{"title":"Binary/b"}}`,
		`{"id":"p","resourceType":"Patient"}`,
	} {
		wantDetached(t, body, body, 0)
	}
}

func TestNothingIsTouchedWhereNothingIsGone(t *testing.T) {
	body := []byte(`{"subject":{"reference":"Patient/p"}}`)
	out, n := detach.Detach(body, func(fhir.ID) bool { return false })
	if n != 0 || &out[0] != &body[0] {
		t.Errorf("%d masked, and it is the body itself: %v", n, &out[0] == &body[0])
	}
}

func TestDetachKeepsTheBodyItWasGiven(t *testing.T) {
	body := []byte(`{"subject":{"reference":"Patient/p"}}`)
	before := bytes.Clone(body)
	if detach.Detach(body, gone); !bytes.Equal(before, body) {
		t.Errorf("the body is %s", body)
	}
}

func TestOfIsAskedByTypeAndID(t *testing.T) {
	var asked []fhir.ID
	detach.Detach([]byte(`{"a":{"reference":"Patient/p/_history/1"},"b":{"reference":"Future/f#x"},"c":{"reference":"#d"},"photo":{"url":"Binary/e"}}`),
		func(id fhir.ID) bool { asked = append(asked, id); return false })
	want := []fhir.ID{{Type: "Patient", ID: "p"}, {Type: "Future", ID: "f"}, {Type: "Binary", ID: "e"}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func FuzzDetach(f *testing.F) {
	files, err := filepath.Glob("../../testdata/resources/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no resources", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, body := range []string{`{"a":{"reference":"Patient/p"`, `{"a":{"reference":"Patient/p","id":"1"},"a":{"id":"\ud800"}}`, `[{"reference":"Patient/p"}]`, "{\"\xff\":1}"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		detach.FreeText(body) // whatever it is, it ends
		out, n := detach.Detach(body, func(id fhir.ID) bool { return id.Type == "Patient" })
		if json.Valid(body) && !json.Valid(out) {
			t.Errorf("%s became %s", body, out)
		}
		if n == 0 && !bytes.Equal(body, out) {
			t.Errorf("%s became %s with nothing masked", body, out)
		}
		if again, more := detach.Detach(out, func(id fhir.ID) bool { return id.Type == "Patient" }); more != 0 || !bytes.Equal(out, again) {
			t.Errorf("%s became %s, then %s", body, out, again)
		}
	})
}
