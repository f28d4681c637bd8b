package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"firebreak/operations/fetch"
)

const (
	largeBytes = 5_000_000 // of each large resource
	largeAmong = 10_000    // resources of the set, at most
)

// large measures a load and an export with resources of 5 MB among others, in
// a database of their own: it is a buffer for each of them that memory is
// lost by.
func (b *bench) large(ctx context.Context) error {
	path, at := filepath.Join(b.work, "large.ndjson"), b.db.place(b.work, "large")
	if err := b.writeLarge(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	loaded, limit, err := b.loadBeside(ctx, "large-load", at, path)
	if err != nil {
		return err
	}
	b.add("large-load", rate(info.Size(), loaded.took)/1e6, megabytes, rate(info.Size(), limit.took)/1e6, limit.beside)
	b.add("large-load-rss", loaded.peak, mib, b.db.memory, besideBudget)
	if !b.wants("large-export", "large-export-rss") {
		return nil
	}
	srv, err := b.product.serve(ctx, at, noOperator)
	if err != nil {
		return err
	}
	peak, err := b.largeExport(ctx, exporting{b, srv}, at, info.Size())
	if err := errors.Join(err, srv.stop()); err != nil {
		return err
	}
	b.add("large-export-rss", peak, mib, b.db.memory, besideBudget)
	return nil
}

func (b *bench) largeExport(ctx context.Context, e exporting, at place, size int64) (peak float64, err error) {
	var selects, exports []time.Duration
	for range rounds {
		_, limit, err := b.db.bodies(ctx, at, filepath.Join(b.work, "bodies"))
		if err != nil {
			return 0, err
		}
		done, took, err := e.ready(ctx, fetch.Request{Level: fetch.LevelSystem})
		if err != nil {
			return 0, err
		}
		out := filepath.Join(b.work, "download")
		_, err = e.download(ctx, done, out)
		if err := errors.Join(err, os.RemoveAll(out), e.drop(ctx, done.StatusURL)); err != nil {
			return 0, err
		}
		selects, exports = append(selects, limit), append(exports, took)
	}
	b.add("large-export", rate(size, median(exports))/1e6, megabytes, rate(size, median(selects))/1e6, b.db.besideBodies)
	return e.server.peak()
}

// writeLarge writes resources of the set, and large ones evenly among them.
func (b *bench) writeLarge(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, fileBuffer)
	every := max(1, int(min(b.set.resources, largeAmong))/b.opts.Large)
	content := largeContent()
	small, large := 0, 0
	for _, p := range b.set.paths {
		err := eachLine(p, func(line []byte) error {
			if small++; small > largeAmong {
				return nil
			}
			_, err := out.Write(append(line[:len(line):len(line)], '\n'))
			if small%every == 0 && large < b.opts.Large {
				large++
				writeLargeOne(out, large, content)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeLargeOne writes the nth one, by turns of the two types that hold most
// of what is large; an error stays in the writer.
func writeLargeOne(out *bufio.Writer, n int, content string) {
	if n%2 == 0 {
		_, _ = fmt.Fprintf(out, `{"resourceType":"Binary","id":"large-%d","contentType":"application/pdf","data":"%s"}`+"\n", n, content)
		return
	}
	_, _ = fmt.Fprintf(out, `{"resourceType":"DocumentReference","id":"large-%d","status":"current","content":[{"attachment":{"contentType":"application/pdf","data":"%s"}}]}`+"\n", n, content)
}

// largeContent cannot be compressed, as a scan cannot.
func largeContent() string {
	raw := make([]byte, largeBytes/4*3)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(raw) // it never fails
	return base64.StdEncoding.EncodeToString(raw)
}
