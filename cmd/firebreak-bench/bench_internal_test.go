package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firebreak/fhir/sample"
	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

func TestEveryRowIsMeasured(t *testing.T) { wantEveryRow(t, options{}) }

// wantEveryRow measures over a small set, and fails the test unless each row
// comes out, and nothing is left behind or warned of. It returns the table.
func wantEveryRow(t *testing.T, o options) string {
	t.Helper()
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "rows.ndjson")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{
		"--firebreak", buildProduct(t), "--dir", dir, "--json", out, "--store", o.Store,
		"--copies", "2", "--for", "50ms", "--large", "2", "--list", "20", writeSample(t, 12),
	}, &stdout, &stderr)
	if code != exitOK {
		t.Fatalf("exit code is %d:\n%s", code, &stderr)
	}
	want := map[string]bool{}
	for _, name := range o.names() {
		want[name] = true
	}
	delete(want, "export-group")
	want["export-group/"+sample.GroupFirst10] = true
	if diff := cmp.Diff(want, checkRows(t, out, stdout.String())); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
	if strings.Contains(stderr.String(), "level=") || strings.Contains(stderr.String(), "and the database") {
		t.Errorf("something is wrong with the server or the export:\n%s", &stderr)
	}
	return stdout.String()
}

// checkRows reads the rows of the file, and fails the test for one that is not
// in the table or no number.
func checkRows(t *testing.T, path, table string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	got := map[string]bool{}
	for d := json.NewDecoder(f); ; {
		var r row
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return got
		} else if err != nil {
			t.Fatal(err)
		}
		got[r.Name] = true
		for _, v := range []float64{r.Value, r.Limit, r.Ratio} {
			// Of a small set one instance may do all.
			if !(v > 0 || v == 0 && r.Name == "instances-units") || math.IsInf(v, 0) {
				t.Errorf("%s is %+v", r.Name, r)
			}
		}
		if !strings.Contains(table, "\n"+r.Name+" ") || r.Unit == "" || r.Beside == "" {
			t.Errorf("%+v is not whole, or not in the table:\n%s", r, table)
		}
	}
}

func buildProduct(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firebreak")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "firebreak/cmd/firebreak").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestNamesStandForTheirFamilies(t *testing.T) {
	b := bench{opts: options{Only: []string{"export", "load-rss"}}}
	tests := map[string]bool{
		"export": true, "export-rss": true, "export-group/first-10": true, "load-rss": true,
		"load": false, "load-again": false, "large-export": false, "read": false,
	}
	for name, want := range tests {
		if got := b.wants(name); got != want {
			t.Errorf("wants(%q) is %v", name, got)
		}
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	empty, set := t.TempDir(), writeSample(t, 1)
	product := filepath.Join(t.TempDir(), "firebreak")
	if err := os.WriteFile(product, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		code int
		word string
	}{
		"no folder":           {nil, exitUsage, "<dir>"},
		"no such row":         {[]string{"--only", "nothing", set}, exitUsage, "export-group"},
		"no copies":           {[]string{"--copies", "0", set}, exitUsage, "--copies"},
		"an empty list":       {[]string{"--list", "0", set}, exitUsage, "--list"},
		"no product":          {[]string{set}, exitFailed, "make build"},
		"an empty folder":     {[]string{"--firebreak", product, empty}, exitFailed, "ndjson"},
		"instances on SQLite": {[]string{"--only", "instances-load", set}, exitUsage, "instances-load is no row"},
		"no URI":              {[]string{"--store", "localhost", set}, exitUsage, "--store"},
		"someone's database":  {[]string{"--store", "mongodb://127.0.0.1:1/mine?replicaSet=rs0", set}, exitUsage, "may name no database"},
		"no MongoDB":          {[]string{"--firebreak", product, "--store", "mongodb://127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=50", set}, exitFailed, "--store: server selection"},
		"a product that dies": {[]string{"--firebreak", product, set}, exitFailed, "firebreak load: exit status 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tt.args, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.word) {
				t.Errorf("exit code is %d:\n%s", code, &stderr)
			}
		})
	}
}

func TestPercentilesAreOfWhatWasMeasured(t *testing.T) {
	all := []time.Duration{5, 1, 4, 2, 3}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := percentile(all, p); got != want {
			t.Errorf("percentile(%v) is %d, want %d", p, got, want)
		}
	}
	if got := median([]float64(nil)); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}
