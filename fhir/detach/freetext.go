package detach

import (
	"slices"
	"strings"
	"sync"

	"firebreak/fhir/r4"
	"firebreak/fhir/search"

	"github.com/tidwall/gjson"
)

// FreeText tells whether a resource has text of its own that may mention a
// person, anywhere in it, contained resources and extensions included:
//
//   - a narrative, which is its text.div;
//   - an element that R4 calls a markdown or an Annotation (note, comment,
//     progress …), text aside;
//   - a choice that is written as a string (valueString, onsetString …);
//   - a string by one of these names: administrationInstruction,
//     availabilityExceptions, basis, cancelledReason, comment, conclusion,
//     description, detail, diagnostics, disposition, instruction, mitigation,
//     name, outcomeDesc, overrideReason, patientInstruction, rationale, reason,
//     requirement, statusReason, summary, textEquivalent, title;
//   - the data of an Attachment.
//
// Elements are known by their names, not by their types, so that it may be true
// where there is no such text. What words a code or a reference (the text of a
// CodeableConcept, a display) does not count, nor do the parts of a name or an
// address.
func FreeText(body []byte) bool { return hasText(gjson.ParseBytes(body), search.Resource) }

// wording is how a member of a name may hold free text.
type wording uint8

const (
	asString wording = 1 << iota
	asAnnotation
)

var wordings = sync.OnceValue(func() map[string]wording {
	found := map[string]wording{}
	named := strings.Fields(`administrationInstruction availabilityExceptions basis cancelledReason comment
		conclusion description detail diagnostics disposition instruction mitigation name outcomeDesc
		overrideReason patientInstruction rationale reason requirement statusReason summary textEquivalent title`)
	for _, name := range slices.Concat(named, r4.Members("markdown"), r4.Members("xhtml")) {
		found[name] |= asString
	}
	for _, name := range r4.Members("Annotation") {
		found[name] |= asAnnotation
	}
	delete(found, "text") // of an Annotation, but also of every CodeableConcept
	return found
})

// hasText looks into an object that stands at a place, or into an array of
// those.
func hasText(v gjson.Result, is search.Place) bool {
	found := false
	v.ForEach(func(key, one gjson.Result) bool {
		name, within := key.String(), is
		if !v.IsArray() {
			found, within = isText(name, one, is), search.PlaceOf(name)
		}
		found = found || one.Type == gjson.JSON && hasText(one, within)
		return !found
	})
	return found
}

// isText tells whether a member of an object at a place is free text.
func isText(name string, v gjson.Result, is search.Place) bool {
	if v.Type == gjson.String {
		return wordings()[name]&asString != 0 || strings.HasSuffix(name, "String") || is&search.Attachment != 0 && name == "data"
	}
	return v.Type == gjson.JSON && wordings()[name]&asAnnotation != 0
}
