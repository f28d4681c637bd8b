package main

import (
	"fmt"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir/interaction"
	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
)

// others is what another client owns: it names what goes, and stays.
const others = `{"resourceType":"Observation","id":"others","status":"final","subject":{"reference":"Patient/ada"},"valueString":"another's"}`

// withOthers is the template with what another client owns.
func (tpl purgeTemplate) withOthers(t *testing.T) purgeTemplate {
	t.Helper()
	st, _, done := opened(t, tpl.storage)
	defer done()
	other := auth.Principal{Tenant: auth.DefaultTenant, Client: "other"}.With(auth.ParseScopes(everything, nil))
	_, err := newService(st, 1<<20).Update(t.Context(), other, refOf(others), []byte(others), interaction.Condition{})
	tpl.ok(t, err)
	tpl.before = versionsIn(t, st)
	return tpl
}

// recoverHolding is recover for the purge of a holding. Nothing of the owner's
// must be left, and all of another's as it was.
func (k *purging) recoverHolding() versions {
	k.Helper()
	c, base, ok := k.serves(order{})
	if !ok || !k.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	k.untilEnd(base)
	if c.end() || strings.Contains(c.stderr.String(), "level=ERROR") {
		k.Errorf("the child says\n%s", c.stderr)
	}
	st, _, done := opened(k.T, k.place)
	defer done()
	left := versionsIn(k.T, st)
	const ref = "Observation/others"
	if diff := cmp.Diff(versions{ref: k.before[ref]}, left); diff != "" {
		k.Errorf("what is left (- want, + got)\n%s", diff)
	}
	truth := left.since(k.before)
	for _, name := range []string{"resourceCount", "deletedCount"} {
		if text := fmt.Sprintf(`{"name":%q,"valueInteger":%d}`, name, truth.Resources); !strings.Contains(string(k.looks.last), text) {
			k.Errorf("%s is not in\n%s", text, k.looks.last)
		}
	}
	j, err := st.Peek(k.Context(), auth.DefaultTenant, k.id())
	k.ok(err)
	tally, err := st.Tally(k.Context(), auth.DefaultTenant, k.id())
	k.ok(err)
	if j.State != job.Succeeded || tally.Erased != truth.Erased {
		k.Errorf("the job is %s, and %+v were erased, not %+v", j.State, tally.Erased, truth.Erased)
	}
	k.certified(st, truth)
	k.entered(st, left)
	if names := holding(k.T, k.place.Data); len(names) > 0 {
		k.Errorf("on disk: %q", names)
	}
	return left
}

func TestAPurgeOfAHoldingGoesOnAfterAKillAtAnyCall(t *testing.T) {
	t.Parallel()
	holdingsKilledAtAnyCall(t, onSQLite(), 4, callsOfAHolding()...)
}

func TestAPurgeOfAHoldingOnMongoGoesOnAfterAKillAtAnyCall(t *testing.T) {
	t.Parallel()
	holdingsKilledAtAnyCall(t, onMongo(t), 1, "Erase for 1-000003", "Void for 2-finish")
}

// callsOfAHolding are calls that change what is stored.
func callsOfAHolding() []string {
	return []string{
		"Add", "AddFinds", "AddMembers", "Forget", "Scrub", "Announce for 1-000003", "Void for 1-000001", "Strike for 1-000002",
		"Erase for 1-000001", "Erase for 1-000003", "End of 1-000002", "Void for 2-finish", "Strike for 2-finish", "Note for 3-read",
	}
}

// holdingsKilledAtAnyCall has processes die after these calls, and at a few others.
func holdingsKilledAtAnyCall(t *testing.T, g ground, few int64, calls ...string) {
	t.Helper()
	tpl := newPurgeTemplate(t, g, 0).withOthers(t)
	k := tpl.purge(t, ofHolding())
	points := 2 * k.disturb(strike{}).calls
	k.recover()
	undisturbed := k
	if points == 0 {
		t.Fatal("there is nowhere to die")
	}
	for _, call := range calls {
		t.Run("the first "+call, func(t *testing.T) {
			t.Parallel()
			k := tpl.purge(t, ofHolding())
			k.diesAt(call)
			k.recover()
			k.saysAs(undisturbed)
		})
	}
	for _, p := range steps(t, points, few) {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			t.Parallel()
			k := tpl.purge(t, ofHolding())
			c := k.disturb(strike{point: p})
			t.Logf("the child died %q", strings.TrimSpace(c.died))
			k.recover()
			k.saysAs(undisturbed)
		})
	}
}
