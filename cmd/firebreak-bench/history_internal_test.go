package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheChainOfThisServerTellsWhatWasWritten(t *testing.T) {
	p, err := findProduct(buildProduct(t), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := p.serve(t.Context(), place{data: filepath.Join(t.TempDir(), "data")}, noOperator)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.stop(); err != nil {
			t.Error(err)
		}
	}()
	var stdout, stderr bytes.Buffer
	h := history{Server: srv.base, For: 2 * time.Second, Writers: 4, Resources: 10, Seed: 1}
	if err := h.check(t.Context(), &stdout, &stderr); err != nil {
		t.Errorf("%v\n%s%s", err, &stdout, &stderr)
	}
	if !strings.Contains(stdout.String(), ", 0 faults") {
		t.Errorf("it says %s", &stdout)
	}
}

// told makes a checker that has taken in one export for each list of lines.
func told(t *testing.T, exports ...[]string) *checker {
	t.Helper()
	c := &checker{run: "h", told: map[string]content{}}
	for _, lines := range exports {
		c.rounds++
		for _, line := range lines {
			if strings.Contains(line, "DELETE") {
				c.deletions([]byte(line))
			} else {
				c.change([]byte(line))
			}
		}
		c.endRound()
	}
	return c
}

func written(id, write, version string) string {
	return `{"resourceType":"Basic","id":"` + id + `","meta":{"versionId":"` + version + `"},"identifier":[{"value":"` + write + `"}]}`
}

func deleted(id string) string {
	return `{"resourceType":"Bundle","entry":[{"request":{"method":"DELETE","url":"Basic/` + id + `"}}]}`
}

func TestTheCheckerSeesWhatAChainGetsWrong(t *testing.T) {
	a := written("h-a", "1", "1")
	for says, c := range map[string]struct {
		exports [][]string
		truth   map[string]int
	}{
		"tells of h-a twice":          {[][]string{{a, a}}, map[string]int{"h-a": 1}},
		"repeats version":             {[][]string{{a}, {a}}, map[string]int{"h-a": 1}},
		"goes back with h-a":          {[][]string{{written("h-a", "5", "2")}, {written("h-a", "1", "3")}}, map[string]int{"h-a": 1}},
		"h-a was deleted, and no":     {[][]string{{a}}, map[string]int{"h-a": 0}},
		"h-b was written, and no":     {[][]string{{a}}, map[string]int{"h-a": 1, "h-b": 2}},
		"the chain has 1":             {[][]string{{a}}, map[string]int{"h-a": 7}},
		"h-a was never written":       {[][]string{{a}}, map[string]int{}},
		"or one told that it was":     {[][]string{{a}, {deleted("h-a")}}, map[string]int{"h-a": 1}},
		"without what was written":    {[][]string{{`{"resourceType":"Basic","id":"h-a"}`}}, map[string]int{}},
		"export 1 tells of h-a twice": {[][]string{{a, deleted("h-a")}}, map[string]int{"h-a": 1}},
	} {
		k := told(t, c.exports...)
		k.compare(c.truth)
		if !strings.Contains(strings.Join(k.faults, "\n"), says) {
			t.Errorf("%q is not among %q", says, k.faults)
		}
	}
	right := told(t, []string{a, written("h-b", "2", "1")}, []string{written("h-a", "3", "2"), deleted("h-b")}, []string{written("other", "x", "1")})
	if right.compare(map[string]int{"h-a": 3, "h-b": 0}); len(right.faults) > 0 {
		t.Errorf("faults in a chain that is right: %q", right.faults)
	}
}
