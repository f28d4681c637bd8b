package purge_test

import (
	"testing"

	"firebreak/fhir"
	"firebreak/operations/purge"
	"firebreak/store"
)

func TestAHoldOnTheTenantRefusesThePurgeOfAHolding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := as("app", "ann")
	w.owns(ann, note("n", "Kestrel"))
	w.hold("h", "tenant")
	_, err := w.purge.KickoffHolding(t.Context(), ann, purge.HoldingCall{})
	if fhir.KindOf(err) != fhir.Conflict {
		t.Fatalf("the kick-off: %v", err)
	}
	w.says(err.Error(), "the legal hold h is on the whole tenant, until it is lifted")
	w.lift("h")
	w.succeeded(w.holding(ann))
	w.gone("Observation/n")
}

func TestAHoldOnAPatientFailsThePurgeOfAHoldingBeforeItTouchesAnything(t *testing.T) {
	t.Parallel()
	for _, about := range []string{
		`{"resourceType":"Observation","id":"of","status":"final","subject":{"reference":"Patient/held"}}`,
		`{"resourceType":"Device","id":"of","patient":{"reference":"Patient/held"}}`,
		`{"resourceType":"Patient","id":"held"}`,
	} {
		w := newWorld(t)
		ann := as("app", "ann")
		w.owns(ann, family...)
		w.owns(ann, about)
		w.hold("h", "Patient/held")
		w.hold("other", "Patient/nobody")
		j := w.holding(ann)
		w.stopped(j, "the legal hold h is on a patient whom something is about that you own")
		w.has("Patient/kestrel", 1)
		w.has("Observation/weight", 1)
		w.lift("h")
		w.succeeded(w.again(j))
		w.gone("Patient/kestrel", "Observation/weight", "Observation/of", "Device/of", "Patient/held")
	}
}

func TestAHoldThatIsSetWhileAHoldingIsPurgedStopsTheBatchThatItIsOn(t *testing.T) {
	t.Parallel()
	w := newSetting(t, "Patient/held", func(call string, _ store.Fence) bool { return call == "before Erase" })
	ann := as("app", "ann")
	w.owns(ann, `{"resourceType":"Observation","id":"of","status":"final","subject":{"reference":"Patient/held"}}`,
		`{"resourceType":"Observation","id":"of","status":"amended","subject":{"reference":"Patient/kestrel"}}`,
		`{"resourceType":"Organization","id":"other"}`)
	j := w.holding(ann)
	w.stopped(j, "the legal hold late is on a patient whom something is about that you own")
	w.has("Observation/of", 2, 1)
	w.gone("Organization/other")
	w.lift("late")
	w.succeeded(w.again(j))
	w.gone("Observation/of")
}
