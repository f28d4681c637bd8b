// Package r4 holds facts of FHIR R4 (4.0.1): the resource types, their
// elements, the search parameters and the Patient compartment.
//
// The tables beside this file are made by the program in generate from HL7's
// definitions (http://hl7.org/fhir/R4/downloads.html, licence CC0), embedded,
// and parsed when first asked for. They are the standard and nothing else. All
// functions may be called from many goroutines at once; what they return is
// shared and must not be changed.
package r4

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./generate .

//go:embed *.tsv
var tables embed.FS

// rows gives the columns of each row of an embedded table of that many
// columns.
func rows(name string, columns int) [][]string {
	text, err := tables.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded, so it is there
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			panic(fmt.Sprintf("r4: %s has a row of %d columns", name, len(row)))
		}
		all = append(all, row)
	}
	return all
}

var typeNames = sync.OnceValue(func() []string {
	var names []string
	for _, row := range rows("types.tsv", 1) {
		names = append(names, row[0])
	}
	return names
})

var typeSet = sync.OnceValue(func() map[string]bool {
	set := make(map[string]bool)
	for _, name := range typeNames() {
		set[name] = true
	}
	return set
})

// IsType tells whether the name is that of a resource type of which there are
// resources: Resource and DomainResource are not.
func IsType(name string) bool { return typeSet()[name] }

// Types gives the names of the 146 resource types, sorted.
func Types() []string { return typeNames() }

var compartment = sync.OnceValue(func() map[string][]string {
	params := make(map[string][]string)
	for _, row := range rows("compartment.tsv", 2) {
		params[row[0]] = strings.Fields(row[1])
	}
	return params
})

// CompartmentParams gives the codes of the search parameters that put a
// resource of the type into the compartment of the patient it refers to; nil
// for a type that is in no patient's compartment. That a Patient is in its own
// compartment has no parameter; those of Patient name the patients linked.
func CompartmentParams(typ string) []string { return compartment()[typ] }

// CompartmentTypes gives the types that CompartmentParams knows, sorted.
func CompartmentTypes() []string { return slices.Sorted(maps.Keys(compartment())) }
