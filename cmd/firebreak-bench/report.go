package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is a figure and the limit beside it.
type row struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Limit  float64 `json:"limit"`
	Ratio  float64 `json:"ratio"`  // of the value to the limit
	Beside string  `json:"beside"` // what the limit is
}

const (
	perSecond     = "resources/s"
	versionsRate  = "versions/s"
	requests      = "requests/s"
	milliseconds  = "ms"
	mib           = "MiB"
	bytesPerByte  = "bytes/byte"
	megabytes     = "MB/s"
	unitsOfLeast  = "units, least"
	memoryBudget  = 200 // MiB, of any load, export or purge
	besideBudget  = "the budget"
	besideParse   = "a strict parse of the same lines"
	besideSelect  = "SELECT body to a file"
	besideGet     = "reading the same resources by id"
	besideCopy    = "copying the same bytes, with sha-256"
	besideCopying = ", and copying it with sha-256"
	besideFirst   = "the first copy"
	besideNDJSON  = "the ndjson"
	besideHealthz = "GET /healthz"
	besideFsync   = "writing and syncing 4 kB, one after the other"
)

// add takes a row in, if it was asked for.
func (b *bench) add(name string, value float64, unit string, limit float64, beside string) {
	if !b.wants(name) {
		return
	}
	b.rows = append(b.rows, row{name, value, unit, limit, value / max(limit, 1e-9), beside})
	b.say("%s: %s %s, beside %s (%s)", name, figure(value), unit, figure(limit), beside)
}

// median of what was measured several times.
func median[T cmp.Ordered](all []T) T { return percentile(all, 0.5) }

// percentile is the smallest of all that the part p of them does not exceed.
func percentile[T cmp.Ordered](all []T, p float64) T {
	var zero T
	if len(all) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(float64(len(sorted))*p), len(sorted)-1)]
}

// rate is how many of n there were in a second.
func rate[N int | int64](n N, took time.Duration) float64 {
	return float64(n) / max(took.Seconds(), 1e-9)
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// figure writes three digits or more: 12,345 or 1.23.
func figure(v float64) string {
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// note keeps a line for below the table.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	b.say(format, args...)
}

// printHead says what was measured, and on what.
func (b *bench) printHead(ctx context.Context, w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s\n%s, %s/%s, %d cores, %s; load before: %s\n",
		b.product.version(ctx), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		cpuModel(), b.product.loadBefore)
	copies := ""
	if b.opts.Copies > 1 {
		copies = fmt.Sprintf(", loaded %d times under other ids", b.opts.Copies)
	}
	if b.db.head != "" {
		_, _ = fmt.Fprintln(w, b.db.head)
	}
	_, _ = fmt.Fprintf(w, "%s resources, %s MB of ndjson%s; ratio is value / limit\n\n",
		figure(float64(b.set.resources)), figure(float64(b.set.bytes)/1e6), copies)
}

func printTable(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "name\t%14s\tunit\t%12s\t%6s\tlimit is\n", "value", "limit", "ratio")
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%s\t%14s\t%s\t%12s\t%6.2f\t%s\n", r.Name, figure(r.Value), r.Unit, figure(r.Limit), r.Ratio, r.Beside)
	}
	_ = t.Flush() // to a terminal: there is nobody else to tell
}

// printNotes says what the rows do not.
func printNotes(w io.Writer, notes []string) {
	for _, n := range notes {
		_, _ = fmt.Fprintf(w, "\n%s\n", n)
	}
}

func writeJSON(path string, rows []row) error {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// cpuModel is what Linux calls the processor; elsewhere it is not known.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// loadAverage is what else the machine has to do.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}
