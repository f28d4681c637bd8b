package files_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/store/files"
	"firebreak/store/files/filestest"

	"github.com/google/go-cmp/cmp"
)

// random is content that does not repeat.
func random(size int) string {
	b := make([]byte, size)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // it cannot fail
	return string(b)
}

// A download is what package opshttp makes of a file.
func TestADownloadAsksForNoMoreThanItSends(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "downloads")
	content := random(3 * part)
	b.put("job/a", content)
	for name, tt := range map[string]struct {
		header http.Header
		method string
		want   string
		asked  []string
	}{
		"whole":        {nil, http.MethodGet, content, []string{"HEAD", "GET"}},
		"its head":     {nil, http.MethodHead, "", []string{"HEAD"}},
		"unchanged":    {http.Header{"If-None-Match": {`"sum"`}}, http.MethodGet, "", []string{"HEAD"}},
		"from a place": {http.Header{"Range": {"bytes=7000000-"}}, http.MethodGet, content[7_000_000:], []string{"HEAD", "GET bytes=7000000-"}},
		"its end":      {http.Header{"Range": {"bytes=-100"}}, http.MethodGet, content[len(content)-100:], []string{"HEAD", "GET bytes=18874268-"}},
		"a piece":      {http.Header{"Range": {"bytes=10-19"}}, http.MethodGet, content[10:20], []string{"HEAD", "GET bytes=10-"}},
		"beyond it":    {http.Header{"Range": {"bytes=18874368-"}}, http.MethodGet, "", []string{"HEAD"}},
	} {
		p.since()
		f, err := b.Open(t.Context(), "job/a")
		b.ok(err)
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/", http.NoBody)
		r.Header = tt.header
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/fhir+ndjson")
		w.Header().Set("ETag", `"sum"`)
		http.ServeContent(w, r, "", time.Time{}, f)
		b.ok(f.Close())
		if got := w.Body.String(); got != tt.want && w.Code < http.StatusBadRequest {
			t.Errorf("%s: %d bytes came, want %d", name, len(got), len(tt.want))
		}
		if diff := cmp.Diff(tt.asked, p.since()); diff != "" {
			t.Errorf("%s: asked (- want, + got)\n%s", name, diff)
		}
	}
}

func TestSeekAsksForNothing(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "seeks")
	b.put("job/a", "0123456789")
	f, err := b.Open(t.Context(), "job/a")
	b.ok(err)
	defer f.Close()
	p.since()
	for _, at := range []int64{0, -10, -3, 0} {
		_, err := f.Seek(at, io.SeekEnd)
		b.ok(err)
	}
	if got, err := io.ReadAll(f); len(got) > 0 || err != nil {
		t.Errorf("read %q, %v, at the end", got, err)
	}
	if asked := p.since(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

func TestBadNamesAreRefusedBeforeTheServerIsAsked(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "bad-names")
	p.since()
	for _, name := range []string{"", "a", "../a", "a/../b", ".instance-id", "a/b/c", "a/.b"} {
		_, created := b.Create(t.Context(), name)
		_, opened := b.Open(t.Context(), name)
		_, listed := b.Names(t.Context(), name+"/")
		for _, err := range []error{created, opened, listed, b.Remove(t.Context(), name), b.RemoveFolder(t.Context(), name+"/")} {
			if err == nil || errors.Is(err, files.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if asked := p.since(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

func TestAFileIsReadThoughConnectionsBreak(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "breaks")
	content := random(2 * part)
	b.put("job/a", content)
	f, err := b.Open(t.Context(), "job/a")
	b.ok(err)
	defer f.Close()
	p.since()
	p.cut(1<<20, 5<<20, 1<<17)
	got, err := io.ReadAll(f)
	if string(got) != content || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// What is under way is lost, so that only the order is known.
	last := -1
	for i, asked := range p.since() {
		at := 0
		if _, err := fmt.Sscanf(asked, "GET bytes=%d-", &at); i > 0 && err != nil || at <= last || i > 3 {
			t.Errorf("request %d is %s", i+1, asked)
		}
		last = at
	}
	if last < 2<<20 {
		t.Errorf("the last request began at %d", last)
	}
}

func TestAnAnswerThatBringsNothingIsAnError(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "nothing")
	b.put("job/a", random(part))
	f, err := b.Open(t.Context(), "job/a")
	b.ok(err)
	defer f.Close()
	p.cut(1<<20, 0, 0, 0, 0, 0, 0, 0, 0)
	got, err := io.ReadAll(f)
	if len(got) == 0 || len(got) > 1<<20 || err == nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// heap is how much memory is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAReaderThatIsSlowHoldsNothing(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "slow")
	size := 64 << 20
	b.put("job/a", strings.Repeat("0123456789abcdef", size/16))
	f, err := b.Open(t.Context(), "job/a")
	b.ok(err)
	before := heap()
	_, err = io.CopyN(io.Discard, f, 1000)
	b.ok(err)
	if more := int64(heap()) - int64(before); more > 1<<20 {
		t.Errorf("%d bytes are held", more)
	}
	b.ok(f.Close())
	p.server.Close() // when what was under way has ended
	if p.passed > int64(size)/2 {
		t.Errorf("%d bytes were sent of which 1000 were read", p.passed)
	}
}

// The sizes are those at which a writer fills its parts again and again.
func TestAWriterHoldsThreePartsAtMost(t *testing.T) {
	b := openBucket(t, filestest.StartGateway(t).Bucket(t, "memory", ""))
	const writers, size, most = 4, 48 << 20, 17 << 20
	before := heap()
	var peak int64
	var mu sync.Mutex
	var all sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		all.Go(func() {
			errs[i] = func() error {
				w, err := b.Create(t.Context(), "job/"+string(rune('a'+i)))
				if err != nil {
					return err
				}
				defer w.Abort()
				for range size >> 20 {
					if _, err := w.Write(make([]byte, 1<<20)); err != nil {
						return err
					}
					mu.Lock()
					peak = max(peak, int64(heap())-int64(before))
					mu.Unlock()
				}
				return w.Commit()
			}()
		})
	}
	all.Wait()
	b.ok(errors.Join(errs...))
	if peak > writers*most {
		t.Errorf("%d writers held %d bytes", writers, peak)
	}
	if f, err := b.Open(t.Context(), "job/d"); err != nil || f.Size() != size {
		t.Error(err)
	}
}
