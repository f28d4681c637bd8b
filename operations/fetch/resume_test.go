package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/fetch"

	"github.com/google/go-cmp/cmp"
)

func TestBrokenDownloadGoesOnWhereItWas(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := patients(100)
	s.offer(file, body, cut(body, `"a"`), outcome(503, "transient", "", "Retry-After", "2"), content(body, `"a"`))
	var waited *waits
	s.mustRun(dir, func(c *fetch.Config) {
		waited = &waits{}
		c.Wait = waited.wait
	})
	wantFile(t, dir, file, body)
	asked := s.requests(file)
	last := asked[len(asked)-1].Header
	if last.Get("Range") != "bytes=1000-" || last.Get("If-Range") != `"a"` || last.Get("Accept-Encoding") != "identity" {
		t.Errorf("asked with %v", last)
	}
	if diff := cmp.Diff([]time.Duration{100 * time.Millisecond, 2 * time.Second}, waited.all); diff != "" {
		t.Error(diff)
	}
}

func TestDownloadGetsThereHoweverOftenItBreaks(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := patients(200)
	s.offer(file, body, func(w http.ResponseWriter, r *http.Request) {
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write([]byte(body[from:min(from+500, len(body))]))
	})
	s.mustRun(dir, func(c *fetch.Config) { c.Attempts = 2 })
	wantFile(t, dir, file, body)
}

func TestDownloadThatGetsNowhereEnds(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(100), cut(patients(100), "")).Extension = nil
	_, err := s.run(dir, func(c *fetch.Config) { c.Attempts = 3 })
	wantError(t, err, file, "3 attempts", "EOF")
}

func TestAnswerThatDoesNotFitThePartStartsAnew(t *testing.T) {
	body, other := patients(100), strings.ToUpper(patients(120))
	for name, c := range map[string]struct {
		want    string
		answers []http.HandlerFunc
	}{
		"a server without Range": {body, []http.HandlerFunc{status(200, body, "ETag", `"a"`)}},
		"a changed ETag":         {other, []http.HandlerFunc{content(other, `"b"`)}},
		"a changed ETag, unseen by If-Range": {other, []http.HandlerFunc{
			status(206, other[1000:], "ETag", `"b"`,
				"Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(other)-1, len(other))),
			content(other, `"b"`),
		}},
		"a range from elsewhere": {body, []http.HandlerFunc{
			status(206, body[999:], "Content-Range", fmt.Sprintf("bytes 999-%d/%d", len(body)-1, len(body))),
			content(body, `"a"`),
		}},
		"a range that is too short": {body, []http.HandlerFunc{
			status(206, body[1000:1100], "Content-Range", fmt.Sprintf("bytes 1000-1099/%d", len(body))),
			content(body, `"a"`),
		}},
		"a range that is compressed": {body, []http.HandlerFunc{
			status(206, body[1000:], "Content-Encoding", "gzip",
				"Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(body)-1, len(body))),
			content(body, `"a"`),
		}},
		"no such range": {body, []http.HandlerFunc{
			status(416, "", "Content-Range", "bytes */500"), content(body, `"a"`),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newServer(t), t.TempDir()
			entry := s.offer(file, c.want, append([]http.HandlerFunc{cut(body, `"a"`)}, c.answers...)...)
			entry.Extension = nil
			s.mustRun(dir)
			wantFile(t, dir, file, c.want)
		})
	}
}

func TestPartThatIsWholeNeedsNoMore(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := patients(10)
	whole := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
		w.Header().Set("ETag", `"a"`)
		_, _ = w.Write([]byte(body))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	s.offer(file, body, whole, status(416, "", "Content-Range", fmt.Sprintf("bytes */%d", len(body)))).Extension = nil
	s.mustRun(dir)
	wantFile(t, dir, file, body)
}

func TestPartIsContinuedOnlyIfItIsCertainlyOfTheSameFile(t *testing.T) {
	body := patients(100)
	for name, c := range map[string]struct {
		etag     string
		checksum bool
		want     string
	}{
		"weak ETag":                   {`W/"a"`, false, ""},
		"no ETag":                     {"", false, ""},
		"no ETag but a checksum":      {"", true, "bytes=1000-"},
		"weak ETag but a checksum":    {`W/"a"`, true, "bytes=1000-"},
		"strong ETag and no checksum": {`"a"`, false, "bytes=1000-"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newServer(t), t.TempDir()
			entry := s.offer(file, body, cut(body, c.etag), content(body, `"a"`))
			if !c.checksum {
				entry.Extension = nil
			}
			s.mustRun(dir)
			wantFile(t, dir, file, body)
			asked := s.requests(file)
			if got := asked[len(asked)-1].Header.Get("Range"); got != c.want {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
		})
	}
}

func TestCancelledRunIsContinued(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	small, body := patients(100), patients(60_000)
	s.offer("done", small, content(small, `"d"`))
	s.offer("plain", small, content(small, `"p"`)).Extension = nil
	s.offer(file, body, hang(body, `"a"`, 3<<19, make(chan struct{})), content(body, `"a"`))
	ctx, cancel := context.WithCancel(context.Background())
	client, _ := s.client(func(c *fetch.Config) {
		c.Parallel = 1
		c.Progress = func(p fetch.Progress) {
			if p.Bytes > 1<<20 {
				cancel()
			}
		}
	})
	if _, err := client.Run(ctx, allPatients, dir); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, file+".part"))
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(dir, file+".part"))
	report := s.mustRun(dir)
	wantFile(t, dir, file, body)
	if !report.Resumed || report.Types[0].Resources != 60_200 {
		t.Errorf("resumed %v, %+v", report.Resumed, report.Types)
	}
	for suffix, want := range map[string]int{"$export": 1, "done": 1, "plain": 1, file: 2} {
		if n := len(s.requests(suffix)); n != want {
			t.Errorf("%s was asked for %d times, want %d", suffix, n, want)
		}
	}
	if got, want := s.requests(file)[1].Header.Get("Range"), fmt.Sprintf("bytes=%d-", info.Size()); got != want {
		t.Errorf("continued with %q, want %q", got, want)
	}
}

// spoil appends what a crash may leave: bytes that nothing vouches for.
func spoil(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCancelWhilePollingEndsAtOnce(t *testing.T) {
	s := newServer(t)
	s.polls = []http.HandlerFunc{status(202, "", "Retry-After", "60")}
	ctx, cancel := context.WithCancel(context.Background())
	client, _ := s.client(func(c *fetch.Config) {
		c.Wait = nil
		c.Progress = func(p fetch.Progress) {
			if p.Step == fetch.StepPoll {
				cancel()
			}
		}
	})
	if _, err := client.Run(ctx, allPatients, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOneFileThatFailsStopsTheOthers(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body, sent := patients(100), make(chan struct{})
	s.offer("slow", body, hang(body, `"a"`, 1000, sent), content(body, `"a"`))
	s.offer("gone", body, func(w http.ResponseWriter, r *http.Request) {
		<-sent
		outcome(410, "deleted", "erased")(w, r)
	}, content(body, `"g"`))
	_, err := s.run(dir)
	wantError(t, err, "gone: download", "410", "erased", "export again")
	s.mustRun(dir)
	wantFile(t, dir, "slow", body)
}

func TestDamagedFileIsFetchedAgain(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer("good", patients(2), content(patients(2), `"a"`))
	s.offer("gone", patients(3), status(404, ""), content(patients(3), `"g"`))
	if _, err := s.run(dir, func(c *fetch.Config) { c.Parallel = 1 }); err == nil {
		t.Fatal("no error")
	}
	spoil(t, filepath.Join(dir, "good"))
	s.mustRun(dir)
	wantFile(t, dir, "good", patients(2))
}

func TestFinishedExportIsVerifiedByDownloadingItAgain(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(2), content(patients(2), `"a"`))
	client, _ := s.client()
	done, err := client.Poll(t.Context(), s.URL+"/fhir/jobs/1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := client.Download(t.Context(), done, dir); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.requests(file)); n != 1 {
		t.Errorf("asked %d times", n)
	}
	done.Raw = append(done.Raw, '\n')
	_, err = client.Download(t.Context(), done, dir)
	wantError(t, err, "another export")
}

func TestFileOfUnknownOriginIsNotOverwritten(t *testing.T) {
	for name, c := range map[string]struct {
		there    string
		checksum bool
		refused  bool
	}{
		"another one":           {"mine\n", true, true},
		"without a checksum":    {patients(2), false, true},
		"the same, by checksum": {patients(2), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newServer(t), t.TempDir()
			entry := s.offer(file, patients(2), content(patients(2), `"a"`))
			if !c.checksum {
				entry.Extension = nil
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(c.there), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.run(dir); (err != nil) != c.refused {
				t.Errorf("error %v", err)
			}
			wantFile(t, dir, file, c.there)
			if n := len(s.requests(file)); n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestManifestThatChangedMeanwhileIsRefused(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(2), status(404, ""))
	if _, err := s.run(dir); err == nil {
		t.Fatal("no error")
	}
	s.manifest.TransactionTime = "2027-01-01T00:00:00Z"
	_, err := s.run(dir)
	wantError(t, err, "another manifest")
}

func TestNamesOutliveTheURLs(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(2), content(patients(2), `"a"`))
	s.offer("gone", patients(3), status(404, ""))
	if _, err := s.run(dir, func(c *fetch.Config) { c.Parallel = 1 }); err == nil {
		t.Fatal("no error")
	}
	s.manifest.Output[0].URL += "-renewed"
	s.manifest.Output[1].URL += "-renewed"
	s.files["/files/gone-renewed"] = []http.HandlerFunc{content(patients(3), `"g"`)}
	s.mustRun(dir)
	if diff := cmp.Diff([]string{file, "gone", "manifest.json"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestPageOfAManifestIsRefused(t *testing.T) {
	s := newServer(t)
	s.manifest.Link = []fhir.ManifestLink{{Relation: "next", URL: s.URL}}
	_, err := s.run(t.TempDir())
	wantError(t, err, "allowPartialManifests")
}

func TestStalledDownloadIsTriedAgain(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := patients(100)
	s.offer(file, body, hang(body, `"a"`, 1000, make(chan struct{})), content(body, `"a"`))
	s.mustRun(dir, func(c *fetch.Config) { c.Stall = 200 * time.Millisecond })
	wantFile(t, dir, file, body)
}

func TestLineOfAnyLengthIsOneResource(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	body := `{"resourceType":"Binary","data":"` + strings.Repeat("QUJD", 10<<20) + `"}`
	s.offer(file, body, content(body, `"a"`))
	var mu sync.Mutex
	calls := 0
	report := s.mustRun(dir, func(c *fetch.Config) {
		c.Progress = func(fetch.Progress) {
			if !mu.TryLock() {
				t.Error("Progress was called twice at a time")
				return
			}
			defer mu.Unlock()
			calls++
		}
	})
	if f := report.Files[0]; f.Resources != 1 || f.Bytes != int64(len(body)) {
		t.Errorf("%+v", f)
	}
	if calls < 30 {
		t.Errorf("told of progress %d times", calls)
	}
	wantFile(t, dir, file, body)
}

func TestCrashAfterTheManifestIsFinishedByAnotherRun(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(2), status(404, ""), content(patients(2), `"a"`))
	if _, err := s.run(dir); err == nil {
		t.Fatal("no error")
	}
	kept, err := os.ReadFile(filepath.Join(dir, fetch.StateName))
	if err != nil {
		t.Fatal(err)
	}
	s.mustRun(dir)
	if err := os.WriteFile(filepath.Join(dir, fetch.StateName), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustRun(dir)
	if diff := cmp.Diff([]string{file, "manifest.json"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestJobThatIsGoneIsNotMixedWithAnother(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	s.offer(file, patients(2), status(404, ""))
	if _, err := s.run(dir); err == nil {
		t.Fatal("no error")
	}
	for range 2 {
		s.polls = []http.HandlerFunc{outcome(404, "not-found", "no such job")}
		_, err := s.run(dir)
		wantError(t, err, "no longer has this export", "choose another directory")
	}
}
