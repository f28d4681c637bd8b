package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"firebreak/operations/fetch"
)

// instances is how many share a database where several do.
const instances = 3

const (
	besideOneLoad   = "one alone, of all files"
	besideOneServer = "one server"
	besideEvenShare = "an even share of all units"
)

// instancesLoad measures loading into one database by several at once, each of
// them a part of every file, beside one alone, by turns.
func (b *bench) instancesLoad(ctx context.Context) error {
	parts, err := b.splitSet(instances)
	if err != nil {
		return err
	}
	var alone, together []time.Duration
	for range rounds {
		for _, load := range []struct {
			took *[]time.Duration
			of   [][]string
		}{{&alone, [][]string{b.set.paths}}, {&together, parts}} {
			at := b.db.place(b.work, "several")
			took, err := b.loadTogether(ctx, at, load.of)
			if err := errors.Join(err, b.db.drop(ctx, at)); err != nil {
				return err
			}
			*load.took = append(*load.took, took)
		}
	}
	b.add("instances-load", rate(b.set.resources, median(together)), perSecond, rate(b.set.resources, median(alone)), besideOneLoad)
	return nil
}

// loadTogether loads each list of paths by a process of its own, all at once.
// The first that cannot ends the others.
func (b *bench) loadTogether(ctx context.Context, at place, parts [][]string) (time.Duration, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := b.product
	p.err = &shared{to: p.err}
	var all sync.WaitGroup
	began := time.Now()
	for _, paths := range parts {
		all.Go(func() {
			if _, err := p.load(ctx, at, paths...); err != nil {
				stop(err)
			}
		})
	}
	all.Wait()
	return time.Since(began), context.Cause(ctx)
}

// shared is a writer for several who do not know of each other.
type shared struct {
	mu sync.Mutex
	to io.Writer
}

// Write is io.Writer.
func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(p)
}

// splitSet deals the lines of each file of the set out to so many folders, and
// lists the paths of each.
func (b *bench) splitSet(parts int) (lists [][]string, err error) {
	var dirs []string
	for i := range parts {
		dirs = append(dirs, filepath.Join(b.work, fmt.Sprintf("part-%d", i)))
		lists = append(lists, []string{dirs[i]})
		if err := os.Mkdir(dirs[i], 0o700); err != nil {
			return nil, err
		}
	}
	for _, path := range b.set.paths {
		if err := deal(path, dirs); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

// deal writes each line of a file to the file of the same name in one of the
// folders, by turns.
func deal(path string, dirs []string) (err error) {
	outs := make([]*bufio.Writer, len(dirs))
	for i, dir := range dirs {
		f, err := os.Create(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // its buffer tells of errors before
		outs[i] = bufio.NewWriterSize(f, fileBuffer)
	}
	turn := 0
	err = eachLine(path, func(line []byte) error {
		_, err := outs[turn%len(outs)].Write(append(line[:len(line):len(line)], '\n'))
		turn++
		return err
	})
	for _, out := range outs {
		err = errors.Join(err, out.Flush())
	}
	return err
}

// instancesExport measures exports by several servers over one database,
// beside one, by turns.
func (b *bench) instancesExport(ctx context.Context) error {
	var one, several exportsBy
	for range rounds {
		if err := b.exportBy(ctx, 1, &one); err != nil {
			return err
		}
		if err := b.exportBy(ctx, instances, &several); err != nil {
			return err
		}
	}
	b.add("instances-export", several.rate(), perSecond, one.rate(), besideOneServer)
	least, all := several.units[0], 0
	for _, n := range several.units {
		least, all = min(least, n), all+n
	}
	b.add("instances-units", float64(least), unitsOfLeast, float64(all)/instances, besideEvenShare)
	b.note("instances-…: each of %d servers ended %v units of %d exports, as its /metrics counts in firebreak_units_ended_total; "+
		"kicked off at the first, polled at the second, downloaded and verified from the third", instances, several.units, rounds)
	return nil
}

// exportsBy is what came of exports by servers over one database.
type exportsBy struct {
	took      []time.Duration // of each, from kick-off to manifest
	resources int64           // of the last
	units     []int           // that each server ended
}

func (x *exportsBy) rate() float64 { return rate(x.resources, median(x.took)) }

// exportBy starts so many servers, exports once, and adds what came of it.
func (b *bench) exportBy(ctx context.Context, n int, to *exportsBy) (err error) {
	var all crew
	defer func() { err = errors.Join(err, all.stop()) }()
	for range n {
		srv, err := b.product.serve(ctx, b.home, anyOperator)
		if err != nil {
			return err
		}
		all = append(all, exporting{b, srv})
	}
	done, took, err := all.ready(ctx)
	if err != nil {
		return err
	}
	if err := all.fetch(ctx, done); err != nil {
		return err
	}
	to.took, to.resources = append(to.took, took), exported(done)
	to.units = append(to.units, make([]int, n-len(to.units))...)
	for i, e := range all {
		units, err := e.server.unitsEnded(ctx)
		if err != nil {
			return err
		}
		to.units[i] += units
	}
	return nil
}

// crew is servers over one database. What is asked of it is asked of them by
// turns: kick-off, status, files.
type crew []exporting

func (c crew) at(turn int) exporting { return c[turn%len(c)] }

func (c crew) stop() error {
	var err error
	for _, e := range c {
		err = errors.Join(err, e.server.stop())
	}
	return err
}

// ready kicks an export off at the first, and waits for its manifest at the
// second.
func (c crew) ready(ctx context.Context) (fetch.Completed, time.Duration, error) {
	pause(ctx, apart)
	began := time.Now()
	first, err := c.at(0).client(nil)
	if err != nil {
		return fetch.Completed{}, 0, err
	}
	second, err := c.at(1).client(impatient(began))
	if err != nil {
		return fetch.Completed{}, 0, err
	}
	url, err := first.Kickoff(ctx, fetch.Request{Level: fetch.LevelSystem})
	if err == nil {
		url, err = moved(url, c.at(0).server, c.at(1).server)
	}
	if err != nil {
		return fetch.Completed{}, 0, err
	}
	done, err := second.Poll(ctx, url)
	return done, time.Since(began), err
}

// fetch downloads the files from the third, verifies them, and removes the
// export.
func (c crew) fetch(ctx context.Context, done fetch.Completed) error {
	from, to := c.at(1).server, c.at(2)
	var err error
	if done.StatusURL, err = moved(done.StatusURL, from, to.server); err != nil {
		return err
	}
	for i := range done.Manifest.Output {
		f := &done.Manifest.Output[i]
		if f.URL, err = moved(f.URL, from, to.server); err != nil {
			return err
		}
	}
	dir := filepath.Join(to.work, "download")
	_, err = to.download(ctx, done, dir)
	return errors.Join(err, os.RemoveAll(dir), to.drop(ctx, done.StatusURL))
}

// moved is the URL of one server at another one.
func moved(url string, from, to *server) (string, error) {
	path, ok := strings.CutPrefix(url, from.root+"/")
	if !ok {
		return "", fmt.Errorf("%s names a URL that is not its own: %s", from.root, url)
	}
	return to.root + "/" + path, nil
}
