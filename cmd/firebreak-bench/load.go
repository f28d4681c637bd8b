package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// load fills the database: with the set, then with its copies one by one, so
// that no more than one copy takes space on disk.
func (b *bench) load(ctx context.Context) error {
	before, err := b.parseLimit(ctx, "load")
	if err != nil {
		return err
	}
	first, err := b.product.load(ctx, b.data(), b.set.paths...)
	if err != nil {
		return err
	}
	after, err := b.parseLimit(ctx, "load")
	if err != nil {
		return err
	}
	all, last, err := b.loadCopies(ctx, first)
	if err != nil {
		return err
	}
	size, err := folderSize(b.data())
	if err != nil {
		return err
	}
	n, copies := b.set.resources, int64(b.opts.Copies)
	b.add("load", rate(n*copies, all.took), perSecond, rate(2*n, before+after), besideParse)
	if copies > 1 {
		b.add("load-last", rate(n, last.took), perSecond, rate(n, first.took), besideFirst)
	}
	b.add("load-rss", all.peak, mib, memoryBudget, besideBudget)
	b.add("disk", float64(size)/float64(b.set.bytes*copies), bytesPerByte, 1, besideNDJSON)
	return nil
}

// parseLimit parses the set, if a row is to stand beside that.
func (b *bench) parseLimit(ctx context.Context, row string) (time.Duration, error) {
	if !b.wants(row) {
		return 0, nil
	}
	return parseLines(ctx, b.set.paths)
}

func (b *bench) loadCopies(ctx context.Context, first work) (all, last work, err error) {
	all, last = first, first
	path := filepath.Join(b.work, "copy.ndjson")
	for i := 1; i < b.opts.Copies; i++ {
		b.say("loading copy %d of %d", i+1, b.opts.Copies)
		if err := b.writeCopy(path, i); err != nil {
			return all, last, err
		}
		if last, err = b.product.load(ctx, b.data(), path); err != nil {
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
	again, err := b.product.load(ctx, b.data(), b.set.paths...)
	if err != nil {
		return err
	}
	b.add("load-again", rate(b.set.resources, again.took), perSecond, rate(b.set.resources, limit), besideParse)
	return nil
}
