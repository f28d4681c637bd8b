package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"firebreak/store"
	"firebreak/store/sqlite"
)

// place is where the product keeps what is loaded for some rows.
type place struct {
	data  string // its data directory
	store string // the URI of its database; "" for SQLite in the data directory
}

// args are the options by which the product finds the place.
func (p place) args() []string {
	args := []string{"--data", p.data}
	if p.store != "" {
		args = append(args, "--store", p.store)
	}
	return args
}

// database is what the product keeps its data in, and the words for that.
type database struct {
	engine
	head         string                 // names it above the table; "" for SQLite
	memory       float64                // MiB, the budget of any load or export
	besideBodies string                 // what engine.bodies does
	besideDisk   string                 // what engine.size is held against
	besideGroup  func(id string) string // what the export of a group is held against
	besidePurge  string                 // what engine.removeGone does
	besideScan   string                 // what engine.scan does
}

// engine does what the product does in a place, without the product.
type engine interface {
	// place is a new place, for which nothing was made yet, in a folder.
	place(dir, name string) place
	// besideLoad loads, and also gives how long the engine or the machine takes
	// for the same at best.
	besideLoad(ctx context.Context, p place, paths []string, load loading) (work, limit, error)
	// bodies writes every body of a place to a file, one a line, on one
	// connection, syncs it, and removes it.
	bodies(ctx context.Context, p place, to string) (n int64, took time.Duration, err error)
	// scan reads every body of a place on one connection, and leaves it at that.
	scan(ctx context.Context, p place) (bytes int64, took time.Duration, err error)
	// open opens a place as the product does.
	open(ctx context.Context, p place) (store.Store, error)
	// keep makes a copy of a place that nobody has open: all versions, and what
	// finds them.
	keep(ctx context.Context, p place) (place, error)
	// removeGone removes from a copy, which keep made, the versions that are not
	// in the place any more, as a plain program would: by their keys, 1,000 with
	// each commit, on one connection. What it takes to find out which they are
	// is not of the time.
	removeGone(ctx context.Context, kept, p place) (n int64, took time.Duration, err error)
	// size is how many bytes a place has on disk.
	size(ctx context.Context, p place) (int64, error)
	// drop removes what is in a place, though measuring was interrupted.
	drop(ctx context.Context, p place) error
	// close drops what is left of all places that are in no folder.
	close() error
}

// loading runs the product.
type loading func(ctx context.Context, p place, paths ...string) (work, error)

// limit is what a load is held against.
type limit struct {
	took   time.Duration
	beside string
}

// openDatabase is the database that the options name.
func openDatabase(ctx context.Context, uri string) (database, error) {
	if uri != "" {
		return openMongo(ctx, uri)
	}
	return database{
		engine: sqliteEngine{}, memory: memoryBudget,
		besideBodies: besideSelect, besideDisk: besideNDJSON, besideGroup: func(string) string { return besideGet },
		besidePurge: besideDelete, besideScan: besideReadAll,
	}, nil
}

// sqliteEngine is SQLite in data directories.
type sqliteEngine struct{}

func (sqliteEngine) place(dir, name string) place { return place{data: filepath.Join(dir, name)} }

// besideLoad parses the lines, before the load and after it.
func (sqliteEngine) besideLoad(ctx context.Context, p place, paths []string, load loading) (work, limit, error) {
	before, err := parseLines(ctx, paths)
	if err != nil {
		return work{}, limit{}, err
	}
	w, err := load(ctx, p, paths...)
	if err != nil {
		return w, limit{}, err
	}
	after, err := parseLines(ctx, paths)
	return w, limit{(before + after) / 2, besideParse}, err
}

func (sqliteEngine) bodies(ctx context.Context, p place, to string) (int64, time.Duration, error) {
	return selectBodies(ctx, filepath.Join(p.data, sqlite.File), to)
}

func (sqliteEngine) scan(ctx context.Context, p place) (bytes int64, took time.Duration, err error) {
	began := time.Now()
	err = eachBody(ctx, filepath.Join(p.data, sqlite.File), func(body []byte) error {
		bytes += int64(len(body))
		return nil
	})
	return bytes, time.Since(began), err
}

func (sqliteEngine) open(ctx context.Context, p place) (store.Store, error) {
	return sqlite.Open(ctx, sqlite.Config{Dir: p.data, Now: time.Now})
}

func (sqliteEngine) size(_ context.Context, p place) (int64, error) { return folderSize(p.data) }

func (sqliteEngine) drop(_ context.Context, p place) error { return os.RemoveAll(p.data) }

func (sqliteEngine) close() error { return nil }
