package audit

import (
	"cmp"
	"encoding/json"
	"time"

	"firebreak/operations/job"
)

// Systems of our own: of what an event is about, and of what was done.
const (
	actSystem = "https://firebreak.dev/fhir/CodeSystem/job-act"
	jobSystem = "https://firebreak.dev/fhir/NamingSystem/job"
	// holdSystem has the ids of holds.
	holdSystem = "https://firebreak.dev/fhir/NamingSystem/hold"
)

// The systems of R4 that an AuditEvent is told in.
const (
	eventTypes     = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	lifecycle      = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
	sourceTypes    = "http://terminology.hl7.org/CodeSystem/security-source-type"
	entityTypes    = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	objectRoles    = "http://terminology.hl7.org/CodeSystem/object-role"
	dicom          = "http://dicom.nema.org/resources/ontology/DCM"
	extraRoles     = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
	outcomeSuccess = "0"
	outcomeRefused = "4"
)

type auditEvent struct {
	ResourceType string   `json:"resourceType"`
	ID           string   `json:"id"`
	Type         coding   `json:"type"`
	Subtype      []coding `json:"subtype"`
	Action       string   `json:"action"`
	Recorded     string   `json:"recorded"`
	Outcome      string   `json:"outcome"`
	OutcomeDesc  string   `json:"outcomeDesc,omitempty"`
	Agent        []agent  `json:"agent"`
	Source       source   `json:"source"`
	Entity       []entity `json:"entity"`
}

type coding struct {
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

// reference names by an identifier, never by a literal reference: an event is
// in no patient's compartment, and goes with no patient.
type reference struct {
	Identifier *identifier `json:"identifier,omitempty"`
	Display    string      `json:"display,omitempty"`
}

type identifier struct {
	System string `json:"system,omitempty"`
	Value  string `json:"value"`
}

type agent struct {
	Type      concept   `json:"type"`
	Who       reference `json:"who"`
	Requestor bool      `json:"requestor"`
}

type concept struct {
	Coding []coding `json:"coding"`
}

type source struct {
	Observer reference `json:"observer"`
	Type     []coding  `json:"type"`
}

type entity struct {
	What   *reference `json:"what,omitempty"`
	Type   coding     `json:"type"`
	Role   coding     `json:"role"`
	Name   string     `json:"name"`
	Detail []detail   `json:"detail,omitempty"`
}

type detail struct {
	Type  string `json:"type"`
	Value string `json:"valueString"`
}

// render writes the AuditEvent of an event.
func render(e job.Event, id string, at time.Time) ([]byte, error) {
	a := auditEvent{
		ResourceType: "AuditEvent", ID: id,
		Type:     coding{eventTypes, "rest", "RESTful Operation"},
		Subtype:  []coding{{System: actSystem, Code: string(e.Act)}},
		Action:   action(e.Act),
		Recorded: at.UTC().Format("2006-01-02T15:04:05.000Z"),
		Outcome:  outcomeSuccess, OutcomeDesc: e.Detail,
		Agent: agents(e.By),
		Source: source{
			Observer: reference{Display: "Firebreak"},
			Type:     []coding{{sourceTypes, "4", "Application Server"}},
		},
		Entity: []entity{entityOf(e)},
	}
	if e.Act == job.Expiry {
		a.Type = coding{lifecycle, "destroy", "Destroy/Delete Record Lifecycle Event"}
	}
	if e.Refused {
		a.Outcome = outcomeRefused
	}
	return json.Marshal(a)
}

// action is the act in the codes of R4: create, read, update, delete, execute.
func action(a job.Act) string {
	switch a {
	case job.Downloaded:
		return "R"
	case job.Dismissal, job.Expiry:
		return "D"
	case job.HoldSet:
		return "C"
	case job.HoldLifted:
		return "U"
	}
	return "E"
}

// agents are the user, and the client that acts for it; the server itself
// where nobody asked.
func agents(by job.Owner) []agent {
	client := newAgent(coding{dicom, "110150", "Application"}, cmp.Or(by.Client, Client))
	if by.User == "" {
		client.Requestor = true
		return []agent{client}
	}
	user := newAgent(coding{extraRoles, "humanuser", "human user"}, by.User)
	user.Requestor = true
	return []agent{user, client}
}

func newAgent(kind coding, name string) agent {
	return agent{Type: concept{[]coding{kind}}, Who: reference{Identifier: &identifier{Value: name}}}
}

// entityOf is the job, or the hold, that an event is about.
func entityOf(e job.Event) entity {
	x := entity{
		Type: coding{entityTypes, "2", "System Object"}, Role: coding{objectRoles, "20", "Job"}, Name: e.Kind,
	}
	if e.Job != "" {
		x.What = &reference{Identifier: &identifier{jobSystem, e.Job}}
	}
	if e.Hold != "" {
		x.What = &reference{Identifier: &identifier{holdSystem, e.Hold}}
		x.Role = coding{objectRoles, "13", "Security Resource"}
	}
	for _, d := range []detail{{"request", e.Path}, {"file", e.File}, {"on", e.On}} {
		if d.Value != "" {
			x.Detail = append(x.Detail, d)
		}
	}
	return x
}
