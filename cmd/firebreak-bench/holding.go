package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/fetch"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

const (
	besideLastBatch = "until the last batch was done, as in purge-holding"
	besideOneID     = "the same with one id"
	besideReadAll   = "SELECT body of the same versions"
)

// holding is a client beside the operator, whose is all else, and what it owns.
type holding struct {
	*bench
	owned   owned
	clients string // the file of clients
	as      http.Header
	server  *server
}

// holdings measures removing all that a client owns; reading every body for
// what was removed, here and for a patient; and a long list of patients, most of
// whom are not there.
func (b *bench) holdings(ctx context.Context) error {
	own, ok, err := b.chooseOwned()
	if err != nil {
		return err
	}
	if !ok {
		b.note("Purges of a holding were not measured: it takes %d patients besides those of the resources that are created.", fewestOwned)
		return nil
	}
	h := holding{bench: b, owned: own, clients: filepath.Join(b.work, "clients.json")}
	if h.as, err = b.product.addClient(ctx, h.clients, "bench"); err != nil {
		return err
	}
	if err := h.served(ctx, holding.create); err != nil {
		return err
	}
	for _, part := range []struct {
		rows []string
		run  func(context.Context) error
	}{
		{[]string{"purge-read"}, h.full},
		{[]string{"purge-list", "purge-list-accepted"}, h.list},
		{[]string{"purge-holding", "purge-holding-end", "purge-holding-read"}, h.all},
	} {
		if !b.wants(part.rows...) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.rows[0], err)
		}
	}
	return nil
}

// served runs f beside a server that the client may ask.
func (h holding) served(ctx context.Context, f func(holding, context.Context) error) (err error) {
	h.server, err = h.product.serve(ctx, h.home, noOperator, "--auth=clients", "--clients", h.clients)
	if err != nil {
		return err
	}
	return errors.Join(f(h, ctx), h.server.stop())
}

// full measures the reading at the end of the purge of one patient, which looks
// into every body.
func (h holding) full(ctx context.Context) error {
	var done asked
	err := h.served(ctx, func(h holding, ctx context.Context) (err error) {
		done, err = h.bulk(ctx, h.owned.full, parameter{Name: "_verify", Code: "full"})
		return err
	})
	if err != nil {
		return err
	}
	return h.addReading(ctx, "purge-read", done.id)
}

// list measures the purge of many patients by one call.
func (h holding) list(ctx context.Context) error {
	ids := h.owned.listed(h.opts.List)
	get, err := h.getPatients(ctx, ids)
	if err != nil {
		return err
	}
	return h.served(ctx, func(h holding, ctx context.Context) error {
		var ones []time.Duration
		for range rounds {
			one, err := h.bulk(ctx, ids[len(ids)-1:])
			if err != nil {
				return err
			}
			ones = append(ones, one.accepted)
		}
		all, err := h.bulk(ctx, ids)
		if err != nil {
			return err
		}
		h.note("Of the %d patients of purge-list %d were there.", len(ids), min(len(ids), len(h.owned.there)))
		h.add("purge-list", inMilliseconds(all.ended), milliseconds, inMilliseconds(get), besideGet)
		h.add("purge-list-accepted", inMilliseconds(all.accepted), milliseconds, inMilliseconds(median(ones)), besideOneID)
		return nil
	})
}

// getPatients is how long it takes to read patients by id.
func (h holding) getPatients(ctx context.Context, patients []string) (took time.Duration, err error) {
	st, err := h.db.open(ctx, h.home)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var ids []fhir.ID
	for _, p := range patients {
		ids = append(ids, fhir.ID{Type: "Patient", ID: p})
	}
	var times []time.Duration
	for range rounds {
		took, err := getAll(ctx, st, ids)
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	return median(times), nil
}

// all measures the purge of all that the client owns still.
func (h holding) all(ctx context.Context) error {
	var kept place
	var err error
	if h.wants("purge-holding") {
		if kept, err = h.db.keep(ctx, h.home); err != nil {
			return err
		}
	}
	var job string
	var done purged
	if err := h.served(ctx, func(h holding, ctx context.Context) (err error) {
		job, done, err = h.purge(ctx)
		return err
	}); err != nil {
		return err
	}
	h.say("%d versions, of one client", done.versions)
	if h.wants("purge-holding") {
		n, took, err := h.db.removeGone(ctx, kept, h.home)
		if err != nil {
			return err
		}
		h.add("purge-holding", done.rate(), versionsRate, rate(n, took), h.db.besidePurge)
		if err := h.db.drop(ctx, kept); err != nil {
			return err
		}
	}
	h.add("purge-holding-end", rate(done.versions, done.outcome), versionsRate, done.rate(), besideLastBatch)
	if !h.wants("purge-holding-read") {
		return nil
	}
	return h.addReading(ctx, "purge-holding-read", job)
}

// purge asks for it. Of what it gives, patients is until the last batch was
// done.
func (h holding) purge(ctx context.Context) (job string, done purged, err error) {
	a, err := h.ask(ctx, fetch.Task{Path: "/$purge", Body: []byte(`{"resourceType":"Parameters"}`)}, "/$purge/", func(body []byte, after time.Duration) bool {
		if done.patients == 0 && batchesDone(body) {
			done.patients = after
		}
		return gjson.GetBytes(body, outcomePath).Exists()
	})
	if err != nil {
		return "", done, err
	}
	if state := gjson.GetBytes(a.last, `parameter.#(name=="status").valueCode`).String(); state != "succeeded" {
		return "", done, fmt.Errorf("the purge of what a client owns is %q", state)
	}
	done.outcome, done.versions = a.ended, gjson.GetBytes(a.last, `parameter.#(name=="deletedVersionsCount").valueInteger`).Int()
	return a.id, done, nil
}

// bulk purges patients by one job. The record of the job is polled, which costs
// a server little, however many they are.
func (h holding) bulk(ctx context.Context, patients []string, more ...parameter) (a asked, err error) {
	body, err := bulkBody(patients, more...)
	if err != nil {
		return a, err
	}
	a, err = h.ask(ctx, fetch.Task{Path: "/Patient/$bulk-purge", Body: body}, "/jobs/", func(body []byte, _ time.Duration) bool {
		return gjson.GetBytes(body, "ended").Exists()
	})
	if state := gjson.GetBytes(a.last, "state").String(); err == nil && state != "succeeded" {
		err = fmt.Errorf("the purge of %d patients is %q", len(patients), state)
	}
	return a, err
}

// batchesDone tells whether all batches of a holding are done.
func batchesDone(progress []byte) bool {
	of := gjson.GetBytes(progress, `parameter.#(name=="batches").part`)
	total := of.Get(`#(name=="total").valueInteger`)
	return total.Exists() && total.Int() == of.Get(`#(name=="completed").valueInteger`).Int()
}

// addReading adds the row of a job that has read every body, in bytes of bodies;
// beside it is a scan of the same bodies. No server may be running.
func (b *bench) addReading(ctx context.Context, row, job string) error {
	took, err := b.readingTook(ctx, job)
	if err != nil {
		return err
	}
	bytes, scan, err := b.scanned(ctx)
	if err != nil {
		return err
	}
	b.say("%s MB were read in %s ms", figure(float64(bytes)/1e6), figure(inMilliseconds(took)))
	b.add(row, rate(bytes, took)/1e6, megabytes, rate(bytes, scan)/1e6, b.db.besideScan)
	return nil
}

// scanned is how long a scan takes. One that takes a second is enough.
func (b *bench) scanned(ctx context.Context) (bytes int64, took time.Duration, err error) {
	var all []time.Duration
	for len(all) < rounds && took < time.Second {
		if bytes, took, err = b.db.scan(ctx, b.home); err != nil {
			return 0, 0, err
		}
		all = append(all, took)
	}
	return bytes, median(all), nil
}

// readingTook is how long the unit of a purge took that reads everything: since
// the unit before it ended, by the clock of the store.
func (b *bench) readingTook(ctx context.Context, job string) (took time.Duration, err error) {
	st, err := b.db.open(ctx, b.home)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	const finishUnit, readUnit = "2-finish", "3-read"
	us, err := st.UnitsOf(ctx, store.Tenant(auth.Local().Tenant), job, "2", 2)
	if err != nil {
		return 0, err
	}
	if len(us) != 2 || us[0].ID != finishUnit || us[1].ID != readUnit {
		return 0, errors.New("the purge has no unit that reads everything")
	}
	return us[1].Updated.Sub(us[0].Updated), nil
}
