package opshttp

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store/files"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
)

// NDJSON is the media type of files (Bulk Data, "File Request").
const NDJSON = "application/fhir+ndjson"

// download serves a file: whole, in ranges, or compressed. It holds no
// connection to the store while it sends.
func (h handler) download(c echo.Context) error {
	j, signed, err := h.jobOfFile(c)
	if err != nil {
		return err
	}
	part, err := h.op.Find(c.Request().Context(), j, c.Param("file"))
	if err != nil {
		return busy(err)
	}
	if !signed { // the URL was signed for who may
		if err := h.op.May(auth.PrincipalOf(c.Request().Context()), j, part); err != nil {
			return err
		}
	}
	f, err := h.Files.Open(c.Request().Context(), part.Name)
	if err != nil {
		return busy(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, NDJSON)
	header.Set("Content-Disposition", `attachment; filename="`+c.Param("file")+`"`)
	header.Set("Cache-Control", "no-store")
	header.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	e := h.event(c, job.Downloaded)
	e.Job, e.File = j.ID, c.Param("file")
	if wantsGzip(c.Request().Header.Values(echo.HeaderAcceptEncoding)) {
		return h.zipped(c, part, f, e)
	}
	header.Set("ETag", `"`+part.SHA256+`"`)
	w := &refusing{ResponseWriter: c.Response(), sending: func(resumed bool) error {
		e.Resumed = resumed
		return h.recordSending(c, e)
	}}
	http.ServeContent(w, c.Request(), "", j.Ended, f)
	return w.answer(c)
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
func (h handler) zipped(c echo.Context, part job.Part, f files.File, e job.Event) error {
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
	if _, err := io.Copy(z, f); err != nil {
		return err
	}
	return z.Close()
}
