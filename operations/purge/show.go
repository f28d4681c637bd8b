package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// unitPage is how many units are read at a time.
const unitPage = 500

// sum is what the units of a job did together.
type sum struct {
	patients, done int
	erased, total  job.Erased
	detached       map[string]bool
	did
}

// units calls f with each unit, in their order.
func (x *Purge) units(ctx context.Context, j job.Job, f func(u job.Unit, what did) error) error {
	for after := ""; ; {
		us, err := x.cfg.Store.UnitsOf(ctx, store.Tenant(j.Tenant), j.ID, after, unitPage)
		if err != nil {
			return err
		}
		for _, u := range us {
			after = u.ID
			what, err := didOf(u)
			if err == nil {
				err = f(u, what)
			}
			if err != nil {
				return err
			}
		}
		if len(us) < unitPage {
			return nil
		}
	}
}

func (x *Purge) sum(ctx context.Context, j job.Job) (s sum, err error) {
	s.detached, s.Types = map[string]bool{}, map[string]job.Erased{}
	err = x.units(ctx, j, func(u job.Unit, what did) error {
		if u.Phase == purging {
			if s.patients++; u.State == job.Succeeded {
				s.done++
			}
		}
		s.erased = s.erased.Add(u.Erased)
		s.total = s.total.Add(job.Erased{Versions: max(u.Total.Versions, u.Erased.Versions), Resources: max(u.Total.Resources, u.Erased.Resources)})
		addByType(s.Types, what.Types)
		for _, id := range what.Detached {
			s.detached[id] = true
		}
		s.Kept += what.Kept
		s.LeftOut += what.LeftOut
		s.Since += what.Since
		for _, id := range what.Named {
			if len(s.Named) < maxNamed && !slices.Contains(s.Named, id) {
				s.Named = append(s.Named, id)
			}
		}
		s.Unknown = s.Unknown || what.Unknown
		if what.Read != nil {
			s.Read = what.Read
		}
		if what.Until.After(s.Until) {
			s.Until = what.Until
		}
		return nil
	})
	return s, err
}

// Outcome shows a job of Kind as an OperationOutcome, while it is under way too.
func (x *Purge) Outcome(ctx context.Context, j job.Job) ([]byte, error) {
	s, err := x.sum(ctx, j)
	if err != nil {
		return nil, err
	}
	return fhir.Outcome(s.issues(j)...), nil
}

func inform(format string, args ...any) fhir.Issue {
	return fhir.Issue{Severity: fhir.Information, Code: fhir.CodeInformational, Diagnostics: fmt.Sprintf(format, args...)}
}

func (s sum) issues(j job.Job) []fhir.Issue {
	out := []fhir.Issue{inform("the records of %d of %d patients are gone: %d resources, and %d versions of them and of others that named them, were erased",
		s.done, s.patients, s.erased.Resources, s.erased.Versions)}
	if j.State != job.Succeeded {
		out[0].Severity, out[0].Code = fhir.Warning, fhir.CodeIncomplete
	}
	if n := len(s.detached); n > 0 {
		out = append(out, inform("%d resources are about others and named what was erased: their references to it were replaced", n))
	}
	for _, id := range s.Named {
		out = append(out, fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeInformational, Diagnostics: id + " was detached; its narrative and free text may still mention the patient"})
	}
	if s.Kept > 0 {
		out = append(out, inform("%d resources are about others and name what was erased: they were left as they are, as _shared=keep asks", s.Kept))
	}
	if s.LeftOut > 0 {
		out = append(out, s.passedOver())
	}
	if s.Since > 0 {
		out = append(out, inform("at least %d resources were written after %s, when this purge was asked for, and stay; purge again to remove those of the patient", s.Since, j.TransactionTime.UTC().Format(time.RFC3339Nano)))
	}
	if s.Read != nil {
		out = append(out, s.Read.issues(j)...)
	}
	if j.State == job.Succeeded {
		out = append(out, s.proof())
	}
	if j.Error != nil {
		out = append(out, fhir.Issue{Severity: fhir.Erroneous, Code: fhir.Code(j.Error.Code), Diagnostics: j.Error.Message})
	}
	return out
}

// passedOver tells of members of a Group that are no patients.
func (d did) passedOver() fhir.Issue {
	return fhir.Issue{
		Severity: fhir.Warning, Code: fhir.CodeInformational,
		Diagnostics: fmt.Sprintf("%d members of the Group, or things that it says of them, were passed over: they are no patients of this server", d.LeftOut),
	}
}

// proof says what the end stands on.
func (s sum) proof() fhir.Issue {
	look := "no index has anything of the erased"
	if s.Read != nil {
		look += ", nor has any version of a resource: each was read for it. Names in free text are not looked for"
	} else {
		look += ". References by absolute URL, and free text, are not looked at"
	}
	return inform("%s; %s", look, s.reach())
}

// reach says where erased bytes may still be.
func (d did) reach() string {
	switch {
	case d.Unknown:
		return "the database's log of changes may have it for a while, and backups have what they had"
	case !d.Until.IsZero():
		return "the database's log of changes may have it until about " + d.Until.UTC().Format(time.RFC3339) + ", and backups have what they had"
	}
	return "the bytes were overwritten in the files of the database, and backups have what they had"
}

// The parts of a Parameters resource.
type (
	parameters struct {
		ResourceType string      `json:"resourceType"`
		Parameter    []parameter `json:"parameter"`
	}
	parameter struct {
		Name          string `json:"name"`
		ValueID       string `json:"valueId,omitempty"`
		ValueCode     string `json:"valueCode,omitempty"`
		ValueDateTime string `json:"valueDateTime,omitempty"`
		ValueInteger  *int64 `json:"valueInteger,omitempty"`
		ValueString   string `json:"valueString,omitempty"`

		Resource json.RawMessage `json:"resource,omitempty"`
		Part     []parameter     `json:"part,omitempty"`
	}
)

// Progress shows a job of BulkKind as a Parameters resource: one result for
// each patient, and once the job has ended an outcome, which says what it came
// to in all.
func (x *Purge) Progress(ctx context.Context, j job.Job) ([]byte, error) {
	out := parameters{ResourceType: "Parameters", Parameter: []parameter{}}
	err := x.units(ctx, j, func(u job.Unit, what did) error {
		if u.Phase != purging {
			return nil
		}
		p, err := patientOf(u)
		if err == nil {
			out.Parameter = append(out.Parameter, parameter{Name: "result", Part: result(j, u, p, what)})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if j.State.Final() {
		outcome, err := x.Outcome(ctx, j)
		if err != nil {
			return nil, err
		}
		out.Parameter = append(out.Parameter, parameter{Name: "outcome", Resource: outcome})
	}
	return json.Marshal(out)
}

// Status of the purge of one patient.
const (
	isNew      = "new"
	processing = "processing"
	completed  = "completed"
	failed     = "error"
)

// result shows how far the purge of one patient is.
func result(j job.Job, u job.Unit, patient string, what did) []parameter {
	status, why := statusOf(j, u)
	at := u.Updated
	if at.IsZero() {
		at = j.Created
	}
	out := []parameter{
		{Name: "patientId", ValueID: patient},
		{Name: "updatedAt", ValueDateTime: at.UTC().Format("2006-01-02T15:04:05.000000000Z")},
		{Name: "status", ValueCode: status},
	}
	if status == isNew {
		return out
	}
	if u.Total != (job.Erased{}) || status == completed {
		out = append(out, number("totalResourcesCount", u.Total.Resources), number("purgedResourcesCount", u.Erased.Resources))
	}
	for _, n := range []struct {
		name string
		n    int
	}{{"detachedResourcesCount", len(what.Detached)}, {"keptResourcesCount", what.Kept}, {"writtenSinceCount", what.Since}} {
		if n.n > 0 {
			out = append(out, number(n.name, int64(n.n)))
		}
	}
	for _, id := range what.Named {
		out = append(out, parameter{Name: "mayStillMention", ValueString: id})
	}
	if why != "" {
		out = append(out, parameter{Name: "error", ValueString: why})
	}
	return out
}

func number(name string, n int64) parameter { return parameter{Name: name, ValueInteger: &n} }

// statusOf is the status of a unit, and why it is failed.
func statusOf(j job.Job, u job.Unit) (status, why string) {
	stopped := !j.CancelRequested.IsZero() || j.State.Final()
	switch {
	case u.State == job.Succeeded:
		return completed, ""
	case u.State == job.Failed && u.Reason != nil:
		return failed, u.Reason.Message
	case u.State == job.Failed, u.State == job.Cancelled, stopped && u.State == job.Queued:
		return failed, "the purge was stopped before all of the record was gone; start it again"
	case u.State == job.Queued && u.Attempt == 0:
		return isNew, ""
	}
	return processing, ""
}
