package interaction

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"firebreak/fhir/r4"
)

// Operation is one that the server offers, as /metadata lists it.
type Operation struct {
	Type       string // the resource type it goes with; "" for the system
	Name       string // "export", without the "$"
	Definition string // the canonical of its OperationDefinition
	Says       string // what else is to be known of it here
}

// Capability is what the server says about itself.
type Capability struct {
	Version      string    // of the software
	Date         time.Time // of this statement
	Instantiates []string  // canonicals of the CapabilityStatements that it meets
	Operations   []Operation
	// SMART says that a token is needed, and that the SMART configuration says
	// how to come by one.
	SMART bool
	// Clients says that header credentials are taken.
	Clients bool
}

type capabilityJSON struct {
	ResourceType   string             `json:"resourceType"`
	Status         string             `json:"status"`
	Date           string             `json:"date"`
	Kind           string             `json:"kind"`
	Instantiates   []string           `json:"instantiates,omitempty"`
	Software       softwareJSON       `json:"software"`
	Implementation implementationJSON `json:"implementation"`
	FHIRVersion    string             `json:"fhirVersion"`
	Format         []string           `json:"format"`
	Rest           []restJSON         `json:"rest"`
}

type softwareJSON struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type implementationJSON struct {
	Description string `json:"description"`
}

type restJSON struct {
	Mode      string          `json:"mode"`
	Security  *securityJSON   `json:"security,omitempty"`
	Resource  []resourceJSON  `json:"resource"`
	Operation []operationJSON `json:"operation,omitempty"`
}

type securityJSON struct {
	Service     []conceptJSON `json:"service,omitempty"`
	Description string        `json:"description"`
}

type conceptJSON struct {
	Coding []codingJSON `json:"coding"`
}

type codingJSON struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

type resourceJSON struct {
	Type              string          `json:"type"`
	Interaction       []codeJSON      `json:"interaction"`
	Versioning        string          `json:"versioning"`
	ReadHistory       bool            `json:"readHistory"`
	UpdateCreate      bool            `json:"updateCreate"`
	ConditionalCreate bool            `json:"conditionalCreate"`
	ConditionalRead   string          `json:"conditionalRead"`
	ConditionalUpdate bool            `json:"conditionalUpdate"`
	ConditionalDelete string          `json:"conditionalDelete"`
	Operation         []operationJSON `json:"operation,omitempty"`
}

type codeJSON struct {
	Code string `json:"code"`
}

type operationJSON struct {
	Name          string `json:"name"`
	Definition    string `json:"definition"`
	Documentation string `json:"documentation,omitempty"`
}

// JSON renders the CapabilityStatement
// (https://hl7.org/fhir/R4/capabilitystatement.html). It says what the
// interactions of this package do, for every resource type, and no more.
func (c Capability) JSON() []byte {
	rest := restJSON{Mode: "server", Security: c.security(), Operation: c.operations("")}
	for _, typ := range r4.Types() {
		rest.Resource = append(rest.Resource, resourceJSON{
			Type:            typ,
			Interaction:     []codeJSON{{"read"}, {"vread"}, {"create"}, {"update"}, {"delete"}},
			Versioning:      "versioned-update",
			ReadHistory:     true, // of vread: past versions are shown
			UpdateCreate:    true,
			ConditionalRead: "full-support", ConditionalDelete: "not-supported",
			Operation: c.operations(typ),
		})
	}
	b, err := json.Marshal(capabilityJSON{
		ResourceType: "CapabilityStatement", Status: "active", Date: c.Date.UTC().Format(time.RFC3339), Kind: "instance",
		Instantiates: slices.Clone(c.Instantiates), Software: softwareJSON{Name: "Firebreak", Version: c.Version},
		Implementation: implementationJSON{Description: "Firebreak, a FHIR R4 server for asynchronous operations on whole records"},
		FHIRVersion:    "4.0.1", Format: []string{"application/fhir+json", "json"}, Rest: []restJSON{rest},
	})
	if err != nil { // strings, booleans and slices of them: it cannot fail
		panic(err)
	}
	return b
}

func (c Capability) security() *securityJSON {
	if !c.SMART && !c.Clients {
		return nil
	}
	var s securityJSON
	var ways []string
	if c.SMART {
		s.Service = []conceptJSON{{[]codingJSON{{"http://terminology.hl7.org/CodeSystem/restful-security-service", "SMART-on-FHIR"}}}}
		ways = append(ways, "Send a bearer token. [base]/.well-known/smart-configuration says where tokens are had.")
	}
	if c.Clients {
		ways = append(ways, "Clients that are configured for it send client_id and client_secret as headers, and x-oneup-user-id to act for a user.")
	}
	s.Description = strings.Join(ways, " ")
	return &s
}

func (c Capability) operations(typ string) []operationJSON {
	var list []operationJSON
	for _, o := range c.Operations {
		if o.Type == typ {
			list = append(list, operationJSON{Name: o.Name, Definition: o.Definition, Documentation: o.Says})
		}
	}
	return list
}
