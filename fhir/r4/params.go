package r4

import (
	"slices"
	"strings"
	"sync"
)

// ParamType is the type of a search parameter, in the standard's words.
type ParamType string

// The types of search parameters (http://hl7.org/fhir/R4/valueset-search-param-type.html).
const (
	Number    ParamType = "number"
	Date      ParamType = "date"
	String    ParamType = "string"
	Token     ParamType = "token"
	Reference ParamType = "reference"
	Composite ParamType = "composite"
	Quantity  ParamType = "quantity"
	URI       ParamType = "uri"
	Special   ParamType = "special"
)

// Param is a search parameter as it applies to one resource type.
type Param struct {
	Code       string
	Type       ParamType
	Expression string   // FHIRPath, the members of a union that apply to the type; "" where the standard gives none
	Targets    []string // what a reference may refer to, sorted
	URL        string   // the canonical URL of the SearchParameter
}

const paramURL = "http://hl7.org/fhir/SearchParameter/"

// params has the parameters of each type, Resource and DomainResource among
// them, without the inherited ones.
var params = sync.OnceValue(func() map[string][]Param {
	own := make(map[string][]Param)
	for _, row := range rows("params.tsv", 6) {
		p := Param{Code: row[0], URL: paramURL + row[1], Type: ParamType(row[2]), Targets: strings.Fields(row[4])}
		if row[4] == "*" {
			p.Targets = Types()
		}
		for _, base := range strings.Fields(row[3]) {
			p.Expression = narrow(row[5], base)
			own[base] = append(own[base], p)
		}
	}
	return own
})

var allParams = sync.OnceValue(func() map[string][]Param {
	own, all := params(), make(map[string][]Param)
	for _, typ := range Types() {
		list := slices.Clone(own[typ])
		for base := Base(typ); base != ""; base = Base(base) {
			list = append(list, own[base]...)
		}
		slices.SortFunc(list, func(a, b Param) int { return strings.Compare(a.Code, b.Code) })
		all[typ] = list
	}
	return all
})

// Params gives the search parameters of a resource type, those of Resource and
// DomainResource included, sorted by code; nil for what is not a type.
func Params(typ string) []Param { return allParams()[typ] }

// narrow keeps the members of a union that begin at the type, or that name no
// type, as those of InsurancePlan.name do.
func narrow(expression, typ string) string {
	var kept []string
	for _, member := range members(expression) {
		first, _, _ := strings.Cut(strings.TrimLeft(member, "("), ".")
		if first == typ || first != "" && 'a' <= first[0] && first[0] <= 'z' {
			kept = append(kept, member)
		}
	}
	return strings.Join(kept, " | ")
}

// members splits a union at the bars outside of parentheses and quotes.
func members(expression string) []string {
	var (
		list   []string
		depth  int
		quoted bool
		start  int
	)
	for i, c := range expression {
		switch {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			list = append(list, strings.TrimSpace(expression[start:i]))
			start = i + 1
		}
	}
	return append(list, strings.TrimSpace(expression[start:]))
}
