package purge_test

import (
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"

	"github.com/google/go-cmp/cmp"
)

// What goes is the same versions, but what is shown as gone, or detached, would
// have a version that says nothing of the patient any more.
func TestAPlanIsNotTrueIfWhatWasShownWouldNotBeDetachedOrWouldStay(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"detached": `{"resourceType":"Observation","id":"mothers","status":"final","subject":{"reference":"Patient/mother"}}`,
		"gone":     `{"resourceType":"Observation","id":"weight","status":"final","subject":{"reference":"Patient/sibling"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(family...)
			c := purge.Call{Patient: "kestrel"}
			s := w.shown(c)
			w.put(change)
			w.untrue(quoting(c, s.Plan))
		})
	}
}

func TestAHoldOnWhatNamesOneOfAListKeepsAPlanFromAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	w.put(`{"resourceType":"Patient","id":"stranger"}`)
	w.hold("of-mother", "Patient/mother", "mother") // whom something is about that names Kestrel
	c := bulk("stranger", "kestrel")
	s := w.shown(c)
	if diff := cmp.Diff([]string{"of-motherpatient"}, s.Holds); diff != "" { // and not whose
		t.Errorf("holds: %s", diff)
	}
	w.untrue(quoting(c, s.Plan))
	w.lift("of-mother")
	w.succeeded(w.start(quoting(c, s.Plan)))
	w.gone("Patient/stranger", "Patient/kestrel")
}

func TestAPurgeThatIsHeldToAPlanIsTriedAgainOnlyIfItHasBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	c := bulk("sibling", "mother")
	s := w.shown(c)
	w.put(`{"resourceType":"Condition","id":"new","subject":{"reference":"Patient/mother"}}`)
	refused := w.ended(w.start(quoting(c, s.Plan)))
	if err := w.purge.MayRetry(t.Context(), auth.Local(), refused); fhir.KindOf(err) != fhir.Conflict {
		t.Errorf("one whose plan was not true: %v", err)
	}
	ann := as("app", "ann")
	w.owns(ann, note("n", "x"))
	shown := w.previewOfHolding(ann)
	w.owns(ann, note("n", "y"))
	if err := w.purge.MayRetryHolding(t.Context(), ann, w.ended(w.holding(ann, "_plan", shown.Plan))); fhir.KindOf(err) != fhir.Conflict {
		t.Errorf("one of a holding: %v", err)
	}
	for what, j := range map[string]job.Job{
		"one with no plan":   w.ended(w.start(c)),
		"one that has begun": w.ended(w.start(quoting(bulk("kestrel"), w.shown(bulk("kestrel")).Plan))),
	} {
		if err := w.purge.MayRetry(t.Context(), auth.Local(), j); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAHoldingsParameterIsGivenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, params := range [][]fhir.Parameter{
		given("_preview", "true", "_preview", "false"), given("_preview", "false", "_preview", "true"), given("_plan", "a", "_plan", "a"),
	} {
		if _, err := w.purge.KickoffHolding(t.Context(), auth.Local(), purge.HoldingCall{Params: params}); fhir.KindOf(err) != fhir.Invalid || !strings.Contains(err.Error(), "given twice") {
			t.Errorf("%v: %v", params, err)
		}
	}
}

func TestACallThatIsSentAgainUnderItsKeyIsAnsweredThoughThePreviewIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(family...)
	ann := as("app", "ann")
	w.owns(ann, note("n", "x"))
	s, of := w.shown(purge.Call{Patient: "kestrel"}), w.previewOfHolding(ann)
	c := quoting(purge.Call{Patient: "kestrel", Key: "k"}, s.Plan)
	h := purge.HoldingCall{Params: given("_plan", of.Plan), Key: "k"}
	first := w.start(c)
	w.succeeded(first)
	ofAnn, err := w.purge.KickoffHolding(t.Context(), ann, h)
	w.ok("kick-off", err)
	w.succeeded(ofAnn)
	w.ahead.Add(int64(time.Hour + time.Second))
	w.hold("since", "Patient/kestrel", "kestrel")
	if again, err := w.purge.Kickoff(t.Context(), auth.Local(), c); err != nil || again.ID != first.ID {
		t.Errorf("the same call: %s, %v", again.ID, err)
	}
	if again, err := w.purge.KickoffHolding(t.Context(), ann, h); err != nil || again.ID != ofAnn.ID {
		t.Errorf("the same call of a holding: %s, %v", again.ID, err)
	}
	c.Params = append(c.Params, given("_shared", "keep")...)
	if _, err := w.purge.Kickoff(t.Context(), auth.Local(), c); fhir.KindOf(err) != fhir.Conflict {
		t.Errorf("another call: %v", err)
	}
}
