// Package export is the Bulk Data operation $export
// (https://hl7.org/fhir/uv/bulkdata/STU2/export.html, and STU3): it writes
// resources as of one instant into ndjson files.
//
// A job has three phases. Its plan, one unit, reads the members of the group,
// cuts what is asked for into ranges of keys, and makes a unit of each. A unit
// scans its ranges and writes files, which are on disk before the unit ends.
// The last unit joins small files of a type and numbers all. Small work is one
// unit, which numbers its files itself.
package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// Kind is the kind of the jobs of this package.
const Kind = "export"

// Request is what a job was asked: job.Job.Request.
type Request struct {
	selection.Asked
	URL     string       `json:"url"` // of the kick-off, as the client sent it
	Ignored []fhir.Issue `json:"ignored,omitempty"`
	// Nothing: types were asked for, and none of them is left. Asked alone
	// cannot say so, as no types are all types there.
	Nothing bool `json:"nothing,omitempty"`
}

// Call is a kick-off in plain values.
type Call struct {
	Level   selection.Level
	Group   string     // the id, at the level of a group
	Query   url.Values // the parameters
	URL     string     // the absolute URL of the kick-off
	Lenient bool       // parameters that cannot be used are ignored and reported
}

// Kickoff checks a call and starts its job. A call that cannot work is refused
// here: no job is made that must fail.
func (x *Export) Kickoff(ctx context.Context, p auth.Principal, c Call) (job.Job, error) {
	t := store.Tenant(p.Tenant)
	req := Request{Asked: selection.Asked{Level: c.Level, Group: c.Group}, URL: c.URL}
	if err := x.read(ctx, t, c, &req); err != nil {
		return job.Job{}, err
	}
	if err := x.allowed(ctx, p, &req); err != nil {
		return job.Job{}, err
	}
	at, err := x.cfg.Store.Barrier(ctx, t, time.Second)
	if err != nil {
		return job.Job{}, err
	}
	doc, err := json.Marshal(req)
	if err != nil {
		return job.Job{}, err
	}
	j := job.Job{
		ID: x.cfg.NewID(), Kind: Kind, Tenant: p.Tenant, Owner: job.Owner{Client: p.Client, User: p.User},
		State: job.Queued, Request: doc, TransactionTime: at.Time(), Created: x.cfg.Now(), Lifetime: x.cfg.Lifetime,
	}
	plan := job.Unit{Job: j.ID, Tenant: p.Tenant, Kind: Kind, ID: planUnit, Phase: planning}
	return j, x.cfg.Store.Create(ctx, j, []job.Unit{plan})
}

// allowed checks that the principal may read what is asked for. A group that
// is not there is refused before any work.
func (x *Export) allowed(ctx context.Context, p auth.Principal, req *Request) error {
	if req.Level == selection.OneGroup {
		if err := auth.May(p, auth.Read, "Group"); err != nil {
			return err
		}
		got, err := x.cfg.Store.Get(ctx, store.Tenant(p.Tenant), fhir.ID{Type: "Group", ID: req.Group})
		if err != nil {
			return err
		}
		if got[0].N == 0 || got[0].Deleted {
			return fhir.Errorf(fhir.NotFound, "there is no such Group; GET [base]/Group/{id} must find it before it can be exported")
		}
	}
	if req.Types == nil {
		return x.narrow(p, req)
	}
	for _, typ := range req.Types {
		if err := auth.May(p, auth.Read, typ); err != nil {
			return err
		}
	}
	return nil
}

// narrow leaves of all types those that the principal may read.
func (x *Export) narrow(p auth.Principal, req *Request) error {
	all := r4.Types()
	may := slices.DeleteFunc(slices.Clone(all), func(t string) bool { return auth.May(p, auth.Read, t) != nil })
	if len(may) == 0 {
		return auth.May(p, auth.Read, all[0])
	}
	if len(may) < len(all) {
		req.Types = may
	}
	return nil
}

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
	r.Nothing = len(r.Types) == 0
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

// request reads what a job was asked.
func request(j job.Job) (Request, error) {
	var r Request
	if err := json.Unmarshal(j.Request, &r); err != nil {
		return r, errors.New("export: the job's request cannot be read")
	}
	return r, nil
}
