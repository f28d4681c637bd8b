package opshttp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"
)

// held is a file whose part is a row of the store.
type held struct {
	*world
	job, path string
	content   []byte
	away      atomic.Bool // the store does not answer
	found     func()      // is told once that the row was found
}

// newHeld makes a job with one public file, which holds the patient p.
func newHeld(t *testing.T, size int) *held {
	t.Helper()
	w := &held{world: newWorld(t), content: noise(size)}
	op := w.operation()
	op.Name, op.Find, op.May = "$held", w.find, w.may
	opshttp.Register(w.echo.Group(fhirhttp.Root), opshttp.Config{Store: w.store, Files: w.files, Now: w.now, Record: w.record}, op)
	j := w.create(kind, auth.Principal{Tenant: auth.DefaultTenant, Client: "me"})
	f := w.claim(kind)
	part := job.Part{
		ID: "0", Job: j.ID, Unit: "0", Category: job.Output, Type: "Patient", N: 1, Name: j.ID + "/" + fileName,
		Size: int64(size), SHA256: "sum", Patients: []string{"p"},
	}
	w.ok(w.store.End(t.Context(), f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part}}))
	for _, s := range []step{job.Job.Start, job.Job.Succeed} {
		_, err := w.store.Update(t.Context(), f.Tenant, j.ID, func(j job.Job) (job.Job, error) { return s(j, w.now()) })
		w.ok(err)
	}
	file, err := w.files.Create(t.Context(), part.Name)
	w.ok(err)
	_, err = file.Write(w.content)
	w.ok(err)
	w.ok(file.Commit())
	w.job, w.path = j.ID, "/fhir/$held/"+j.ID+"/"+fileName
	return w
}

// noise is text that does not compress well.
func noise(size int) []byte {
	raw := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(raw) // it has no error
	return []byte(base64.StdEncoding.EncodeToString(raw))[:size]
}

func (w *held) find(ctx context.Context, j job.Job, name string) (job.Part, error) {
	if w.away.Load() {
		return job.Part{}, store.ErrTransient
	}
	if name != fileName {
		return job.Part{}, store.ErrNotFound
	}
	p, err := w.store.Part(ctx, store.Tenant(j.Tenant), j.ID, job.PartName{Category: job.Output, Type: "Patient", N: 1})
	if errors.Is(err, store.ErrGone) {
		p.Type = "Patient"
	}
	if found := w.found; found != nil {
		w.found = nil
		found()
	}
	return p, err
}

// may refuses by what is known of a file that is gone, too.
func (w *held) may(_ auth.Principal, _ job.Job, p job.Part) error {
	if w.forbids == p.Type {
		return fhir.Errorf(fhir.Forbidden, "not this one")
	}
	return nil
}

func (w *world) claim(kind string) store.Fence {
	w.Helper()
	_, f, err := w.store.Claim(w.Context(), []string{kind}, time.Hour)
	w.ok(err)
	return f
}

// void erases the patient p, as far as files go.
func (w *held) void() {
	w.Helper()
	w.create("erasing", auth.Principal{Tenant: auth.DefaultTenant, Client: "eraser"})
	parts, err := w.store.Void(w.Context(), w.claim("erasing"), []string{"p"})
	w.ok(err)
	if len(parts) != 1 {
		w.Fatalf("%d parts are void", len(parts))
	}
	w.ok(w.files.Remove(w.Context(), parts[0].Name))
}

// slow serves with little room on the way, so that a client that does not read
// holds the server up.
func (w *world) slow() (server *httptest.Server, client *http.Client) {
	const room = 256 << 10
	server = httptest.NewUnstartedServer(w.echo)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			w.ok(tcp.SetWriteBuffer(room))
		}
		return ctx
	}
	server.Start()
	w.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = errors.Join(err, tcp.SetReadBuffer(room))
		}
		return c, err
	}}
	w.Cleanup(transport.CloseIdleConnections)
	return server, &http.Client{Transport: transport}
}

// begin asks for the file and reads the first bytes of the answer; rest is what
// is still to come.
func (w *held) begin(headers ...string) (rest io.Reader, first []byte) {
	w.Helper()
	server, client := w.slow()
	r, err := http.NewRequestWithContext(w.Context(), get, server.URL+w.path, http.NoBody)
	w.ok(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := client.Do(r)
	w.ok(err)
	w.Cleanup(func() { _ = answer.Body.Close() }) // it was only read
	first = make([]byte, 50<<10)
	_, err = io.ReadFull(answer.Body, first)
	w.ok(err)
	return answer.Body, first
}

const fileSize = 8 << 20

// forms are the ways to ask for a file.
var forms = map[string]header{
	"whole": nil, "a range": {"Range", "bytes=1000-"}, "several ranges": {"Range", "bytes=0-2999999,3000005-7999999"}, "gzip": {"Accept-Encoding", "gzip"},
}

func TestADownloadIsBrokenOffWhenAnErasureRemovesTheFile(t *testing.T) {
	for name, headers := range forms {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t, fileSize)
			body, first := w.begin(headers...)
			w.void()
			w.pass(time.Second)
			rest, err := io.ReadAll(body)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the body ends with %v, as if it were whole", err)
			}
			if n := len(first) + len(rest); n > fileSize/3 {
				t.Errorf("%d bytes came", n)
			}
		})
	}
}

func TestADownloadWhosePartStaysComesWhole(t *testing.T) {
	for name, headers := range forms {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t, fileSize)
			body, first := w.begin(headers...)
			w.pass(time.Minute)
			rest, err := io.ReadAll(body)
			w.ok(err)
			got := bytes.Clone(append(first, rest...))
			switch name {
			case "gzip":
				z, err := gzip.NewReader(bytes.NewReader(got))
				w.ok(err)
				got, err = io.ReadAll(z)
				w.ok(err)
			case "a range":
				got = append(w.content[:1000:1000], got...)
			case "several ranges":
				if bytes.Contains(got, w.content[3000005:8000000]) {
					return
				}
			}
			if !bytes.Equal(got, w.content) {
				t.Errorf("%d bytes are not the file", len(got))
			}
		})
	}
}

// A second need not go by where much is sent.
func TestADownloadIsLookedAfterEveryFewBytes(t *testing.T) {
	w := newHeld(t, fileSize)
	body, _ := w.begin()
	w.void()
	w.pass(50 * time.Millisecond)
	rest, err := io.ReadAll(body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > fileSize/3 {
		t.Errorf("%d bytes came, and %v", len(rest), err)
	}
}

func TestADownloadOutlastsADatabaseThatIsAwayForAWhile(t *testing.T) {
	for away, whole := range map[time.Duration]bool{20 * time.Second: true, time.Minute: false} {
		w := newHeld(t, fileSize)
		body, _ := w.begin()
		w.away.Store(true)
		w.pass(away)
		if _, err := io.ReadAll(body); (err == nil) != whole {
			t.Errorf("away for %s: %v", away, err)
		}
	}
}

func TestAFileThatAnErasureRemovedIsGoneForItsOwnerAndAbsentForOthers(t *testing.T) {
	w := newHeld(t, 100)
	w.void()
	for name, headers := range forms {
		r := w.do(get, w.path, headers...)
		w.is(name, r, http.StatusGone, "deleted")
		if !strings.Contains(r.Body.String(), "purged since") || r.Header().Get("ETag") != "" || r.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: %v %s", name, r.Header(), r.Body)
		}
	}
	if r := w.do(head, w.path); r.Code != http.StatusGone || r.Body.Len() > 0 {
		t.Errorf("HEAD: %d, %d bytes", r.Code, r.Body.Len())
	}
	absent := w.do(get, strings.Replace(w.path, "1.", "2.", 1))
	foreign := w.do(get, w.path, "X-Client", "other")
	w.is("a file that is not there", absent, http.StatusNotFound, "not-found")
	if dump(absent) != dump(foreign) {
		t.Errorf("an absent file: %s\nanother's: %s", dump(absent), dump(foreign))
	}
	if len(w.events) != 0 {
		t.Errorf("recorded %+v", w.events)
	}
}

// The row says that it is there, and then the file is not.
func TestAFileThatGoesBeforeItIsOpenedIsGoneOrAbsent(t *testing.T) {
	w := newHeld(t, 100)
	w.found = w.void
	w.is("voided", w.do(get, w.path), http.StatusGone, "deleted")
	w = newHeld(t, 100)
	w.ok(w.files.Remove(t.Context(), w.job+"/"+fileName))
	w.is("lost", w.do(get, w.path), http.StatusNotFound, "not-found")
}

func TestWhoMayNotReadAFileIsNotToldThatItIsGone(t *testing.T) {
	w := newHeld(t, 100)
	w.void()
	w.forbids = "Patient"
	w.is("forbidden", w.do(get, w.path), http.StatusForbidden, "forbidden")
}
