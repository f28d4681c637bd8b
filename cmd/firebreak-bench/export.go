package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/fetch"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// How often what is measured is repeated; the median counts.
const (
	rounds      = 3
	groupRounds = 7
)

// exporting is one server that is asked for exports.
type exporting struct {
	*bench
	server *server
}

// exports measures exports, one server for all of them, so that its memory is
// that of exports.
func (b *bench) exports(ctx context.Context) (err error) {
	srv, err := b.product.serve(ctx, b.home, noOperator)
	if err != nil {
		return err
	}
	e := exporting{b, srv}
	found, err := e.all(ctx)
	if err != nil {
		return errors.Join(err, srv.stop())
	}
	peak, err := srv.peak()
	if err := errors.Join(err, srv.stop()); err != nil {
		return err
	}
	b.add("export-rss", peak, mib, b.db.memory, besideBudget)
	return b.groupRows(ctx, found)
}

// groupFound is what the exports of a group gave.
type groupFound struct {
	group
	took time.Duration
	ids  []fhir.ID
}

func (e exporting) all(ctx context.Context) ([]groupFound, error) {
	if e.wants("export", "export-rss", "download") {
		if err := e.system(ctx); err != nil {
			return nil, err
		}
	}
	var found []groupFound
	for _, g := range e.groups {
		if !e.wants("export-group", "export-rss") {
			break
		}
		f, err := e.group(ctx, g)
		if err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	if e.wants("end-to-end") {
		return found, e.endToEnd(ctx)
	}
	return found, nil
}

// client speaks to the server. Kick-off to manifest is measured with a wait
// that is a fiftieth of the time gone by, as servers speak of whole seconds.
func (e exporting) client(wait func(context.Context, time.Duration) error) (*fetch.Client, error) {
	return fetch.New(fetch.Config{Base: e.server.base, Wait: wait, Parallel: parallel})
}

func impatient(began time.Time) func(context.Context, time.Duration) error {
	return func(ctx context.Context, _ time.Duration) error {
		pause(ctx, min(max(time.Since(began)/50, time.Millisecond), 50*time.Millisecond))
		return ctx.Err()
	}
}

// ready kicks an export off and waits for its manifest.
func (e exporting) ready(ctx context.Context, r fetch.Request) (fetch.Completed, time.Duration, error) {
	pause(ctx, apart)
	began := time.Now()
	client, err := e.client(impatient(began))
	if err != nil {
		return fetch.Completed{}, 0, err
	}
	url, err := client.Kickoff(ctx, r)
	if err != nil {
		return fetch.Completed{}, 0, err
	}
	done, err := client.Poll(ctx, url)
	return done, time.Since(began), err
}

// download fetches the files of an export, and verifies them.
func (e exporting) download(ctx context.Context, done fetch.Completed, dir string) (fetch.Report, error) {
	client, err := e.client(nil)
	if err != nil {
		return fetch.Report{}, err
	}
	return client.Download(ctx, done, dir)
}

func (e exporting) drop(ctx context.Context, statusURL string) error {
	client, err := e.client(nil)
	if err != nil {
		return err
	}
	return client.Delete(ctx, statusURL)
}

// system measures the export of everything, and the download of it.
func (e exporting) system(ctx context.Context) error {
	var selects, exports []time.Duration
	var done fetch.Completed
	var n int64
	for i := range rounds {
		if i > 0 {
			if err := e.drop(ctx, done.StatusURL); err != nil {
				return err
			}
		}
		rows, limit, err := e.db.bodies(ctx, e.home, filepath.Join(e.work, "bodies"))
		if err != nil {
			return err
		}
		var took time.Duration
		if done, took, err = e.ready(ctx, fetch.Request{Level: fetch.LevelSystem}); err != nil {
			return err
		}
		if n = exported(done); n != rows {
			e.say("the export has %d resources, and the database %d", n, rows)
		}
		selects, exports = append(selects, limit), append(exports, took)
	}
	e.add("export", rate(n, median(exports)), perSecond, rate(n, median(selects)), e.db.besideBodies)
	return errors.Join(e.downloads(ctx, done), e.drop(ctx, done.StatusURL))
}

// exported counts the resources of a manifest.
func exported(done fetch.Completed) int64 {
	var n int64
	for _, f := range done.Manifest.Output {
		if f.Count != nil {
			n += *f.Count
		}
	}
	return n
}

// downloads measures the download of an export that is ready.
func (e exporting) downloads(ctx context.Context, done fetch.Completed) error {
	from, to := filepath.Join(e.work, "download"), filepath.Join(e.work, "copied")
	var copies, downloads []time.Duration
	var size int64
	for range rounds {
		began := time.Now()
		if _, err := e.download(ctx, done, from); err != nil {
			return err
		}
		downloads = append(downloads, time.Since(began))
		n, took, err := copyFiles(from, to)
		if err := errors.Join(err, os.RemoveAll(from), os.RemoveAll(to)); err != nil {
			return err
		}
		copies, size = append(copies, took), n
	}
	e.add("download", rate(size, median(downloads))/1e6, megabytes, rate(size, median(copies))/1e6, besideCopy)
	return nil
}

// endToEnd measures what a user of the client waits for, who polls as seldom
// as the server asks for.
func (e exporting) endToEnd(ctx context.Context) error {
	out, to := filepath.Join(e.work, "export"), filepath.Join(e.work, "copied")
	rows, selected, err := e.db.bodies(ctx, e.home, filepath.Join(e.work, "bodies"))
	if err != nil {
		return err
	}
	client, err := e.client(nil)
	if err != nil {
		return err
	}
	pause(ctx, apart)
	began := time.Now()
	report, err := client.Run(ctx, fetch.Request{Level: fetch.LevelSystem}, out)
	if err != nil {
		return err
	}
	took := time.Since(began)
	_, copied, err := copyFiles(out, to)
	if err := errors.Join(err, os.RemoveAll(out), os.RemoveAll(to), client.Delete(ctx, report.StatusURL)); err != nil {
		return err
	}
	e.add("end-to-end", rate(rows, took), perSecond, rate(rows, selected+copied), e.db.besideBodies+besideCopying)
	return nil
}

// group measures the export of a group, and notes what was in it.
func (e exporting) group(ctx context.Context, g group) (groupFound, error) {
	f := groupFound{group: g}
	var times []time.Duration
	for i := range groupRounds {
		done, took, err := e.ready(ctx, fetch.Request{Level: fetch.LevelGroup, Group: g.id})
		if err != nil {
			return f, err
		}
		times = append(times, took)
		if i == 0 {
			f.ids, err = e.idsOf(ctx, done)
		}
		if err := errors.Join(err, e.drop(ctx, done.StatusURL)); err != nil {
			return f, err
		}
	}
	f.took = median(times)
	return f, nil
}

// idsOf downloads an export and lists what is in it.
func (e exporting) idsOf(ctx context.Context, done fetch.Completed) ([]fhir.ID, error) {
	dir := filepath.Join(e.work, "group")
	report, err := e.download(ctx, done, dir)
	var ids []fhir.ID
	for i := 0; err == nil && i < len(report.Files); i++ {
		f := report.Files[i]
		if f.Section != fetch.SectionOutput {
			continue
		}
		err = eachLine(filepath.Join(dir, f.Name), func(line []byte) error {
			ids = append(ids, fhir.ID{Type: f.Type, ID: gjson.GetBytes(line, "id").String()})
			return nil
		})
	}
	return ids, errors.Join(err, os.RemoveAll(dir))
}

// groupRows puts the reading of the same resources beside each group. The
// server has ended, as a data directory is one process's at a time.
func (b *bench) groupRows(ctx context.Context, found []groupFound) error {
	if len(found) == 0 {
		return nil
	}
	st, err := b.db.open(ctx, b.home)
	if err != nil {
		return err
	}
	for i := 0; err == nil && i < len(found); i++ {
		var times []time.Duration
		for round := 0; err == nil && round < groupRounds; round++ {
			var took time.Duration
			took, err = getAll(ctx, st, found[i].ids)
			times = append(times, took)
		}
		b.add("export-group/"+found[i].id, inMilliseconds(found[i].took), milliseconds, inMilliseconds(median(times)), b.db.besideGroup(found[i].id))
	}
	return errors.Join(err, st.Close())
}

// getPage is how many resources are read with one call.
const getPage = 500

func getAll(ctx context.Context, st store.Reader, ids []fhir.ID) (time.Duration, error) {
	began := time.Now()
	for len(ids) > 0 {
		n := min(getPage, len(ids))
		if _, err := st.Get(ctx, store.Tenant(auth.Local().Tenant), ids[:n]...); err != nil {
			return 0, err
		}
		ids = ids[n:]
	}
	return time.Since(began), nil
}

// apart is how long to wait before a kick-off so that it has a second of its
// own: T is a whole second, and one that comes in the second of another, with a
// write between them, waits for that second to pass. What is measured is the
// work.
const apart = 1100 * time.Millisecond
