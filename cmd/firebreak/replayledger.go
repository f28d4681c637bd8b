package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"firebreak/fhir"
	"firebreak/operations/audit"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/ledger"
	"firebreak/operations/purge"
	"firebreak/store"
)

// replayCommand is "firebreak replay-ledger".
type replayCommand struct {
	storage
	Ledger string `help:"The ledger. After a backup of a database of several instances was restored, each one's ledger is to be replayed." required:"" type:"path" placeholder:"FILE"`
}

// Run is command.
func (c *replayCommand) Run(ctx context.Context, s streams) (err error) {
	l, err := ledger.Open(c.Ledger, ledger.MustExist)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	entries, err := l.Lookup()
	if err != nil {
		return err
	}
	st, err := openStore(ctx, c.storage)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	_, _ = fmt.Fprintf(s.err, "the ledger has %s entries, of %s resources\n", count(l.Last()), count(int64(entries.Len())))
	r := replayer{streams: s, store: st, ledger: l}
	if err := r.run(ctx, c.storage, entries); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "%s resources and %s versions had come back, and are gone again; nothing that the ledger has is left in %s\n",
		count(r.erased.Resources), count(r.erased.Versions), c.where())
	return nil
}

// replayer replays a ledger in all tenants.
type replayer struct {
	streams
	store  store.Store
	ledger *ledger.Ledger
	replay *purge.Replay
	erased job.Erased
}

// run replays, and tells the store when all of it is done. What it is killed at
// goes on when it is run again.
func (r *replayer) run(ctx context.Context, o storage, entries *ledger.Lookup) error {
	dir, err := openFiles(ctx, o, r.store)
	if err != nil {
		return err
	}
	exports := export.New(export.Config{Store: r.store, Files: dir, Now: time.Now, NewID: newID})
	record := audit.New(audit.Config{Store: r.store, Now: time.Now, NewID: newID, NewBatchID: newULID}).Record
	r.replay = purge.NewReplay(purge.Config{
		Store: r.store, Files: dir, Now: time.Now, NewID: newID, NewBatchID: newULID, Server: audit.Client,
		Sweep: sweepErased(exports), Parts: exports.EachPart,
		Record: record,
	}, func(t store.Tenant, id fhir.ID) purge.Known { return purge.Known(entries.Of(t, id)) })
	working, stop := context.WithCancel(ctx)
	var engines sync.WaitGroup
	e := engine.New(engine.Config{
		Store: r.store, Now: time.Now, Log: slog.New(slog.NewTextHandler(r.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Handlers: map[string]engine.Handler{purge.ReplayKind: r.replay, export.Kind: resting{exports}}, Record: record,
	})
	engines.Go(func() { e.Run(working) })
	done, err := r.all(ctx)
	stop()
	engines.Wait()
	if err != nil {
		return err
	}
	if err := r.ledger.Replayed(ctx, r.store); err != nil {
		return err
	}
	for _, j := range done {
		if err := r.store.Remove(ctx, store.Tenant(j.Tenant), j.ID); err != nil {
			return err
		}
	}
	return nil
}

// all replays in one tenant after the other.
func (r *replayer) all(ctx context.Context) (done []job.Job, err error) {
	tenants, err := r.store.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		j, err := r.replay.Start(ctx, t, store.Owner{Client: audit.Client}, r.ledger.ID())
		if err != nil {
			return nil, err
		}
		if j, err = r.await(ctx, j); err != nil {
			return nil, err
		}
		done = append(done, j)
	}
	return done, nil
}

// await waits for the end of a job, and shows how far it is.
func (r *replayer) await(ctx context.Context, j job.Job) (job.Job, error) {
	m := newMeter(r.err, "replay of "+j.Tenant, 100)
	defer m.end()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	hints := r.store.Watch(watching)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	t := store.Tenant(j.Tenant)
	for {
		now, err := r.store.Peek(ctx, t, j.ID)
		if err != nil {
			return j, err
		}
		tally, err := r.store.Tally(ctx, t, j.ID)
		if err != nil {
			return j, err
		}
		all := tally.Unfinished() + tally.Succeeded
		m.show(int64(100*tally.Succeeded/max(all, 1)), fmt.Sprintf("%s versions erased", count(tally.Erased.Versions)))
		switch {
		case now.State == job.Succeeded:
			r.erased = r.erased.Add(tally.Erased)
			return now, nil
		case now.State.Final():
			return j, fmt.Errorf("the replay of %s ended as %s: %s; run the command again", j.Tenant, now.State, whyOf(now))
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("%w; run the command again: it goes on where it was", ctx.Err())
		case <-hints:
		case <-tick.C:
		}
	}
}

func whyOf(j job.Job) string {
	if j.Error == nil {
		return "it was stopped"
	}
	return j.Error.Message
}

// resting puts the units of exports back: those that were at work when the
// backup was made may have left files, and are to go on when all is gone.
type resting struct{ *export.Export }

// restFor is for how long.
const restFor = 10 * time.Second

// Run is engine.Handler.
func (resting) Run(context.Context, job.Job, job.Unit, store.Fence) (job.UnitEnd, error) {
	return job.UnitEnd{State: job.Queued, RunAt: time.Now().Add(restFor)}, nil
}
