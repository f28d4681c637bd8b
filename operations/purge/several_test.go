package purge_test

import (
	"fmt"
	"testing"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"

	"github.com/google/go-cmp/cmp"
)

// namingTwo are resources of which the last names two of the patients, perhaps by
// what is about one of them,
// and is met by two units, of which either may come first.
var namingTwo = map[string][]string{
	"a Provenance of a patient and of what is another's": {
		`{"resourceType":"Binary","id":"b","securityContext":{"reference":"Patient/ann"}}`,
		`{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/ann"}}`,
		`{"resourceType":"Provenance","id":"x","target":[{"reference":"Binary/b"},{"reference":"Observation/o"},{"reference":"Patient/ben"}]}`,
	},
	"a third one's Observation, which both performed": {
		`{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/cat"},"performer":[{"reference":"Patient/ann"},{"reference":"Patient/ben"}]}`,
	},
	"a third one's Observation, which one performed and then the other": {
		`{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/cat"},"performer":[{"reference":"Patient/ann"}]}`,
		`{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/cat"},"performer":[{"reference":"Patient/ben"}]}`,
	},
	"a List of what is about both": {
		`{"resourceType":"Observation","id":"a","subject":{"reference":"Patient/ann"}}`,
		`{"resourceType":"Observation","id":"b","subject":{"reference":"Patient/ben"}}`,
		`{"resourceType":"List","id":"x","entry":[{"item":{"reference":"Observation/a"}},{"item":{"reference":"Observation/b"}}]}`,
	},
	"a Patient who links to both": {
		`{"resourceType":"Patient","id":"x","link":[{"other":{"reference":"Patient/ann"}}],"managingOrganization":{"reference":"Patient/ben"}}`,
	},
}

// three are the patients, of whom Cat stays.
func (w *world) three() {
	w.Helper()
	for _, id := range []string{"ann", "ben", "cat"} {
		w.put(fmt.Sprintf(`{"resourceType":"Patient","id":%q}`, id))
	}
}

func TestWhicheverUnitComesFirstWhatNamesTwoPatientsIsFreeOfBoth(t *testing.T) {
	t.Parallel()
	for name, bodies := range namingTwo {
		for _, order := range [][]string{{"ann", "ben"}, {"ben", "ann"}} {
			t.Run(fmt.Sprint(name, order), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.three()
				w.put(bodies...)
				c := purge.Call{Bulk: true, Params: given("patientId", order[0], "patientId", order[1])}
				s := w.shown(c)
				before := w.everything()
				w.succeeded(w.start(quoting(c, s.Plan)))
				w.didAsShown(s, before, w.everything())
			})
		}
	}
}

func TestTwoPurgesAtOnceBothDetachWhatNamesBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.three()
	w.put(namingTwo["a List of what is about both"]...)
	var js []job.Job
	for _, id := range []string{"ann", "ben"} {
		js = append(js, w.start(purge.Call{Patient: id, Params: []fhir.Parameter{{Name: "_verify", Value: "full"}}}))
	}
	for _, j := range js {
		w.succeeded(j)
	}
	if diff := cmp.Diff([]int64{3}, w.versions("List/x")); diff != "" {
		t.Errorf("versions of the List (- want, + got):\n%s", diff)
	}
}
