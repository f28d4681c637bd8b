package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Faults of one attempt after which there is another.
var (
	errStalled = errors.New("the server has stopped sending")
	errShort   = errors.New("the server sent less than the rest of the file")
	errRange   = errors.New("the server did not continue the file where it was asked to")
)

// transfer brings one file into the folder.
type transfer struct {
	client *Client
	folder folder
	item   item
	token  bool // the manifest says that files need one
	tell   func(*digest)
}

// run fetches the file, unless it is there already, and verifies it; twice if need be.
func (t *transfer) run(ctx context.Context) (sum *digest, err error) {
	sum, there, err := t.there()
	if err != nil || there {
		return sum, err
	}
	sum, err = t.verified(ctx)
	if _, differs := errors.AsType[*MismatchError](err); differs {
		sum, err = t.verified(ctx)
	}
	if err != nil && ctx.Err() == nil {
		if _, named := errors.AsType[*MismatchError](err); !named {
			err = fmt.Errorf("%s: %w", t.item.name, err)
		}
	}
	return sum, err
}

// there looks for the file from an earlier run. One that has been damaged since is removed.
func (t *transfer) there() (*digest, bool, error) {
	there, err := t.folder.exists(t.item.name)
	if err != nil || !there {
		return nil, false, err
	}
	sum, err := digestOf(t.folder, t.item.name)
	if err != nil {
		return nil, false, err
	}
	if t.item.check(sum) != nil {
		return nil, false, t.folder.drop(t.item.name)
	}
	t.tell(sum)
	return sum, true, t.folder.drop(t.item.name+partSuffix, t.item.name+markSuffix)
}

// verified fetches the file and gives it its name if it is what it should be, and removes it if it is not.
func (t *transfer) verified(ctx context.Context) (*digest, error) {
	sum, err := t.persist(ctx)
	if _, differs := errors.AsType[*MismatchError](err); differs {
		t.tell(newDigest())
		return nil, errors.Join(err, t.folder.drop(t.item.name+partSuffix, t.item.name+markSuffix))
	}
	return sum, err
}

// persist makes attempts until one comes to the end of the file. One that got further than all before it does not
// count.
func (t *transfer) persist(ctx context.Context) (*digest, error) {
	var furthest int64
	for p := t.client.patience(); ; {
		sum, err := t.attempt(ctx)
		if err == nil {
			return sum, nil
		}
		if sum != nil && sum.size > furthest {
			furthest = sum.size
			p.restore()
		}
		if err := p.pause(ctx, err); err != nil {
			return nil, err
		}
	}
}

// attempt goes on from what the part holds. What it adds is kept for the next attempt, whatever ends this one.
func (t *transfer) attempt(ctx context.Context) (*digest, error) {
	p, err := openPart(t.folder, t.item.name)
	if err != nil {
		return nil, &permanentError{err}
	}
	defer func() { _ = p.file.Close() }()
	err = t.fill(ctx, p)
	if err == nil {
		err = t.item.check(p.sum)
	}
	if err != nil {
		if kept := p.keep(); kept != nil {
			err = &permanentError{errors.Join(err, kept)}
		}
		return p.sum, err
	}
	if err := p.publish(); err != nil {
		return p.sum, &permanentError{err}
	}
	t.tell(p.sum)
	return p.sum, nil
}

// fill asks for what is missing and appends it.
func (t *transfer) fill(ctx context.Context, p *part) error {
	stated := t.item.integrity()
	if p.sum.size > 0 && p.mark.ETag == "" && stated == nil {
		if err := p.restart(""); err != nil {
			return &permanentError{err}
		}
	}
	if stated != nil && stated.Size > 0 && p.sum.size == stated.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(t.client.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	err := t.receive(ctx, p, func() { watch.Reset(t.client.Stall) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// receive makes the request and copies its body; alive is called with each piece of it.
func (t *transfer) receive(ctx context.Context, p *part, alive func()) error {
	req, err := t.request(ctx, p)
	if err != nil {
		return err
	}
	resp, err := t.client.HTTP.Do(req)
	if err != nil {
		return bare(err)
	}
	defer func() { _ = resp.Body.Close() }()
	rest, err := t.position(p, resp)
	if err != nil {
		return err
	}
	sink := &sink{transfer: t, part: p, alive: alive}
	if _, err := io.CopyBuffer(sink, onlyReader{rest.body}, make([]byte, bufferSize)); err != nil {
		return err
	}
	if rest.whole >= 0 && p.sum.size < rest.whole {
		return errShort
	}
	return nil
}

func (t *transfer) request(ctx context.Context, p *part) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.item.url.String(), nil)
	if err != nil {
		return nil, &permanentError{bare(err)}
	}
	req.Header.Set("Accept", "application/fhir+ndjson")
	req.Header.Set("Accept-Encoding", "identity")
	switch {
	case p.sum.size > 0:
		req.Header.Set("Range", "bytes="+strconv.FormatInt(p.sum.size, 10)+"-")
		if p.mark.ETag != "" {
			req.Header.Set("If-Range", p.mark.ETag)
		}
	case t.client.Gzip:
		req.Header.Set("Accept-Encoding", "gzip")
	}
	if t.token {
		err = t.client.authorize(req)
	}
	return req, err
}

// remainder is what an answer adds to a part.
type remainder struct {
	body  io.Reader
	whole int64 // size of the file when it is complete; -1 if unknown
}

// position makes the part end where the answer begins.
func (t *transfer) position(p *part, resp *http.Response) (remainder, error) {
	from, whole := contentRange(resp.Header)
	encoding := strings.ToLower(resp.Header.Get("Content-Encoding"))
	plain := encoding == "" || encoding == "identity"
	switch resp.StatusCode {
	case http.StatusOK:
		return t.fromStart(p, resp, encoding)
	case http.StatusPartialContent:
		if p.sum.size > 0 && from == p.sum.size && plain && !isOther(p.mark.ETag, resp.Header) {
			return remainder{resp.Body, whole}, nil
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if p.sum.size > 0 && whole == p.sum.size {
			return remainder{http.NoBody, whole}, nil
		}
	default:
		return remainder{}, t.refused(resp)
	}
	if err := p.restart(""); err != nil {
		return remainder{}, &permanentError{err}
	}
	return remainder{}, errRange
}

// fromStart takes a whole file. Only a strong ETag of the plain bytes is of use for going on later.
func (t *transfer) fromStart(p *part, resp *http.Response, encoding string) (remainder, error) {
	etag := resp.Header.Get("ETag")
	body := io.Reader(resp.Body)
	switch encoding {
	case "", "identity":
		if strings.HasPrefix(etag, "W/") {
			etag = ""
		}
	case "gzip", "x-gzip":
		etag = ""
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			return remainder{}, fmt.Errorf("decompressing: %w", err)
		}
		body = z
	default:
		return remainder{}, &permanentError{errors.New("the server encoded the file as it was not asked to")}
	}
	if err := p.restart(etag); err != nil {
		return remainder{}, &permanentError{err}
	}
	return remainder{body, -1}, nil
}

// refused is the error of an answer without data. For a file any fault of the server's may pass.
func (t *transfer) refused(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxOutcome))
	e := failed(StepDownload, resp.StatusCode, resp.Header, body, t.client.Now())
	e.Transient = e.Transient || e.Status >= 500 || e.Status == http.StatusRequestTimeout
	withheld := t.client.Credentials != nil && !t.client.mayKnow(resp.Request.URL)
	if e.Status == http.StatusUnauthorized && t.token && withheld {
		e.Text = "the file is not on the server's own host, and the credentials go to no other"
	}
	return e
}

// isOther tells that the bytes are of another version of the file than those of the part.
func isOther(etag string, h http.Header) bool {
	got := h.Get("ETag")
	return etag != "" && got != "" && got != etag
}

// contentRange reads "bytes 5-9/10", "bytes 5-9/*" and "bytes */10"; what is not there is -1.
func contentRange(h http.Header) (from, whole int64) {
	text, ok := strings.CutPrefix(h.Get("Content-Range"), "bytes ")
	span, size, cut := strings.Cut(text, "/")
	if !ok || !cut {
		return -1, -1
	}
	first, _, _ := strings.Cut(span, "-")
	return number(first), number(size)
}

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// sink appends to a part, and stops a file that grows beyond its stated size.
type sink struct {
	transfer *transfer
	part     *part
	alive    func()
}

// Write appends b. Its errors are permanent or a mismatch: those of the network come from the other side.
func (s *sink) Write(b []byte) (int, error) {
	s.alive()
	stated := s.transfer.item.integrity()
	if size := s.part.sum.size + int64(len(b)); stated != nil && size > stated.Size {
		return 0, s.transfer.item.mismatch("size", stated.Size, fmt.Sprintf("at least %d", size))
	}
	n, err := s.part.Write(b)
	if err != nil {
		return n, &permanentError{err}
	}
	s.transfer.tell(s.part.sum)
	return n, nil
}
