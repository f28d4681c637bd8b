package detach_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/detach"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"

	"pgregory.net/rapid"
)

// anyValue is JSON of what may stand in a resource, and of what may not. Its
// names are those that search and detach tell apart, and others.
func anyValue(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case depth == 0 || kind < 1:
		return rapid.SampledFrom([]string{`1.50`, `true`, `null`, `"Patient/p"`, `"x\"{["`, `{}`, `[]`}).Draw(t, "scalar")
	case kind < 3:
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return anyValue(t, depth-1) }), 0, 3).Draw(t, "list")
		return "[" + strings.Join(list, ",") + "]"
	}
	return anyObject(t, depth-1)
}

var names = []string{
	"subject", "reference", "url", "id", "resourceType", "contained", "resource", "entry", "education", "photo", "content",
	"attachment", "valueReference", "valueExpression", "condition", "extension", "_reference", "display", "identifier",
	"participant", "actor", "patient", "target", "link", "other", "member", "entity", "performer",
}

func anyObject(t *rapid.T, depth int) string {
	members := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 5, rapid.ID).Draw(t, "members")
	for i, name := range members {
		literal := slices.Contains([]string{"reference", "url", "id", "resourceType"}, name)
		if literal && rapid.IntRange(0, 9).Draw(t, "odd") > 0 {
			members[i] = fmt.Sprintf("%q:%s", name, anyLiteral(t))
		} else {
			members[i] = fmt.Sprintf("%q:%s", name, anyValue(t, depth))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// anyLiteral is a string in which a target may be named, in any writing.
func anyLiteral(t *rapid.T) string {
	s := rapid.SampledFrom([]string{"Patient/p", "Patient/p", "Binary/b", "Patient/q", "https://other.org/Patient/p", "#p", "urn:uuid:p", "", "data:Patient/p"}).Draw(t, "literal")
	s += rapid.SampledFrom([]string{"", "", "", "/_history/1", "/_history/", "/_history/é", "#x", "/_history/1#x", "/_history/1/2"}).Draw(t, "rest")
	switch rapid.IntRange(0, 3).Draw(t, "writing") {
	case 0:
		s = strings.ReplaceAll(s, "/", `\/`)
	case 1:
		s = strings.ReplaceAll(s, "P", `\u0050`)
	}
	return `"` + s + `"`
}

func anyResource(t *rapid.T) (typ string, body []byte) {
	typ = rapid.SampledFrom(append([]string{"Future"}, r4.Types()...)).Draw(t, "type")
	object := anyObject(t, 6)
	head := fmt.Sprintf(`{"resourceType":%q,"meta":{},`, typ)
	return typ, []byte(strings.Replace(head+object[1:], ",}", "}", 1))
}

func TestWhatWasDetachedIsNotFoundByTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, body := anyResource(t)
		out, n := detach.Detach(body, gone)
		if !json.Valid(out) {
			t.Fatalf("%s became %s", body, out)
		}
		if found := mentions(typ, out); len(found) > 0 {
			t.Fatalf("%s became %s, which has the terms %v", body, out, found)
		}
		if before := mentions(typ, body); (len(before) > 0) && n == 0 {
			t.Fatalf("%s has the terms %v, and nothing was masked", body, before)
		}
	})
}

// mentions lists the terms by which the targets find a resource.
func mentions(typ string, body []byte) []search.Term {
	return slices.DeleteFunc(search.Terms(typ, "other", body), func(term search.Term) bool {
		name, id, _ := strings.Cut(term.Value, "/")
		return term.Param != search.Ref && term.Param != search.Compartment || !gone(fhir.ID{Type: name, ID: id})
	})
}

func TestOnlyWholeObjectsAreReplaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, body := anyResource(t)
		out, n := detach.Detach(body, gone)
		rest, seen := body, 0
		for i := 0; i < len(out); {
			if size := maskedAt(out[i:]); size > 0 && !bytes.HasPrefix(rest, out[i:i+size]) {
				object := json.NewDecoder(bytes.NewReader(rest))
				var raw json.RawMessage
				if err := object.Decode(&raw); err != nil || raw[0] != '{' {
					t.Fatalf("%s became %s: no object was masked at %d", body, out, i)
				}
				rest, i, seen = rest[len(raw):], i+size, seen+1
				continue
			}
			if len(rest) == 0 || rest[0] != out[i] {
				t.Fatalf("%s became %s: they differ at %d", body, out, i)
			}
			rest, i = rest[1:], i+1
		}
		if len(rest) > 0 || seen != n {
			t.Fatalf("%s became %s: %d masked, not %d", body, out, seen, n)
		}
	})
}

var maskedElement = regexp.MustCompile(`^\{("id":"(\\.|[^"\\])*",)?` + regexp.QuoteMeta(masked) + `\}`)

// maskedAt is the length of the masked element at the start, or 0.
func maskedAt(b []byte) int { return len(maskedElement.Find(b)) }
