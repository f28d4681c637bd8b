package main

import (
	"fmt"
	"slices"
	"strings"
)

const concrete = 146 // resource types in R4

func row(columns ...string) string { return strings.Join(columns, "\t") }

// typeRows lists the concrete resource types.
func typeRows(defs *definitions) ([]string, error) {
	var names []string
	for _, s := range defs.Types {
		if s.Kind == "resource" && !s.Abstract {
			names = append(names, s.Name)
		}
	}
	if len(names) != concrete {
		return nil, fmt.Errorf("%d resource types, not %d", len(names), concrete)
	}
	return names, nil
}

// elementRows lists the elements with their types: "Patient.link.other" has
// "Reference", a type's own row the type it specialises, a contentReference
// "#" and the path of the element it repeats. Elements that a type inherits
// are listed with the type that brings them in.
func elementRows(defs *definitions) ([]string, error) {
	var rows []string
	for _, s := range defs.Types {
		rows = append(rows, row(s.Name, after(s.BaseDefinition, "/")))
		for _, e := range s.Snapshot.Element {
			if strings.Contains(e.Path, ".") && (e.Base.Path == e.Path || e.Base.Path == "") {
				rows = append(rows, row(e.Path, elementTypes(e)))
			}
		}
	}
	return rows, nil
}

func elementTypes(e element) string {
	if e.ContentReference != "" {
		return "#" + after(e.ContentReference, "#")
	}
	var types []string
	for _, t := range e.Type {
		types = append(types, after(t.Code, "/"))
	}
	return strings.Join(slices.Compact(types), " ")
}

// after gives what follows the last sep, or all of s where there is none.
func after(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i+len(sep):]
	}
	return s
}

const paramURL = "http://hl7.org/fhir/SearchParameter/"

// paramRows lists the search parameters: code, id in its URL, type, bases,
// targets ("*" for every type), expression.
func paramRows(defs *definitions) ([]string, error) {
	var rows []string
	for _, p := range defs.Params {
		if p.URL != paramURL+p.ID || strings.ContainsAny(p.Expression, "\t\n") {
			return nil, fmt.Errorf("%s does not fit the table", p.URL)
		}
		targets := strings.Join(slices.Sorted(slices.Values(p.Target)), " ")
		if len(p.Target) == concrete {
			targets = "*"
		}
		bases := strings.Join(slices.Sorted(slices.Values(p.Base)), " ")
		rows = append(rows, row(p.Code, p.ID, p.Type, bases, targets, p.Expression))
	}
	return rows, nil
}

// compartmentRows lists the types of the Patient compartment with the search
// parameters that put a resource there.
func compartmentRows(defs *definitions) ([]string, error) {
	var rows []string
	for _, m := range defs.Compartment {
		if len(m.Param) > 0 {
			rows = append(rows, row(m.Code, strings.Join(m.Param, " ")))
		}
	}
	return rows, nil
}
