package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"firebreak/fhir"
	"firebreak/operations/fetch"
	"firebreak/operations/ingest"

	"github.com/cenkalti/backoff/v5"
	"github.com/tidwall/gjson"
)

// restSink loads into a server by PUT, some at a time. A server's answer does
// not say whether content was the same, so unchanged counts as updated.
type restSink struct {
	client *fetch.Client
	at     chan struct{} // a place for each request under way
}

// parallelPuts is how many requests are under way at once: enough for the
// server to commit them in groups.
const parallelPuts = 32

func newRESTSink(base string, who fetch.Credentials) (*restSink, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: parallelPuts}
	client, err := fetch.New(fetch.Config{
		HTTP: &http.Client{Transport: transport}, Base: base, Credentials: who, Stall: 5 * time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return &restSink{client: client, at: make(chan struct{}, parallelPuts)}, nil
}

// Put is ingest.Sink. Unlike one over a store, it is not all or none; what was
// stored before an error is stored again when Put is called again, which
// changes nothing.
func (s *restSink) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	var mu sync.Mutex
	var sum ingest.Stored
	var errs []error
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
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
				if fhir.KindOf(err) == fhir.Internal {
					stop() // it ends the load, so that nothing else needs to be tried again
				}
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
	status, body, err := s.client.Put(ctx, r.ID.String(), r.Body)
	switch none := (*fetch.CredentialsError)(nil); {
	case errors.As(err, &none):
		return false, err
	case err != nil:
		return false, fhir.Errorf(fhir.Transient, "the server cannot be reached, or broke its answer off").Because(err)
	case status == http.StatusCreated:
		return true, nil
	case status == http.StatusOK, status == http.StatusNoContent:
		return false, nil
	}
	return false, refusal(status, body)
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
