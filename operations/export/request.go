// Package export is the Bulk Data operation $export
// (https://hl7.org/fhir/uv/bulkdata/STU2/export.html, and STU3): it writes
// resources as of one instant into ndjson files.
//
// A job has phases. Its plan, one unit, reads the members of the group, cuts
// what is asked for into ranges of keys, and makes a unit of each. A unit scans
// its ranges and writes files, which are on disk before the unit ends. What it
// meets that more comes along with, such as Provenance, it notes as rows of the
// job, so that the next phase writes each once. The last unit joins small files
// of a type and numbers all. Small work that nothing comes along with is one
// unit, which numbers its files itself.
package export

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
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
	// Provenance is which Provenance comes along with what is exported.
	Provenance Provenance `json:"provenance,omitempty"`
	// Context are the types of what comes along because what is exported
	// refers to it.
	Context []string `json:"context,omitempty"`
	// Retain is how long the client wants the results kept; 0: the usual time.
	Retain time.Duration `json:"-"`

	context bool // context was asked for
}

// Call is a kick-off in plain values.
type Call struct {
	Level   selection.Level
	Group   string     // the id, at the level of a group
	Query   url.Values // the parameters
	Body    bool       // they came in a body, not in a URL
	URL     string     // the absolute URL of the kick-off
	Base    string     // the absolute URL of the FHIR base
	Lenient bool       // parameters that cannot be used are ignored and reported
	Key     string     // the Idempotency-Key; "": none
	// Announce is told of the job just before it is written; an error refuses
	// it. nil: nobody is told.
	Announce func(ctx context.Context, j job.Job) error
}

// Kickoff checks a call and starts its job. A call that cannot work is refused
// here: no job is made that must fail.
func (x *Export) Kickoff(ctx context.Context, p auth.Principal, c Call) (job.Job, error) {
	t := store.Tenant(p.Tenant)
	req := Request{Asked: selection.Asked{Level: c.Level, Group: c.Group}, URL: c.URL}
	if err := x.read(ctx, t, c, &req); err != nil {
		return job.Job{}, err
	}
	if err := x.allowed(p, &req); err != nil {
		return job.Job{}, err
	}
	if err := x.there(ctx, p, &req, c.Lenient); err != nil {
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
		State: job.Queued, Request: doc, Key: c.Key, Digest: c.digest(), TransactionTime: at.Time(),
		Created: x.cfg.Now(), Lifetime: cmp.Or(req.Retain, x.cfg.Lifetime),
	}
	if c.Announce != nil {
		if err := c.Announce(ctx, j); err != nil {
			return job.Job{}, err
		}
	}
	plan := job.Unit{Job: j.ID, Tenant: p.Tenant, Kind: Kind, ID: planUnit, Phase: planning}
	return x.cfg.Store.Create(ctx, j, []job.Unit{plan}, x.cfg.Limit)
}

// digest is the same for calls that ask for the same.
func (c Call) digest() string {
	if c.Key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s %q %v %s", c.Level, c.Group, c.Lenient, c.Query.Encode())))
	return hex.EncodeToString(sum[:])
}

// allowed checks that the principal may read what is asked for.
func (x *Export) allowed(p auth.Principal, req *Request) error {
	if err := req.maySelect(p); err != nil {
		return err
	}
	if err := x.along(p, req); err != nil {
		return err
	}
	if req.Types == nil {
		return x.narrow(p, req)
	}
	return mayAll(p, req.Types)
}

// along decides what comes along with what is asked for: all Provenance of the
// compartments, unless the types leave it out, and context if that is asked
// for or usual. It is only of types that the principal may read.
func (x *Export) along(p auth.Principal, req *Request) error {
	may := func(typ string) bool { return auth.May(p, auth.Read, typ) == nil }
	switch {
	case req.Provenance != NoProvenance:
		if err := auth.May(p, auth.Read, "Provenance"); err != nil {
			return err
		}
	case req.Level != selection.System && req.wants("Provenance") && may("Provenance"):
		req.Provenance = AllProvenance
	}
	if req.Level != selection.System && (req.context || x.cfg.Context && req.Types == nil) {
		req.Context = slices.DeleteFunc(slices.Clone(contextTypes), func(typ string) bool { return !may(typ) })
	}
	return nil
}

// wants tells whether a type is asked for.
func (r *Request) wants(typ string) bool { return r.Types == nil || slices.Contains(r.Types, typ) }

// there checks that the group, and the patients that are named, are there: a
// job that could only fail is refused before any work.
func (x *Export) there(ctx context.Context, p auth.Principal, req *Request, lenient bool) error {
	if req.Level == selection.OneGroup {
		got, err := x.cfg.Store.Get(ctx, store.Tenant(p.Tenant), fhir.ID{Type: "Group", ID: req.Group})
		switch {
		case err != nil:
			return err
		case got[0].N == 0 || got[0].Deleted:
			return fhir.Errorf(fhir.NotFound, "there is no such Group; GET [base]/Group/{id} must find it before it can be exported")
		case selection.Modified(got[0].Body):
			return fhir.Errorf(fhir.Unprocessable, "the Group has a modifier extension that is not understood; without it, list its members").With(fhir.CodeNotSupported)
		}
	}
	if req.Patients == nil {
		return nil
	}
	if lenient {
		return nil // who is absent is said in the result
	}
	for page := range slices.Chunk(req.Patients, lookPage) {
		if err := x.arePatients(ctx, store.Tenant(p.Tenant), page, req.After); err != nil {
			return err
		}
	}
	return nil
}

// lookPage is how many resources are held in memory to see that they are there.
const lookPage = 100

// arePatients refuses patients who are not there. One who was deleted after
// the instant from which changes are asked for is, as that is a change.
func (x *Export) arePatients(ctx context.Context, t store.Tenant, patients []string, after store.Tick) error {
	ids := make([]fhir.ID, len(patients))
	for i, p := range patients {
		ids[i] = fhir.ID{Type: "Patient", ID: p}
	}
	got, err := x.cfg.Store.Get(ctx, t, ids...)
	for _, v := range got {
		if v.N == 0 || v.Deleted && (after == 0 || v.From <= after) {
			return fhir.Errorf(fhir.Invalid, "a patient that was asked for is not on this server").With(fhir.CodeNotFound)
		}
	}
	return err
}

// narrow leaves of all types those that the principal may read.
func (x *Export) narrow(p auth.Principal, req *Request) error {
	all := r4.Types()
	may := slices.DeleteFunc(slices.Clone(all), func(t string) bool { return auth.May(p, auth.Read, t) != nil })
	if len(may) == 0 {
		return auth.May(p, auth.Read, auth.AnyType)
	}
	if len(may) < len(all) {
		req.Types = may
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
