package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/klauspost/compress/gzip"
)

// Source is a file to take in.
type Source struct {
	Path  string
	Size  int64 // bytes on disk
	Lines bool  // ndjson; else one JSON document
	Gzip  bool
}

// Sources lists the files that the paths name: each file itself, and below a
// folder, in the order of names, those that end in .ndjson or .json, or in one
// of these and .gz.
func Sources(paths []string) ([]Source, error) {
	var out []Source
	for _, path := range paths {
		n := len(out)
		root := path
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			root += string(filepath.Separator) // a link to a folder is that folder
		}
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			s, ok := source(p)
			if !ok && p != path {
				return nil
			}
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			s.Size = info.Size()
			out = append(out, s)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(out) == n {
			return nil, fmt.Errorf("%s holds no .ndjson or .json file", path)
		}
	}
	return out, nil
}

// source tells from a name how the file is read; ok is false for a name that
// says nothing, which is read as ndjson where it was named by itself.
func source(path string) (s Source, ok bool) {
	name := strings.ToLower(path)
	s = Source{Path: path, Lines: true}
	if strings.HasSuffix(name, ".gz") {
		s.Gzip, name = true, strings.TrimSuffix(name, ".gz")
	}
	if s.Lines = filepath.Ext(name) != ".json"; s.Lines {
		return s, slices.Contains([]string{".ndjson", ".jsonl"}, filepath.Ext(name))
	}
	return s, true
}

// read reads all sources into chunks.
func (l *loading) read(ctx context.Context, sources []Source) error {
	var before int64
	for _, s := range sources {
		if err := l.readSource(ctx, s, before); err != nil {
			return err
		}
		before += s.Size
	}
	return nil
}

// counter counts the bytes of the file that were read.
type counter struct {
	io.Reader
	n int64
}

// Read is io.Reader.
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

func (l *loading) readSource(ctx context.Context, s Source, before int64) error {
	count := &counter{}
	c := &chunk{parsed: make(chan struct{})}
	r := reading{loading: l, ctx: ctx, source: s, chunk: c, before: before, done: func() int64 { return min(count.n, s.Size) }}
	f, err := os.Open(s.Path)
	if err != nil {
		return r.end(withoutPath(err))
	}
	defer func() { _ = f.Close() }() // it is only read
	count.Reader = f
	var in io.Reader = bufio.NewReaderSize(count, 64<<10)
	if s.Gzip {
		if in, err = gzip.NewReader(in); err != nil {
			return r.end(fmt.Errorf("it is not gzip: %w", err))
		}
	}
	if s.Lines {
		return r.end(r.lines(in))
	}
	return r.end(r.document(in))
}

// withoutPath leaves of an error of a file what its place does not say already.
func withoutPath(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// reading is one source on its way into chunks.
type reading struct {
	*loading
	ctx    context.Context //nolint:containedctx // it lives within one call
	source Source
	chunk  *chunk
	size   int
	before int64        // bytes of the sources before this one
	done   func() int64 // bytes of this one
}

func (r *reading) lines(in io.Reader) error {
	lines := fhir.NewLineReader(in, r.cfg.MaxLine)
	for {
		line, err := lines.Next()
		bad := (*fhir.LineError)(nil)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad) && errors.Is(err, fhir.ErrLineTooLong):
			r.add(item{problems: []Problem{{Place: Place{File: r.source.Path, Line: bad.Number}, Err: bad.Err}}})
		case err != nil:
			return err
		default:
			r.add(item{place: Place{File: r.source.Path, Line: line.Number}, line: slices.Clone(line.Bytes)})
		}
		if r.size >= chunkBytes {
			if err := r.send(); err != nil {
				return err
			}
		}
	}
}

// document reads a file that is one resource, a Bundle for the most part.
func (r *reading) document(in io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(in, int64(r.cfg.MaxLine)+1))
	if err != nil {
		return err
	}
	if len(body) > r.cfg.MaxLine {
		return fmt.Errorf("it is larger than %d bytes; write it as ndjson", r.cfg.MaxLine)
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) // as at the start of ndjson
	r.add(item{place: Place{File: r.source.Path}, line: body, bundle: true})
	return nil
}

func (r *reading) add(it item) {
	r.chunk.items = append(r.chunk.items, it)
	r.size += len(it.line) + 1
}

// send hands the chunk on and begins another.
func (r *reading) send() error {
	r.chunk.bytes = r.before + r.done()
	for _, to := range []chan *chunk{r.chunks, r.toParse} {
		select {
		case to <- r.chunk:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	r.chunk, r.size = &chunk{parsed: make(chan struct{})}, 0
	return nil
}

// end sends the last chunk. What is wrong with the file is a problem of that
// file, unless all is to end.
func (r *reading) end(err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if err != nil {
		r.add(item{problems: []Problem{{Place: Place{File: r.source.Path}, Err: err}}})
	}
	r.done = func() int64 { return r.source.Size } // read to its end or not
	return r.send()
}
