package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/operations/ingest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what is put, and refuses what it is told to.
type sink struct {
	mu     sync.Mutex
	bodies map[fhir.ID]string
	order  []string // ids, as they were put
	puts   []int    // resources in each call that was taken
	sizes  []int    // bytes in each
	put    func(ctx context.Context, rs []fhir.Resource) error
}

// Put is ingest.Sink.
func (s *sink) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	if s.put != nil {
		if err := s.put(ctx, rs); err != nil {
			return ingest.Stored{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bodies == nil {
		s.bodies = map[fhir.ID]string{}
	}
	var done ingest.Stored
	size := 0
	for _, r := range rs {
		switch old, ok := s.bodies[r.ID]; {
		case !ok:
			done.Created++
		case old == string(r.Body):
			done.Unchanged++
		default:
			done.Updated++
		}
		s.bodies[r.ID] = string(r.Body)
		s.order = append(s.order, r.ID.String())
		size += len(r.Body)
	}
	s.puts, s.sizes = append(s.puts, len(rs)), append(s.sizes, size)
	return done, nil
}

// load is one Load, with what it told.
type load struct {
	*testing.T
	dir      string
	sink     *sink
	into     ingest.Sink // instead of sink
	maxLine  int
	reader   fhir.Reader
	problems []string // "error file:line text", the folder left out
	progress []ingest.Progress
	sum      ingest.Progress
}

func newLoad(t *testing.T) *load {
	return &load{T: t, dir: t.TempDir(), sink: &sink{}, maxLine: 16 << 20, reader: fhir.Reader{Known: r4.IsType}}
}

func (l *load) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// file writes a file and names it.
func (l *load) file(name, content string) string {
	l.Helper()
	path := filepath.Join(l.dir, name)
	l.ok(os.MkdirAll(filepath.Dir(path), 0o700))
	l.ok(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (l *load) sources(paths ...string) []ingest.Source {
	l.Helper()
	sources, err := ingest.Sources(paths)
	l.ok(err)
	return sources
}

func (l *load) run(ctx context.Context, sources []ingest.Source) error {
	var into ingest.Sink = l.sink
	if l.into != nil {
		into = l.into
	}
	var err error
	l.problems, l.progress = nil, nil
	l.sum, err = ingest.Load(ctx, ingest.Config{
		Reader: l.reader, Sink: into, MaxLine: l.maxLine,
		Problem: func(p ingest.Problem) {
			word := "error"
			if p.Warning {
				word = "warning"
			}
			l.problems = append(l.problems, word+" "+strings.TrimPrefix(p.String(), l.dir+"/")+" "+p.Err.Error())
		},
		Done: func(p ingest.Progress) { l.progress = append(l.progress, p) },
	}, sources)
	return err
}

// all loads paths, or the whole folder, to the end.
func (l *load) all(paths ...string) {
	l.Helper()
	if len(paths) == 0 {
		paths = []string{l.dir}
	}
	sources := l.sources(paths...)
	l.ok(l.run(l.Context(), sources))
	l.wantBytesOf(sources)
}

// wantBytesOf checks that the progress only grew, and has come to its end.
func (l *load) wantBytesOf(sources []ingest.Source) {
	l.Helper()
	var total, last int64
	for _, s := range sources {
		total += s.Size
	}
	for _, p := range l.progress {
		if p.Bytes < last || p.Bytes > total {
			l.Errorf("%d bytes after %d, of %d", p.Bytes, last, total)
		}
		last = p.Bytes
	}
	if last != total || l.sum.Bytes != total {
		l.Errorf("%d bytes at the end, %d were summed up, of %d", last, l.sum.Bytes, total)
	}
	if diff := cmp.Diff(l.sum, l.progress[len(l.progress)-1]); diff != "" {
		l.Errorf("the last progress is not the sum\n%s", diff)
	}
}

func (l *load) wantOrder(ids ...string) {
	l.Helper()
	if diff := cmp.Diff(ids, l.sink.order, cmpopts.EquateEmpty()); diff != "" {
		l.Errorf("(- want, + stored)\n%s", diff)
	}
}

func (l *load) wantSum(created, updated, unchanged, failed int64) {
	l.Helper()
	got := l.sum
	got.Bytes = 0
	want := ingest.Progress{Stored: ingest.Stored{Created: created, Updated: updated, Unchanged: unchanged}, Failed: failed}
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("(- want, + got)\n%s", diff)
	}
}

// wantProblems checks the problems, each by its beginning.
func (l *load) wantProblems(want ...string) {
	l.Helper()
	if len(want) != len(l.problems) {
		l.Errorf("%d problems, want %d:\n%s", len(l.problems), len(want), strings.Join(l.problems, "\n"))
		return
	}
	for i, w := range want {
		if !strings.HasPrefix(l.problems[i], w) {
			l.Errorf("problem %d is %q, want %q", i, l.problems[i], w)
		}
	}
}

func patient(id string) string { return `{"resourceType":"Patient","id":"` + id + `"}` }

func lines(ls ...string) string { return strings.Join(ls, "\n") + "\n" }

func zip(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(content)) // to memory
	_ = w.Close()
	return b.String()
}

func bundle(entries ...string) string {
	return `{"resourceType":"Bundle","type":"collection","entry":[` + strings.Join(entries, ",") + `]}`
}

func entry(resource string) string { return `{"resource":` + resource + `}` }

// patients are so many lines.
func patients(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s\n", patient(fmt.Sprint("p-", i)))
	}
	return b.String()
}

func patientIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("Patient/p-", i)
	}
	return ids
}
