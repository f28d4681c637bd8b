// Package ingest takes resources in, many at a time: from files of ndjson and
// of Bundles. What cannot be taken is reported with its place, and the rest
// goes on.
package ingest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"firebreak/fhir"
)

// Sink stores resources.
type Sink interface {
	// Put stores them in order, all or none. It is called by several at once,
	// never with the same resource.
	Put(ctx context.Context, rs []fhir.Resource) (Stored, error)
}

// Stored counts what became of resources.
type Stored struct {
	Created   int64
	Updated   int64
	Unchanged int64 // the same content was there
}

// Add gives the sum.
func (s Stored) Add(t Stored) Stored {
	return Stored{s.Created + t.Created, s.Updated + t.Updated, s.Unchanged + t.Unchanged}
}

// All is how many resources it counts.
func (s Stored) All() int64 { return s.Created + s.Updated + s.Unchanged }

// Place is where something stands in what is taken in.
type Place struct {
	File  string
	Line  int // from 1; 0: the file as a whole
	Entry int // of a Bundle, from 1; 0: not of a Bundle
}

// String gives file:line, and the entry.
func (p Place) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	if p.Entry > 0 {
		s += fmt.Sprintf(" entry %d", p.Entry)
	}
	return s
}

// Problem is something that was not taken in, or a doubt about what was.
type Problem struct {
	Place
	Err     error
	Warning bool // it was taken in all the same
}

// Config says how resources are taken in.
type Config struct {
	Reader  fhir.Reader
	Sink    Sink
	Problem func(Problem)  // never called twice at a time
	Done    func(Progress) // likewise
	MaxLine int            // bytes of a line or a file of JSON
}

// Progress is how far it is.
type Progress struct {
	Stored
	Failed int64
	Bytes  int64 // of the files, as they are on disk
}

// A batch, and a chunk on its way to be parsed, ends at whichever comes first.
const (
	batchBytes     = 2 << 20
	batchResources = 1000
	chunkBytes     = 256 << 10
)

// chunk is lines, then resources, that stay together and in order.
type chunk struct {
	items  []item
	bytes  int64 // of the file, up to its end
	parsed chan struct{}
}

// item is a line, and what was found in it.
type item struct {
	place    Place
	line     []byte
	bundle   bool // a Bundle is to be taken apart
	found    []found
	problems []Problem
}

type found struct {
	place    Place
	resource fhir.Resource
}

// Load takes in all sources, in order. It returns what became of them; the
// error is for what ended it early.
func Load(ctx context.Context, cfg Config, sources []Source) (Progress, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loading{cfg: cfg, chunks: make(chan *chunk, 2*runtime.GOMAXPROCS(0)), toParse: make(chan *chunk)}
	var readErr error
	var work sync.WaitGroup
	work.Go(func() {
		defer close(l.chunks)
		defer close(l.toParse)
		readErr = l.read(ctx, sources)
	})
	for range runtime.GOMAXPROCS(0) {
		work.Go(l.parseAll)
	}
	err := l.storeAll(ctx)
	cancel()
	_ = l.land(0) // what ended it early is known
	for range l.chunks {
	}
	work.Wait()
	if err == nil {
		err = readErr
	}
	return l.progress, err
}

// loading is one Load.
type loading struct {
	cfg      Config
	chunks   chan *chunk // in order, to be stored
	toParse  chan *chunk // the same ones, to be parsed
	batch    []found
	size     int
	ids      map[fhir.ID]bool
	flying   []*flight // batches that are being put, the oldest first
	progress Progress
}

// storeAll stores the chunks in order.
func (l *loading) storeAll(ctx context.Context) error {
	l.ids = map[fhir.ID]bool{}
	for c := range l.chunks {
		select {
		case <-c.parsed:
		case <-ctx.Done(): // it may never have got to the parsers
			return ctx.Err()
		}
		for i := range c.items {
			if err := l.store(ctx, &c.items[i]); err != nil {
				return err
			}
		}
		l.progress.Bytes = c.bytes
		l.cfg.Done(l.progress)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	err := l.flush(ctx)
	if err == nil {
		err = l.land(0)
	}
	l.cfg.Done(l.progress)
	return err
}

func (l *loading) store(ctx context.Context, it *item) error {
	for _, p := range it.problems {
		l.problem(p)
	}
	for _, f := range it.found {
		// A resource is in a batch once; the later one is put later.
		if l.ids[f.resource.ID] || l.size+len(f.resource.Body) > batchBytes || len(l.batch) >= batchResources {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
		l.batch = append(l.batch, f)
		l.ids[f.resource.ID] = true
		l.size += len(f.resource.Body)
	}
	return nil
}

func (l *loading) problem(p Problem) {
	if !p.Warning {
		l.progress.Failed++
	}
	l.cfg.Problem(p)
}

// flush has the batch put, beside one that is being put already.
func (l *loading) flush(ctx context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	f := &flight{cfg: l.cfg, batch: l.batch, ids: l.ids, done: make(chan struct{})}
	l.batch, l.ids, l.size = nil, map[fhir.ID]bool{}, 0
	left := abreast - 1
	if slices.ContainsFunc(l.flying, f.meets) {
		left = 0
	}
	if err := l.land(left); err != nil {
		return err
	}
	l.flying = append(l.flying, f)
	go func() {
		defer close(f.done)
		f.put(ctx)
	}()
	return nil
}

// land waits until no more than so many batches are being put. After an error
// it waits for all of them, so that nothing is put when Load has returned.
func (l *loading) land(left int) (err error) {
	for len(l.flying) > left {
		f := l.flying[0]
		l.flying = l.flying[1:]
		<-f.done
		l.progress.Stored = l.progress.Add(f.stored)
		for _, p := range f.problems {
			l.problem(p)
		}
		if f.err != nil && err == nil {
			err, left = f.err, 0
		}
	}
	return err
}

// refused tells whether an error is about what was put, and not about what it
// was put into.
func refused(err error) bool {
	switch fhir.KindOf(err) {
	case fhir.Internal, fhir.Transient, fhir.Unauthorized, fhir.Throttled:
		return false
	}
	return true
}
