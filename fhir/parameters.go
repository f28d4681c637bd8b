package fhir

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Parameter is one parameter of an operation, as plain text: of a Reference
// its reference, of a Coding its code.
type Parameter struct {
	Name  string
	Type  string // "String", "Instant", "Reference" …: what follows "value"
	Value string
}

// ReadParameters reads the Parameters resource that kicks an operation off
// (https://hl7.org/fhir/R4/parameters.html). It refuses any other resource, a
// parameter without a name or value, and one that has parts or a resource, as
// no operation here takes such.
func ReadParameters(body []byte) ([]Parameter, error) {
	r, err := Reader{Known: func(typ string) bool { return typ == "Parameters" }}.Read(body)
	if err != nil {
		if e := AsError(err); e.Expression == "resourceType" {
			return nil, Errorf(Invalid, "the body is not a Parameters resource").With(CodeStructure).At("resourceType")
		}
		return nil, err
	}
	var out []Parameter
	var bad error
	i := -1
	gjson.GetBytes(r.Body, "parameter").ForEach(func(_, p gjson.Result) bool {
		i++
		var one Parameter
		if one, bad = parameter(p); bad != nil {
			bad = AsError(bad).At("Parameters.parameter[" + strconv.Itoa(i) + "]")
			return false
		}
		out = append(out, one)
		return true
	})
	return out, bad
}

func parameter(p gjson.Result) (Parameter, error) {
	out := Parameter{Name: p.Get("name").String()}
	if out.Name == "" {
		return out, Errorf(Invalid, "a parameter has no name").With(CodeRequired)
	}
	var value gjson.Result
	p.ForEach(func(name, v gjson.Result) bool {
		if typ, ok := strings.CutPrefix(name.String(), "value"); ok {
			out.Type, value = typ, v
			return false
		}
		return true
	})
	switch out.Type {
	case "":
		return out, Errorf(Invalid, "a parameter has no value").With(CodeRequired)
	case "Reference":
		value = value.Get("reference")
	case "Coding":
		value = value.Get("code")
	}
	if out.Value = value.String(); out.Value == "" || value.IsObject() || value.IsArray() {
		return out, Errorf(Invalid, "a parameter's value is empty, or of a type that is not taken here").With(CodeValue)
	}
	return out, nil
}
