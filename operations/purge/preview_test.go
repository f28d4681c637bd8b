package purge_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

func TestAPreviewShowsWhatThePurgeThenDoes(t *testing.T) {
	t.Parallel()
	pair := []fhir.Parameter{{Name: "patientId", Value: "kestrel"}, {Name: "patientId", Value: "mother"}, {Name: "patientId", Value: "nobody"}}
	for name, c := range map[string]purge.Call{
		"of a patient":            {Patient: "kestrel"},
		"and of what names it":    {Patient: "kestrel", Params: []fhir.Parameter{{Name: "_shared", Value: "delete"}}},
		"but of what names it":    {Patient: "kestrel", Params: []fhir.Parameter{{Name: "_shared", Value: "keep"}}},
		"of a list":               {Bulk: true, Params: pair},
		"of the members of Group": {Group: "family"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(family...)
			w.put(strings.Replace(family[6], "3.10", "3.20", 1), strings.Replace(family[17], "person", "practitioner", 1))
			w.put(`{"resourceType":"Condition","id":"old","subject":{"reference":"Patient/kestrel"}}`)
			w.remove("Condition/old")
			s := w.shown(c)
			before := w.everything()
			w.succeeded(w.start(quoting(c, s.Plan)))
			w.didAsShown(s, before, w.everything())
		})
	}
}

// didAsShown asserts that what was done is what was shown, by type and in total.
func (w *world) didAsShown(s shown, before, after map[string]string) {
	w.Helper()
	if diff := cmp.Diff(less(before, after), erases(s.Types)); diff != "" {
		w.Errorf("(- what is gone, + what was shown)\n%s", diff)
	}
	detached := int64(0)
	for at := range after {
		if _, was := before[at]; !was {
			detached++
		}
	}
	sum := map[string]int64{"resources": 0}
	for _, row := range s.Types {
		for name, n := range row {
			sum[name] += n
		}
	}
	if sum["detached"] != detached {
		w.Errorf("%d were detached, %d were to be", detached, sum["detached"])
	}
	for name, n := range sum {
		if s.Total[name] != n {
			w.Errorf("in total %d of %s, by type %d", s.Total[name], name, n)
		}
	}
}

func TestAPreviewSaysWhatWouldDangleAndWhatMayStillMention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"AuditEvent","id":"seen","type":{"code":"rest"},"recorded":"2026-01-01T00:00:00Z","agent":[{"requestor":true}],"source":{"observer":{"display":"x"}},"entity":[{"what":{"reference":"Patient/kestrel"}}]}`)
	s := w.shown(purge.Call{Patient: "kestrel"})
	if diff := cmp.Diff([]string{"AuditEvent/seen"}, s.Dangling); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(s.Mention, "FamilyMemberHistory/siblings") {
		t.Errorf("it says nothing of free text: %v", s.Mention)
	}
	kept := w.shown(purge.Call{Patient: "kestrel", Params: []fhir.Parameter{{Name: "_shared", Value: "keep"}}})
	if kept.Total["kept"] == 0 || kept.Total["dangling"] != kept.Total["kept"]+1 || kept.Total["detached"] != 0 {
		t.Errorf("what is kept dangles: %v", kept.Total)
	}
	w.says(kept.Says, "would name what is gone")
	if got := slices.Collect(maps.Keys(s.Patients)); len(got) != 1 || got[0] != "kestrel" {
		t.Errorf("patients %v", got)
	}
}

// untrue asserts that a purge that quotes a plan fails, and touches nothing.
func (w *world) untrue(c purge.Call) {
	w.Helper()
	before := w.everything()
	j := w.ended(w.start(c))
	if j.State != job.Failed || j.Error.Code != string(fhir.CodeConflict) {
		w.Errorf("the job is %s: %+v", j.State, j.Error)
	}
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		w.Errorf("it was touched:\n%s", diff)
	}
}

func TestAPlanThatIsNotTrueAnyMorePurgesNothing(t *testing.T) {
	t.Parallel()
	mothers := strings.Replace(family[7], "1.50", "1.60", 1)
	for name, change := range map[string]func(w *world){
		"something new": func(w *world) {
			w.put(`{"resourceType":"Condition","id":"new","subject":{"reference":"Patient/kestrel"}}`)
		},
		"an update":            func(w *world) { w.put(strings.Replace(family[6], "3.10", "3.20", 1)) },
		"a deletion":           func(w *world) { w.remove("Observation/weight") },
		"of what names it":     func(w *world) { w.put(mothers) },
		"of its Group":         func(w *world) { w.put(strings.Replace(family[17], "person", "animal", 1)) },
		"something was purged": func(w *world) { w.purged("mother") },
	} {
		for kind, c := range map[string]purge.Call{
			"patient": {Patient: "kestrel"}, "group": {Group: "family"},
			"list": {Bulk: true, Params: []fhir.Parameter{{Name: "patientId", Value: "sibling"}, {Name: "patientId", Value: "kestrel"}}},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.put(family...)
				s := w.shown(c)
				change(w)
				w.untrue(quoting(c, s.Plan))
			})
		}
	}
}

func TestAnotherMemberOfTheGroupIsNotPurgedByThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	s := w.shown(purge.Call{Group: "family"})
	w.put(strings.Replace(family[17], `"member":[`, `"member":[{"entity":{"reference":"Patient/sibling"}},`, 1))
	w.untrue(quoting(purge.Call{Group: "family"}, s.Plan))
}

func TestWhatIsWrittenElsewhereLeavesThePlanTrue(t *testing.T) {
	t.Parallel()
	var proofs []purge.Proof
	w := newWorldWith(t, asIs, purge.Config{Certify: func(_ context.Context, _ store.Fence, p purge.Proof) error {
		proofs = append(proofs, p)
		return nil
	}})
	w.put(family...)
	c := purge.Call{Patient: "kestrel"}
	s := w.shown(c)
	w.put(`{"resourceType":"Condition","id":"sisters","subject":{"reference":"Patient/sibling"}}`, strings.Replace(family[2], "Mother", "Madre", 1))
	again := w.shown(c)
	if s.Hash == again.Hash || s.Hash == "" {
		t.Errorf("two previews have the hash %q: it tells whoever knows the ids", s.Hash)
	}
	w.put(`{"resourceType":"Condition","id":"sisters","subject":{"reference":"Patient/sibling"},"recordedDate":"2026-01-01"}`)
	w.succeeded(w.start(quoting(c, again.Plan)))
	w.gone("Patient/kestrel")
	if len(proofs) != 1 || proofs[0].Request.Hash != again.Hash {
		t.Errorf("what is certified has not the hash of the plan: %+v", proofs)
	}
}

func TestAPlanIsQuotedByItsOwnerForTheSameCallWithinTheHour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	c := purge.Call{Patient: "kestrel"}
	s := w.shown(c)
	purged := w.start(purge.Call{Patient: "nobody"})
	w.succeeded(purged)
	before := w.everything()
	refuse := func(what string, p auth.Principal, c purge.Call, kind fhir.Kind) {
		t.Helper()
		if _, err := w.purge.Kickoff(t.Context(), p, c); fhir.KindOf(err) != kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse("another's", as("app", ""), quoting(c, s.Plan), fhir.Conflict)
	refuse("none", auth.Local(), quoting(c, "nothing"), fhir.Conflict)
	refuse("no preview", auth.Local(), quoting(c, purged.ID), fhir.Conflict)
	refuse("of another", auth.Local(), quoting(purge.Call{Patient: "mother"}, s.Plan), fhir.Invalid)
	refuse("with another parameter", auth.Local(), quoting(purge.Call{Patient: "kestrel", Params: []fhir.Parameter{{Name: "_shared", Value: "keep"}}}, s.Plan), fhir.Invalid)
	refuse("of a holding", auth.Local(), quoting(purge.Call{Group: "family"}, s.Plan), fhir.Invalid)
	refuse("a preview that quotes", auth.Local(), preview(quoting(c, s.Plan)), fhir.Invalid)
	refuse("no id", auth.Local(), quoting(c, "../x"), fhir.Invalid)
	if _, err := w.purge.KickoffHolding(t.Context(), auth.Local(), purge.HoldingCall{Params: quoting(purge.Call{}, s.Plan).Params}); fhir.KindOf(err) != fhir.Invalid {
		t.Errorf("for a holding: %v", err)
	}
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		t.Errorf("it was touched:\n%s", diff)
	}
	list := quoting(purge.Call{Bulk: true, Params: []fhir.Parameter{{Name: "patientId", Value: "kestrel"}, {Name: "_verify", Value: "full"}}}, s.Plan)
	w.succeeded(w.start(list)) // the same patients and parameters, however they are named
	w.gone("Patient/kestrel")
	later := w.shown(purge.Call{Patient: "mother"})
	w.ahead.Add(int64(time.Hour + time.Second))
	refuse("over an hour old", auth.Local(), quoting(purge.Call{Patient: "mother"}, later.Plan), fhir.Conflict)
}

func TestAPreviewShowsTheHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.hold("of-mother", "Patient/mother", "mother")
	for _, c := range []purge.Call{{Patient: "mother"}, {Group: "family"}} {
		s := w.shown(c)
		if len(s.Holds) != 1 || !strings.HasPrefix(s.Holds[0], "of-mother") {
			t.Errorf("holds: %v", s.Holds)
		}
		w.says(s.Says, "1 legal holds stand in the way")
		if _, err := w.purge.Kickoff(t.Context(), auth.Local(), quoting(c, s.Plan)); fhir.KindOf(err) != fhir.Conflict {
			t.Errorf("the purge: %v", err)
		}
	}
}

// previewOfHolding shows what a principal owns.
func (w *world) previewOfHolding(p auth.Principal, params ...string) shown {
	w.Helper()
	before := w.everything()
	s := asShown(w.T, w.succeeded(w.holding(p, append(params, "_preview", "true")...)))
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		w.Errorf("the preview changed what is stored:\n%s", diff)
	}
	return s
}

func TestAPreviewOfAHoldingShowsWhatThePurgeThenDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, ben := as("app", "ann"), as("app", "ben")
	w.owns(ann, family...)
	for i := range 1100 {
		w.owns(ann, note(fmt.Sprint("n", i), "one of many"))
	}
	w.owns(ann, strings.Replace(family[6], "3.10", "3.20", 1))
	w.owns(ben, `{"resourceType":"Observation","id":"bens","status":"final","subject":{"reference":"Patient/kestrel"}}`)
	w.remove("Observation/n1")
	s := w.previewOfHolding(ann, "_type", "Observation,Patient")
	if diff := cmp.Diff([]string{"Appointment/alone"}, s.Dangling[:1]); diff != "" || !slices.Contains(s.Dangling, "Observation/bens") {
		t.Errorf("dangling: %v", s.Dangling)
	}
	if s.Patients["kestrel"]["resources"] < 2 {
		t.Errorf("patients: %v", s.Patients)
	}
	before := w.everything()
	w.succeeded(w.holding(ann, "_type", "Observation,Patient", "_plan", s.Plan))
	if diff := cmp.Diff(less(before, w.everything()), erases(s.Types)); diff != "" {
		t.Errorf("(- what is gone, + what was shown)\n%s", diff)
	}
}

func TestAPlanOfAHoldingThatIsNotTrueAnyMorePurgesNothing(t *testing.T) {
	t.Parallel()
	ann, ben := as("app", "ann"), as("app", "ben")
	for name, change := range map[string]func(w *world){
		"something new":   func(w *world) { w.owns(ann, note("new", "x")) },
		"of another type": func(w *world) { w.owns(ann, family[3]) },
		"an update":       func(w *world) { w.owns(ben, note("n1", "y")) }, // which keeps the owner
		"a deletion":      func(w *world) { w.remove("Observation/n1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.owns(ann, note("n1", "x"), note("n2", "x"))
			s := w.previewOfHolding(ann)
			w.owns(ben, note("bens", "x"))
			change(w)
			before := w.everything()
			j := w.ended(w.holding(ann, "_plan", s.Plan))
			if j.State != job.Failed || j.Error.Code != string(fhir.CodeConflict) {
				t.Errorf("the job is %s: %+v", j.State, j.Error)
			}
			if diff := cmp.Diff(before, w.everything()); diff != "" {
				t.Errorf("it was touched:\n%s", diff)
			}
		})
	}
}

func TestTheOtherProductsCallKnowsNoPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := purge.HoldingCall{Plain: true, Params: []fhir.Parameter{{Name: "_preview", Value: "true"}}}
	if _, err := w.purge.KickoffHolding(t.Context(), auth.Local(), c); fhir.KindOf(err) != fhir.Invalid {
		t.Errorf("%v", err)
	}
}
