package export_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// everything are exports that between them meet every way of selecting.
func everything() []asked {
	return []asked{
		{level: selection.System},
		{level: selection.Patients},
		{level: selection.OneGroup, group: "ab"},
		{level: selection.OneGroup, group: "ac"},
		{level: selection.OneGroup, group: "ab", types: []string{"Group"}},
	}
}

func TestWhatIsWrittenAfterKickOffDoesNotShow(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			for _, a := range everything() {
				w := newWorld(t, sizes)
				w.fill()
				j := w.kickoff(a)
				w.disturb()
				r := w.result(w.finish(j))
				w.holds(r, 0, a)
				if len(r.notes) > 0 {
					t.Errorf("%s %s: the export says %q", a.level, a.group, r.notes)
				}
			}
		})
	}
}

// disturb changes everything that fill wrote.
func (w *world) disturb() {
	w.Helper()
	w.put(observation("new", "a", "v"), organization("new"), patient("new"))
	w.put(observation("a1", "a", "later"), patient("b", "c"))
	w.put(observation("a2", "c", "moved out of the group"), observation("c1", "a", "moved into it"))
	w.put(appointment("shared", "c"), appointment("alone", "a"))
	w.put(group("ab", "b", "c"), group("new", "a"))
	w.remove("Observation/a3")
	w.remove("Patient/a")
	w.remove("Organization/o1")
	w.remove("Group/ac")
	w.put(observation("gone", "a", "back again"))
}

func TestChangesBetweenThePlanAndTheScansDoNotShow(t *testing.T) {
	t.Parallel()
	for _, a := range everything() {
		w := newWorld(t, tiny)
		w.fill()
		j := w.kickoff(a)
		w.finishWith(&hooked{Export: w.export(), beforeScans: w.disturb}, j)
		j, err := w.store.Peek(context.Background(), tenant, j.ID)
		w.ok("look at the job", err)
		w.holds(w.result(j), 0, a)
	}
}

func TestAMemberDeletedAfterKickOffIsStillInTheExport(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), observation("o", "a", "v"), group("g", "a"))
	a := asked{level: selection.OneGroup, group: "g"}
	j := w.kickoff(a)
	w.remove("Patient/a")
	r := w.result(w.finish(j))
	w.holds(r, 0, a)
	if len(r.notes) > 0 {
		t.Errorf("the export says %q of a member that was there", r.notes)
	}
}

func TestAMemberMadeAfterKickOffIsMissing(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(group("g", "a"))
	a := asked{level: selection.OneGroup, group: "g"}
	j := w.kickoff(a)
	w.put(patient("a"))
	r := w.result(w.finish(j))
	w.holds(r, 0, a)
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "Patient/a") {
		t.Errorf("the export says %q", r.notes)
	}
}

func TestSinceGivesWhatChangedAfterIt(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string]export.Config{"one unit": {}, "many": tiny} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes)
			w.fill()
			first := w.run(asked{level: selection.System})
			since := first.job.TransactionTime
			for _, a := range everything() {
				a.since = instant(since)
				if r := w.run(a); len(r.manifest.Output) != 0 {
					t.Errorf("%s: nothing was changed since, and %v came", a.level, r.lines)
				}
			}
			w.put(observation("a1", "a", "later"), patient("d"), group("ab", "a", "b", "d"))
			for _, a := range everything() {
				a.since = instant(since)
				w.holds(w.run(a), store.TickOf(since), a)
			}
		})
	}
}

// The Patient need not have changed for what is about it to come.
func TestSinceIsAskedOfEachResourceAndNotOfTheMembers(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"), group("g", "a"))
	since := w.run(asked{level: selection.System}).job.TransactionTime
	w.put(observation("o", "a", "v"))
	r := w.run(asked{level: selection.OneGroup, group: "g", since: instant(since)})
	if len(r.lines) != 1 || len(r.lines["Observation"]) != 1 {
		t.Errorf("it holds %v", r.lines)
	}
}

func TestSinceOfTheVeryTickLeavesItsVersionOut(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	at := w.model.all[0].at
	w.clock.Advance(2 * time.Second)
	for since, want := range map[store.Tick]int{at: 0, at - 1: 1, 0: 1} {
		r := w.run(asked{level: selection.System, since: instant(since.Time())})
		if len(r.lines["Patient"]) != want {
			t.Errorf("since %d, which is %d from the version: %d lines, want %d", since, since-at, len(r.lines["Patient"]), want)
		}
	}
}

func TestAChainOfExportsLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, level := range []asked{{level: selection.System}, {level: selection.OneGroup, group: "g"}} {
		w := newWorld(t, export.Config{UnitSize: 2000, SmallJob: 1, MaxFile: 3000, JoinSize: 1000})
		w.put(patient("a"), patient("b"), group("g", "a", "b"))
		ctx, cancel := context.WithCancel(context.Background())
		var writing sync.WaitGroup
		writing.Go(func() { w.write(ctx) })
		seen := map[string]bool{}
		var since time.Time
		for i := range 6 {
			if i == 5 { // the last one with nobody writing
				cancel()
				writing.Wait()
			}
			a, after := level, store.Tick(0)
			if i > 0 {
				a.since, after = instant(since), store.TickOf(since)
			}
			r := w.run(a)
			w.holds(r, after, level)
			w.apply(r, map[string]string{}, seen)
			since = r.job.TransactionTime
		}
		cancel()
		w.allOf(seen, w.model.lines(store.TickOf(since), 0, level))
	}
}

// allOf checks that every line was seen.
func (w *world) allOf(seen map[string]bool, lines map[string][]string) {
	w.Helper()
	for typ, lines := range lines {
		for _, line := range lines {
			if !seen[line] {
				w.Errorf("never exported: a %s: %s", typ, line)
			}
		}
	}
}

// write goes on writing, each resource anew in turn, until ctx ends.
func (w *world) write(ctx context.Context) {
	s := w.service()
	for i := 0; ctx.Err() == nil && i < 5000; i++ {
		r := observation("o"+itoa(i%40), []string{"a", "b", "c"}[i%3], fmt.Sprint(i))
		shown, err := s.Update(ctx, auth.Local(), fhir.ID{Type: r.typ, ID: r.id}, []byte(r.body), interaction.Condition{})
		if err == nil {
			w.model.add(version{resource: r, line: string(shown.Body), at: store.TickOf(shown.LastUpdated)})
		} else if ctx.Err() == nil {
			w.Errorf("write: %v", err)
		}
	}
}

func TestTransactionTimeIsAWholeSecondBeforeTheEnd(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	before := w.clock.Now()
	j := w.kickoff(asked{level: selection.System})
	if at := j.TransactionTime; at.Nanosecond() != 0 || at.Before(before) || at.After(w.clock.Now().Add(time.Second)) {
		t.Errorf("kicked off between %s and %s, it is %s", before, w.clock.Now(), at)
	}
	if end := w.finish(j); !end.TransactionTime.Equal(j.TransactionTime) {
		t.Errorf("it was %s at kick-off and is %s", j.TransactionTime, end.TransactionTime)
	}
}

func TestKickOffsWithNoCommitBetweenThemAreOfOneInstant(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.put(patient("a"))
	x := w.export()
	var results []result
	for range 2 {
		j, err := x.Kickoff(context.Background(), auth.Local(), asked{level: selection.System}.call())
		w.ok("kick-off", err)
		results = append(results, w.result(w.finish(j)))
	}
	if d := cmp.Diff(results[0].lines, results[1].lines); d != "" {
		t.Errorf("they differ: %s", d)
	}
	if results[0].job.ID == results[1].job.ID {
		t.Error("the second kick-off was given the first one's job")
	}
}
