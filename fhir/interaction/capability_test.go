package interaction_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/r4"

	"github.com/google/go-cmp/cmp"
)

type operation struct{ Name, Definition, Documentation string }

// statement is what is looked at of a CapabilityStatement.
type statement struct {
	ResourceType, Status, Date, Kind, FHIRVersion string

	Instantiates   []string
	Software       struct{ Name, Version string }
	Implementation struct{ Description string }
	Format         []string
	Rest           []struct {
		Mode      string
		Operation []operation
		Resource  []struct {
			Type, Versioning, ConditionalRead, ConditionalDelete string

			Interaction                                        []struct{ Code string }
			UpdateCreate, ConditionalCreate, ConditionalUpdate *bool
			Operation                                          []operation
		}
	}
}

func TestTheCapabilityStatementSaysWhatIsOffered(t *testing.T) {
	c := interaction.Capability{
		Version: "1.2", Date: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), Instantiates: []string{"http://x/cs"},
		Operations: []interaction.Operation{
			{"", "export", "http://x/export", ""}, {"Patient", "export", "http://x/patient-export", ""}, {"Patient", "purge", "http://x/purge", "for good"},
		},
	}
	var s statement
	if err := json.Unmarshal(c.JSON(), &s); err != nil {
		t.Fatal(err)
	}
	if s.ResourceType != "CapabilityStatement" || s.Status != "active" || s.Kind != "instance" || s.FHIRVersion != "4.0.1" ||
		s.Date != "2026-11-21T00:00:00Z" || s.Software.Name != "Firebreak" || s.Software.Version != "1.2" || s.Implementation.Description == "" {
		t.Errorf("%+v", s)
	}
	if len(s.Rest) != 1 || s.Rest[0].Mode != "server" || len(s.Rest[0].Resource) != len(r4.Types()) {
		t.Fatalf("%d rest", len(s.Rest))
	}
	if diff := cmp.Diff([]operation{{"export", "http://x/export", ""}}, s.Rest[0].Operation); diff != "" {
		t.Error(diff)
	}
	for _, r := range s.Rest[0].Resource {
		var codes []string
		for _, i := range r.Interaction {
			codes = append(codes, i.Code)
		}
		if diff := cmp.Diff([]string{"read", "vread", "create", "update", "delete"}, codes); diff != "" || !r4.IsType(r.Type) {
			t.Error(r.Type, diff)
		}
		if r.Versioning != "versioned-update" || !*r.UpdateCreate || *r.ConditionalCreate || *r.ConditionalUpdate || r.ConditionalDelete != "not-supported" {
			t.Errorf("%+v", r)
		}
		if r.Type == "Patient" != (len(r.Operation) == 2) {
			t.Errorf("%s has %v", r.Type, r.Operation)
		}
	}
}

func TestTheCapabilityStatementNamesTheWaysToComeIn(t *testing.T) {
	for name, c := range map[string]struct {
		says  interaction.Capability
		words []string
		never []string
	}{
		"none":    {interaction.Capability{}, nil, []string{"security", "token", "client_id"}},
		"tokens":  {interaction.Capability{SMART: true}, []string{"SMART-on-FHIR", "token"}, []string{"client_id"}},
		"headers": {interaction.Capability{Clients: true}, []string{"client_id", "x-oneup-user-id"}, []string{"SMART", "token", `"service"`}},
		"both":    {interaction.Capability{SMART: true, Clients: true}, []string{"SMART-on-FHIR", "token", "client_id"}, nil},
	} {
		text := string(c.says.JSON())
		for _, word := range c.words {
			if !strings.Contains(text, word) {
				t.Errorf("%s: there is no %q", name, word)
			}
		}
		for _, word := range c.never {
			if strings.Contains(text, word) {
				t.Errorf("%s: it says %q", name, word)
			}
		}
	}
}

// A client compares ETags: the same statement must be the same bytes.
func TestTheCapabilityStatementDoesNotChangeByItself(t *testing.T) {
	c := interaction.Capability{Version: "1", Operations: []interaction.Operation{{"Group", "b", "b", ""}, {"Group", "a", "a", ""}}}
	if diff := cmp.Diff(c.JSON(), c.JSON()); diff != "" {
		t.Error(diff)
	}
	if _, err := (fhir.Reader{Known: r4.IsType}).Read(c.JSON()); err != nil {
		t.Error(err)
	}
}
