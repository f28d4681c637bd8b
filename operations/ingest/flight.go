package ingest

import (
	"context"

	"firebreak/fhir"
)

// abreast is how many batches are put at once: while the store makes one
// durable, another is made ready.
const abreast = 2

// flight is a batch that is being put.
type flight struct {
	cfg      Config
	batch    []found
	ids      map[fhir.ID]bool
	stored   Stored
	problems []Problem
	err      error
	done     chan struct{}
}

// meets tells whether two batches have a resource in common: then the one that
// was read later must be put later.
func (f *flight) meets(g *flight) bool {
	for id := range f.ids {
		if g.ids[id] {
			return true
		}
	}
	return false
}

// put stores the batch. If it is refused for something in it, each of its
// resources is stored by itself, so that only those at fault are left out.
func (f *flight) put(ctx context.Context) {
	rs := make([]fhir.Resource, len(f.batch))
	for i, r := range f.batch {
		rs[i] = r.resource
	}
	if f.stored, f.err = f.cfg.Sink.Put(ctx, rs); f.err == nil || !refused(f.err) {
		return
	}
	f.err = nil
	for i := range rs {
		done, err := f.cfg.Sink.Put(ctx, rs[i:i+1])
		f.stored = f.stored.Add(done)
		switch {
		case err != nil && refused(err):
			f.problems = append(f.problems, Problem{Place: f.batch[i].place, Err: err})
		case err != nil:
			f.err = err
			return
		}
	}
}
