package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/mongo"
	"firebreak/store/sqlite"
)

// openStore opens the database that the options name.
func openStore(ctx context.Context, o storage) (store.Store, error) {
	return openWatched(ctx, o, nil, nil)
}

// openWatched is openStore with a log, and with one who is told of each commit.
func openWatched(ctx context.Context, o storage, log *slog.Logger, observe func(requests, bytes int, took time.Duration)) (store.Store, error) {
	if o.Store != "" {
		return mongo.Open(ctx, mongo.Config{URI: o.Store, Observe: observe, Log: log})
	}
	st, err := sqlite.Open(ctx, sqlite.Config{Dir: o.Data, Now: time.Now, Observe: observe})
	if errors.Is(err, sqlite.ErrHeld) {
		return nil, fmt.Errorf("%w: %s; is a server running there? Use --server with its address, or stop it", err, o.Data)
	}
	return st, err
}

// shared is a store that several instances may open, and that knows what they
// have in common.
type shared interface {
	// Files notes that an instance keeps its files in the place of an id, and
	// returns the id of the place where the first one did.
	Files(ctx context.Context, id string) (string, error)
	// LinkKey notes a key of signed links, unless there is one, and returns the
	// one that there is.
	LinkKey(ctx context.Context, fresh []byte) ([]byte, error)
}

// openFiles opens the place of the files. Where instances share the store, a
// place that is not the others' is refused: a file that one wrote would not be
// there for a client who asks another.
func openFiles(ctx context.Context, o storage, st store.Store) (files.Files, error) {
	place, err := o.place(ctx)
	if err != nil {
		return nil, err
	}
	s, ok := st.(shared)
	if !ok {
		return place, nil
	}
	mine, err := place.Identity(ctx, newID)
	if err != nil {
		return nil, err
	}
	theirs, err := s.Files(ctx, mine)
	if err == nil && mine != theirs {
		err = fmt.Errorf("%s is not where the other instances of this database keep their files; give all of them the same --data, on a file system that they share, or the same --files", o.placeName())
	}
	return place, err
}

func (o storage) place(ctx context.Context) (files.Place, error) {
	if o.Files != "" {
		return files.NewBucket(ctx, o.Files)
	}
	return files.NewDir(filepath.Join(o.Data, "files"))
}

func (o storage) placeName() string {
	if o.Files != "" {
		return "--files " + o.Files
	}
	return "--data " + o.Data
}

// where says where the data is, without what a URI has of secrets.
func (o storage) where() string {
	if o.Store == "" {
		return o.Data
	}
	u, err := url.Parse(o.Store)
	if err != nil { // several hosts with ports are no URL to Go
		return "MongoDB"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// words are the options that name it, without what a URI has of secrets.
func (o storage) words() string {
	if o.Store == "" {
		return "--data " + o.Data
	}
	return "--store " + o.where() + " --data " + o.Data
}
