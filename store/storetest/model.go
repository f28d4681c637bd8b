package storetest

import (
	"cmp"
	"slices"

	"firebreak/store"
)

// model is what one tenant's resources must be like: each version ever
// written, in a list that is searched from end to end.
type model struct{ all []store.Version }

// current is the last version of the resource, or nil.
func (m *model) current(c change) *store.Version {
	for i := len(m.all) - 1; i >= 0; i-- {
		if m.all[i].ID == c.id {
			return &m.all[i]
		}
	}
	return nil
}

// apply notes a change that was committed, and checks what the store said of
// it. When and where it was written is the store's to choose.
func (m *model) apply(e *env, c change, a store.Applied) {
	e.Helper()
	v := store.Version{Key: a.Key, ID: c.id, N: 1, From: a.At, To: store.Forever, Owner: c.owner, Patients: c.patients}
	before := m.current(c)
	there := before != nil && !before.Deleted
	if c.body == "" {
		if !there {
			return
		}
		v.Deleted, v.Patients = true, before.Patients
	} else {
		r := c.resource()
		v.Body, v.MetaAt = r.Body, r.MetaAt
	}
	if there && !v.Deleted && string(before.Body) == string(v.Body) {
		e.that(a.Unchanged && !a.Created && a.N == before.N && a.Key == before.Key, "same content as version %d: %+v", before.N, a)
		return
	}
	if before != nil {
		v.N, v.Owner = before.N+1, before.Owner
		e.that(a.At > before.From, "version %d of %v is at %d, the one before at %d", v.N, c.id, a.At, before.From)
		before.To = a.At
	}
	e.that(a.N == v.N && !a.Unchanged, "Applied is %+v, want N %d", a, v.N)
	e.that(a.Created == (!there && !v.Deleted), "Applied of version %d is %+v", v.N, a)
	m.all = append(m.all, v)
}

// selected are the versions that a selection means, in order of type and then
// of key. members are the patients of its cohort.
func (m *model) selected(s store.Selection, members []string) []store.Version {
	var vs []store.Version
	for _, v := range m.all {
		if (v.AsOf(s.At) && v.Deleted == s.Deleted || s.Every && v.From <= s.At) && v.From > s.After &&
			(s.Types == nil || slices.Contains(s.Types, v.ID.Type)) &&
			(s.IDs == nil || slices.Contains(s.IDs, v.ID.ID)) &&
			(!s.Compartments || len(v.Patients) > 0) &&
			(s.Owner == nil || v.Owner == *s.Owner) &&
			(s.Cohort == "" || inCohort(v, members)) {
			vs = append(vs, v)
		}
	}
	slices.SortFunc(vs, byKey)
	return vs
}

// referrers are those of a type that name a target as of at, and those that do
// since. Resources of the model name the patients whose compartments they are
// in, but a Patient itself.
func (m *model) referrers(at store.Tick, typ string, targets []string) (want, since []string) {
	for _, v := range m.all {
		if v.ID.Type != typ || v.Deleted || !names(v, targets) {
			continue
		}
		if v.AsOf(at) {
			want = append(want, v.ID.String())
		} else if v.From > at {
			since = append(since, v.ID.String())
		}
	}
	return want, slices.DeleteFunc(since, func(ref string) bool { return slices.Contains(want, ref) })
}

func names(v store.Version, targets []string) bool {
	return slices.ContainsFunc(v.Patients, func(p string) bool {
		return "Patient/"+p != v.ID.String() && slices.Contains(targets, "Patient/"+p)
	})
}

func inCohort(v store.Version, members []string) bool {
	if v.ID.Type == "Patient" {
		return slices.Contains(members, v.ID.ID)
	}
	return slices.ContainsFunc(v.Patients, func(p string) bool { return slices.Contains(members, p) })
}

func byKey(a, b store.Version) int {
	return cmp.Or(cmp.Compare(a.ID.Type, b.ID.Type), cmp.Compare(a.Key, b.Key))
}
