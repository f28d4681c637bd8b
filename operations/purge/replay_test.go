package purge_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"github.com/tidwall/gjson"
)

// known is a ledger: what purges have entered.
type known struct {
	mu      sync.Mutex
	entries []knownEntry // by number
}

type knownEntry struct {
	id fhir.ID // zero: it was revoked
	purge.Known
}

func (k *known) Enter(_ context.Context, _ store.Tenant, at store.Tick, ids []fhir.ID, entire bool) (numbers []int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		one := purge.Known{Detached: at}
		if entire {
			one = purge.Known{Erased: at}
		}
		numbers = append(numbers, int64(len(k.entries)))
		k.entries = append(k.entries, knownEntry{id, one})
	}
	return numbers, nil
}

func (k *known) Revoke(_ context.Context, numbers []int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range numbers {
		k.entries[n] = knownEntry{}
	}
	return nil
}

func (k *known) of(t store.Tenant, id fhir.ID) (all purge.Known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.entries {
		if t == tenant && one.id == id {
			all.Erased, all.Detached = max(all.Erased, one.Erased), max(all.Detached, one.Detached)
		}
	}
	return all
}

// erases are the resources that a replay would take for erased.
func (k *known) erases() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]bool{}
	for _, one := range k.entries {
		if one.Erased > 0 {
			out[one.id.String()] = true
		}
	}
	return out
}

// replay replays a ledger, unit by unit, and returns what it erased.
func (w *world) replay(k *known) job.Erased {
	w.Helper()
	x := purge.NewReplay(purge.Config{
		Store: w.store, Files: w.files, Now: w.now, NewID: w.newID, NewBatchID: ulid.Make, Server: server,
		Sweep: w.exports.SweepErased, Parts: w.exports.EachPart,
	}, k.of)
	j, err := x.Start(w.Context(), tenant, store.Owner{Client: server}, "k")
	w.ok("start the replay", err)
	for {
		u, f, err := w.store.Claim(w.Context(), []string{purge.ReplayKind}, time.Minute)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		w.ok("claim", err)
		end, err := x.Run(w.Context(), j, u, f)
		w.ok("do "+u.ID, err)
		w.ok("end "+u.ID, w.store.End(w.Context(), f, end))
	}
	tally, err := w.store.Tally(w.Context(), tenant, j.ID)
	w.ok("tally", err)
	if tally.Unfinished() > 0 {
		w.Errorf("%d units are left", tally.Unfinished())
	}
	w.ok("remove the job", w.store.Remove(w.Context(), tenant, j.ID))
	return tally.Erased
}

func refOf(body string) string {
	return gjson.Get(body, "resourceType").String() + "/" + gjson.Get(body, "id").String()
}

// twins are a server that purges, with a ledger, and what a backup of it would
// be from the time when it had these resources.
func twins(t *testing.T, had ...string) (server, backup *world, k *known) {
	t.Helper()
	k = &known{}
	backup = newWorld(t)
	backup.put(had...)
	server = newWorldWith(t, func(st store.Store) store.Store { return st }, purge.Config{Ledger: k})
	server.put(had...)
	return server, backup, k
}

func TestAReplayErasesAndDetachesWhatThePurgeDid(t *testing.T) {
	t.Parallel()
	s, backup, k := twins(t, family...)
	exported, err := backup.exports.Kickoff(t.Context(), auth.Local(), export.Call{Level: selection.System, URL: "u", Base: "b"})
	backup.ok("export", err)
	backup.ended(exported)
	s.purged("kestrel")
	if n := backup.replay(k); n.Resources != 10 {
		t.Errorf("erased %+v", n)
	}
	for _, body := range family {
		ref := refOf(body)
		if !slices.Equal(s.versions(ref), backup.versions(ref)) || s.body(ref) != backup.body(ref) {
			t.Errorf("%s is %v %s, and was %v %s", ref, backup.versions(ref), backup.body(ref), s.versions(ref), s.body(ref))
		}
	}
	backup.canary("Kestrel weighs", "S2VzdHJlbA==")
	if voided, err := backup.store.Voided(t.Context(), tenant, exported.ID); err != nil || len(voided) == 0 {
		t.Errorf("files of the export that are void: %+v, %v", voided, err)
	}
	if n := backup.replay(k); n != (job.Erased{}) {
		t.Errorf("the second time it erased %+v", n)
	}
}

// Of what came to be about others later the versions from before were erased. In
// the backup there are no others: nothing of it may stay.
func TestWhatWasAboutThePatientWhenTheBackupWasMadeGoesWhole(t *testing.T) {
	t.Parallel()
	const first = `{"resourceType":"Observation","id":"moved","status":"final","subject":{"reference":"Patient/kestrel"},"valueString":"of Kestrel"}`
	s, backup, k := twins(t, family[4], first)
	s.put(family[2], strings.ReplaceAll(strings.ReplaceAll(first, "kestrel", "mother"), "of Kestrel", "of hers"))
	s.purged("kestrel")
	if !slices.Equal(s.versions("Observation/moved"), []int64{2}) {
		t.Fatalf("the purge left %v", s.versions("Observation/moved"))
	}
	backup.replay(k)
	backup.gone("Patient/kestrel", "Observation/moved")
	backup.canary("of Kestrel")
}

func TestWhatWasDeletedSinceTheBackupGoesToo(t *testing.T) {
	t.Parallel()
	const condition = `{"resourceType":"Condition","id":"old","subject":{"reference":"Patient/kestrel"},"note":[{"text":"of Kestrel"}]}`
	s, backup, k := twins(t, family[4], condition)
	s.remove("Condition/old")
	s.purged("kestrel")
	backup.replay(k)
	backup.gone("Patient/kestrel", "Condition/old")
	backup.canary("of Kestrel")
}

func TestAReplayLeavesWhatWasWrittenAfterThePurge(t *testing.T) {
	t.Parallel()
	s, backup, k := twins(t, family[4])
	s.purged("kestrel")
	backup.remove("Patient/kestrel") // the deletion of what goes is no new version
	backup.replay(k)
	backup.gone("Patient/kestrel")
	const anew = `{"resourceType":"Patient","id":"kestrel","active":true}`
	backup.put(anew, `{"resourceType":"Observation","id":"weight","status":"final","subject":{"reference":"Patient/kestrel"}}`)
	if n := backup.replay(k); n != (job.Erased{}) || backup.body("Patient/kestrel") != anew || len(backup.versions("Observation/weight")) != 1 {
		t.Errorf("it erased %+v", n)
	}
}

func TestAReplayOfNothingTouchesNothing(t *testing.T) {
	t.Parallel()
	_, backup, _ := twins(t, family...)
	if n := backup.replay(&known{}); n != (job.Erased{}) {
		t.Errorf("it erased %+v", n)
	}
	for _, body := range family {
		if ref := refOf(body); len(backup.versions(ref)) != 1 {
			t.Errorf("%s has versions %v", ref, backup.versions(ref))
		}
	}
}
