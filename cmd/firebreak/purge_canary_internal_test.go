package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
)

// exportedBefore is an export that was made before a purge.
type exportedBefore struct {
	status string
	files  map[string]string // by URL
	gone   map[string]bool
}

// exported makes an export, keeps its files, and returns its instant.
func (w *world) exported(path string) (since string) {
	w.Helper()
	x := exportedBefore{status: w.kickoff(path), files: map[string]string{}, gone: map[string]bool{}}
	a := w.finished(x.status)
	w.is(path, a, http.StatusOK)
	var m fhir.Manifest
	w.ok(json.Unmarshal([]byte(a.body), &m))
	for _, f := range slices.Concat(m.Output, m.Deleted, m.Error) {
		got := w.get(f.URL)
		w.is(f.URL, got, http.StatusOK)
		x.files[f.URL] = got.body
	}
	w.exports = append(w.exports, x)
	return m.TransactionTime
}

// files: those of the earlier exports that hold something of the patients are
// gone, and all others are as they were.
func (w *world) checkFiles(patients []int) {
	w.Helper()
	for _, x := range w.exports {
		w.is("the manifest of "+x.status, w.get(x.status), http.StatusOK)
		for _, url := range slices.Sorted(maps.Keys(x.files)) {
			body := x.files[url]
			for _, i := range patients {
				x.gone[url] = x.gone[url] || strings.Contains(body, w.prefixes[i])
			}
			got := w.get(url)
			name := url[len(x.status)-4:]
			switch {
			case x.gone[url] && got.status != http.StatusGone:
				w.Errorf("a file that holds something of who is purged, %s, is answered with %d: %.300q", name, got.status, got.body)
			case x.gone[url] && !isOutcome(got):
				w.Errorf("%s: 410 without an OperationOutcome: %q", name, got.body)
			case !x.gone[url] && got.status == http.StatusGone:
				// It holds a version of what another version of named them.
				x.gone[url] = true
			case !x.gone[url] && (got.status != http.StatusOK || got.body != body):
				w.Errorf("%s, which holds nothing of who is purged, %q, is answered with %d: %q", name, w.prefixes[patients[0]], got.status, body)
			}
		}
	}
}

// purge purges some patients, by the operation that fits, and returns how many
// resources the server says that it removed.
func (w *world) purge(patients []int, shared string) (said int64) {
	w.Helper()
	params := []string{"_shared", shared, "_audit", "purge"}
	if w.rand.IntN(2) == 0 {
		params = append(params, "_verify", "full")
	}
	if len(patients) == 1 && w.rand.IntN(2) == 0 {
		a := w.do(http.MethodPost, "/"+w.patient(patients[0])+"/$purge", parametersOf(params...))
		w.is("$purge", a, http.StatusOK)
		return w.heard(a.body)
	}
	for _, i := range patients {
		params = append(params, "patientId", w.id(i, "pt"))
	}
	return w.heard(w.bulkPurged(params...))
}

// heard keeps what a purge said, and returns how many resources went by it.
func (w *world) heard(body string) int64 {
	w.said = body
	return saidGone(body)
}

func all(n int) (is []int) {
	for i := range n {
		is = append(is, i)
	}
	return is
}

// round fills a server, purges its patients in turn and looks for each of them
// after each.
func round(t *testing.T, g ground, seed uint64) {
	place := g.fresh(t)
	const n = 4
	var w *world
	t.Run("the server runs", func(t *testing.T) {
		w = newWorld(t, place, seed, n, seed%2 == 1)
		for i := range n {
			if len(w.found(i)) < 10 {
				t.Fatalf("before the purge there is little of patient %d: it would not be found", i)
			}
		}
		w.holds(0)
		w.purgeInTurn(fmt.Sprintf("seed %d", seed))
	})
	if t.Failed() {
		return
	}
	w.T = t
	w.look("after the server has ended", all(n))
}

// purgeInTurn purges all patients, each by an operation that fits, and checks
// everything after each.
func (w *world) purgeInTurn(when string) {
	w.Helper()
	order := w.rand.Perm(len(w.canaries))
	last := len(order) - 1
	for step, patients := range [][]int{order[:1], order[1:last]} {
		w.after(fmt.Sprintf("%s, step %d", when, step), patients, "detach")
	}
	w.afterGroup(when+", the Group", order[last:])
}

// after purges patients and checks everything.
func (w *world) after(when string, patients []int, shared string) {
	w.Helper()
	before := w.Failed()
	said := w.purge(patients, shared)
	erased, unsure := w.expect(patients, shared)
	if int(said) < erased || int(said) > erased+unsure {
		w.Errorf("%s: the server says that %d resources went; it were %d to %d", when, said, erased, erased+unsure)
	}
	w.checkAll(when, patients)
	if !before && w.Failed() {
		w.Logf("the first failure was %s; the log has\n%s", when, troubles(w.log.String()))
	}
}

// troubles are the lines of a log that tell of errors.
func troubles(log string) (lines string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=ERROR") {
			lines += line
		}
	}
	return lines
}

// afterGroup purges the members of the Group who are left.
func (w *world) afterGroup(when string, patients []int) {
	w.Helper()
	a := w.finishedPurge("/Group/all/$purge", parametersOf("_audit", "purge"))
	erased, unsure := w.expect(patients, "detach")
	if said := int(w.heard(a.body)); said < erased || said > erased+unsure {
		w.Errorf("%s: the server says that %d resources went; it were %d to %d", when, said, erased, erased+unsure)
	}
	w.checkAll(when, patients)
}

func (w *world) checkAll(when string, patients []int) {
	w.Helper()
	var gone []int
	for i, is := range w.purged {
		if is {
			gone = append(gone, i)
		} else if len(w.found(i)) == 0 {
			w.Errorf("%s: patient %d, who was not purged, is gone", when, i)
		}
	}
	w.look(when, gone)
	w.holds(len(patients))
	w.nothingElse()
	w.checkFiles(patients)
	for _, i := range gone {
		for _, path := range []string{"", "/_history/1", "/_history/2", "/$everything"} {
			if a := w.get("/" + w.patient(i) + path); a.status != http.StatusNotFound && path != "/$everything" {
				w.Errorf("%s: GET %s is answered with %d", when, path, a.status)
			}
		}
	}
}

func (w *world) look(when string, patients []int) {
	w.Helper()
	for _, i := range patients {
		if at := w.found(i); len(at) > 0 {
			w.Errorf("%s: of a patient there is\n%s\nand the purge said %s", when, strings.Join(at, "\n"), w.said)
		}
	}
}

// Of a patient nothing is left after the purge, wherever it was, and what is of
// others stays byte for byte.
func TestNothingIsLeftOfAPurgedPatientAndAllOfTheOthers(t *testing.T) {
	rounds(t, onSQLite(), 4)
}

func TestOnMongoNothingIsLeftOfAPurgedPatientAndAllOfTheOthers(t *testing.T) {
	rounds(t, onMongo(t), 1)
}

func rounds(t *testing.T, g ground, n uint64) {
	t.Helper()
	for seed := range n {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { round(t, g, seed) })
	}
}
