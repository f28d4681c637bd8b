package purge_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stored are all versions of some resources, by reference.
func (w *world) stored(refs []string) map[string][]store.Version {
	w.Helper()
	var ids []fhir.ID
	for _, ref := range refs {
		ids = append(ids, idOf(ref))
	}
	out := map[string][]store.Version{}
	w.ok("read all", w.store.Versions(w.Context(), tenant, ids, func(v *store.Version) error {
		c := *v
		c.Body, c.Patients = slices.Clone(v.Body), slices.Clone(v.Patients)
		out[v.ID.String()] = append(out[v.ID.String()], c)
		return nil
	}))
	return out
}

// mine tells by a resource's last version whether it goes.
func mine(last store.Version, who auth.Principal, types []string, before store.Tick) bool {
	return last.Owner == store.Owner{Client: who.Client, User: who.User} &&
		(len(types) == 0 || slices.Contains(types, last.ID.Type)) && (before == 0 || last.From < before)
}

// Whoever wrote what, and whatever names what: of what is there exactly that
// goes which the caller owns, of the types, from before the date.
func TestWhateverIsStoredNobodyElsesResourceIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		owners := []auth.Principal{as("app", fmt.Sprint("ann", round)), as("app", fmt.Sprint("bob", round)), as("app", ""), as(fmt.Sprint("other", round), fmt.Sprint("ann", round))}
		refs := map[string]bool{}
		for i := range rapid.IntRange(1, 15).Draw(r, "writes") {
			typ := rapid.SampledFrom([]string{"Patient", "Observation", "Organization"}).Draw(r, "type")
			id := fmt.Sprintf("r%d-%d", round, rapid.IntRange(1, 3).Draw(r, "id"))
			refs[typ+"/"+id] = true
			if rapid.IntRange(0, 4).Draw(r, "deletes at 0") == 0 {
				w.remove(typ + "/" + id)
				continue
			}
			named := fmt.Sprintf("r%d-%d", round, rapid.IntRange(1, 3).Draw(r, "names"))
			w.owns(rapid.SampledFrom(owners).Draw(r, "owner"), fmt.Sprintf(
				`{"resourceType":%q,"id":%q,"extension":[{"url":"http://a.example/%d","valueReference":{"reference":"Patient/%s"}}]}`, typ, id, i, named))
		}
		all := slices.Sorted(maps.Keys(refs))
		want := w.stored(all)
		who := rapid.SampledFrom(owners).Draw(r, "caller")
		types := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Patient", "Observation", "Group"}), 0, 2, func(s string) string { return s }).Draw(r, "types")
		var params []string
		if len(types) > 0 {
			params = append(params, "_type", strings.Join(types, ","))
		}
		var before store.Tick
		if ref := rapid.SampledFrom(all).Draw(r, "before the last version of"); rapid.Bool().Draw(r, "limited") && len(want[ref]) > 0 {
			before = want[ref][0].From
			params = append(params, "_before", before.Time().Format(time.RFC3339Nano))
		}
		maps.DeleteFunc(want, func(_ string, vs []store.Version) bool { return mine(vs[0], who, types, before) })
		w.succeeded(w.holding(who, params...))
		if diff := cmp.Diff(want, w.stored(all)); diff != "" {
			r.Fatalf("what is there (- want, + got):\n%s", diff)
		}
	})
}
