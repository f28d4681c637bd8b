package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

const (
	purgeWriters = 8
	purgeReaders = 8
	purgePace    = 500 // reads a second, which leave room for the rest

	besideDelete   = "DELETE by key of the same rows of version, current and link, 1,000 versions with each commit; the budget is 6,000"
	besideLast     = "until the last patient was done, as in purge"
	besideAlone    = "a purge with nothing beside it"
	besideNoPurge  = "the same, with as many other clients, and no purge"
	besideGetOne   = besideGet + "; the budget is 300 ms"
	besideSameSync = besideGet + "; overwriting what was erased is in the value"
)

// purging is one server that is asked for purges.
type purging struct {
	*bench
	server *server
	set    purgeSet
}

// purges measures removing the records of patients: many at once, alone and
// beside others, and one by one. It takes out of the database what the other
// rows are measured over.
func (b *bench) purges(ctx context.Context) error {
	chosen, ok, err := b.set.choosePurged()
	if err != nil {
		return err
	}
	if !ok {
		b.note("Purges were not measured: it takes %d patients besides those of the resources that are created.", fewestPurged)
		return nil
	}
	chosen = chosen.last(b.opts.Copies)
	if !b.wants("purge") {
		_, err := b.purge(ctx, chosen)
		return err
	}
	kept, err := b.db.keep(ctx, b.home)
	if err != nil {
		return err
	}
	alone, err := b.purge(ctx, chosen)
	if err != nil {
		return err
	}
	n, took, err := b.db.removeGone(ctx, kept, b.home)
	if err != nil {
		return err
	}
	b.say("%d versions were removed by all purges", n)
	b.add("purge", alone.rate(), versionsRate, rate(n, took), b.db.besidePurge)
	return b.db.drop(ctx, kept)
}

// purge runs one server for all purges, so that its memory is that of purges.
// It returns what the first one did, which has nothing beside it.
func (b *bench) purge(ctx context.Context, chosen purgeSet) (alone purged, err error) {
	get, err := b.getSingly(ctx, chosen)
	if err != nil {
		return alone, err
	}
	err = b.served(ctx, func(srv *server) error {
		p := purging{b, srv, chosen}
		var err error
		if alone, err = p.bulk(ctx, chosen.alone); err != nil {
			return err
		}
		b.say("%d versions, of the records of %d patients", alone.versions, len(chosen.alone))
		b.add("purge-outcome", rate(alone.versions, alone.outcome), versionsRate, alone.rate(), besideLast)
		if err := p.besideOthers(ctx, alone); err != nil {
			return err
		}
		if err := p.singles(ctx, get); err != nil {
			return err
		}
		peak, err := srv.peak()
		b.add("purge-rss", peak, mib, memoryBudget, besideBudget)
		return err
	})
	return alone, err
}

// getSingly is how long it takes to read what a patient has who is purged
// singly. The store must not be open.
func (b *bench) getSingly(ctx context.Context, chosen purgeSet) (took time.Duration, err error) {
	st, err := b.db.open(ctx, b.home)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var times []time.Duration
	for range rounds {
		for _, ids := range chosen.resources {
			took, err := getAll(ctx, st, ids)
			if err != nil {
				return 0, err
			}
			times = append(times, took)
		}
	}
	return median(times), nil
}

// besideOthers measures a purge beside writers and readers, and what becomes of
// these; before it and after it they are alone.
func (p purging) besideOthers(ctx context.Context, alone purged) error {
	quiet := func(ctx context.Context) error {
		pause(ctx, p.opts.For)
		return ctx.Err()
	}
	var done purged
	purge := func(ctx context.Context) (err error) {
		done, err = p.bulk(ctx, p.set.beside)
		return err
	}
	var without, with others
	for i, during := range []func(context.Context) error{quiet, purge, quiet} {
		one, err := p.others(ctx, uint64(i), during)
		if err != nil {
			return err
		}
		if i == 1 {
			with = one
			continue
		}
		without.writes.add(one.writes)
		without.reads.add(one.reads)
	}
	writes, reads := with.writes.before(done.patients), with.reads.before(done.patients)
	p.add("purge-beside", done.rate(), versionsRate, alone.rate(), besideAlone)
	p.add("purge-writes", writes.rate(), requests, without.writes.rate(), besideNoPurge)
	p.add("purge-writes-max", with.writes.at(1), milliseconds, without.writes.at(1), besideNoPurge)
	p.add("purge-reads-p99", reads.at(0.99), milliseconds, without.reads.at(0.99), besideNoPurge)
	return nil
}

// others are clients beside a purge.
type others struct{ writes, reads answers }

// others runs clients until f returns. The first error ends all.
func (p purging) others(ctx context.Context, seed uint64, f func(context.Context) error) (out others, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	over := make(chan struct{})
	var work sync.WaitGroup
	for _, c := range []struct {
		traffic
		to *answers
	}{
		{traffic{clients: purgeWriters, request: p.createAny(p.server)}, &out.writes},
		{traffic{clients: purgeReaders, request: p.readAny(p.server, p.set.stay), pace: purgePace}, &out.reads},
	} {
		c.http, c.lasts, c.until = newHTTPClient(c.clients), math.MaxInt64, over
		work.Go(func() {
			var err error
			if *c.to, err = c.run(ctx, seed); err != nil {
				stop(err)
			}
		})
	}
	if err := f(ctx); err != nil {
		stop(err)
	}
	close(over)
	work.Wait()
	return out, context.Cause(ctx)
}

// singles measures purges of one patient: a job, without its scrub, and a call
// that waits for all of it.
func (p purging) singles(ctx context.Context, get time.Duration) error {
	var jobs, calls []time.Duration
	for i := range p.set.singly {
		done, err := p.bulk(ctx, p.set.singly[i:i+1])
		if err != nil {
			return err
		}
		took, err := p.wait(ctx, p.set.sync[i])
		if err != nil {
			return err
		}
		jobs, calls = append(jobs, done.patients), append(calls, took)
	}
	p.add("purge-patient", inMilliseconds(median(jobs)), milliseconds, inMilliseconds(get), besideGetOne)
	p.add("purge-patient-sync", inMilliseconds(median(calls)), milliseconds, inMilliseconds(get), besideSameSync)
	return nil
}
