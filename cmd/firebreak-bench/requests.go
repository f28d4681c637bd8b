package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"path/filepath"

	"firebreak/fhir"
)

const (
	readers  = 8
	creators = 32
	// paced is the requests a second at which a server that can do much more
	// is asked how long each one takes.
	paced = 5000
)

// served runs f beside a server over the set.
func (b *bench) served(ctx context.Context, f func(*server) error) error {
	srv, err := b.product.serve(ctx, b.home, noOperator)
	if err != nil {
		return err
	}
	return errors.Join(f(srv), srv.stop())
}

// reads measures reading by id, in turns with a request that does nothing.
func (b *bench) reads(ctx context.Context) error {
	return b.served(ctx, func(srv *server) error {
		get := traffic{http: newHTTPClient(readers), clients: readers, lasts: b.opts.For, request: b.readAny(srv, b.set.ids)}
		health := get
		health.request = func(ctx context.Context, _ *rand.Rand) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, srv.root+"/healthz", nil)
		}
		got, healthy, err := inTurns(ctx, get, health)
		if err != nil {
			return err
		}
		b.add("read", got.rate(), requests, healthy.rate(), besideHealthz)
		b.add("read-p50", got.at(0.5), milliseconds, healthy.at(0.5), besideHealthz)
		b.add("read-p99", got.at(0.99), milliseconds, healthy.at(0.99), besideHealthz)
		if !b.wants("read-paced-p99") {
			return nil
		}
		get.pace, health.pace = paced, paced
		if got, healthy, err = inTurns(ctx, get, health); err != nil {
			return err
		}
		b.say("paced: %s requests/s", figure(got.rate()))
		b.add("read-paced-p99", got.at(0.99), milliseconds, healthy.at(0.99), besideHealthz)
		return nil
	})
}

// inTurns runs both several times. A first round of the one that is measured
// fills what is empty after a start, and is not counted.
func inTurns(ctx context.Context, measured, beside traffic) (a, b answers, err error) {
	warm := measured
	warm.lasts /= 4
	if _, err := warm.run(ctx, 0); err != nil {
		return a, b, err
	}
	for i := range rounds {
		one, err := beside.run(ctx, uint64(i)+1)
		if err != nil {
			return a, b, err
		}
		b.add(one)
		if one, err = measured.run(ctx, uint64(i)+1); err != nil {
			return a, b, err
		}
		a.add(one)
	}
	return a, b, nil
}

// readAny asks for any of the resources, of any copy.
func (b *bench) readAny(srv *server, ids []fhir.ID) func(context.Context, *rand.Rand) (*http.Request, error) {
	copies := make([]renamer, b.opts.Copies)
	for i := range copies {
		copies[i] = newRenamer(i)
	}
	return func(ctx context.Context, draw *rand.Rand) (*http.Request, error) {
		id := ids[draw.IntN(len(ids))]
		if i := draw.IntN(len(copies)); i > 0 { // the first has its ids as they were
			id.ID = copies[i].id(id.ID)
		}
		return http.NewRequestWithContext(ctx, http.MethodGet, srv.base+"/"+id.String(), nil)
	}
}

// createAny creates any of the small resources anew.
func (b *bench) createAny(srv *server) func(context.Context, *rand.Rand) (*http.Request, error) {
	return func(ctx context.Context, draw *rand.Rand) (*http.Request, error) {
		body := bytes.NewReader(b.set.small[draw.IntN(len(b.set.small))])
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.base+"/"+b.set.smallType, body)
		if err == nil {
			req.Header.Set("Content-Type", "application/fhir+json")
			req.Header.Set("Prefer", "return=minimal")
		}
		return req, err
	}
}

// creates measures creating small resources.
func (b *bench) creates(ctx context.Context) error {
	return b.served(ctx, func(srv *server) error {
		post := traffic{http: newHTTPClient(creators), clients: creators, lasts: b.opts.For, request: b.createAny(srv)}
		var made answers
		var limits, times []float64
		path := filepath.Join(b.work, "synced")
		for i := range rounds {
			limit, err := syncs(ctx, path, b.opts.For/2)
			if err != nil {
				return err
			}
			one, err := post.run(ctx, uint64(i)+1)
			if err != nil {
				return err
			}
			made.add(one)
			limits, times = append(limits, limit), append(times, 1000/limit)
		}
		b.add("create", made.rate(), requests, median(limits), besideFsync)
		b.add("create-p50", made.at(0.5), milliseconds, median(times), besideFsync)
		b.add("create-p99", made.at(0.99), milliseconds, median(times), besideFsync)
		return nil
	})
}
