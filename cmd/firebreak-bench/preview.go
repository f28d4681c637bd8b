package main

import (
	"context"
	"fmt"
	"time"

	"firebreak/operations/fetch"

	"github.com/tidwall/gjson"
)

// previewRate is the budget of previews, in resources a second: 200,000 of them
// in five seconds.
const previewRate = 40_000

const besidePreview = "the budget, of 200,000 in 5 s"

// previews measures showing what a purge of everybody in the set would do, which
// touches nothing.
func (b *bench) previews(ctx context.Context) error {
	all, err := b.set.records()
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range all[:min(len(all), mostListed)] {
		ids = append(ids, r.patient)
	}
	if len(ids) == 0 {
		b.note("Previews were not measured: the set has no patients.")
		return nil
	}
	if b.opts.Copies > 1 {
		ids = newRenamer(b.opts.Copies - 1).all(ids)
	}
	body, err := bulkBody(ids, parameter{Name: "_preview", Code: "true"})
	if err != nil {
		return err
	}
	bytes, scan, err := b.scanned(ctx)
	if err != nil {
		return err
	}
	return b.served(ctx, func(srv *server) error {
		shown, took, err := b.preview(ctx, srv, body)
		if err != nil {
			return err
		}
		total := shown.Get(`parameter.#(name=="total").part`)
		count := func(name string) int64 { return total.Get(fmt.Sprintf(`#(name==%q).valueInteger`, name)).Int() }
		b.say("%d resources of %d patients were shown in %s ms", count("resources"), len(ids), figure(inMilliseconds(took)))
		b.add("preview", rate(count("resources"), took), perSecond, previewRate, besidePreview)
		b.add("preview-bytes", rate(count("bytes"), took)/1e6, megabytes, rate(bytes, scan)/1e6, b.db.besideScan)
		return nil
	})
}

// mostListed is how many patients one call can name.
const mostListed = 10_000

// preview asks for a preview, and waits for it.
func (b *bench) preview(ctx context.Context, srv *server, body []byte) (shown gjson.Result, took time.Duration, err error) {
	client, err := fetch.New(fetch.Config{Base: srv.base, HTTP: newHTTPClient(1), Wait: seldom})
	if err != nil {
		return shown, 0, err
	}
	began := time.Now()
	status, err := client.Start(ctx, fetch.Task{Path: "/Patient/$bulk-purge", Body: body})
	if err != nil {
		return shown, 0, err
	}
	last, err := client.Await(ctx, status, func([]byte) bool { return true })
	took = time.Since(began)
	entry := gjson.GetBytes(last, "entry.0")
	if says := entry.Get("response.status").String(); err == nil && says != "200 OK" {
		err = fmt.Errorf("the preview is %q", says)
	}
	return entry.Get("resource"), took, err
}
