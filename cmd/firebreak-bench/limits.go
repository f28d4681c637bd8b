package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// fileBuffer is how much is written to a file at a time.
const fileBuffer = 256 << 10

// parallel is how many files are downloaded, or copied, at once.
const parallel = 4

// parseLines parses all lines as strictly as load does, on as many goroutines,
// and keeps nothing.
func parseLines(ctx context.Context, paths []string) (time.Duration, error) {
	began := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	chunks := make(chan [][]byte, 2*runtime.GOMAXPROCS(0))
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for lines := range chunks {
				if err := parseChunk(lines); err != nil {
					stop(err)
				}
			}
		})
	}
	err := sendLines(ctx, paths, chunks)
	close(chunks)
	work.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // sending ended because of it
	}
	return time.Since(began), err
}

func parseChunk(lines [][]byte) error {
	reader := fhir.Reader{Known: r4.IsType}
	for _, line := range lines {
		if _, err := reader.Read(line); err != nil {
			return err
		}
	}
	return nil
}

// sendLines reads the files in chunks of lines.
func sendLines(ctx context.Context, paths []string, to chan<- [][]byte) error {
	var chunk [][]byte
	size := 0
	for _, p := range paths {
		err := eachLine(p, func(line []byte) error {
			chunk, size = append(chunk, append([]byte(nil), line...)), size+len(line)
			if size >= fileBuffer {
				to <- chunk
				chunk, size = nil, 0
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	to <- chunk
	return nil
}

// selectBodies writes every body of a database to a file, one a line, on one
// connection and in the order of the table, and syncs it.
func selectBodies(ctx context.Context, db, to string) (n int64, took time.Duration, err error) {
	began := time.Now()
	f, err := os.Create(to)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(to)) }()
	out := bufio.NewWriterSize(f, fileBuffer)
	err = eachBody(ctx, db, func(body []byte) error {
		n++
		_, err := out.Write(append(body, '\n'))
		return err
	})
	if err == nil {
		err = errors.Join(out.Flush(), f.Sync())
	}
	return n, time.Since(began), err
}

// eachBody calls f with every body of a database, on one connection and in the
// order of the table. A body is f's to append to, until it returns.
func eachBody(ctx context.Context, db string, f func(body []byte) error) (err error) {
	conn, err := sqlite.OpenConn(db, sqlite.OpenReadOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetInterrupt(ctx.Done())
	var body []byte
	return sqlitex.Execute(conn, `SELECT body FROM version WHERE body IS NOT NULL`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			size := stmt.ColumnLen(0)
			if cap(body) <= size {
				body = make([]byte, size+1)
			}
			body = body[:size]
			stmt.ColumnBytes(0, body)
			return f(body)
		},
	})
}

// copyFiles copies what lies in a folder into a new one, as many files at once
// as the client downloads, hashes it on the way, and syncs each.
func copyFiles(from, to string) (bytes int64, took time.Duration, err error) {
	began := time.Now()
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	if err != nil {
		return 0, 0, err
	}
	var sum atomic.Int64
	errs := make([]error, len(entries))
	places := make(chan struct{}, parallel)
	var work sync.WaitGroup
	for i, entry := range entries {
		places <- struct{}{}
		work.Go(func() {
			n, err := copyFile(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()))
			sum.Add(n)
			errs[i] = err
			<-places
		})
	}
	work.Wait()
	return sum.Load(), time.Since(began), errors.Join(errs...)
}

func copyFile(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err = io.CopyBuffer(io.MultiWriter(out, sha256.New()), struct{ io.Reader }{in}, make([]byte, fileBuffer))
	return n, errors.Join(err, out.Sync())
}

// syncs counts how often in a second 4 kB can be appended and synced.
func syncs(ctx context.Context, path string, lasts time.Duration) (perSecond float64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	block := make([]byte, 4096)
	began := time.Now()
	for n := 1; ; n++ {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		if took := time.Since(began); took >= lasts || ctx.Err() != nil {
			return rate(n, took), ctx.Err()
		}
	}
}

// folderSize is the bytes of the files below a folder.
func folderSize(dir string) (int64, error) {
	var sum int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
