package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter shows how far long work is: a bar on a terminal, elsewhere a line
// every few seconds.
type meter struct {
	w     io.Writer
	name  string
	total int64
	began time.Time
	lines time.Time // of the last line
	ended time.Time
	text  atomic.Pointer[string]
	bars  *mpb.Progress
	bar   *mpb.Bar
}

// lineEvery is how often a line is printed where there is no terminal.
const lineEvery = 3 * time.Second

func newMeter(w io.Writer, name string, total int64) *meter {
	m := &meter{w: w, name: name, total: total, began: time.Now(), lines: time.Now()}
	if !isTerminal(w) {
		return m
	}
	m.text.Store(new(string))
	m.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	m.bar = m.bars.AddBar(total, mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string { return "  " + *m.text.Load() })))
	return m
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// set says how much of the total is done, and how many resources that is.
func (m *meter) set(done, resources int64) {
	left := "…"
	if took := time.Since(m.began); done > 0 && done <= m.total {
		left = short(time.Duration(float64(took) * float64(m.total-done) / float64(done)))
	}
	m.show(done, fmt.Sprintf("%s resources, %s/s, %s left", count(resources), count(m.rate(resources)), left))
}

// show says how much of the total is done, in words too.
func (m *meter) show(done int64, text string) {
	if m.bar != nil {
		m.text.Store(&text)
		m.bar.SetCurrent(min(done, m.total))
		return
	}
	if now := time.Now(); now.Sub(m.lines) >= lineEvery {
		m.lines = now
		percent := ""
		if m.total > 0 {
			percent = fmt.Sprintf("%d %%, ", 100*min(done, m.total)/m.total)
		}
		_, _ = fmt.Fprintf(m.w, "%s: %s%s\n", m.name, percent, text)
	}
}

// say prints a line of its own.
func (m *meter) say(format string, args ...any) {
	w := m.w
	if m.bars != nil {
		w = m.bars
	}
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// end takes the bar away, or leaves it full.
func (m *meter) end() {
	m.ended = time.Now()
	if m.bar != nil {
		m.bar.SetTotal(m.bar.Current(), true)
		m.bars.Wait()
	}
}

// took is how long it has lasted, until its end.
func (m *meter) took() time.Duration {
	if m.ended.IsZero() {
		return time.Since(m.began)
	}
	return m.ended.Sub(m.began)
}

// rate is how many of n there were in a second.
func (m *meter) rate(n int64) int64 { return int64(float64(n) / max(m.took().Seconds(), 1e-9)) }

// count writes a number with commas: 12,345.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a duration to three digits or so: 12.3s.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// size writes a number of bytes: 1.2 MB.
func size(n int64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// table prints rows in columns; the first column to the left, others to the right.
func table(w io.Writer, rows [][]string) {
	widest := 0
	for _, r := range rows {
		widest = max(widest, len(r[0]))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		first := r[0] + strings.Repeat(" ", widest-len(r[0]))
		_, _ = fmt.Fprintln(t, first+"\t"+strings.Join(r[1:], "\t")+"\t")
	}
	_ = t.Flush() // it writes to w, whose errors are not ours to mend
}

// grow sets a total that was not known at first.
func (m *meter) grow(total int64) {
	m.total = total
	if m.bar != nil {
		m.bar.SetTotal(total, false)
	}
}
