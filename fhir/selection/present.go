package selection

import (
	"context"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// MembersNow is MembersAt for the Groups as they are, and for who is a member at
// an instant. What is written meanwhile may be seen or not. there: the Group
// that was asked for is.
func MembersNow(ctx context.Context, st store.Reader, t store.Tenant, group string, now time.Time) (all Membership, there bool, err error) {
	seen := map[string]bool{group: true}
	for queue := []string{group}; len(queue) > 0; queue = queue[1:] {
		got, err := st.Get(ctx, t, fhir.ID{Type: "Group", ID: queue[0]})
		if err != nil {
			return all, there, err
		}
		if got[0].N == 0 || got[0].Deleted {
			continue
		}
		there = there || queue[0] == group
		m := Members(got[0].Body, now)
		for _, id := range m.Groups {
			if !seen[id] {
				seen[id] = true
				queue = append(queue, id)
			}
		}
		all.Add(m)
	}
	return all, there, nil
}

// Subjects are the patients that a version of a resource is about, by the
// subject element of its type: see Concern. A type that has none, such as a
// Provenance, is about nobody here. One may be there twice.
func Subjects(typ string, body []byte) (patients []string) {
	steps, ok := subjects()[typ]
	if !ok {
		return nil
	}
	each(gjson.ParseBytes(body), steps, func(reference gjson.Result) {
		if id, ok := search.Target(reference.Get("reference").String()); ok && id.Type == patient {
			patients = append(patients, id.ID)
		}
	})
	return patients
}
