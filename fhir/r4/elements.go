package r4

import (
	"slices"
	"strings"
	"sync"
)

// Element is what the standard says of one element of a type.
type Element struct {
	Types  []string // "Reference", "canonical" …; more than one only in a choice or a bare "Resource"
	Choice bool     // whether its JSON member carries the type: "medication[x]" is medicationReference
	Same   string   // the path of the element whose content it repeats; Types is empty then
}

// Member is the name of the element's JSON member where it has the type and
// its path ends in name: "medication" as Reference is "medicationReference".
func (e Element) Member(name, typ string) string {
	if !e.Choice {
		return name
	}
	return name + strings.ToUpper(typ[:1]) + typ[1:]
}

const choiceMark = "[x]"

// elements has every element by its path without "[x]", under the type that
// brings it in; base types by their names alone.
var elements = sync.OnceValue(func() map[string]Element {
	all := make(map[string]Element)
	for _, row := range rows("elements.tsv", 2) {
		path, choice := strings.CutSuffix(row[0], choiceMark)
		e := Element{Choice: choice}
		if same, ok := strings.CutPrefix(row[1], "#"); ok {
			e.Same = same
		} else {
			e.Types = strings.Fields(row[1])
		}
		all[path] = e
	}
	return all
})

// Base gives the type that a resource or data type specialises: DomainResource
// for Patient, Quantity for Age, "" for Resource, Element and what is no type.
func Base(typ string) string {
	e := elements()[typ]
	if len(e.Types) == 0 {
		return ""
	}
	return e.Types[0]
}

// At finds an element by its path without "[x]", such as
// "Observation.component.value", "Quantity.system" or "Age.system", the
// inherited ones of the path's first type included. It does not step from an
// element into its data type: "Patient.name.family" is "HumanName.family".
func At(path string) (Element, bool) {
	if !strings.Contains(path, ".") {
		return Element{}, false
	}
	for typ, rest, _ := strings.Cut(path, "."); typ != ""; typ = Base(typ) {
		if e, ok := elements()[typ+"."+rest]; ok {
			return e, true
		}
	}
	return Element{}, false
}

// Members gives the names of all JSON members, of any type, whose element may
// have the data type, sorted: "photo" and "valueAttachment" for Attachment.
func Members(typ string) []string {
	var names []string
	for path, e := range elements() {
		if i := strings.LastIndex(path, "."); i >= 0 && slices.Contains(e.Types, typ) {
			names = append(names, e.Member(path[i+1:], typ))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Paths gives the paths of all elements without "[x]", sorted.
func Paths() []string {
	var paths []string
	for path := range elements() {
		if strings.Contains(path, ".") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
