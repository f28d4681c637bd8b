package export

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// deletedPerLine is how many deletions one Bundle says.
const deletedPerLine = 100

// deletions is a transaction Bundle of deletions (Bulk Data, "deleted").
type deletions struct {
	ResourceType string          `json:"resourceType"`
	Type         string          `json:"type"`
	Entry        []deletionEntry `json:"entry"`
}

type deletionEntry struct {
	Request deletionRequest `json:"request"`
}

type deletionRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// writeDeleted writes what was deleted after the request's instant, of what it
// asked for.
func (a attempt) writeDeleted(ctx context.Context) (job.UnitEnd, error) {
	end := job.UnitEnd{State: job.Succeeded}
	d := deleting{attempt: a, holders: holders{}, said: map[fhir.ID]bool{}}
	defer d.abort()
	if err := d.told(ctx); err != nil {
		return end, err
	}
	for _, sel := range a.selections {
		if err := d.selected(ctx, sel); err != nil {
			return end, err
		}
	}
	if err := d.others(ctx); err != nil {
		return end, err
	}
	if err := d.provenance(ctx); err != nil {
		return end, err
	}
	if err := d.line(ctx); err != nil {
		return end, err
	}
	err := d.cut()
	end.Parts = d.parts
	return end, err
}

// deleting is the files of deletions.
type deleting struct {
	attempt
	file    *partWriter
	parts   []job.Part
	entries []deletionEntry
	holders holders          // of the entries
	said    map[fhir.ID]bool // what was told and has a tombstone
}

// told writes what the owner is to hear of: what was erased that another export
// of theirs held. Of that there is no tombstone, and so no instant: each export
// of changes says it until it expires. It holds nobody, as all that is left of
// it is the id.
func (d *deleting) told(ctx context.Context) error {
	types := d.request.deletable()
	for after := (fhir.ID{}); ; {
		page, err := d.cfg.Store.Told(ctx, d.fence.Tenant, d.job.Owner, d.cfg.Now(), after, findPage)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1]
		for ids := range byType(page) {
			if !slices.Contains(types, ids[0].Type) {
				continue
			}
			if err := d.erased(ctx, ids); err != nil {
				return err
			}
		}
	}
}

// erased writes those of what was erased that are not there again as of the
// job's instant. One that was there again and was deleted after the request's
// instant is written with whom it concerns, and is not to be written again.
func (d *deleting) erased(ctx context.Context, ids []fhir.ID) error {
	there := map[fhir.ID]bool{}
	sel := idsOf(ids)
	if err := d.each(ctx, sel, func(v *store.Version) error {
		there[v.ID] = true
		return nil
	}); err != nil {
		return err
	}
	sel.After, sel.Deleted = d.request.After, true
	if err := d.each(ctx, sel, func(v *store.Version) error {
		err := d.version(ctx, v)
		d.said[v.ID] = true
		return err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if there[id] || d.said[id] {
			continue
		}
		if err := d.deletion(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// selected writes the deletions of a selection.
func (d *deleting) selected(ctx context.Context, sel store.Selection) error {
	sel.After, sel.Deleted = d.request.After, true
	return d.each(ctx, sel, func(v *store.Version) error { return d.version(ctx, v) })
}

// others writes the deletions of members that are no patients.
func (d *deleting) others(ctx context.Context) error {
	if d.request.Level != selection.OneGroup {
		return nil
	}
	members, err := d.members(ctx)
	if err != nil {
		return err
	}
	for _, ids := range d.otherMembers(members.Others) {
		if err := d.selected(ctx, idsOf(ids)); err != nil {
			return err
		}
	}
	return nil
}

// provenance writes the deletions of Provenance that was about what Provenance
// comes along with. A tombstone does not say what that was; the version before
// it does.
func (d *deleting) provenance(ctx context.Context) error {
	if d.request.Provenance == NoProvenance {
		return nil
	}
	var page []store.Version
	sel := store.Selection{Types: []string{"Provenance"}, After: d.request.After, Deleted: true}
	err := d.each(ctx, sel, func(v *store.Version) error {
		page = append(page, store.Version{ID: v.ID, N: v.N, Patients: slices.Clone(v.Patients)})
		if len(page) < deletedPerLine {
			return nil
		}
		err := d.about(ctx, page)
		page = page[:0]
		return err
	})
	if err != nil {
		return err
	}
	return d.about(ctx, page)
}

// about writes those of the tombstones whose target was meant.
func (d *deleting) about(ctx context.Context, tombstones []store.Version) error {
	targets := make([][]fhir.ID, len(tombstones))
	all := map[fhir.ID]bool{}
	for i, v := range tombstones {
		before, err := d.cfg.Store.Version(ctx, d.fence.Tenant, v.ID, v.N-1)
		switch {
		case err == nil:
			targets[i] = named(&before, "target")
		case !errors.Is(err, store.ErrNotFound): // it may be erased
			return err
		}
		targets[i] = append(targets[i], v.ID) // it may be in a compartment itself
		for _, id := range targets[i] {
			all[id] = true
		}
	}
	held, err := d.held(ctx, slices.Collect(maps.Keys(all)))
	if err != nil {
		return err
	}
	for i := range tombstones {
		if slices.ContainsFunc(targets[i], func(id fhir.ID) bool { return held[id] }) {
			if err := d.version(ctx, &tombstones[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// held are those of the resources that Provenance comes along with, or did
// until they were deleted after the request's instant.
func (a attempt) held(ctx context.Context, ids []fhir.ID) (map[fhir.ID]bool, error) {
	asked := a.request.Asked
	if a.request.Provenance == AllProvenance {
		asked.Types = nil
	}
	held := map[fhir.ID]bool{}
	slices.SortFunc(ids, func(a, b fhir.ID) int { return strings.Compare(a.Type, b.Type) })
	for _, sel := range asked.Selections(store.TickOf(a.job.TransactionTime), store.CohortID(a.job.ID)) {
		for run := range byType(ids) {
			one := idsOf(run)
			if sel.IDs != nil { // the Group's own
				one.IDs = both(one.IDs, sel.IDs)
			}
			if !slices.Contains(sel.Types, run[0].Type) || len(one.IDs) == 0 {
				continue
			}
			one.Cohort, one.Compartments = sel.Cohort, sel.Compartments
			if err := a.noteOrGone(ctx, one, held); err != nil {
				return nil, err
			}
		}
	}
	return held, nil
}

// noteOrGone notes what is selected, and what was deleted of it after the
// request's instant, as that is a change.
func (a attempt) noteOrGone(ctx context.Context, sel store.Selection, found map[fhir.ID]bool) error {
	note := func(v *store.Version) error {
		found[v.ID] = true
		return nil
	}
	if err := a.each(ctx, sel, note); err != nil || a.request.After == 0 {
		return err
	}
	sel.After, sel.Deleted = a.request.After, true
	return a.each(ctx, sel, note)
}

func (d *deleting) version(ctx context.Context, v *store.Version) error {
	if d.said[v.ID] {
		return nil
	}
	d.holders.tombstone(v)
	return d.deletion(ctx, v.ID)
}

func (d *deleting) deletion(ctx context.Context, id fhir.ID) error {
	d.entries = append(d.entries, deletionEntry{deletionRequest{"DELETE", id.String()}})
	if len(d.entries) < deletedPerLine {
		return nil
	}
	return d.line(ctx)
}

// line writes the entries as one Bundle.
func (d *deleting) line(ctx context.Context) error {
	if len(d.entries) == 0 {
		return nil
	}
	b, err := json.Marshal(deletions{"Bundle", "transaction", d.entries})
	if err != nil {
		return err
	}
	if d.file != nil && d.file.part.Size+int64(len(b)) >= d.cfg.MaxFile {
		if err := d.cut(); err != nil {
			return err
		}
	}
	if d.file == nil {
		if d.file, err = d.part(ctx, job.Deleted, "Bundle", len(d.parts)+1); err != nil {
			return err
		}
	}
	maps.Copy(d.file.holders, d.holders)
	clear(d.holders)
	d.entries = d.entries[:0]
	return d.file.line(append(b, '\n'))
}

// cut ends the open file, if there is one. No later unit numbers it.
func (d *deleting) cut() error {
	if d.file == nil {
		return nil
	}
	p, err := d.file.end()
	if err != nil {
		return err
	}
	d.file = nil
	p.N = len(d.parts) + 1
	d.parts = append(d.parts, p)
	return nil
}

func (d *deleting) abort() {
	if d.file != nil {
		d.file.file.Abort()
	}
}
