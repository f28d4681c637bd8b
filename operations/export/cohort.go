package export

import (
	"context"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// memberPage is how many members are looked up and added at a time.
const memberPage = 1000

// cohort writes whose data is meant as rows of the job: the members of the
// group as of the job's instant, the patients that were named, or those who
// are both. It says who is left out, and why.
func (a attempt) cohort(ctx context.Context) (leftOut []fhir.Issue, err error) {
	patients := a.request.Patients
	if a.request.Level == selection.OneGroup {
		members, err := a.members(ctx)
		if err != nil {
			return nil, err
		}
		missing, err := a.others(ctx, members.Others)
		if err != nil {
			return nil, err
		}
		leftOut = append(members.LeftOut, missing...)
		if patients = members.Patients; a.request.Patients != nil {
			patients = both(a.request.Patients, members.Patients)
			leftOut = append(leftOut, notMembers(len(a.request.Patients)-len(patients))...)
		}
	}
	for page := range slices.Chunk(patients, memberPage) {
		there, missing, err := a.present(ctx, page)
		if err != nil {
			return nil, err
		}
		leftOut = append(leftOut, missing...)
		if err := a.cfg.Store.AddMembers(ctx, a.fence, there); err != nil {
			return nil, err
		}
	}
	return leftOut, nil
}

// both keeps of the patients that were named those who are members.
func both(named, members []string) []string {
	in := make(map[string]bool, len(members))
	for _, m := range members {
		in[m] = true
	}
	return slices.DeleteFunc(slices.Clone(named), func(p string) bool { return !in[p] })
}

func notMembers(n int) []fhir.Issue {
	if n == 0 {
		return nil
	}
	return []fhir.Issue{{
		Severity: fhir.Warning, Code: fhir.CodeNotFound,
		Diagnostics: "some of the patients that were asked for are not members of the Group; they are left out",
	}}
}

// members reads the Group and those nested in it.
func (a attempt) members(ctx context.Context) (selection.Membership, error) {
	all, absent, err := selection.MembersAt(ctx, a.cfg.Store, a.fence.Tenant, a.request.Group, store.TickOf(a.job.TransactionTime))
	if err != nil {
		return all, err
	}
	for _, id := range absent {
		if id == a.request.Group {
			return all, &job.Failure{Permanent: true, Reason: job.Reason{
				Code: string(fhir.CodeNotFound), Message: "the Group was deleted before the export began, or changed by a purge since; start the export again",
			}}
		}
		all.LeftOut = append(all.LeftOut, a.absent(fhir.ID{Type: "Group", ID: id}))
	}
	return all, nil
}

// each yields what is selected as of the job's instant.
func (a attempt) each(ctx context.Context, sel store.Selection, yield func(*store.Version) error) error {
	sel.At = store.TickOf(a.job.TransactionTime)
	ranges, err := a.cfg.Store.Split(ctx, a.fence.Tenant, sel, 1<<40)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := a.cfg.Store.Scan(ctx, a.fence.Tenant, sel, r, "", yield); err != nil {
			return err
		}
	}
	return nil
}

// present gives of the patients those that are there as of the job's instant,
// and says of each other one that it is left out. In an export of changes one
// that was deleted is there, as its deletion is a change.
func (a attempt) present(ctx context.Context, patients []string) (there []string, leftOut []fhir.Issue, err error) {
	found := make(map[fhir.ID]bool, len(patients))
	err = a.noteOrGone(ctx, store.Selection{Types: []string{"Patient"}, IDs: patients}, found)
	for _, p := range patients {
		if id := (fhir.ID{Type: "Patient", ID: p}); found[id] {
			there = append(there, p)
		} else {
			leftOut = append(leftOut, a.absent(id))
		}
	}
	return there, leftOut, err
}

// absent says of what was meant that it is not there.
func (a attempt) absent(id fhir.ID) fhir.Issue {
	why := " is a member of the Group and is not on this server"
	if a.request.Patients != nil {
		why = " was asked for and is not on this server"
	}
	return fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeNotFound, Diagnostics: id.String() + why}
}

// others finds the members that are no patients, of types that are wanted, and
// says of each one that is not there that it is left out. With patients that
// were named, no other member is meant.
func (a attempt) others(ctx context.Context, members []fhir.ID) (leftOut []fhir.Issue, err error) {
	for _, ids := range a.otherMembers(members) {
		found := make(map[fhir.ID]bool, len(ids))
		var changed []fhir.ID
		sel := idsOf(ids)
		err := a.noteOrGone(ctx, sel, found)
		if sel.After = a.request.After; err == nil {
			err = a.each(ctx, sel, func(v *store.Version) error {
				changed = append(changed, v.ID)
				return nil
			})
		}
		if err == nil {
			err = a.cfg.Store.AddFinds(ctx, a.fence, changed)
		}
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if !found[id] {
				leftOut = append(leftOut, a.absent(id))
			}
		}
	}
	return leftOut, nil
}

// otherMembers are the members that are no patients and are wanted, in pages
// of one type.
func (a attempt) otherMembers(members []fhir.ID) [][]fhir.ID {
	if a.request.Patients != nil {
		return nil
	}
	members = slices.DeleteFunc(slices.Clone(members), func(id fhir.ID) bool { return !a.request.wants(id.Type) })
	slices.SortStableFunc(members, func(a, b fhir.ID) int { return strings.Compare(a.Type, b.Type) })
	var pages [][]fhir.ID
	for ids := range byType(members) {
		pages = slices.AppendSeq(pages, slices.Chunk(ids, memberPage))
	}
	return pages
}

// idsOf selects resources of one type.
func idsOf(ids []fhir.ID) store.Selection {
	sel := store.Selection{Types: []string{ids[0].Type}}
	for _, id := range ids {
		sel.IDs = append(sel.IDs, id.ID)
	}
	return sel
}
