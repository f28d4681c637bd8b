package mongo

import (
	"context"
	"errors"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

// A group of requests is committed together until it is so large.
const (
	maxGroup     = 8 << 20
	maxDocuments = 4000
)

// maxDocument is what a document may have, with room for its envelope.
const maxDocument = 16<<20 - 16<<10

// maxBatch is the most bytes of one batch: what one transaction takes easily.
const maxBatch = 64 << 20

// request is one batch on its way into a group.
type request struct {
	ctx   context.Context
	puts  []wanted
	bytes int
	until time.Time // it is not tried for longer
	out   []store.Applied
	done  chan error
}

// wanted is a Put with all that is known of it before its group is formed.
type wanted struct {
	store.Put
	space    space
	resource string // as resourceOf names it
	patients [][]byte
	refs     [][]byte
}

// Commit is store.Committer.
func (s *Store) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	l, err := s.laneOf(ctx, t)
	if err != nil {
		return nil, failed(ctx, err)
	}
	r := &request{ctx: ctx, until: time.Now().Add(enduring), done: make(chan error, 1)}
	if err := s.prepare(ctx, r, l.no, b); err != nil {
		return nil, failed(ctx, err)
	}
	if err := l.send(r); err != nil {
		return nil, err
	}
	// Not ctx: once it is taken, the caller must know how it ended.
	if err := <-r.done; err != nil {
		return nil, err
	}
	return r.out, nil
}

// prepare makes the request of a batch.
func (s *Store) prepare(ctx context.Context, r *request, tenant uint16, b store.Batch) error {
	seen := make(map[fhir.ID]bool, len(b.Puts))
	r.puts = make([]wanted, 0, len(b.Puts))
	for _, p := range b.Puts {
		if seen[p.Resource.ID] {
			return store.ErrConflict
		}
		seen[p.Resource.ID] = true
		w := wanted{Put: p, space: space{tenant: tenant}}
		var err error
		if w.space.typ, err = s.newType(ctx, p.Resource.ID.Type); err != nil {
			return err
		}
		w.resource = string(w.space.resourceOf(p.Resource.ID.ID))
		if !p.Delete {
			w.name()
		}
		d := w.document()
		if d.size() > s.cfg.maxDocument() {
			return store.ErrTooLarge
		}
		r.bytes += d.size()
		r.puts = append(r.puts, w)
	}
	if r.bytes > maxBatch {
		return store.ErrTooLarge
	}
	return nil
}

func (c Config) maxDocument() int {
	if c.most > 0 {
		return c.most
	}
	return maxDocument
}

// name makes the places of a version in the indexes of what it names. Terms
// are sorted by Value, so what occurs twice occurs side by side.
func (w *wanted) name() {
	for _, patient := range search.Compartments(w.Terms) {
		w.patients = append(w.patients, w.space.patientOf(patient))
	}
	for _, t := range w.Terms {
		if t.Param == search.Ref {
			w.refs = append(w.refs, w.space.referenceTo(t.Value))
		}
	}
}

// document is the version that the Put writes if nothing was there before.
func (w *wanted) document() versionDoc {
	return versionDoc{
		space: w.space, id: w.Resource.ID.ID, n: 1, to: store.Forever, owner: w.Owner, deleted: w.Delete, detached: w.Detached,
		metaAt: w.Resource.MetaAt, patients: w.patients, refs: w.refs, body: w.Resource.Body,
	}
}

// loop commits what waits, group by group, until the lane is stopped.
func (l *lane) loop() {
	defer close(l.stopped)
	var next *request
	for {
		if next == nil {
			var ok bool
			if next, ok = <-l.requests; !ok {
				break
			}
		}
		next = l.group(next)
	}
	if l.session != nil {
		release(l.session)
	}
}

// group commits first and what else waits. It returns a request that must not
// share their tick, as it touches what one of them does.
func (l *lane) group(first *request) (left *request) {
	g := group{lane: l, touched: map[string]bool{}}
	for r := first; r != nil; r = l.waiting(&g) {
		if err := r.late(); err != nil {
			r.done <- err
			continue
		}
		if !g.add(r) {
			left = r
			break
		}
	}
	g.run()
	return left
}

// late tells why it is too late for a request; nothing of it was written.
func (r *request) late() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if time.Now().After(r.until) {
		return errQueued
	}
	return nil
}

// errQueued tells that the commits before took too long: the server was away.
var errQueued = transientError(errors.New("the commits before it took too long"))

// waiting takes the next request without waiting for one.
func (l *lane) waiting(g *group) *request {
	if g.bytes >= maxGroup || g.puts >= maxDocuments {
		return nil
	}
	select {
	case r := <-l.requests: // nil when closed
		return r
	default:
		return nil
	}
}

// group is requests that are committed in one transaction.
type group struct {
	lane     *lane
	requests []*request
	touched  map[string]bool
	bytes    int
	puts     int
}

func (g *group) add(r *request) bool {
	for _, p := range r.puts {
		if g.touched[p.resource] {
			return false
		}
	}
	for _, p := range r.puts {
		g.touched[p.resource] = true
	}
	g.requests = append(g.requests, r)
	g.bytes += r.bytes
	g.puts += len(r.puts)
	return true
}

// enduring is how long a group is tried for. A change of primary takes less.
const enduring = 20 * time.Second

// until is when the group is given up: with the first of its requests, but not
// before the server had a while.
func (g *group) until(now time.Time) time.Time {
	first := now.Add(enduring)
	for _, r := range g.requests {
		if r.until.Before(first) {
			first = r.until
		}
	}
	if least := now.Add(patience); first.Before(least) {
		return least
	}
	return first
}

// run commits the group and answers its requests. If it cannot be committed
// as a whole, each request is tried by itself, so that one that cannot be
// does not harm the others.
func (g *group) run() {
	if len(g.requests) == 0 {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), g.until(began))
	defer cancel()
	err := g.commit(ctx)
	switch {
	case err == nil:
		if observe := g.lane.s.cfg.Observe; observe != nil {
			observe(len(g.requests), g.bytes, time.Since(began))
		}
	case len(g.requests) > 1 && !transient(err) && ctx.Err() == nil:
		for _, r := range g.requests {
			one := group{lane: g.lane, requests: []*request{r}, bytes: r.bytes}
			one.run()
		}
		return
	case ctx.Err() != nil:
		err = transientError(err)
	case hasCode(err, cannotBuildIndexKeys), hasCode(err, objectTooLarge):
		err = store.ErrTooLarge
	default:
		err = classified(err)
	}
	for _, r := range g.requests {
		r.done <- err
	}
}

// commit tries until the group is committed or cannot be.
func (g *group) commit(ctx context.Context) error {
	var retry backoff
	for {
		t := &attempt{group: g, id: ulid.Make()}
		if err := t.plan(ctx); err != nil {
			if !transient(err) || !retry.wait(ctx) {
				return err
			}
			continue
		}
		if len(t.writes) == 0 && len(t.same) == 0 {
			return nil
		}
		again, err := t.commit(ctx, &retry)
		if !again {
			return err
		}
		if !retry.wait(ctx) {
			return err
		}
	}
}
