package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"firebreak/fhir"
	"firebreak/operations/ingest"

	"github.com/cenkalti/backoff/v5"
	"github.com/tidwall/gjson"
)

// restSink loads into a server by PUT, some at a time. A server's answer does
// not say whether content was the same, so unchanged counts as updated.
type restSink struct {
	base   string
	client *http.Client
	at     chan struct{} // a place for each request under way
	token  func(context.Context) (string, error)
}

// parallelPuts is how many requests are under way at once: enough for the
// server to commit them in groups.
const parallelPuts = 32

func newRESTSink(base string, token func(context.Context) (string, error)) *restSink {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: parallelPuts}
	return &restSink{
		base:   strings.TrimRight(base, "/"),
		client: &http.Client{Transport: transport, Timeout: 5 * time.Minute},
		at:     make(chan struct{}, parallelPuts),
		token:  token,
	}
}

// Put is ingest.Sink. Unlike one over a store, it is not all or none; what was
// stored before an error is stored again when Put is called again, which
// changes nothing.
func (s *restSink) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	var mu sync.Mutex
	var sum ingest.Stored
	var errs []error
	var work sync.WaitGroup
	for _, r := range rs {
		s.at <- struct{}{}
		work.Go(func() {
			created, err := s.put(ctx, r)
			<-s.at
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				errs = append(errs, err)
			case created:
				sum.Created++
			default:
				sum.Updated++
			}
		})
	}
	work.Wait()
	if len(errs) > 0 {
		// The worst one decides: one that ends the load, if there is any.
		for _, err := range errs {
			if k := fhir.KindOf(err); k == fhir.Internal || k == fhir.Transient {
				return sum, err
			}
		}
		if len(rs) > 1 {
			sum = ingest.Stored{} // each is put again by itself, and counted then
		}
		return sum, errs[0]
	}
	return sum, nil
}

// put puts one resource, and again while the server says that it may.
func (s *restSink) put(ctx context.Context, r fhir.Resource) (created bool, err error) {
	return backoff.Retry(ctx, func() (bool, error) {
		created, err := s.once(ctx, r)
		if err != nil && fhir.KindOf(err) != fhir.Transient {
			err = backoff.Permanent(err)
		}
		return created, err
	}, backoff.WithMaxElapsedTime(time.Minute))
}

func (s *restSink) once(ctx context.Context, r fhir.Resource) (created bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.base+"/"+r.ID.String(), bytes.NewReader(r.Body))
	if err != nil {
		return false, fmt.Errorf("--server is not a URL: %w", err)
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	req.Header.Set("Prefer", "return=minimal")
	if s.token != nil {
		token, err := s.token(ctx)
		if err != nil {
			return false, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return false, fhir.Errorf(fhir.Transient, "the server cannot be reached").Because(err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err != nil:
		return false, fhir.Errorf(fhir.Transient, "the server broke its answer off").Because(err)
	case res.StatusCode == http.StatusCreated:
		return true, nil
	case res.StatusCode == http.StatusOK, res.StatusCode == http.StatusNoContent:
		return false, nil
	}
	return false, refusal(res.StatusCode, body)
}

// refusal words the answer of a server that did not take a resource.
func refusal(status int, body []byte) error {
	text := gjson.GetBytes(body, "issue.0.diagnostics").String()
	if text == "" {
		text = http.StatusText(status)
	}
	kind := fhir.Invalid
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		kind = fhir.Transient
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return errors.New("the server answers " + http.StatusText(status) + " (" + text + "): is --server its FHIR base?")
	}
	return fhir.Errorf(kind, "the server answers %d: %s", status, text)
}
