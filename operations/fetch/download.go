package fetch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Report is what has been fetched.
type Report struct {
	StatusURL       string
	TransactionTime string
	// Resumed is true if the export had been kicked off by an earlier run.
	Resumed bool
	// Types sums the files up, in the order of the manifest.
	Types []TypeReport
	Files []FileReport
	// Preparing lasted from the kick-off (when resumed: from the first poll) to the manifest, Downloading from there
	// to the end.
	Preparing, Downloading time.Duration
}

// TypeReport is the sum of one type's files in one section of the manifest.
type TypeReport struct {
	Section                 Section
	Type                    string
	Files, Resources, Bytes int64
}

// FileReport is one file that is complete and verified.
type FileReport struct {
	Section          Section
	Type             string
	Name             string // in the directory
	Resources, Bytes int64
}

// Download fetches every file of a manifest into dir, made if need be, and then writes the manifest itself. After
// any error it can be repeated, and goes on where it was. It refuses a directory that holds something else.
func (c *Client) Download(ctx context.Context, done Completed, dir string) (Report, error) {
	f, err := openFolder(dir)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = f.Close() }()
	var s state
	if err := f.readJSON(StateName, &s); err != nil {
		return Report{}, err
	}
	return c.download(ctx, f, s, done)
}

func (c *Client) download(ctx context.Context, f folder, s state, done Completed) (Report, error) {
	start := c.Now()
	items, err := plan(done)
	if err != nil {
		return Report{}, err
	}
	if err := s.adopt(f, done, items); err != nil {
		return Report{}, err
	}
	files, err := c.fetchAll(ctx, f, items, done.Manifest.RequiresAccessToken)
	if err != nil {
		return Report{}, err
	}
	if err := f.write(ManifestName, done.Raw); err != nil {
		return Report{}, err
	}
	if err := f.drop(StateName); err != nil {
		return Report{}, err
	}
	return Report{
		StatusURL: done.StatusURL, TransactionTime: done.Manifest.TransactionTime,
		Types: sum(files), Files: files, Downloading: c.Now().Sub(start),
	}, f.sync()
}

// fetchAll fetches several files at a time. The first error stops the others where they are.
func (c *Client) fetchAll(ctx context.Context, f folder, items []item, token bool) ([]FileReport, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	board := newBoard(c, items)
	reports := make([]FileReport, len(items))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(c.Parallel, len(items)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(items)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				it := items[i]
				t := transfer{client: c, folder: f, item: it, token: token, tell: board.line()}
				sum, err := t.run(ctx)
				if err != nil {
					stop(err)
					return
				}
				reports[i] = FileReport{it.section, it.Type, it.name, sum.resources(), sum.size}
				board.finish()
			}
		})
	}
	workers.Wait()
	return reports, context.Cause(ctx)
}

func sum(files []FileReport) []TypeReport {
	type key struct {
		Section
		Type string
	}
	places := map[key]int{}
	var sums []TypeReport
	for _, f := range files {
		k := key{f.Section, f.Type}
		if _, known := places[k]; !known {
			places[k] = len(sums)
			sums = append(sums, TypeReport{Section: f.Section, Type: f.Type})
		}
		s := &sums[places[k]]
		s.Files++
		s.Resources += f.Resources
		s.Bytes += f.Bytes
	}
	return sums
}

// board adds up what several transfers have done.
type board struct {
	client *Client
	mu     sync.Mutex
	sum    Progress
	told   int64 // bytes, when Progress was last called
}

// reportEvery is how many bytes make it worth calling Progress.
const reportEvery = 1 << 20

func newBoard(c *Client, items []item) *board {
	b := &board{client: c, sum: Progress{Step: StepDownload, AllFiles: int64(len(items))}}
	for _, it := range items {
		if it.Count == nil {
			b.sum.AllResources = 0
			break
		}
		b.sum.AllResources += *it.Count
	}
	return b
}

// line returns how one transfer tells how much of its file there is, which may be less than it told before.
func (b *board) line() func(*digest) {
	var bytes, resources int64
	return func(d *digest) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sum.Bytes += d.size - bytes
		b.sum.Resources += d.resources() - resources
		bytes, resources = d.size, d.resources()
		if b.sum.Bytes < b.told || b.sum.Bytes-b.told >= reportEvery {
			b.report()
		}
	}
}

func (b *board) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum.Files++
	b.report()
}

func (b *board) report() {
	b.told = b.sum.Bytes
	b.client.Progress(b.sum)
}
