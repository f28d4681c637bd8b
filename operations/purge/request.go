package purge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// Shared is what becomes of resources that are about others and name the
// patient.
type Shared string

// What can be asked for.
const (
	Detach Shared = "detach" // a new version does not name it any more, and the older ones that do go
	Delete Shared = "delete" // they go too, but for other Patients and Groups, which are detached
	Keep   Shared = "keep"   // they stay as they are
)

// Request is what a job was asked: job.Job.Request. Whose record is to go, its
// units say.
type Request struct {
	Group  string `json:"group,omitempty"`
	Shared Shared `json:"shared"`
	Audit  bool   `json:"audit,omitempty"` // AuditEvents of clients go too
	Full   bool   `json:"full,omitempty"`  // every body is read before the end
	Plan
}

// Call is a kick-off in plain values.
type Call struct {
	Bulk    bool   // the patients are parameters
	Patient string // the one patient
	Group   string // or the group whose members are meant
	Params  []fhir.Parameter
	Key     string // the Idempotency-Key; "": none
	// Announce is told of the job just before it is written; an error refuses
	// it. nil: nobody is told.
	Announce func(ctx context.Context, j job.Job) error
}

// MaxPatients is how many patients one call can name.
const MaxPatients = 10_000

// Kickoff checks a call and starts its job. Nothing is touched before all of
// it was found to be in order.
func (x *Purge) Kickoff(ctx context.Context, p auth.Principal, c Call) (job.Job, error) {
	r, patients, err := read(c)
	if err != nil {
		return job.Job{}, err
	}
	whose := patients
	if r.Audit { // a patient's app may not touch the trail of what was done
		whose = nil
	}
	if err := auth.MayPurge(p, whose); err != nil {
		return job.Job{}, err
	}
	if was, err := x.earlier(ctx, p, c.kind(), c.Key, &r, patients); was.ID != "" || err != nil {
		return was, err
	}
	t := store.Tenant(p.Tenant)
	if err := x.isGroup(ctx, t, r.Group); err != nil {
		return job.Job{}, err
	}
	if r.Of == "" { // a preview shows the holds
		if err := x.unheld(ctx, t, r, patients); err != nil {
			return job.Job{}, err
		}
	}
	j, q, err := x.begin(ctx, p, c.kind(), c.Key, &r, &r.Plan, patients)
	if err != nil {
		return job.Job{}, err
	}
	us := []job.Unit{unit(j, planUnit, planning, nil)}
	if r.Group == "" {
		if us, err = q.plans(j, r, patients); err != nil {
			return job.Job{}, err
		}
	}
	if c.Announce != nil {
		if err := c.Announce(ctx, j); err != nil {
			return job.Job{}, err
		}
	}
	return x.cfg.Store.Create(ctx, j, us, x.Limit(j.Kind))
}

// begin makes the job of what is asked, with its instant, and gives the preview
// that it is held to. The plan is that of what is asked.
func (x *Purge) begin(ctx context.Context, p auth.Principal, kind, key string, what any, plan *Plan, patients []string) (j job.Job, q *quote, err error) {
	doc, err := json.Marshal(what)
	if err != nil {
		return j, nil, err
	}
	if q, err = x.quoted(ctx, p, kind, doc); err != nil {
		return j, nil, err
	}
	at, err := x.cfg.Store.Barrier(ctx, store.Tenant(p.Tenant), time.Millisecond)
	if err != nil {
		return j, nil, err
	}
	j = job.Job{
		ID: x.cfg.NewID(), Kind: kind, Tenant: p.Tenant, Owner: job.Owner{Client: p.Client, User: p.User},
		State: job.Queued, Key: key, Digest: digest(key, doc, patients),
		TransactionTime: at.Time(), Created: x.cfg.Now(), Lifetime: x.cfg.Lifetime,
	}
	plan.begin(q, &j)
	j.Request, err = json.Marshal(what)
	return j, q, err
}

func (c Call) kind() string {
	if c.Bulk {
		return BulkKind
	}
	return Kind
}

// digest is the same for calls that ask for the same.
func digest(key string, request []byte, patients []string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q", request, patients))
	return hex.EncodeToString(sum[:])
}

// isGroup refuses a group that is not there. A patient who is not there is
// purged already.
func (x *Purge) isGroup(ctx context.Context, t store.Tenant, id string) error {
	if id == "" {
		return nil
	}
	got, err := x.cfg.Store.Get(ctx, t, fhir.ID{Type: "Group", ID: id})
	if err == nil && (got[0].N == 0 || got[0].Deleted) {
		err = fhir.Errorf(fhir.NotFound, "there is no such Group; GET [base]/Group/{id} must find it before the records of its members can be purged")
	}
	return err
}

// read reads a call.
func read(c Call) (r Request, patients []string, err error) {
	r = Request{Group: c.Group, Shared: Detach, Full: c.Group != ""}
	for _, id := range []string{c.Group, c.Patient} {
		if id != "" && fhir.CheckID(id) != nil {
			return r, nil, fhir.Errorf(fhir.Invalid, "the id in the address is no id of FHIR").With(fhir.CodeValue)
		}
	}
	switch {
	case c.Patient != "":
		patients = []string{c.Patient}
	case !c.Bulk && c.Group == "":
		return r, nil, fhir.Errorf(fhir.Invalid, "the address has no id").With(fhir.CodeRequired)
	}
	given := map[string]bool{}
	for i, p := range c.Params {
		where := ""
		if p.Type != "" { // else it is of the URL
			where = fmt.Sprintf("Parameters.parameter[%d]", i)
		}
		switch {
		case p.Name == "patientId" && c.Bulk:
			err = addPatient(&patients, p)
		case given[p.Name]:
			err = fhir.Errorf(fhir.Invalid, "the parameter %s is given twice", known(p.Name)).With(fhir.CodeValue)
		default:
			err = r.set(c.kind(), p)
		}
		if err != nil {
			return r, nil, fhir.AsError(err).At(where)
		}
		given[p.Name] = true
	}
	if c.Bulk {
		patients, err = distinct(patients)
	}
	return r, patients, cmp.Or(err, r.check())
}

// addPatient takes one of the patients of a list.
func addPatient(patients *[]string, p fhir.Parameter) error {
	if fhir.CheckID(p.Value) != nil {
		return fhir.Errorf(fhir.Invalid, "patientId is the id of a Patient, as in Patient/{id}, without the type").With(fhir.CodeValue)
	}
	*patients = append(*patients, p.Value)
	return nil
}

// distinct are the patients once each, in their order.
func distinct(patients []string) ([]string, error) {
	seen := make(map[string]bool, len(patients))
	patients = slices.DeleteFunc(patients, func(p string) bool {
		was := seen[p]
		seen[p] = true
		return was
	})
	switch {
	case len(patients) == 0:
		return nil, fhir.Errorf(fhir.Invalid, "the call names no patient: give a parameter patientId for each").With(fhir.CodeRequired)
	case len(patients) > MaxPatients:
		return nil, fhir.Errorf(fhir.TooLarge, "the call names over %d patients; divide them among several", MaxPatients).With(fhir.CodeTooCostly)
	}
	return patients, nil
}

// The parameters beside the patients, with what each may be.
var choices = map[string][]string{
	"_shared": {string(Detach), string(Delete), string(Keep)},
	"_audit":  {"keep", "purge"},
	"_verify": {"index", "full"},

	"_preview": nil, "_plan": nil, // see setPlan
}

// set takes a parameter.
func (r *Request) set(kind string, p fhir.Parameter) error {
	may, ok := choices[p.Name]
	if !ok {
		return fhir.Errorf(fhir.Invalid, "the parameter %s is not known; there are _shared, _audit, _verify, _preview and _plan, and patientId for Patient/$bulk-purge", shown(p.Name)).With(fhir.CodeNotSupported)
	}
	if may != nil && !slices.Contains(may, p.Value) {
		return fhir.Errorf(fhir.Invalid, "%s is one of %v", p.Name, may).With(fhir.CodeValue)
	}
	switch p.Name {
	case "_shared":
		r.Shared = Shared(p.Value)
	case "_audit":
		r.Audit = p.Value == "purge"
	case "_verify":
		if r.Group != "" && p.Value == "index" {
			return fhir.Errorf(fhir.Invalid, "the purge of a Group is always verified in full").With(fhir.CodeNotSupported)
		}
		r.Full = p.Value == "full"
	default:
		return r.setPlan(kind, p)
	}
	return nil
}

// shown is a name as it may be repeated to the client: what can be one.
func shown(name string) string {
	if fhir.CheckID(strings.TrimPrefix(name, "_")) != nil {
		return "of this name"
	}
	return name
}

// known is a name that may be repeated to the client.
func known(name string) string {
	if _, ok := choices[name]; ok {
		return name
	}
	return "of this name"
}

// request reads what a job was asked.
func request(j job.Job) (Request, error) {
	var r Request
	if err := json.Unmarshal(j.Request, &r); err != nil {
		return r, errors.New("purge: the job's request cannot be read")
	}
	return r, nil
}
