package opshttp_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const fileName = "1.Patient.ndjson"

// body is larger than any buffer on its way.
func body() string {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, `{"resourceType":"Patient","id":"%d","name":[{"text":"é"}]}`+"\n", i)
	}
	return b.String()
}

// download is a world with one file at a path.
func download(t *testing.T) (w *world, path, content, tag string) {
	t.Helper()
	w, content = newWorld(t), body()
	sum := sha256.Sum256([]byte(content))
	return w, "/fhir/$work/" + w.ready(fileName, content) + "/" + fileName, content, hex.EncodeToString(sum[:])
}

func TestAFileComesWithItsNameTypeAndTag(t *testing.T) {
	w, path, content, tag := download(t)
	for _, method := range []string{get, head} {
		for _, accept := range []string{"", "application/fhir+ndjson", "application/ndjson", "*/*", "text/plain"} {
			r := w.do(method, path, "Accept", accept)
			w.is(method, r, 200, "")
			for name, want := range map[string]string{
				"Content-Type": "application/fhir+ndjson", "ETag": `"` + tag + `"`, "Accept-Ranges": "bytes",
				"Content-Disposition": `attachment; filename="1.Patient.ndjson"`, "Content-Length": fmt.Sprint(len(content)),
				"Cache-Control": "no-store", "Vary": "Accept-Encoding", "Content-Encoding": "",
			} {
				if got := r.Header().Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", method, name, got, want)
				}
			}
			if method == get && r.Body.String() != content || method == head && r.Body.Len() > 0 {
				t.Errorf("%s: %d bytes", method, r.Body.Len())
			}
		}
	}
}

func TestADownloadGoesOnWhereItStopped(t *testing.T) {
	w, path, content, tag := download(t)
	tag = `"` + tag + `"`
	n := len(content)
	for _, c := range []struct {
		headers []string
		status  int
		want    string
		ranged  string
	}{
		{[]string{"Range", "bytes=100-199"}, 206, content[100:200], fmt.Sprintf("bytes 100-199/%d", n)},
		{[]string{"Range", fmt.Sprintf("bytes=%d-", n-5)}, 206, content[n-5:], fmt.Sprintf("bytes %d-%d/%d", n-5, n-1, n)},
		{[]string{"Range", "bytes=-7"}, 206, content[n-7:], fmt.Sprintf("bytes %d-%d/%d", n-7, n-1, n)},
		{[]string{"Range", "bytes=100-199", "If-Range", tag}, 206, content[100:200], fmt.Sprintf("bytes 100-199/%d", n)},
		{[]string{"Range", "bytes=100-199", "If-Range", `"other"`}, 200, content, ""},
		{[]string{"Range", "bytes=100-199", "If-Range", "W/" + tag}, 200, content, ""},
		{[]string{"If-None-Match", tag}, 304, "", ""},
		{[]string{"If-None-Match", `"other"`}, 200, content, ""},
		{[]string{"If-Match", tag}, 200, content, ""},
	} {
		r := w.do(get, path, c.headers...)
		w.is(fmt.Sprint(c.headers), r, c.status, "")
		if r.Body.String() != c.want || r.Header().Get("Content-Range") != c.ranged {
			t.Errorf("%v: %d bytes, Content-Range %q, want %d, %q", c.headers, r.Body.Len(), r.Header().Get("Content-Range"), len(c.want), c.ranged)
		}
		if got := r.Header().Get("ETag"); got != tag {
			t.Errorf("%v: ETag %s", c.headers, got)
		}
	}
}

func TestARangeBehindTheEndIsRefusedInTheWordsOfFHIR(t *testing.T) {
	w, path, content, _ := download(t)
	for _, rng := range []string{fmt.Sprintf("bytes=%d-", len(content)), "bytes=x-y", "bytes=5-1", "lines=1-2"} {
		r := w.do(get, path, "Range", rng)
		w.is(rng, r, http.StatusRequestedRangeNotSatisfiable, "invalid")
		if got := r.Header().Get("Content-Disposition"); got != "" {
			t.Errorf("%s: an error is to be saved as %s", rng, got)
		}
	}
	r := w.do(get, path, "Range", fmt.Sprintf("bytes=%d-", len(content)))
	if got := r.Header().Get("Content-Range"); got != fmt.Sprintf("bytes */%d", len(content)) {
		t.Errorf("Content-Range %q", got)
	}
	w.is("another version", w.do(get, path, "If-Match", `"other"`), http.StatusPreconditionFailed, "conflict")
	if r := w.do(head, path, "Range", "bytes=x"); r.Code != 416 || r.Body.Len() > 0 {
		t.Errorf("HEAD: %d %s", r.Code, r.Body)
	}
}

func TestGzipIsForWhoAsksForIt(t *testing.T) {
	w, path, content, tag := download(t)
	for accept, zipped := range map[string]bool{
		"gzip": true, "gzip, deflate, br": true, "br;q=1, GZIP;q=0.5": true, "gzip;q=1.0": true, "identity, gzip ; q=0.1": true,
		"": false, "identity": false, "br": false, "gzip;q=0": false, "gzip;q=0.000, br": false, "gzip; q=0": false, "x-gzipped": false, "*": false,
	} {
		w.codes(path, accept, tag, zipped)
		r := w.do(get, path, "Accept-Encoding", accept)
		got := r.Body.String()
		if zipped {
			got = unzip(t, r.Body)
		}
		if got != content {
			t.Errorf("%q: %d bytes are not the file", accept, len(got))
		}
	}
}

// codes checks what the headers say of the coding, and that HEAD has no body.
func (w *world) codes(path, accept, tag string, zipped bool) {
	w.Helper()
	want := map[string]string{"ETag": `"` + tag + `"`, "Accept-Ranges": "bytes", "Content-Encoding": ""}
	if zipped {
		want = map[string]string{"ETag": `"` + tag + `-gzip"`, "Accept-Ranges": "none", "Content-Encoding": "gzip"}
	}
	want["Vary"], want["Content-Type"] = "Accept-Encoding", "application/fhir+ndjson"
	for _, method := range []string{get, head} {
		r := w.do(method, path, "Accept-Encoding", accept)
		w.is(accept, r, 200, "")
		for name, value := range want {
			if got := r.Header().Get(name); got != value {
				w.Errorf("%s %q: %s is %q, want %q", method, accept, name, got, value)
			}
		}
		if method == head && r.Body.Len() > 0 {
			w.Errorf("HEAD has a body of %d bytes", r.Body.Len())
		}
	}
}

func unzip(t *testing.T, r io.Reader) string {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCompressedBytesHaveNoRangesAndATagOfTheirOwn(t *testing.T) {
	w, path, content, tag := download(t)
	r := w.do(get, path, "Accept-Encoding", "gzip", "Range", "bytes=100-199", "If-Range", `"`+tag+`-gzip"`)
	w.is("a range", r, 200, "")
	if got := unzip(t, r.Body); got != content {
		t.Errorf("%d bytes", len(got))
	}
	for match, status := range map[string]int{
		`"` + tag + `-gzip"`: 304, `"x", "` + tag + `-gzip"`: 304, `W/"` + tag + `-gzip"`: 304, "*": 304, `"` + tag + `"`: 200, `"other"`: 200,
	} {
		w.is("If-None-Match "+match, w.do(get, path, "Accept-Encoding", "gzip", "If-None-Match", match), status, "")
	}
	w.is("the tag of the compressed bytes for the plain ones", w.do(get, path, "If-None-Match", `"`+tag+`-gzip"`), 200, "")
}

// Whatever category a file is of, the operation says who may read it.
func TestAFileThatTheOperationForbidsIsNotSentInAnyForm(t *testing.T) {
	w, path, _, _ := download(t)
	w.forbids = fileName
	for _, h := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"Range", "bytes=0-1"}, {"If-None-Match", "*"}} {
		r := w.do(get, path, h...)
		w.is(fmt.Sprint(h), r, 403, "forbidden")
		for _, name := range []string{"ETag", "Content-Disposition", "Content-Range", "Last-Modified"} {
			if r.Header().Get(name) != "" {
				t.Errorf("%v: %s says something of the file", h, name)
			}
		}
	}
	if r := w.do(head, path); r.Code != 403 {
		t.Errorf("HEAD: %d", r.Code)
	}
	if len(w.events) != 0 {
		t.Errorf("recorded %+v", w.events)
	}
	absent := w.do(get, strings.Replace(path, "1.", "2.", 1))
	foreign := w.do(get, path, "X-Client", "other")
	w.is("a file that is not there", absent, 404, "not-found")
	if dump(absent) != dump(foreign) {
		t.Errorf("an absent file: %s\nanother's: %s", dump(absent), dump(foreign))
	}
}
