package export_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
)

// try kicks off for a client of that name, without waiting for a second.
func (w *world) try(client string, a asked) (job.Job, error) {
	w.Helper()
	p := auth.Local()
	p.Client = client
	return w.export().Kickoff(context.Background(), p, a.call())
}

func (w *world) must(client string, a asked) job.Job {
	w.Helper()
	j, err := w.try(client, a)
	w.ok("kick-off for "+client, err)
	return j
}

func (w *world) update(j job.Job, f func(job.Job) (job.Job, error)) {
	w.Helper()
	_, err := w.store.Update(context.Background(), tenant, j.ID, f)
	w.ok("update a job", err)
}

func TestResultsAreKeptAsLongAsTheClientAsks(t *testing.T) {
	w := newWorld(t, export.Config{Lifetime: time.Hour, MaxLifetime: 2 * time.Hour})
	w.put(patient("a"))
	for retain, want := range map[string]time.Duration{"": time.Hour, "1800": 30 * time.Minute, "7200": 2 * time.Hour} {
		a := asked{level: selection.System}
		if retain != "" {
			a.more = url.Values{"retain": {retain}}
		}
		j := w.run(a).job
		if j.Lifetime != want || !j.Expires.Equal(j.Ended.Add(want)) {
			t.Errorf("retain %q: kept for %s, ended %s, expires %s", retain, j.Lifetime, j.Ended, j.Expires)
		}
		if j.Poll(j.Expires.Add(-1)) != job.Ready || j.Poll(j.Expires) != job.NotThereNow {
			t.Errorf("retain %q: it is not there until it expires", retain)
		}
	}
}

func TestALifetimeMayBeAsShortAsASecond(t *testing.T) {
	w := newWorld(t, export.Config{})
	if j := w.must("c", asked{level: selection.System, more: url.Values{"retain": {"1"}}}); j.Lifetime != time.Second {
		t.Errorf("kept for %s", j.Lifetime)
	}
}

func TestALifetimeBeyondTheBoundsIsRefused(t *testing.T) {
	w := newWorld(t, export.Config{Lifetime: time.Hour, MaxLifetime: 2 * time.Hour})
	for _, retain := range [][]string{
		{"0"}, {"-1"}, {"7201"}, {"1.5"}, {"1h"}, {""}, {"99999999999999999999"}, {"9223372036854775807"}, {"60", "60"}, {" 60"},
	} {
		for _, lenient := range []bool{false, true} {
			_, err := w.try("c", asked{level: selection.System, lenient: lenient, more: url.Values{"retain": retain}})
			if fhir.KindOf(err) != fhir.Invalid {
				t.Errorf("retain %q: %v", retain, err)
			}
		}
	}
}

func TestTheUsualLifetimeCanAlwaysBeAskedFor(t *testing.T) {
	w := newWorld(t, export.Config{Lifetime: 60 * 24 * time.Hour})
	j := w.must("c", asked{level: selection.System, more: url.Values{"retain": {"5184000"}}})
	if j.Lifetime != 60*24*time.Hour {
		t.Errorf("kept for %s", j.Lifetime)
	}
}

func TestTheSameKeyIsTheSameJobAndForNothingElse(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	a := asked{level: selection.OneGroup, group: "ab", key: "k", types: []string{"Patient"}}
	first := w.must("c", a)
	w.clock.Advance(2 * time.Second)
	if again := w.must("c", a); again.ID != first.ID || !again.TransactionTime.Equal(first.TransactionTime) {
		t.Errorf("the same request got %s of %s, not %s of %s", again.ID, again.TransactionTime, first.ID, first.TransactionTime)
	}
	for name, other := range map[string]asked{
		"another group": {level: selection.OneGroup, group: "ac", key: "k", types: []string{"Patient"}},
		"another level": {level: selection.Patients, key: "k", types: []string{"Patient"}},
		"other types":   {level: selection.OneGroup, group: "ab", key: "k", types: []string{"Observation"}},
		"patients":      {level: selection.OneGroup, group: "ab", key: "k", types: []string{"Patient"}, patients: []string{"a"}},
		"lenient":       {level: selection.OneGroup, group: "ab", key: "k", types: []string{"Patient"}, lenient: true},
		"retain":        {level: selection.OneGroup, group: "ab", key: "k", types: []string{"Patient"}, more: url.Values{"retain": {"60"}}},
	} {
		if _, err := w.try("c", other); !errors.Is(err, store.ErrKeyReused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if other := w.must("another", a); other.ID == first.ID {
		t.Error("another owner got the job")
	}
	a.key = "k2"
	if other := w.must("c", a); other.ID == first.ID {
		t.Error("another key got the job")
	}
	a.key = ""
	if one, two := w.must("c", a), w.must("c", a); one.ID == two.ID {
		t.Error("no key is one job")
	}
}

func TestAKeyIsKeptWithTheResultAndFreeAfterDismissal(t *testing.T) {
	w := newWorld(t, export.Config{})
	w.fill()
	a := asked{level: selection.System, key: "k"}
	first := w.must("c", a)
	w.finish(first)
	if again := w.must("c", a); again.ID != first.ID || again.State != job.Succeeded {
		t.Errorf("after the end the key gives %s, %s", again.ID, again.State)
	}
	w.update(first, func(j job.Job) (job.Job, error) { return j.Dismiss(w.clock.Now()) })
	if again := w.must("c", a); again.ID == first.ID {
		t.Error("a dismissed job came back")
	}
}

func TestOnlySoManyExportsAreUnderWay(t *testing.T) {
	w := newWorld(t, export.Config{Limit: store.Limit{PerOwner: 2, All: 3}})
	w.fill()
	a := asked{level: selection.System}
	refused := func(client string, a asked, want bool) {
		t.Helper()
		if _, err := w.try(client, a); errors.Is(err, store.ErrLimit) != want || err != nil && !want {
			t.Errorf("%s: %v", client, err)
		}
	}
	keyed := a
	keyed.key = "k"
	first, second := w.must("c", a), w.must("c", keyed)
	refused("c", a, true)
	if again := w.must("c", keyed); again.ID != second.ID {
		t.Error("a retry got another job")
	}
	third := w.must("d", a)
	refused("d", a, true)
	refused("e", a, true)
	w.update(first, func(j job.Job) (job.Job, error) { return j.RequestCancel(w.clock.Now()) })
	refused("e", a, false) // a cancel frees its place at once
	refused("c", a, true)
	w.finish(second)
	w.finish(third)
	refused("c", a, false)
	refused("c", a, false)
	refused("c", a, true)
}
