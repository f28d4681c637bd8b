package files_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"firebreak/store/files/filestest"
)

// errCut is how an answer ends that is cut.
var errCut = errors.New("cut")

// proxy stands before a gateway, sees what is asked of it, and can disturb.
type proxy struct {
	gateway *filestest.Gateway
	server  *httptest.Server

	mu     sync.Mutex
	asked  []string // method and Range
	before func(*http.Request)
	after  func(*http.Response)
	cutAt  []int64 // of the next answers to GET, how much gets through
	passed int64   // bytes of answers
}

func newProxy(t *testing.T, g *filestest.Gateway) *proxy {
	t.Helper()
	to, err := url.Parse(g.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{gateway: g}
	direct := &http.Transport{DisableKeepAlives: true}
	p.server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
			p.ask(r.In)
		},
		ModifyResponse: p.answer,
		Transport:      direct,
		ErrorLog:       log.New(io.Discard, "", 0), // of answers that are cut
	})
	t.Cleanup(p.server.Close)
	return p
}

// bucket makes a bucket behind the proxy.
func (p *proxy) bucket(t *testing.T, name string) bucket {
	t.Helper()
	p.gateway.Bucket(t, name, "")
	return openBucket(t, filestest.Address(p.server.URL, name, ""))
}

func (p *proxy) ask(r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(r)
	}
}

// since gives what was asked since it was asked last.
func (p *proxy) since() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// disturb has something done before each request is passed on.
func (p *proxy) disturb(before func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// answered is closed when the next request of a method has its answer.
func (p *proxy) answered(method string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	answered := make(chan struct{})
	p.after = func(r *http.Response) {
		if r.Request.Method == method {
			close(answered)
			p.after = nil
		}
	}
	return answered
}

// cut has the next answers to GET cut after so many bytes.
func (p *proxy) cut(at ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt = at
}

func (p *proxy) answer(r *http.Response) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after != nil {
		p.after(r)
	}
	left := int64(-1)
	if r.Request.Method == http.MethodGet && len(p.cutAt) > 0 {
		left, p.cutAt = p.cutAt[0], slices.Clone(p.cutAt[1:])
	}
	r.Body = &passing{r.Body, p, left}
	return nil
}

// passing counts what passes of an answer, and cuts it.
type passing struct {
	io.ReadCloser
	proxy *proxy
	left  int64 // less than 0: all
}

// Read is io.Reader.
func (b *passing) Read(to []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	if b.left > 0 {
		to = to[:min(int64(len(to)), b.left)]
	}
	n, err := b.ReadCloser.Read(to)
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.proxy.mu.Lock()
	b.proxy.passed += int64(n)
	b.proxy.mu.Unlock()
	return n, err
}
