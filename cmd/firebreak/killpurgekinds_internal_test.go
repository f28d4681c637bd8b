package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
)

// purgeCall is a kick-off.
type purgeCall struct {
	path, key string
	body      string
}

// ofThree purges the records of Ada, of one who is not there, and of Ben.
func ofThree(key string) purgeCall {
	return purgeCall{path: "/Patient/$bulk-purge", key: key, body: `{"resourceType":"Parameters","parameter":[{"name":"patientId","valueId":"ada"},` +
		`{"name":"patientId","valueId":"nobody"},{"name":"patientId","valueId":"ben"},{"name":"_shared","valueCode":"detach"}]}`}
}

// ofPair purges the records of the members of a group, and reads all afterwards.
func ofPair() purgeCall {
	return purgeCall{path: "/Group/pair/$purge", key: "of a group", body: `{"resourceType":"Parameters","parameter":[{"name":"_verify","valueCode":"full"}]}`}
}

// ofHolding purges all that the caller owns, who owns the wards.
func ofHolding() purgeCall {
	return purgeCall{path: "/$purge", key: "of a holding", body: `{"resourceType":"Parameters"}`}
}

// kindOfPurge is a purge that is killed.
type kindOfPurge struct {
	call      purgeCall
	meanwhile []selection.Level // of the export that goes on beside it
	last      string            // the unit that has it certified
}

// kindsOfPurge are all, that of a holding last.
func kindsOfPurge() []kindOfPurge {
	return []kindOfPurge{
		{ofThree("of a list"), []selection.Level{selection.System}, "2-finish"},
		{ofPair(), []selection.Level{selection.OneGroup}, "3-read"},
		{ofHolding(), nil, "3-read"},
	}
}

// template is what a purge of the kind begins with.
func (kind kindOfPurge) template(t *testing.T, g ground) purgeTemplate {
	t.Helper()
	tpl := newPurgeTemplate(t, g, 0, kind.meanwhile...)
	if kind.call.path == ofHolding().path {
		return tpl.withOthers(t)
	}
	return tpl
}

func TestAPurgeGoesOnAfterKillsAtRandomMoments(t *testing.T) { purgesKilledAtRandom(t, onSQLite()) }

func TestAPurgeOnMongoGoesOnAfterKillsAtRandomMoments(t *testing.T) {
	t.Parallel()
	purgesKilledAtRandom(t, onMongo(t))
}

// Processes die again and again at one purge.
func purgesKilledAtRandom(t *testing.T, g ground) {
	kinds, rounds := kindsOfPurge(), 40
	if !torture() {
		one := rand.IntN(len(kinds))
		kinds, rounds = kinds[one:one+1], 1
	}
	for _, kind := range kinds {
		t.Run(kind.call.key, func(t *testing.T) {
			tpl := kind.template(t, g)
			undisturbed := tpl.purge(t, kind.call)
			calls := undisturbed.disturb(strike{}).calls
			want := undisturbed.recover()
			for round := range rounds {
				t.Run(fmt.Sprint(round), func(t *testing.T) {
					t.Parallel()
					k := tpl.purge(t, kind.call)
					k.diesAgain(calls)
					if diff := cmp.Diff(want, k.recover()); diff != "" {
						t.Errorf("(- undisturbed, + got)\n%s", diff)
					}
					k.saysAs(undisturbed)
				})
			}
		})
	}
}

// diesAgain has up to four children die at a purge of so many calls, at one of
// those or at a moment from outside.
func (k *purging) diesAgain(calls int64) {
	k.Helper()
	seed := rand.Uint64()
	k.Logf("%d calls, seed %d", calls, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1 + random.IntN(4) {
		s := strike{units: 1 + random.IntN(12)}
		if random.IntN(2) == 0 {
			s = strike{point: 1 + random.Int64N(2*calls)}
		}
		c := k.disturb(s)
		k.Logf("the child died %q", strings.TrimSpace(c.died))
	}
}
