package export

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/selection"
	"firebreak/store"
)

// read reads the parameters.
func (x *Export) read(ctx context.Context, t store.Tenant, c Call, req *Request) error {
	for _, name := range sortedKeys(c.Query) {
		values := c.Query[name]
		var err error
		switch name {
		case "_type":
			err = req.readTypes(values, c.Lenient)
		case "_since":
			err = x.readSince(ctx, t, values, req)
		case "_outputFormat":
			err = readFormat(values)
		case "patient":
			err = req.readPatients(c)
		case "includeAssociatedData":
			err = req.readAssociated(values, c.Lenient)
		case "retain":
			err = x.readRetain(values, req)
		case "_format": // of the answer, not of the export
		default:
			err = req.unknown(name, c.Lenient)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(q url.Values) []string {
	keys := make([]string, 0, len(q))
	for k := range q {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ignore notes that a parameter was passed over.
func (r *Request) ignore(why string) {
	r.Ignored = append(r.Ignored, fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeNotSupported, Diagnostics: why})
}

// unknown deals with a parameter that $export does not have here.
func (r *Request) unknown(name string, lenient bool) error {
	shown := "a parameter"
	if isName(name) {
		shown = "the parameter " + name
	}
	if lenient {
		r.ignore(shown + " is not supported by $export and was ignored")
		return nil
	}
	return fhir.Errorf(fhir.Invalid, "%s is not supported by $export; leave it out, or send Prefer: handling=lenient to have it ignored", shown).
		With(fhir.CodeNotSupported)
}

// isName tells whether a parameter's name can be repeated to a reader.
func isName(s string) bool {
	return len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == ""
}

// readTypes reads _type: commas and repetitions mean the same.
func (r *Request) readTypes(values []string, lenient bool) error {
	r.Types = []string{}
	for _, typ := range strings.Split(strings.Join(values, ","), ",") {
		switch typ = strings.TrimSpace(typ); {
		case !r4.IsType(typ) && lenient:
			r.ignore("_type names what is not a resource type of FHIR R4; it was ignored")
		case !r4.IsType(typ):
			return fhir.Errorf(fhir.Invalid, "_type names what is not a resource type of FHIR R4").With(fhir.CodeValue)
		case slices.Contains(r.Types, typ):
		case r.Level != selection.System && !selection.InCompartment(typ):
			if err := r.outside(typ, lenient); err != nil {
				return err
			}
		default:
			r.Types = append(r.Types, typ)
		}
	}
	return nil
}

// outside deals with a type that no patient's compartment can hold.
func (r *Request) outside(typ string, lenient bool) error {
	why := fmt.Sprintf("_type names %s, which is not in the Patient compartment; export it with [base]/$export", typ)
	if lenient {
		r.ignore(why)
		return nil
	}
	return fhir.Errorf(fhir.Invalid, "%s", why).With(fhir.CodeValue)
}

// readSince reads _since, which must not be later than the tenant's clock.
func (x *Export) readSince(ctx context.Context, t store.Tenant, values []string, req *Request) error {
	if err := once("_since", values); err != nil {
		return err
	}
	since, err := fhir.ParseInstant(values[0])
	if err != nil {
		return fhir.Errorf(fhir.Invalid, "_since is not a FHIR instant such as 2026-01-31T12:00:00Z; write a + in it as %%2B").With(fhir.CodeValue)
	}
	clock, err := x.cfg.Store.Clock(ctx, t)
	if err != nil {
		return err
	}
	if store.TickOf(since) > max(clock, store.TickOf(x.cfg.Now())) {
		return fhir.Errorf(fhir.Invalid, "_since is in the future").With(fhir.CodeValue)
	}
	req.After = max(store.TickOf(since), 0)
	return nil
}

// formats are the spellings of the one format (Bulk Data, "Query Parameters").
var formats = []string{"application/fhir+ndjson", "application/ndjson", "ndjson"}

func readFormat(values []string) error {
	if err := once("_outputFormat", values); err != nil {
		return err
	}
	// A plus sign that was not escaped arrives as a space.
	if !slices.Contains(formats, strings.ReplaceAll(values[0], " ", "+")) {
		return fhir.Errorf(fhir.Invalid, "_outputFormat is none of %s", strings.Join(formats, ", ")).With(fhir.CodeNotSupported)
	}
	return nil
}

func once(name string, values []string) error {
	if len(values) > 1 {
		return fhir.Errorf(fhir.Invalid, "%s is given twice", name)
	}
	return nil
}

// maxPatients is how many patients a request may name.
const maxPatients = 10_000

// readPatients reads the patients to whom an export is narrowed; they can only
// be sent in a body.
func (r *Request) readPatients(c Call) error {
	switch {
	case c.Level == selection.System:
		return fhir.Errorf(fhir.Invalid, "patient does not go with [base]/$export; send it to [base]/Patient/$export or [base]/Group/{id}/$export")
	case !c.Body:
		return fhir.Errorf(fhir.Invalid, "patient can only be sent by POST, in a Parameters resource")
	}
	r.Patients = []string{}
	seen := map[string]bool{}
	for _, value := range c.Query["patient"] {
		if c.Base != "" {
			value = strings.TrimPrefix(value, c.Base+"/")
		}
		ref := fhir.ParseReference(value, r4.IsType)
		switch {
		case !ref.Local() || ref.Type != "Patient":
			return fhir.Errorf(fhir.Invalid, "patient is not a reference to a Patient of this server, such as Patient/1").With(fhir.CodeValue)
		case seen[ref.ID]:
			continue
		case len(seen) == maxPatients:
			return fhir.Errorf(fhir.Invalid, "patient is given more than %d times; make a Group and export that", maxPatients).With(fhir.CodeTooCostly)
		}
		seen[ref.ID] = true
		r.Patients = append(r.Patients, ref.ID)
	}
	return nil
}

// Provenance is which Provenance comes along with what is exported (Bulk Data,
// "includeAssociatedData").
type Provenance string

// The kinds. At the level of the system, all is what is there anyway.
const (
	NoProvenance       Provenance = ""
	AllProvenance      Provenance = "all"      // whose target is in the compartments
	RelevantProvenance Provenance = "relevant" // whose target is exported
	LatestProvenance   Provenance = "latest"   // of these the newest of each target
)

// readAssociated reads includeAssociatedData. Of values that contradict each
// other the one that gives most counts.
func (r *Request) readAssociated(values []string, lenient bool) error {
	for _, value := range strings.Split(strings.Join(values, ","), ",") {
		switch value = strings.TrimSpace(value); {
		case value == "RelevantProvenanceResources":
			r.Provenance = RelevantProvenance
		case value == "LatestProvenanceResources":
			r.Provenance = cmp.Or(r.Provenance, LatestProvenance)
		case value == "_context":
			r.context = true
		case lenient:
			r.ignore("includeAssociatedData has a value that is not supported; it was ignored")
		default:
			return fhir.Errorf(fhir.Invalid, "includeAssociatedData is none of LatestProvenanceResources, RelevantProvenanceResources, _context").With(fhir.CodeNotSupported)
		}
	}
	return nil
}

// readRetain reads how long, in seconds, the client wants the results kept.
func (x *Export) readRetain(values []string, req *Request) error {
	if err := once("retain", values); err != nil {
		return err
	}
	seconds, err := strconv.Atoi(values[0])
	if err != nil || seconds < 1 || time.Duration(seconds) > x.cfg.MaxLifetime/time.Second {
		return fhir.Errorf(fhir.Invalid, "retain is how many seconds the files are kept after the end: 1 to %d", x.cfg.MaxLifetime/time.Second).With(fhir.CodeValue)
	}
	req.Retain = time.Duration(seconds) * time.Second
	return nil
}
