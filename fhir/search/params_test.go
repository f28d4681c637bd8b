package search_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firebreak/fhir/r4"
	"firebreak/fhir/search"
)

// TestEveryReferenceParameterIsUnderstood compiles the expressions of every
// type: Terms panics where one is not understood.
func TestEveryReferenceParameterIsUnderstood(t *testing.T) {
	for _, typ := range r4.Types() {
		if got := search.Terms(typ, "1", []byte(`{"resourceType":"`+typ+`"}`)); typ != "Patient" && got != nil {
			t.Errorf("an empty %s has terms: %v", typ, got)
		}
	}
}

// TestEveryReferenceParameterFindsItsReference builds, for every member of
// every expression, the smallest resource that it points into.
func TestEveryReferenceParameterFindsItsReference(t *testing.T) {
	for _, typ := range r4.Types() {
		for _, p := range r4.Params(typ) {
			if p.Type != r4.Reference || typ == "Bundle" { // a Bundle's point to resources
				continue
			}
			for _, member := range strings.Split(p.Expression, " | ") {
				body, value := pointedAt(t, typ, member)
				got := search.Terms(typ, "1", body)
				want := search.Term{Kind: search.Reference, Param: p.Code, Value: value}
				if !slices.Contains(got, want) {
					t.Errorf("%s.%s does not find %s in %s: %v", typ, p.Code, value, body, got)
				}
			}
		}
	}
}

func TestEveryCompartmentParameterPutsTheResourceThere(t *testing.T) {
	for _, typ := range r4.CompartmentTypes() {
		for _, code := range r4.CompartmentParams(typ) {
			i := slices.IndexFunc(r4.Params(typ), func(p r4.Param) bool { return p.Code == code })
			for _, member := range strings.Split(r4.Params(typ)[i].Expression, " | ") {
				body, _ := pointedAt(t, typ, member)
				want := []string{"pointed-at"}
				if typ == "Patient" {
					want = []string{"own", "pointed-at"}
				}
				got := search.Compartments(search.Terms(typ, "own", body))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s.%s in %s: %s", typ, code, body, diff)
				}
			}
		}
	}
}

// pointedAt writes the smallest resource into which one member of a union
// points, and the value there. Types asked for by resolve() are obeyed.
func pointedAt(t *testing.T, typ, member string) (body []byte, value string) {
	t.Helper()
	path, as, _ := strings.Cut(strings.Trim(member, "()"), " as ")
	value, discriminator := "Patient/pointed-at", ""
	if before, after, found := strings.Cut(member, ".where(resolve() is "); found {
		path, value = before, strings.TrimSuffix(after, ")")+"/pointed-at"
	}
	if before, after, found := strings.Cut(path, ".where(type='"); found {
		kind, rest, _ := strings.Cut(after, "')")
		path, discriminator = before+rest, `"type":"`+kind+`",`
	}
	names, context, open, closing := strings.Split(path, ".")[1:], typ, "", ""
	for _, name := range names[:len(names)-1] {
		if e := element(t, context, name); slices.Contains([]string{"BackboneElement", "Element"}, e.Types[0]) {
			context += "." + name
		} else {
			context = e.Types[0]
		}
		open, closing = open+`"`+name+`":[{`+discriminator, `}]`+closing
	}
	last := names[len(names)-1]
	return []byte(`{` + open + pointing(t, element(t, context, last), last, as, value) + closing + `}`), value
}

func element(t *testing.T, context, name string) r4.Element {
	t.Helper()
	e, ok := r4.At(context + "." + name)
	if !ok {
		t.Fatalf("there is no element %s.%s", context, name)
	}
	return e
}

// pointing writes a member that holds the value as a reference, in the type
// asked for if any is.
func pointing(t *testing.T, e r4.Element, name, as, value string) string {
	t.Helper()
	for typ, form := range map[string]string{"Reference": `{"reference":"` + value + `"}`, "canonical": `"` + value + `"`, "uri": `"` + value + `"`} {
		if slices.Contains(e.Types, typ) && (as == "" || as == typ) {
			return `"` + e.Member(name, typ) + `":` + form
		}
	}
	t.Fatalf("%s holds no reference", name)
	return ""
}
