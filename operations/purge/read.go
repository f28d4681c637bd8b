package purge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// progress is how far the reading of all versions is, and what it found.
type progress struct {
	At    store.Tick `json:"at"`              // what became current later is not read
	Next  store.Key  `json:"next,omitempty"`  // all below was read; "": nothing
	Read  int64      `json:"read,omitempty"`  // about how many bytes
	Bytes int64      `json:"bytes,omitempty"` // of about how many
	// Found are the first of the resources that have the address of something
	// erased otherwise than as a relative reference. How many there are is More
	// and these.
	Found []string `json:"found,omitempty"`
	More  int      `json:"more,omitempty"`
}

// readBytes is how much is read before that is noted.
const readBytes = 8 << 20

// readAll reads every version of the tenant for what was erased. What depends
// on no index is seen here: that an index said too little. It goes on where an
// earlier attempt was cut off.
func (a attempt) readAll(ctx context.Context) (job.UnitEnd, error) {
	record, err := a.erased(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	return a.readEach(ctx, func(what *did, v *store.Version) error { return a.readVersion(what.Read, record, v) }, a.conclude)
}

// readEach calls f with every version of the tenant, notes now and then how far
// it came, and ends with conclude.
func (a attempt) readEach(ctx context.Context, f func(*did, *store.Version) error, conclude func(context.Context, did) error) (job.UnitEnd, error) {
	what, err := didOf(a.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if what.Read == nil {
		at, err := a.cfg.Store.Barrier(ctx, a.fence.Tenant, 1)
		if err != nil {
			return job.UnitEnd{}, err
		}
		what.Read = &progress{At: at}
	}
	sel := store.Selection{At: what.Read.At, Every: true}
	ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, readBytes)
	if err != nil {
		return job.UnitEnd{}, err
	}
	what.Read.expect(ranges)
	for _, r := range what.Read.rest(ranges) {
		err := a.cfg.Store.Scan(ctx, a.fence.Tenant, sel, r, "", func(v *store.Version) error { return f(&what, v) })
		if err != nil {
			return job.UnitEnd{}, err
		}
		what.Read.Next, what.Read.Read = r.To, what.Read.Read+r.Bytes
		if err := a.note(ctx, job.Erased{}, what); err != nil {
			return job.UnitEnd{}, err
		}
	}
	if err := conclude(ctx, what); err != nil {
		return job.UnitEnd{}, err
	}
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// expect notes how many bytes there are to be read in all.
func (p *progress) expect(ranges []store.Range) {
	p.Bytes, p.Read = 0, 0
	for _, r := range ranges {
		p.Bytes += r.Bytes
		if r.To <= p.Next {
			p.Read += r.Bytes
		}
	}
}

// rest are the ranges that were not read, in order of key.
func (p *progress) rest(ranges []store.Range) (out []store.Range) {
	for _, r := range ranges {
		if r.To <= p.Next {
			continue
		}
		r.From = max(r.From, p.Next)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b store.Range) int { return cmp.Compare(a.From, b.From) })
	return out
}

func (a attempt) readVersion(p *progress, record *selection.Record, v *store.Version) error {
	switch {
	case v.From > a.at && !v.Detached, v.ID.Type == "AuditEvent":
		return nil
	case a.forgotten(record, v):
		return leftUnsaid(v.ID)
	case record.Mentioned(v.Body) && record.Concern(v.ID.Type, v.ID.ID, v.Body) == selection.None:
		p.found(v.ID)
	}
	return nil
}

// forgotten tells whether a version should be gone.
func (a attempt) forgotten(record *selection.Record, v *store.Version) bool {
	if v.Deleted {
		return record.Has(v.ID)
	}
	// What is in a Bundle has no address there, and an escape may hide one.
	plain := v.ID.Type != "Bundle" && bytes.IndexByte(v.Body, '\\') < 0
	if plain && !record.Mentioned(v.Body) && !record.Has(v.ID) {
		return false
	}
	switch record.Concern(v.ID.Type, v.ID.ID, v.Body) {
	case selection.About:
		return true
	case selection.Names:
		return a.request.Shared != Keep
	}
	return false
}

// leftUnsaid tells of a resource that names what was erased, or is of it, though
// no index said so. Trying again would find the same.
func leftUnsaid(id fhir.ID) error {
	return &job.Failure{Permanent: true, Reason: job.Reason{
		Code: "incomplete",
		Message: fmt.Sprintf("%s was read and has something of what should be gone, though no index says so: "+
			"the database is damaged, or was written by something else. All that the indexes know is gone; once they are mended, start the purge again", id),
	}}
}

// maxFound is how many of the resources that were found are named.
const maxFound = 100

func (p *progress) found(id fhir.ID) {
	switch name := id.String(); {
	case slices.Contains(p.Found, name):
	case len(p.Found) < maxFound:
		p.Found = append(p.Found, name)
	default:
		p.More++
	}
}

// issues tell how far the reading of a job is, or came, and what it found.
func (p *progress) issues(j job.Job) (out []fhir.Issue) {
	switch {
	case p.Read >= p.Bytes:
	case shownState(j).Final():
		out = append(out, inform("not every version of every resource was read for what was erased: it came to %d of %d MiB", p.Read>>20, p.Bytes>>20))
	default:
		out = append(out, inform("every version of every resource is being read for what was erased: %d of %d MiB so far", p.Read>>20, p.Bytes>>20))
	}
	for _, name := range p.Found {
		out = append(out, fhir.Issue{
			Severity: fhir.Warning, Code: fhir.CodeInformational,
			Diagnostics: name + " has the address of something that was erased, in an absolute URL or in text; it was left as it is",
		})
	}
	if p.More > 0 {
		out = append(out, inform("so do %d more versions", p.More))
	}
	return out
}
