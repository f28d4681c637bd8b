package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// Of the patients of a set so many are given to a client of their own, with all
// that is about them.
const (
	ownedResources = 24_000 // about, if the set has so many
	fewestOwned    = 3      // patients: one for each of what is measured
	ownedListed    = 10     // of a list
)

// owned is what a client owns: a copy of the records of some patients, and of
// what is about nobody, under ids of its own.
type owned struct {
	renamer
	of map[string]bool // the patients, by their ids in the set

	full  []string // the patient whose purge reads everything
	there []string // the patients of a list who are there
}

// chooseOwned is false if the set has too few patients.
func (b *bench) chooseOwned() (o owned, ok bool, err error) {
	all, err := b.set.records()
	if err != nil || len(all) < fewestOwned {
		return o, false, err
	}
	o = owned{renamer: newRenamer(b.opts.Copies), of: map[string]bool{}}
	var ids []string
	for n := 0; len(all) > 0 && (n < ownedResources || len(ids) < fewestOwned); all = all[1:] {
		o.of[all[0].patient] = true
		ids, n = append(ids, o.id(all[0].patient)), n+all[0].resources
	}
	o.full, o.there = ids[:1], ids[1:1+min(ownedListed, (len(ids)-1)/2)]
	return o, true, nil
}

// listed is a list of n patients, of whom a few are there, at most; the last one
// is there only if all are.
func (o owned) listed(n int) []string {
	list := slices.Clone(o.there[:min(n, len(o.there))])
	for i := len(list); i < n; i++ {
		list = append(list, fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
	}
	return list
}

// has tells whether a resource of the set is one that the client has a copy of.
func (o owned) has(line []byte) bool {
	id, of := identity(line), namedPatients(line)
	switch id.Type {
	case "Group":
		return false
	case "Patient":
		return o.of[id.ID]
	}
	return len(of) == 0 || slices.ContainsFunc(of, func(p string) bool { return o.of[p] })
}

// create has the client create what it is to own, by as many requests at a time
// as creating is measured with.
func (h holding) create(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	bodies, client := make(chan []byte, creators), asClient(h.as, creators)
	var work sync.WaitGroup
	for range creators {
		work.Go(func() {
			for body := range bodies {
				if err := put(ctx, client, h.server.base, body); err != nil {
					stop(err)
				}
			}
		})
	}
	err := h.eachOwned(func(body []byte) error {
		bodies <- body
		return ctx.Err()
	})
	close(bodies)
	work.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the rest was not sent because of it
	}
	return err
}

// eachOwned calls f with each resource that the client is to own.
func (h holding) eachOwned(f func(body []byte) error) error {
	for _, path := range h.set.paths {
		err := eachLine(path, func(line []byte) error {
			if !h.owned.has(line) {
				return nil
			}
			body, err := h.owned.resource(nil, line)
			if err != nil {
				return err
			}
			return f(body)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// put creates a resource under the id that it has.
func put(ctx context.Context, client *http.Client, base string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/"+identity(body).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	req.Header.Set("Prefer", "return=minimal")
	return send(client, req)
}
