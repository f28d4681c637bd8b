package main

import (
	"context"
	"os"
	"path/filepath"
)

// load fills the database: with the set, then with its copies one by one, so
// that no more than one copy takes space on disk.
func (b *bench) load(ctx context.Context) error {
	first, limit, err := b.loadBeside(ctx, "load", b.home, b.set.paths...)
	if err != nil {
		return err
	}
	all, last, err := b.loadCopies(ctx, first)
	if err != nil {
		return err
	}
	size, err := b.db.size(ctx, b.home)
	if err != nil {
		return err
	}
	n, copies := b.set.resources, int64(b.opts.Copies)
	b.add("load", rate(n*copies, all.took), perSecond, rate(n, limit.took), limit.beside)
	if copies > 1 {
		b.add("load-last", rate(n, last.took), perSecond, rate(n, first.took), besideFirst)
	}
	b.add("load-rss", all.peak, mib, b.db.memory, besideBudget)
	b.add("disk", float64(size)/float64(b.set.bytes*copies), bytesPerByte, 1, b.db.besideDisk)
	return nil
}

// loadBeside loads, and measures what a row is to stand beside if it was asked
// for.
func (b *bench) loadBeside(ctx context.Context, row string, p place, paths ...string) (work, limit, error) {
	if !b.wants(row) {
		w, err := b.product.load(ctx, p, paths...)
		return w, limit{}, err
	}
	return b.db.besideLoad(ctx, p, paths, b.product.load)
}

func (b *bench) loadCopies(ctx context.Context, first work) (all, last work, err error) {
	all, last = first, first
	path := filepath.Join(b.work, "copy.ndjson")
	for i := 1; i < b.opts.Copies; i++ {
		b.say("loading copy %d of %d", i+1, b.opts.Copies)
		if err := b.writeCopy(path, i); err != nil {
			return all, last, err
		}
		if last, err = b.product.load(ctx, b.home, path); err != nil {
			return all, last, err
		}
		all.took, all.peak = all.took+last.took, max(all.peak, last.peak)
		if err := os.Remove(path); err != nil {
			return all, last, err
		}
	}
	return all, last, nil
}

// loadAgain loads what is there already.
func (b *bench) loadAgain(ctx context.Context) error {
	limit, err := parseLines(ctx, b.set.paths)
	if err != nil {
		return err
	}
	again, err := b.product.load(ctx, b.home, b.set.paths...)
	if err != nil {
		return err
	}
	b.add("load-again", rate(b.set.resources, again.took), perSecond, rate(b.set.resources, limit), besideParse)
	return nil
}
