package purge

import (
	"bytes"
	"context"
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/detach"
	"firebreak/fhir/selection"
	"firebreak/store"
)

// history is the versions of one resource, the latest first, as they concern
// a record.
type history struct {
	id       fhir.ID
	versions []version

	near bool // each version is in the compartment of the patient, or names the patient
	// known: files of exports that hold a version say so, by the patient or by
	// the resource itself: see export's holders.
	known bool
}

type version struct {
	store.VersionRef
	from    store.Tick
	deleted bool
	concern selection.Concern // of a tombstone: of the version before
	text    bool              // it has free text, in which anything may be said
	direct  bool              // what it names is of the patients' own records
	binary  []fhir.ID         // what it names of Binaries
	made    bool              // a purge made it, out of the one before
	size    int64             // of its body, in bytes
	in      []string          // the patients in whose compartments it is
	whose   []string          // the patients on whose account a hold keeps it
}

// histories reads the versions of resources, and calls f with those of each
// one that is there. AuditEvents that are to be kept are passed over.
func (g *gathering) histories(ctx context.Context, ids []fhir.ID, f func(h history) error) error {
	var h history
	err := g.versions(ctx, ids, func(v *store.Version) error {
		if h.id != v.ID {
			if err := h.done(f); err != nil {
				return err
			}
			h = history{id: v.ID, near: true, known: true}
		}
		if g.keepsAudit(v) {
			g.found.stays(v)
		} else {
			h.add(g, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return h.done(f)
}

// versions reads the versions of resources, some resources at a time.
func (g *gathering) versions(ctx context.Context, ids []fhir.ID, f func(v *store.Version) error) error {
	for page := range slices.Chunk(ids, historyPage) {
		if err := g.cfg.Store.Versions(ctx, g.fence.Tenant, page, f); err != nil {
			return err
		}
	}
	return nil
}

// keepsAudit tells whether a version is of an AuditEvent that stays.
func (g *gathering) keepsAudit(v *store.Version) bool {
	return v.ID.Type == "AuditEvent" && (!g.request.Audit || v.Owner.Client == g.cfg.Server)
}

func (h *history) add(g *gathering, v *store.Version) {
	one := version{
		VersionRef: store.VersionRef{Key: v.Key, ID: v.ID, N: v.N}, from: v.From, deleted: v.Deleted,
		made: v.Detached, in: slices.Sorted(slices.Values(v.Patients)), whose: g.whose(v), size: int64(len(v.Body)),
	}
	switch {
	case v.Deleted && v.ID.Type == "Patient" && g.asked[v.ID.ID]:
		one.concern = selection.About
	case v.Deleted && slices.Contains(v.Patients, g.patient):
		one.concern, one.direct = selection.Names, true // unless there is a version before
	case !v.Deleted:
		one.concern = g.concern(v)
		one.binary = g.record.Binaries(v.Body)
		one.direct = one.concern == selection.Names && (g.request.Shared != Delete || g.first.Concern(v.ID.Type, v.ID.ID, v.Body) != selection.None)
		one.text = one.concern == selection.Names && detach.FreeText(v.Body)
	}
	h.versions = append(h.versions, one)
	h.near = h.near && (slices.Contains(v.Patients, g.patient) || bytes.Contains(v.Body, g.quoted))
	h.known = h.known && (h.near || v.ID.Type == "Binary" || v.ID.Type == "Bundle" || len(v.Patients) == 0 && namesNoPatient(v.Body))
}

// namesNoPatient tells whether a body has no reference to a Patient. One with
// escapes, in which a reference may be written otherwise, may have some.
func namesNoPatient(body []byte) bool {
	return !bytes.Contains(body, []byte(`"Patient/`)) && bytes.IndexByte(body, '\\') < 0
}

// concern is what a version has to do with the record. Who else is a patient of
// the job matters for what it is about alone.
func (g *gathering) concern(v *store.Version) selection.Concern {
	if g.set.Concern(v.ID.Type, v.ID.ID, v.Body) == selection.About {
		return selection.About
	}
	return g.record.Concern(v.ID.Type, v.ID.ID, v.Body)
}

// done passes the history on when all of it was read.
func (h *history) done(f func(h history) error) error {
	if len(h.versions) == 0 {
		return nil
	}
	for i := len(h.versions) - 2; i >= 0; i-- {
		if before := h.versions[i+1]; h.versions[i].deleted {
			h.versions[i].concern, h.versions[i].direct = before.concern, before.direct
		}
	}
	return f(*h)
}

// until are the versions that are meant: those from the instant or before, what
// purges made of them since, and the deletion of the last of them, whenever that
// was.
func (h history) until(at store.Tick) []version {
	i := len(h.versions)
	for i > 0 && (h.versions[i-1].from <= at || h.versions[i-1].made) {
		i--
	}
	if i > 0 && i < len(h.versions) && h.versions[i-1].deleted {
		i--
	}
	return h.versions[i:]
}

// concern is how the resource concerned the record at the instant.
func (h history) concern(at store.Tick) selection.Concern {
	if old := h.until(at); len(old) > 0 {
		return old[0].concern
	}
	return selection.None
}

// decision is what is to be done to a resource.
type decision struct {
	about  bool               // it is of the record
	whole  bool               // nothing of it will be left
	erase  []store.VersionRef // the oldest first
	detach int64              // the version that is to be replaced by one that does not name the record
	text   bool               // that has free text
	since  bool               // it concerns the record, and was written after the instant
	kept   bool               // it names the record and is left as it is
}

// decide is the one place where it is decided what becomes of a resource: what
// is about the record goes whole, and of what merely names it the versions go
// that do, after the current one was replaced. Only what was there at the
// instant is meant. What was deleted, and names the record, goes whole: its
// tombstone names it and cannot be replaced.
func (h history) decide(at store.Tick, shared Shared) decision {
	old := h.until(at)
	later := h.versions[:len(h.versions)-len(old)]
	d := decision{since: slices.ContainsFunc(later, func(v version) bool { return v.concern != selection.None })}
	if len(old) == 0 {
		return d
	}
	concern := old[0].concern
	d.about = concern == selection.About || concern == selection.Names && old[0].direct && shared == Delete && canGo(h.id.Type)
	if d.about {
		d.whole, d.since = len(later) == 0, len(later) > 0
		d.erase = refs(old, func(version) bool { return true })
		return d
	}
	least := selection.Names
	if shared == Keep {
		least = selection.About
		d.kept = slices.ContainsFunc(old, func(v version) bool { return v.concern == selection.Names })
	}
	d.erase = refs(old, func(v version) bool { return v.concern >= least })
	switch {
	case len(later) > 0 || concern < least:
	case old[0].deleted && !canGo(h.id.Type): // its tombstone stays, which has no more than ids
		d.erase = refs(old[1:], func(version) bool { return true })
	case old[0].deleted:
		d.whole, d.erase = true, refs(old, func(version) bool { return true })
	default:
		d.detach, d.text = old[0].N, old[0].text
	}
	return d
}

// canGo tells whether resources of a type may go because they name a patient.
func canGo(typ string) bool { return typ != "Patient" && typ != "Group" && typ != "AuditEvent" }

// refs names the versions for which is holds, the oldest first.
func refs(versions []version, is func(version) bool) (out []store.VersionRef) {
	for _, v := range slices.Backward(versions) {
		if is(v) {
			out = append(out, v.VersionRef)
		}
	}
	return out
}

// sizes are how long the bodies of versions are, in their order, the oldest first.
func (h history) sizes(versions []store.VersionRef) []int64 {
	out := make([]int64, 0, len(versions))
	for _, v := range slices.Backward(h.versions) {
		if n := len(out); n < len(versions) && versions[n].N == v.N {
			out = append(out, v.size)
		}
	}
	return out
}
