package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

// A plain program would insert so many documents, or bytes, with one call.
const (
	insertBatch = 1000
	insertBytes = 16 << 20
)

// betterOf is the limit that the quicker way gives: one goroutine, or two.
func betterOf(one, two time.Duration) limit {
	const beside = "insertMany of the same documents, 1,000 each time, by %s goroutine%s (by %s: %s × the time)"
	if two < one {
		return limit{two, fmt.Sprintf(beside, "two", "s", "one", figure(float64(one)/float64(two)))}
	}
	return limit{one, fmt.Sprintf(beside, "one", "", "two", figure(float64(two)/float64(one)))}
}

// besideLoad loads and inserts by turns. What is inserted is the very documents
// that the first load made, into databases with the same indexes: by one
// goroutine, and by two.
func (m *mongoEngine) besideLoad(ctx context.Context, p place, paths []string, load loading) (work, limit, error) {
	var loads []time.Duration
	var inserts [2][]time.Duration
	from, peak := p.data+".bson", 0.0
	for round := range rounds {
		w, err := m.loadRound(ctx, p, round, paths, load)
		if err == nil && round == 0 {
			err = m.capture(ctx, p, from)
		}
		for i := 0; err == nil && i < len(inserts); i++ {
			var took time.Duration
			took, err = m.insertAll(ctx, p, from, i+1)
			inserts[i] = append(inserts[i], took)
		}
		if err != nil {
			return w, limit{}, err
		}
		loads, peak = append(loads, w.took), max(peak, w.peak)
	}
	return work{median(loads), peak}, betterOf(median(inserts[0]), median(inserts[1])), os.Remove(from)
}

// loadRound loads into the place, and in later rounds into one that is dropped.
func (m *mongoEngine) loadRound(ctx context.Context, p place, round int, paths []string, load loading) (work, error) {
	if round == 0 {
		return load(ctx, p, paths...)
	}
	again := m.place(filepath.Dir(p.data), "again")
	w, err := load(ctx, again, paths...)
	return w, errors.Join(err, m.drop(ctx, again))
}

// capture writes all versions to a file as they are, one after the other.
func (m *mongoEngine) capture(ctx context.Context, p place, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, fileBuffer)
	err = m.eachVersion(ctx, p, nil, func(raw bson.Raw) error {
		_, err := out.Write(raw)
		return err
	})
	return errors.Join(err, out.Flush())
}

// insertAll inserts the documents of a file into a new database, on as many
// connections as there are writers, and drops it again.
func (m *mongoEngine) insertAll(ctx context.Context, like place, from string, writers int) (took time.Duration, err error) {
	to := m.place("", fmt.Sprintf("insert-%d", writers))
	took, err = m.insertInto(ctx, to, like, from, writers)
	return took, errors.Join(err, m.drop(ctx, to))
}

// insertInto inserts the documents of a file into a new database.
func (m *mongoEngine) insertInto(ctx context.Context, to, like place, from string, writers int) (took time.Duration, err error) {
	f, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := m.copyIndexes(ctx, like, to); err != nil {
		return 0, err
	}
	client, err := driver.Connect(driverOptions(to.store, uint64(writers)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))) }()
	if err := client.Ping(ctx, nil); err != nil {
		return 0, err
	}
	began := time.Now()
	err = insertFrom(ctx, client.Database(m.in(to).Name()).Collection(versions), &documents{in: bufio.NewReaderSize(f, fileBuffer)}, writers)
	return time.Since(began), err
}

// copyIndexes makes a collection of versions with the indexes of another one.
func (m *mongoEngine) copyIndexes(ctx context.Context, from, to place) error {
	cur, err := m.in(from).Collection(versions).Indexes().List(ctx)
	if err != nil {
		return err
	}
	var all []bson.Raw
	if err := cur.All(ctx, &all); err != nil {
		return err
	}
	var specs bson.A
	for _, spec := range all {
		if name, _ := spec.Lookup("name").StringValueOK(); name != "_id_" { // which every collection has
			specs = append(specs, spec)
		}
	}
	db := m.in(to)
	if err := db.CreateCollection(ctx, versions); err != nil || len(specs) == 0 {
		return err
	}
	return db.RunCommand(ctx, bson.D{{Key: "createIndexes", Value: versions}, {Key: "indexes", Value: specs}}).Err()
}

// insertFrom returns when all documents are inserted, or one of the writers
// cannot go on.
func insertFrom(ctx context.Context, to *driver.Collection, docs *documents, writers int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			for {
				batch, err := docs.next()
				if err == nil && len(batch) == 0 {
					return
				}
				if err == nil {
					_, err = to.InsertMany(ctx, batch)
				}
				if err != nil {
					stop(err)
					return
				}
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}

// documents reads a file that capture wrote; several goroutines may.
type documents struct {
	mu sync.Mutex
	in io.Reader
}

// next is the next batch; empty at the end.
func (d *documents) next() ([]any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch, bytes := make([]any, 0, insertBatch), 0
	for len(batch) < insertBatch && bytes < insertBytes {
		raw, err := bson.ReadDocument(d.in)
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if err != nil {
			return nil, err
		}
		batch, bytes = append(batch, raw), bytes+len(raw)
	}
	return batch, nil
}
