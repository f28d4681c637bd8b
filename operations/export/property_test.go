package export_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/store"

	"pgregory.net/rapid"
)

// Whatever is in a store, whatever is asked of it, and however it is cut: an
// export holds what looking at every version finds.
func TestAnyExportOfAnyStoreAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	root, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(root, itoa(n))
		w := openWorld(t, dir, sizes(t))
		defer os.RemoveAll(dir) //nolint:errcheck // the root goes with the test
		defer w.close()
		w.change(t, "before", 25)
		chain := []store.Tick{0}
		for i := range rapid.IntRange(1, 2).Draw(t, "exports") {
			a := draw(t, w)
			since := rapid.SampledFrom(chain).Draw(t, "since")
			if since > 0 {
				a.since = instant(since.Time())
			}
			j := w.kickoff(a)
			w.change(t, "after", 8)
			r := w.result(w.finish(j))
			w.holds(r, since, a)
			w.onlyItsFiles(r)
			chain = append(chain, store.TickOf(r.job.TransactionTime))
			t.Logf("export %d of %s", i, a.level)
		}
	})
}

func sizes(t *rapid.T) export.Config {
	size := rapid.SampledFrom([]int64{0, 1, 300, 900, 3000})
	return export.Config{
		UnitSize: size.Draw(t, "unit"), SmallJob: size.Draw(t, "small"),
		MaxFile: size.Draw(t, "file"), JoinSize: size.Draw(t, "join"),
	}
}

// change writes and deletes at random, among so few resources that the same
// ones are changed again and again.
func (w *world) change(t *rapid.T, when string, most int) {
	w.Helper()
	people := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	some := rapid.SliceOfNDistinct(people, 0, 3, rapid.ID[string])
	number := rapid.IntRange(0, 5)
	for range rapid.IntRange(0, most).Draw(t, when) {
		id := itoa(number.Draw(t, "id"))
		switch rapid.IntRange(0, 8).Draw(t, "kind") {
		case 0, 1:
			p := people.Draw(t, "patient")
			links := slices.DeleteFunc(some.Draw(t, "links"), func(l string) bool { return l == p })
			w.put(patient(p, links...))
		case 2, 3:
			w.put(observation(id, rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "subject"), fmt.Sprint(number.Draw(t, "value"))))
		case 4:
			w.put(appointment(id, some.Draw(t, "participants")...))
		case 5:
			w.put(organization(id), group(rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group"), some.Draw(t, "members")...))
		case 6:
			w.put(outcome(id), performed("p"+id, people.Draw(t, "performer")))
		case 7:
			w.remove(rapid.SampledFrom([]string{"Observation/", "Appointment/", "Organization/"}).Draw(t, "type") + id)
		case 8:
			w.remove("Patient/" + people.Draw(t, "deleted"))
		}
		if rapid.Bool().Draw(t, "later") {
			w.clock.Advance(700 * time.Millisecond)
		}
	}
}

// draw is a request that can work.
func draw(t *rapid.T, w *world) asked {
	a := asked{level: rapid.SampledFrom([]selection.Level{selection.System, selection.Patients, selection.OneGroup}).Draw(t, "level")}
	if a.level == selection.OneGroup {
		a.group = "g"
		if _, ok := w.model.asOf(store.Forever - 1)["Group/g"]; !ok {
			w.put(group("g", "a", "b"))
		}
	}
	of := []string{"Appointment", "Group", "Observation", "Patient"}
	if a.level == selection.System {
		of = append(of, "Organization", "OperationOutcome")
	}
	if rapid.Bool().Draw(t, "typed") {
		a.types = rapid.SliceOfNDistinct(rapid.SampledFrom(of), 1, 3, rapid.ID[string]).Draw(t, "types")
	}
	return a
}
