package files_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/store/files"
	"firebreak/store/files/filestest"

	"github.com/google/go-cmp/cmp"
)

// part is more than one part of a multipart upload.
const part = 6 << 20

// bucket is a Bucket with helpers that fail the test.
type bucket struct {
	*testing.T
	*files.Bucket
	address string
}

func openBucket(t *testing.T, address string) bucket {
	t.Helper()
	b, err := files.NewBucket(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return bucket{t, b, address}
}

func (b bucket) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b bucket) put(name, content string) {
	b.Helper()
	w, err := b.Create(b.Context(), name)
	b.ok(err)
	_, err = io.WriteString(w, content)
	b.ok(err)
	b.ok(w.Commit())
}

// begin begins a file and writes more than a part of it.
func (b bucket) begin(ctx context.Context, name string) files.Writer {
	b.Helper()
	w, err := b.Create(ctx, name)
	b.ok(err)
	b.Cleanup(w.Abort)
	_, err = w.Write(make([]byte, part))
	b.ok(err)
	return w
}

func (b bucket) wantNames(folder string, want ...string) {
	b.Helper()
	got, err := b.Names(b.Context(), folder)
	b.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("names in %s (- want, + got)\n%s", folder, diff)
	}
}

func TestABucketKeepsWhatFilesPromises(t *testing.T) {
	g := filestest.StartGateway(t)
	var made atomic.Int32
	filestest.Run(t, func(t testing.TB) filestest.Opener {
		address := g.Bucket(t, fmt.Sprintf("bucket-%d", made.Add(1)), "a/prefix")
		return func() files.Place {
			b, err := files.NewBucket(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}

func TestPlacesInOneBucketDoNotMeet(t *testing.T) {
	g := filestest.StartGateway(t)
	whole, one, two := openBucket(t, g.Bucket(t, "shared", "")), openBucket(t, g.Bucket(t, "shared", "one")), openBucket(t, g.Bucket(t, "shared", "two"))
	one.put("job/a", "1")
	ids := map[string]bool{}
	for _, b := range []bucket{whole, one, two} {
		id, err := b.Identity(t.Context(), rand.Text)
		b.ok(err)
		ids[id] = true
	}
	if len(ids) != 3 {
		t.Errorf("three places have the ids %v", ids)
	}
	two.wantNames("job")
	whole.wantNames("one") // a name is not deeper than one folder
	two.ok(two.RemoveFolder(t.Context(), "job"))
	one.wantNames("job", "job/a")
}

func TestAWriteThatTheServerDoesNotSurviveIsAnErrorAndNoFile(t *testing.T) {
	g := filestest.StartGateway(t)
	b := openBucket(t, g.Bucket(t, "killed", ""))
	b.put("job/old", "old")
	small, err := b.Create(t.Context(), "job/small")
	b.ok(err)
	_, err = io.WriteString(small, "a few bytes")
	b.ok(err)
	replaced, large := b.begin(t.Context(), "job/old"), b.begin(t.Context(), "job/large")
	g.Kill()
	var all sync.WaitGroup
	for name, w := range map[string]files.Writer{"small": small, "replaced": replaced, "large": large} {
		all.Go(func() {
			defer w.Abort()
			_, err := w.Write(make([]byte, part))
			if err == nil {
				_, err = w.Write(make([]byte, 2*part))
			}
			if err := errors.Join(err, w.Commit()); err == nil {
				t.Errorf("%s was written to a server that is dead", name)
			}
		})
	}
	all.Wait()
	again := openBucket(t, g.Again(t).Bucket(t, "killed", ""))
	for _, name := range []string{"job/small", "job/large"} {
		if f, err := again.Open(t.Context(), name); !errors.Is(err, files.ErrNotFound) {
			t.Errorf("Open of %s: %v, %v", name, f, err)
		}
	}
	if f, err := again.Open(t.Context(), "job/old"); err != nil || f.Size() != 3 {
		t.Errorf("the older file: %v", err)
	}
	again.wantNames("job", "job/large", "job/old")
	again.ok(again.Remove(t.Context(), "job/large"))
	again.wantNames("job", "job/old")
	again.ok(again.RemoveFolder(t.Context(), "job"))
	again.wantNames("job")
}

func TestAFileOfWhichTheUploadIsAbortedCannotBeCommitted(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "aborted")
	sent := p.answered(http.MethodPut)
	removed := b.begin(t.Context(), "job/a")
	<-sent
	sent = p.answered(http.MethodPut)
	folder := b.begin(t.Context(), "other/a")
	<-sent
	b.wantNames("job", "job/a")
	b.ok(b.Remove(t.Context(), "job/a"))
	b.ok(b.RemoveFolder(t.Context(), "other"))
	for _, w := range []files.Writer{removed, folder} {
		if err := w.Commit(); err == nil {
			t.Error("committed")
		}
	}
	if folders, err := b.Folders(t.Context()); len(folders) > 0 || err != nil {
		t.Errorf("folders %v, %v", folders, err)
	}
}

func TestAContextThatEndsEndsWritingAndReading(t *testing.T) {
	b := openBucket(t, filestest.StartGateway(t).Bucket(t, "ended", ""))
	b.put("job/old", strings.Repeat("x", 4*part))
	ctx, cancel := context.WithCancel(t.Context())
	f, err := b.Open(ctx, "job/old")
	b.ok(err)
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	b.ok(err)
	begun, full := b.begin(ctx, "job/begun"), b.begin(ctx, "job/full")
	cancel()
	_, wrote := begun.Write([]byte("more"))
	_, reading := io.Copy(io.Discard, f)
	_, created := b.Create(ctx, "job/new")
	_, opened := b.Open(ctx, "job/old")
	for what, err := range map[string]error{"Write": wrote, "Commit": full.Commit(), "Create": created, "Read": reading, "Open": opened} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	begun.Abort()
	for _, name := range []string{"job/begun", "job/full", "job/new"} {
		if _, err := b.Open(t.Context(), name); !errors.Is(err, files.ErrNotFound) {
			t.Errorf("Open of %s: %v", name, err)
		}
	}
}

// A server that does not answer holds a Write up until the context ends.
func TestAContextThatEndsEndsAWriteThatWaits(t *testing.T) {
	p := newProxy(t, filestest.StartGateway(t))
	b := p.bucket(t, "waiting")
	held, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var once sync.Once
	p.disturb(func(r *http.Request) {
		if r.Method == http.MethodPut {
			once.Do(func() { close(held) })
			<-release
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := b.Create(ctx, "job/a")
	b.ok(err)
	written := make(chan error)
	go func() {
		_, err := w.Write(make([]byte, 10*part))
		written <- err
	}()
	<-held
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	w.Abort()
	b.wantNames("job")
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	for address, want := range map[string]string{
		"":                                 "the address of a bucket is s3://",
		"bucket":                           "the address of a bucket is s3://",
		"https://bucket":                   "the address of a bucket is s3://",
		"s3:///prefix":                     "the address of a bucket is s3://",
		"s3://bucket#x":                    "the address of a bucket is s3://",
		"s3://a%zz@bucket":                 "the address of a bucket is s3://",
		"s3://key:secret@bucket":           "AWS_ACCESS_KEY_ID",
		"s3://bucket/a//b":                 `"" is no part`,
		"s3://bucket/a/../b":               `".." is no part`,
		"s3://bucket/a%20b":                `"a b" is no part`,
		"s3://bucket?region=x&unheard=1":   `unknown query parameter "unheard"`,
		"s3://bucket?use_path_style=maybe": "use_path_style",
	} {
		b, err := files.NewBucket(t.Context(), address)
		if b != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") && !strings.Contains(want, "AWS") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestABucketThatDoesNotDoWhatIsNeededIsAnErrorThatSaysWhat(t *testing.T) {
	for method, want := range map[string]string{
		http.MethodPut: "cannot write an object", http.MethodHead: "cannot read it", http.MethodGet: "cannot read it",
		"list": "cannot list objects", "uploads": "cannot list multipart uploads", http.MethodDelete: "cannot remove the object",
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(crude(method))
			defer server.Close()
			_, err := files.NewBucket(t.Context(), filestest.Address(server.URL, "denied", "a/prefix"))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range []string{want, "s3://denied/a/prefix/", "403", "s3:ListBucketMultipartUploads"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// crude is a server with what a Bucket asks of S3 at least, but for one kind of
// request that it denies. It heeds no conditions.
func crude(denied string) http.HandlerFunc {
	var objects sync.Map
	return func(w http.ResponseWriter, r *http.Request) {
		kind := r.Method
		switch q := r.URL.Query(); {
		case q.Has("uploads"):
			kind = "uploads"
		case q.Has("list-type"):
			kind = "list"
		}
		switch object, ok := objects.Load(r.URL.Path); {
		case kind == denied:
			w.WriteHeader(http.StatusForbidden)
		case kind == http.MethodPut:
			body, _ := io.ReadAll(r.Body)
			objects.Store(r.URL.Path, string(body))
		case kind == "list":
			fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
		case kind == "uploads":
			fmt.Fprint(w, "<ListMultipartUploadsResult></ListMultipartUploadsResult>")
		case kind == http.MethodDelete:
			objects.Delete(r.URL.Path)
		case ok:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(object.(string)))
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
		}
	}
}

func TestAServerThatHeedsNoConditionMakesNoID(t *testing.T) {
	server := httptest.NewServer(crude(""))
	defer server.Close()
	b := openBucket(t, filestest.Address(server.URL, "crude", ""))
	id, err := b.Identity(t.Context(), func() string { return "first" })
	if err == nil || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("id %q, error %v", id, err)
	}
	// As the error says, one instance that starts by itself goes on from there.
	if id, err := b.Identity(t.Context(), rand.Text); id != "first" || err != nil {
		t.Errorf("id %q, error %v", id, err)
	}
}
