package export_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/selection"
	"firebreak/operations/export"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
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

// The few resources that a random store is made of, by reference.
var (
	people = []string{"a", "b", "c", "d"}
	staff  = []string{"Practitioner/1", "Organization/1", "Location/1", "Device/1", "Device/2", "Medication/1"}
	about  = []string{
		"Patient/a", "Patient/b", "Patient/nobody", "Observation/0", "Observation/1", "Observation/2", "Observation/r1",
		"Appointment/1", "Group/g", "Provenance/1", "Organization/1",
	}
	joining = []string{"Patient/a", "Patient/b", "Patient/c", "Group/g", "Group/h", "Group/i", "Device/1", "Practitioner/1", "Device/none"}
)

// anyOf draws up to most different ones.
func anyOf(t *rapid.T, from []string, most int, what string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, most, rapid.ID[string]).Draw(t, what)
}

// change writes and deletes at random, among so few resources that the same
// ones are changed again and again.
func (w *world) change(t *rapid.T, when string, most int) {
	w.Helper()
	for range rapid.IntRange(0, most).Draw(t, when) {
		w.changeOne(t)
		if rapid.Bool().Draw(t, "later") {
			w.clock.Advance(700 * time.Millisecond)
		}
	}
}

func (w *world) changeOne(t *rapid.T) {
	w.Helper()
	one := func(from []string, what string) string { return rapid.SampledFrom(from).Draw(t, what) }
	number := rapid.IntRange(0, 5)
	id := itoa(number.Draw(t, "id"))
	switch rapid.IntRange(0, 12).Draw(t, "kind") {
	case 0, 1:
		p := one(people, "patient")
		w.put(patient(p, slices.DeleteFunc(anyOf(t, people, 3, "links"), func(l string) bool { return l == p })...))
	case 2, 3:
		w.put(observation(id, one(append(people, ""), "subject"), fmt.Sprint(number.Draw(t, "value"))))
	case 4:
		w.put(appointment(id, anyOf(t, people, 3, "participants")...))
	case 5:
		w.put(organization(id), groupOf(one([]string{"g", "h", "i"}, "group"), anyOf(t, joining, 5, "members")...))
	case 6:
		w.put(outcome(id), performed("p"+id, one(people, "performer")))
	case 7:
		w.remove(one([]string{"Observation/", "Appointment/", "Organization/", "Provenance/", "Provenance/"}, "type") + id)
	case 8:
		w.remove("Patient/" + one(people, "deleted"))
	case 9, 10:
		w.put(provenance(id, anyOf(t, about, 3, "targets"), anyOf(t, append(staff, "Patient/b", "Observation/1"), 2, "who")...))
	case 11:
		w.put(referring("r"+id, one(append(people, ""), "subject"), anyOf(t, append(staff, "Patient/c", "Device/none"), 3, "context")...))
	case 12:
		typ, id, _ := strings.Cut(one(staff, "staff"), "/")
		if number.Draw(t, "fate") == 0 {
			w.remove(typ + "/" + id)
		} else {
			w.put(thing(typ, id, itoa(number.Draw(t, "value"))))
		}
	}
}

// draw is a request that can work.
func draw(t *rapid.T, w *world) asked {
	a := asked{level: rapid.SampledFrom([]selection.Level{selection.System, selection.Patients, selection.OneGroup, selection.OneGroup}).Draw(t, "level")}
	if a.level == selection.OneGroup {
		a.group = "g"
		if _, ok := w.model.asOf(store.Forever - 1)["Group/g"]; !ok {
			w.put(groupOf("g", "Patient/a", "Patient/b", "Group/h"))
		}
	}
	of := []string{"Appointment", "Group", "Observation", "Patient", "Provenance"}
	if a.level == selection.System {
		of = append(of, "Organization", "OperationOutcome")
	}
	if rapid.Bool().Draw(t, "typed") {
		a.types = rapid.SliceOfNDistinct(rapid.SampledFrom(of), 1, 3, rapid.ID[string]).Draw(t, "types")
	}
	if rapid.Bool().Draw(t, "associated") {
		a.associated = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
			"LatestProvenanceResources", "RelevantProvenanceResources", "_context",
		}), 1, 2, rapid.ID[string]).Draw(t, "what")
	}
	if a.level != selection.System && rapid.IntRange(0, 3).Draw(t, "named") == 0 {
		a.patients = rapid.SliceOfNDistinct(rapid.SampledFrom(append(people, "nobody")), 1, 3, rapid.ID[string]).Draw(t, "patients")
		a.lenient = true // some are not there
	}
	return a
}

// A client that applies one export after the other to what it has ends up with
// what is there, is sent nothing twice, and told of every deletion. Nothing in
// it changes hands: who is in a group that resources join is sent what they
// change from then on.
func TestAClientThatFollowsTheChangesHasWhatIsThere(t *testing.T) {
	t.Parallel()
	root, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(root, itoa(n))
		w := openWorld(t, dir, export.Config{SmallJob: rapid.SampledFrom([]int64{0, 1}).Draw(t, "small")})
		defer os.RemoveAll(dir) //nolint:errcheck // the root goes with the test
		defer w.close()
		w.put(patient("a"), patient("b"), patient("c"), thing("Device", "1", "v"), groupOf("g", "Group/h", "Device/1"), groupOf("h", "Patient/a", "Patient/b"))
		for i := range 3 { // what Provenance is about is older than it is
			w.put(observation(itoa(i), people[i], "v"))
		}
		a := asked{level: rapid.SampledFrom([]selection.Level{selection.System, selection.Patients, selection.OneGroup}).Draw(t, "level")}
		if a.level == selection.OneGroup {
			a.group = "g"
		}
		client := map[string]string{}
		sent := map[string]bool{}
		since := store.Tick(0)
		for i := range rapid.IntRange(2, 3).Draw(t, "exports") {
			w.steadily(t)
			if i > 0 {
				a.since = instant(since.Time())
			}
			j := w.kickoff(a)
			w.steadily(t)
			r := w.result(w.finish(j))
			w.apply(r, client, sent)
			since = store.TickOf(r.job.TransactionTime)
			want := map[string]string{}
			for ref, v := range w.model.asOf(since) {
				if all := w.model.view(since, 0, a); all.exports(ref) {
					want[ref] = v.line
				}
			}
			if d := cmp.Diff(want, client); d != "" {
				t.Errorf("%s, export %d (- there, + the client's): %s", a.level, i, d)
			}
		}
	})
}

// exports tells whether an export of everything holds a resource.
func (v view) exports(ref string) bool {
	one := v.there[ref]
	return v.means(one.resource) || v.others[ref] ||
		one.typ == "Provenance" && slices.ContainsFunc(one.targets, func(t string) bool { _, there := v.there[t]; return there && v.means(v.there[t].resource) })
}

// steadily changes at random, and no resource from one patient to another.
func (w *world) steadily(t *rapid.T) {
	w.Helper()
	number := rapid.IntRange(0, 5)
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		n, value := number.Draw(t, "id"), itoa(number.Draw(t, "value"))
		id := itoa(n)
		subject := people[n%3]
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0, 1:
			w.put(observation("x"+id, subject, value))
		case 2:
			w.remove("Observation/x" + id)
		case 3:
			w.put(provenance(id, []string{"Observation/" + itoa(n%3)}, "Organization/"+value))
		case 4:
			w.remove("Provenance/" + id)
		case 5:
			w.put(thing("Device", "1", value), provenance("of-"+subject, []string{"Patient/" + subject}, "Organization/"+value))
		case 6:
			w.remove(rapid.SampledFrom([]string{"Device/1", "Provenance/of-" + subject}).Draw(t, "removed"))
		}
		if rapid.Bool().Draw(t, "later") {
			w.clock.Advance(700 * time.Millisecond)
		}
	}
}

// apply does with an export what a client does with it.
func (w *world) apply(r result, client map[string]string, sent map[string]bool) {
	w.Helper()
	for _, ref := range r.deleted {
		delete(client, ref)
	}
	for _, lines := range r.lines {
		for _, line := range lines {
			var head struct{ ResourceType, ID string }
			w.ok("read a line", json.Unmarshal([]byte(line), &head))
			if sent[line] {
				w.Errorf("sent twice: %s", line)
			}
			sent[line] = true
			client[head.ResourceType+"/"+head.ID] = line
		}
	}
}
