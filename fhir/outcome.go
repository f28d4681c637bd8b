package fhir

import "encoding/json"

// Severity of an issue (https://hl7.org/fhir/R4/valueset-issue-severity.html).
type Severity string

// The four severities.
const (
	Fatal       Severity = "fatal"
	Erroneous   Severity = "error"
	Warning     Severity = "warning"
	Information Severity = "information"
)

// Issue is one issue of an OperationOutcome.
type Issue struct {
	Severity    Severity
	Code        Code
	Diagnostics string // for a person: what is wrong, and what to do next
	Expression  string // FHIRPath; "" for none
}

type issueJSON struct {
	Severity    Severity `json:"severity"`
	Code        Code     `json:"code"`
	Diagnostics string   `json:"diagnostics,omitempty"`
	Expression  []string `json:"expression,omitempty"`
}

type outcomeJSON struct {
	ResourceType string      `json:"resourceType"`
	Issue        []issueJSON `json:"issue"`
}

// Outcome renders an OperationOutcome as compact JSON without a final newline
// (https://hl7.org/fhir/R4/operationoutcome.html). There must be an issue.
func Outcome(issues ...Issue) []byte {
	o := outcomeJSON{ResourceType: "OperationOutcome", Issue: make([]issueJSON, 0, len(issues))}
	for _, i := range issues {
		j := issueJSON{Severity: i.Severity, Code: i.Code, Diagnostics: i.Diagnostics}
		if i.Expression != "" {
			j.Expression = []string{i.Expression}
		}
		o.Issue = append(o.Issue, j)
	}
	b, err := json.Marshal(o)
	if err != nil { // strings and slices of strings only: it cannot fail
		panic(err)
	}
	return b
}

// Issue gives the error as the one issue that a client reads. The text of an
// Internal error is not shown.
func (e *Error) Issue() Issue {
	i := Issue{Severity: Erroneous, Code: e.IssueType(), Diagnostics: e.Message, Expression: e.Expression}
	if e.Kind == Internal {
		i.Severity, i.Diagnostics, i.Expression = Fatal, "internal error", ""
	}
	return i
}
