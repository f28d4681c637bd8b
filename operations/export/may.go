package export

import (
	"slices"

	"firebreak/auth"
	"firebreak/fhir/r4"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
)

// May refuses a file of an export to a principal that may not read what can be
// in it. Whoever may start the export may read all of its files; of others this
// is needed:
//
//   - for output, read on the type of its resources;
//   - for deletions, which are of many types in one file, read on each type
//     that one can be of;
//   - for errors, which say what was left out and who is no patient here, what
//     starts any export at this level: read on the Group or on the patients
//     that were named, and on one of the types.
func May(p auth.Principal, j job.Job, part job.Part) error {
	if part.Category == job.Output {
		return auth.May(p, auth.Read, part.Type)
	}
	r, err := request(j)
	if err != nil {
		return err
	}
	if part.Category == job.Deleted {
		return mayAll(p, r.deletable())
	}
	if err := r.maySelect(p); err != nil {
		return err
	}
	return r.mayAny(p)
}

// deletable are the types that deletions can be of.
func (r Request) deletable() (types []string) {
	for _, sel := range r.selections(0, "") {
		types = append(types, sel.Types...)
	}
	if r.Provenance != NoProvenance {
		types = append(types, "Provenance")
	}
	if r.Level == selection.OneGroup && r.Patients == nil {
		types = append(types, slices.DeleteFunc(selection.OtherMembers(), func(t string) bool { return !r.wants(t) })...)
	}
	return types
}

// maySelect asks for read on what says whose data is meant.
func (r Request) maySelect(p auth.Principal) error {
	var by []string
	if r.Level == selection.OneGroup {
		by = append(by, "Group")
	}
	if r.Patients != nil {
		by = append(by, "Patient")
	}
	return mayAll(p, by)
}

// mayAny asks for read on one of the types that are asked for, if any is.
func (r Request) mayAny(p auth.Principal) (err error) {
	types := r.Types
	if types == nil {
		types = slices.Concat(r4.Types(), []string{auth.AnyType}) // whose refusal is the one to be shown
	}
	for _, typ := range types {
		if err = auth.May(p, auth.Read, typ); err == nil {
			return nil
		}
	}
	return err
}

// mayAll asks for read on each of the types.
func mayAll(p auth.Principal, types []string) error {
	for _, typ := range types {
		if err := auth.May(p, auth.Read, typ); err != nil {
			return err
		}
	}
	return nil
}
