package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLinesAreDealtOutOnceEach(t *testing.T) {
	s, err := readSet(writeSample(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	b := bench{set: s, work: t.TempDir()}
	lists, err := b.splitSet(instances)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, path := range s.paths {
		want = append(want, linesOf(t, path)...)
	}
	for _, list := range lists {
		part, err := readSet(list[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(part.paths) != len(s.paths) || part.resources < s.resources/instances-1 {
			t.Errorf("%v have %d files and %d of %d resources", list, len(part.paths), part.resources, s.resources)
		}
		for _, path := range part.paths {
			got = append(got, linesOf(t, path)...)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func linesOf(t *testing.T, path string) (lines []string) {
	t.Helper()
	if err := eachLine(path, func(line []byte) error {
		lines = append(lines, string(line))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestUnitsThatSucceededAreCounted(t *testing.T) {
	n, err := sumOfUnits([]byte(`# TYPE firebreak_units_ended_total counter
firebreak_units_ended_total{kind="export",outcome="retried"} 5
firebreak_units_ended_total{kind="export",outcome="succeeded"} 12
firebreak_units_ended_total{kind="purge",outcome="succeeded"} 1e+03
firebreak_units_at_work{kind="export"} 7
`))
	if n != 1012 || err != nil {
		t.Errorf("there are %d, %v", n, err)
	}
	if n, err := sumOfUnits([]byte(`firebreak_units_ended_total{outcome="succeeded"} many`)); err == nil {
		t.Errorf("many are %d", n)
	}
}

func TestUnitsOfAServerThatSaysNotWhereAreAnError(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	if n, err := (&server{log: log}).unitsEnded(t.Context()); err == nil {
		t.Errorf("there are %d", n)
	}
}

func TestURLsAreMovedFromOneServerToAnother(t *testing.T) {
	a, b := &server{root: "http://127.0.0.1:1"}, &server{root: "http://127.0.0.1:2"}
	if got, err := moved("http://127.0.0.1:1/fhir/x?y=http://127.0.0.1:1", a, b); got != "http://127.0.0.1:2/fhir/x?y=http://127.0.0.1:1" || err != nil {
		t.Errorf("it is %s, %v", got, err)
	}
	if got, err := moved("http://127.0.0.1:10/fhir/x", a, b); err == nil {
		t.Errorf("a stranger's is moved to %s", got)
	}
}
