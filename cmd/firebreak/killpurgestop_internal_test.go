package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/selection"

	"github.com/google/go-cmp/cmp"
)

// cancelled is a purge that is cancelled when the first of its erasures of Ada's
// record has been committed, and before the next.
func (k *purging) cancelled(point int64) (c *victim, answer told, answered bool) {
	k.Helper()
	c, base, ok := k.serves(order{Hold: "Erase", Point: point, Workers: 1})
	if !ok || !k.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	if _, ok := c.await("holds"); !ok {
		k.Fatalf("nothing was erased\n%s", c.stderr)
	}
	answer, answered = k.do(http.MethodDelete, base+k.status, "")
	if answered && answer.status != http.StatusAccepted {
		k.Errorf("DELETE: %d %s", answer.status, answer.body)
	}
	if answered {
		if res, ok := k.do(http.MethodGet, base+k.status, ""); ok && res.status != http.StatusNotFound {
			k.Errorf("a poll after DELETE: %d %s", res.status, res.body)
		}
	}
	return c, answer, answered
}

// firstErasure is how many versions are erased in one commit.
const firstErasure = 250

// stopped holds what is there to what the first erasure left, and gives it.
func (k *purging) stopped() versions {
	k.Helper()
	st, _, done := opened(k.T, k.place)
	defer done()
	left := versionsIn(k.T, st)
	if is := left.since(k.before); is.Versions != firstErasure {
		k.Errorf("%d versions are gone; %d were erased before the cancel", is.Versions, firstErasure)
	}
	if len(left["Patient/ada"]) == 0 || len(left["Patient/ben"]) == 0 {
		k.Error("a Patient is gone, who goes last")
	}
	return left
}

// purgedAnew purges those again of whom a cancel has left something.
func (k *purging) purgedAnew() {
	k.Helper()
	again := &purging{T: k.T, purgeTemplate: k.purgeTemplate, place: k.place, call: ofThree("once more"), looks: newLooks(k.T)}
	c, base, ok := again.serves(order{})
	if !ok || !again.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	again.untilEnd(base)
	again.exports(base)
	c.end()
	st, _, done := opened(k.T, k.place)
	left := versionsIn(k.T, st)
	done()
	afterPurge(k.T, k.before, left)
	if names := holding(k.T, k.place.Data); len(names) > 0 {
		k.Errorf("purged once more, on disk: %q", names)
	}
}

func TestACancelOfAPurgeSaysWhatIsGoneAndAKillDoesNotUndoIt(t *testing.T) {
	t.Parallel()
	purgesCancelled(t, onSQLite(), 2)
}

func TestACancelOfAPurgeOnMongoSaysWhatIsGoneAndAKillDoesNotUndoIt(t *testing.T) {
	t.Parallel()
	purgesCancelled(t, onMongo(t), 1)
}

func purgesCancelled(t *testing.T, g ground, few int64) {
	tpl := newPurgeTemplate(t, g, largest)
	k := tpl.purge(t, ofThree("to be cancelled"))
	c, answer, _ := k.cancelled(0)
	c.end()
	left := k.stopped()
	k.said(answer.body, left)
	k.purgedAnew()
	for _, p := range steps(t, 2*c.calls, few) {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			k := tpl.purge(t, ofThree("to be cancelled"))
			c, answer, answered := k.cancelled(p)
			c.kill()
			c.end()
			t.Logf("the child died %q; DELETE was answered: %t", strings.TrimSpace(c.died), answered)
			if answered {
				k.said(answer.body, left)
			}
			k.settled(answered, left)
		})
	}
}

// said holds the answer to a cancel to what is gone.
func (k *purging) said(body []byte, left versions) {
	k.Helper()
	all, final := resultsIn(k.T, body)
	truth := left.since(k.before)
	ada := all["ada"]
	if !final || ada.Status != "error" || ada.Error == "" || ada.Purged != truth.Resources || ada.Total <= ada.Purged || ada.Detached != truth.Detached {
		k.Errorf("%+v is gone; the answer to DELETE says\n%s", truth, body)
	}
	for _, other := range []string{"ben", "nobody"} {
		if one := all[other]; one.Status != "error" || one.Error == "" || one.Purged != 0 {
			k.Errorf("of %s the answer to DELETE says %+v", other, one)
		}
	}
	if text := fmt.Sprintf("0 of 3 patients are gone: %d resources, and %d versions", truth.Resources, truth.Versions); !strings.Contains(string(body), text) {
		k.Errorf("%q is not in the answer to DELETE\n%s", text, body)
	}
}

// settled has a new child find the purge. If the cancel is known it stays one,
// and nothing comes back; else the purge goes on by itself.
func (k *purging) settled(answered bool, left versions) {
	k.Helper()
	c, base, ok := k.serves(order{})
	if !ok {
		k.Fatalf("no server comes up over what was left\n%s", c.stderr)
	}
	res, ok := k.do(http.MethodGet, base+k.status, "")
	switch {
	case !ok:
		k.Fatalf("no answer\n%s", c.stderr)
	case res.status == http.StatusOK && answered:
		k.Errorf("DELETE was answered, and the purge goes on: %s", res.body)
	case res.status == http.StatusOK:
		k.untilEnd(base)
		k.exports(base)
		c.end()
		afterPurge(k.T, k.before, k.left())
		return
	case res.status != http.StatusNotFound:
		k.Errorf("a poll after DELETE: %d %s", res.status, res.body)
	}
	k.listed(base)
	c.end()
	if diff := cmp.Diff(left, k.stopped()); diff != "" {
		k.Errorf("after the kill (- when it was cancelled, + now)\n%s", diff)
	}
	k.purgedAnew()
}

// listed waits until the list of jobs has no purge, or has it as cancelled.
func (k *purging) listed(base string) {
	k.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(killPatience); time.Now().Before(until); <-tick.C {
		res, ok := k.do(http.MethodGet, base+"/jobs", "")
		var page struct{ Jobs []struct{ ID, State string } }
		if !ok || json.Unmarshal(res.body, &page) != nil {
			k.Fatalf("list of jobs: %s", res.body)
		}
		if !slices.ContainsFunc(page.Jobs, func(j struct{ ID, State string }) bool {
			return j.ID == k.id() && j.State != "cancelled"
		}) {
			return
		}
	}
	k.Error("the cancelled purge does not end")
}

func TestAPurgeThatFailedForOnePatientIsTriedAgainForThatOneAloneThoughKilled(t *testing.T) {
	t.Parallel()
	purgesRetried(t, onSQLite())
}

func TestAPurgeOnMongoThatFailedForOnePatientIsTriedAgainForThatOneAloneThoughKilled(t *testing.T) {
	t.Parallel()
	purgesRetried(t, onMongo(t))
}

// bensUnit is the unit that purges Ben's record.
const bensUnit = "1-000003"

// Ben's unit fails for good. When it is asked for again the process is killed,
// and the next goes on.
func purgesRetried(t *testing.T, g ground) {
	tpl := newPurgeTemplate(t, g, 0)
	k := tpl.purge(t, ofThree("to be tried again"))
	c, base, ok := k.serves(order{Refuse: bensUnit})
	if !ok || !k.kickoff(base) {
		t.Fatalf("no answer\n%s", c.stderr)
	}
	k.untilEnd(base)
	k.failedFor("ben")
	if res, ok := k.do(http.MethodPut, base+k.status, ""); !ok || res.status != http.StatusAccepted {
		t.Errorf("PUT: %d %s", res.status, res.body)
	}
	c.kill()
	c.end()
	afterPurge(t, tpl.before, k.recover())
	// The one that was killed may have come to some of it.
	if all := bensUnit + " succeeded, 2-finish succeeded"; !strings.HasSuffix(all, k.from) {
		t.Errorf("units that were done after the kill: %s", k.from)
	}
}

// failedFor wants one patient's purge to have failed with a reason, that record
// to be there, and the others to be gone.
func (k *purging) failedFor(patient string) {
	k.Helper()
	all, _ := resultsIn(k.T, k.looks.last)
	for _, p := range []string{"ada", "nobody", "ben"} {
		one := all[p]
		if p != patient && (one.Status != "completed" || one.Error != "" || one.Purged != one.Total) {
			k.Errorf("%s is %+v", p, one)
		}
		if p == patient && (one.Status != "error" || one.Error == "" || one.Purged != 0) {
			k.Errorf("%s is %+v", p, one)
		}
	}
	if strings.Contains(string(k.looks.last), "secret") || !strings.Contains(string(k.looks.last), "the records of 2 of 3 patients are gone") {
		k.Errorf("the end says\n%s", k.looks.last)
	}
}

func TestWhatAnExportNotesLateOfThePurgedIsNotLeft(t *testing.T) {
	t.Parallel()
	notedLate(t, onSQLite())
}

func TestWhatAnExportOnMongoNotesLateOfThePurgedIsNotLeft(t *testing.T) {
	t.Parallel()
	notedLate(t, onMongo(t))
}

// An export of the group has read who and what is in it, and notes that only
// when each patient's record is gone: there is no kill in this.
func notedLate(t *testing.T, g ground) {
	tpl := newPurgeTemplate(t, g, 0, selection.OneGroup)
	for _, call := range []string{"AddMembers", "AddFinds"} {
		t.Run(call, func(t *testing.T) {
			k := tpl.purge(t, ofPair())
			k.recoverAs(order{Late: call, Workers: 3})
		})
	}
}
