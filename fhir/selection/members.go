package selection

import (
	"context"
	"slices"

	"firebreak/store"
)

// MembersAt reads the members of a Group as of an instant, a barrier's T, with
// those of Groups nested in it, each Group once, however they name each other.
// absent are the Groups that were not there, by id; if the first is the one
// that was asked for, there are no members.
func MembersAt(ctx context.Context, st store.Scanner, t store.Tenant, group string, at store.Tick) (all Membership, absent []string, err error) {
	seen := map[string]bool{group: true}
	for queue := []string{group}; len(queue) > 0; queue = queue[1:] {
		body, err := groupAt(ctx, st, t, queue[0], at)
		if err != nil {
			return all, nil, err
		}
		if body == nil {
			absent = append(absent, queue[0])
			continue
		}
		m := Members(body, at.Time())
		for _, id := range m.Groups {
			if !seen[id] {
				seen[id] = true
				queue = append(queue, id)
			}
		}
		all.Add(m)
	}
	return all, absent, nil
}

// groupAt reads a Group as of an instant; nil if there was none.
func groupAt(ctx context.Context, st store.Scanner, t store.Tenant, id string, at store.Tick) (body []byte, err error) {
	sel := store.Selection{At: at, Types: []string{"Group"}, IDs: []string{id}}
	ranges, err := st.Split(ctx, t, sel, 1<<40)
	if err != nil {
		return nil, err
	}
	for _, r := range ranges {
		err := st.Scan(ctx, t, sel, r, "", func(v *store.Version) error {
			body = slices.Clone(v.Body)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}
