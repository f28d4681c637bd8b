package opshttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
)

// NDJSON is the media type of files (Bulk Data, "File Request").
const NDJSON = "application/fhir+ndjson"

// download serves a file: whole, in ranges, or compressed. It holds no
// connection to the store while it sends; now and then it looks whether the
// file may still be sent: see sent.
func (h handler) download(c echo.Context) error {
	j, signed, err := h.jobOfFile(c)
	if err != nil {
		return err
	}
	ctx, name := c.Request().Context(), c.Param("file") // c is another request's when sending ends late
	find := func() (job.Part, error) { return h.op.Find(ctx, j, name) }
	part, err := find()
	if err != nil && !errors.Is(err, store.ErrGone) {
		return busy(err)
	}
	if !signed { // the URL was signed for who may
		if err := h.op.May(auth.PrincipalOf(ctx), j, part); err != nil {
			return err
		}
	}
	if err != nil {
		return purged()
	}
	f, err := h.open(ctx, part, find)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, NDJSON)
	header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	header.Set("Cache-Control", "no-store")
	header.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	e := h.event(c, job.Downloaded)
	e.Job, e.File = j.ID, name
	if wantsGzip(c.Request().Header.Values(echo.HeaderAcceptEncoding)) {
		return h.zipped(c, part, f, e)
	}
	header.Set("ETag", `"`+part.SHA256+`"`)
	w := &refusing{ResponseWriter: c.Response(), sending: func(resumed bool) error {
		e.Resumed = resumed
		return h.recordSending(c, e)
	}}
	http.ServeContent(w, c.Request(), "", j.Ended, f)
	if f.gone.Load() {
		panic(http.ErrAbortHandler) // half must not be taken for all
	}
	return w.answer(c)
}

// purged is what the owner reads of a file that an erasure removed.
func purged() error {
	return fhir.Errorf(fhir.Gone, "the file held the data of a patient whose record was purged since; start the export again for what is left")
}

// open opens a part's file. It may have been removed since it was found.
func (h handler) open(ctx context.Context, part job.Part, find func() (job.Part, error)) (*sent, error) {
	f, err := h.Files.Open(ctx, part.Name)
	if errors.Is(err, files.ErrNotFound) {
		if _, now := find(); errors.Is(now, store.ErrGone) {
			return nil, purged()
		}
	}
	if err != nil {
		return nil, busy(err)
	}
	now := h.Now()
	return &sent{File: f, name: part.Name, find: find, now: h.Now, looked: now, seen: now}, nil
}

// recordSending records that a file is sent. To HEAD nothing is.
func (h handler) recordSending(c echo.Context, e job.Event) error {
	if c.Request().Method == http.MethodHead {
		return nil
	}
	return h.record(c.Request().Context(), e)
}

// refusing keeps back what http.ServeContent would refuse in words that are
// not FHIR's, and what sending refuses, which is asked before content is sent.
type refusing struct {
	http.ResponseWriter
	sending func(resumed bool) error
	err     error // of sending
	status  int   // of the refusal; 0: none
}

// WriteHeader is http.ResponseWriter.
func (w *refusing) WriteHeader(status int) {
	if status == http.StatusOK || status == http.StatusPartialContent {
		w.err = w.sending(resumes(w.Header().Get("Content-Range")))
	}
	if status < http.StatusBadRequest && w.err == nil {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.status = status
}

// resumes tells whether a Content-Range begins after the first byte. Answers of
// several ranges, and of all, have none.
func resumes(contentRange string) bool {
	return contentRange != "" && !strings.HasPrefix(contentRange, "bytes 0-")
}

// Write is http.ResponseWriter.
func (w *refusing) Write(b []byte) (int, error) {
	if w.status > 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// answer refuses, if that was kept back.
func (w *refusing) answer(c echo.Context) error {
	if w.status == 0 {
		return nil
	}
	for _, name := range []string{"Content-Disposition", "Accept-Ranges", "Last-Modified", "ETag"} {
		c.Response().Header().Del(name)
	}
	if w.err != nil {
		c.Response().Header().Del("Content-Range")
		return w.err
	}
	if w.status == http.StatusPreconditionFailed {
		return fhir.Errorf(fhir.Precondition, "the file is not the one that the request expects")
	}
	return fhirhttp.Outcome(c, w.status, fhir.Issue{
		Severity: fhir.Erroneous, Code: fhir.CodeInvalid, Diagnostics: "the Range header names no part of the file; ask for it without the header",
	})
}

// wantsGzip tells whether a client named gzip in Accept-Encoding and did not
// refuse it by q=0. One that names "*" only gets the file as it is.
func wantsGzip(accept []string) bool {
	for _, one := range strings.Split(strings.Join(accept, ","), ",") {
		name, param, _ := strings.Cut(one, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(param), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}

// zipped sends the file compressed, under an ETag of its own and without
// ranges: the same bytes need not come out of it twice.
func (h handler) zipped(c echo.Context, part job.Part, f *sent, e job.Event) error {
	header := c.Response().Header()
	header.Set("ETag", `"`+part.SHA256+`-gzip"`)
	if fhirhttp.NotModified(c.Request(), header) {
		return c.NoContent(http.StatusNotModified)
	}
	if err := h.recordSending(c, e); err != nil {
		header.Del("Content-Disposition")
		header.Del("ETag")
		return err
	}
	header.Set(echo.HeaderContentEncoding, "gzip")
	header.Set("Accept-Ranges", "none")
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	z, err := gzip.NewWriterLevel(c.Response(), gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err = io.Copy(z, f); err == nil {
		err = z.Close()
	}
	if f.gone.Load() {
		panic(http.ErrAbortHandler) // as above
	}
	return err
}
