// Package engine runs jobs: it claims their units, keeps the leases, ends the
// attempts, settles the jobs, and removes those that are dismissed or expired.
// It knows nothing of FHIR, of HTTP, or of any single operation: handlers are
// registered by kind.
//
// A worker has a unit under a lease, which a goroutine of its own renews. A
// lease that cannot be renewed, because another has the unit or because cancel
// was requested, ends the handler's context. Whatever happens, the unit is
// claimable again when the lease has run out; and as every end is fenced by
// the attempt, a worker that lost its lease can finish nothing.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// Handler does the work of one kind of job.
type Handler interface {
	// Run does one attempt at a unit. It returns how the unit ends, or an
	// error, after which it is tried again unless it is a *job.Failure that is
	// permanent. ctx ends when the attempt is to be broken off. Run may be
	// called again for the same unit, so what it leaves must bear that.
	Run(ctx context.Context, j job.Job, u job.Unit, f store.Fence) (job.UnitEnd, error)
	// Ended is told of ends, to remove the bytes of end.Drop. A crash may come
	// before it; then they are left to Sweep. What they are, State says:
	//
	//   - Succeeded: what the attempt replaced. The end was committed.
	//   - Queued or Failed: what an attempt wrote that put itself back or
	//     failed, or that succeeded and was put back as what it read is being
	//     erased. No record names them, and none will.
	//   - "": what an attempt wrote that was fenced. They may be on record after
	//     all: the unit may have been ended by this very attempt, and the answer
	//     lost.
	//
	// Of ends that did not succeed it is told only if something was written.
	Ended(ctx context.Context, end job.UnitEnd) error
	// Sweep removes what is left outside the store that nothing in it names:
	// of crashes, and of attempts that came to nothing. It may run beside the
	// work of any job, and breaks off when ctx ends.
	Sweep(ctx context.Context) error
	// Discard removes all that the job left outside the store. It may be
	// called again.
	Discard(ctx context.Context, j job.Job) error
}

// Store is what the engine needs of a store.
type Store interface {
	store.Jobs
	store.Units
}

// Config says how an engine works.
type Config struct {
	Store    Store
	Handlers map[string]Handler
	Now      func() time.Time
	Log      *slog.Logger
	Workers  int           // units at work at once; 0: 2
	Lease    time.Duration // of units; once in it all jobs are settled; 0: 30 s
	Idle     time.Duration // how often an idle engine looks for work; 0: 1 s
	Sweep    time.Duration // how often handlers sweep, at the start too; 0: 1 h
	// Record is told of each job that expired, before anything of it goes; an
	// error keeps it, and it is told again. It may be told of one job twice.
	// nil: nobody is told.
	Record func(ctx context.Context, e job.Event) error
	// Observe is told of each attempt at a unit as it begins, and gives the
	// context for its handler and a function for its end, which is told how the
	// store has it: a State of "" where this attempt was not to end it, as it
	// is another's by now. nil: nobody is told.
	Observe func(ctx context.Context, u job.Unit) (context.Context, func(job.UnitEnd))
}

// Engine runs jobs until its context ends.
type Engine struct {
	cfg   Config
	kinds []string
	freed chan struct{} // a worker has ended

	mu   sync.Mutex
	work map[store.Fence]context.CancelCauseFunc // what is at work
	busy int
	done map[jobID]bool // jobs of which units succeeded since they were settled
	// unsettled: a job could not be settled, though its units may have ended.
	unsettled bool
	settled   time.Time // when all jobs were last to be settled
}

// jobID is a job's name.
type jobID struct {
	tenant store.Tenant
	id     string
}

// Why an attempt is broken off.
var (
	errShutdown  = errors.New("engine: shutting down")
	errCancelled = errors.New("engine: cancel was requested")
	errLost      = errors.New("engine: the lease was lost")
)

// New makes an engine; Run starts it.
func New(cfg Config) *Engine {
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	if cfg.Lease == 0 {
		cfg.Lease = 30 * time.Second
	}
	if cfg.Sweep == 0 {
		cfg.Sweep = time.Hour
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Second
	}
	if cfg.Record == nil {
		cfg.Record = func(context.Context, job.Event) error { return nil }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(ctx context.Context, _ job.Unit) (context.Context, func(job.UnitEnd)) {
			return ctx, func(job.UnitEnd) {}
		}
	}
	e := &Engine{cfg: cfg, freed: make(chan struct{}, 1), work: map[store.Fence]context.CancelCauseFunc{}, done: map[jobID]bool{}}
	for kind := range cfg.Handlers {
		e.kinds = append(e.kinds, kind)
	}
	return e
}

// Run works until ctx ends; then it breaks off what is at work, puts it back
// without counting an error, and returns.
func (e *Engine) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer func() {
		workers.Wait()
		e.settleDone(ctx)
	}()
	workers.Go(func() { e.sweeps(ctx) })
	hints := e.cfg.Store.Watch(ctx)
	for changed := true; ctx.Err() == nil; {
		if changed {
			e.attend(ctx)
		}
		for e.start(ctx, &workers) {
		}
		e.settleDone(ctx)
		changed = e.await(ctx, hints)
	}
}

// await waits until there may be something to do; false if all that happened
// is that a worker of this engine is free.
func (e *Engine) await(ctx context.Context, hints <-chan struct{}) (changed bool) {
	timer := time.NewTimer(e.pause(ctx))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-hints:
	case <-e.freed:
		return false
	case <-timer.C:
	}
	return true
}

// pause is how long to wait for an event at most: no longer than until a unit
// can be claimed, if there is a worker for it.
func (e *Engine) pause(ctx context.Context) time.Duration {
	if !e.free() {
		return e.cfg.Idle
	}
	at, err := e.cfg.Store.NextRun(ctx, e.kinds)
	if err != nil || at.IsZero() {
		return e.cfg.Idle
	}
	return min(e.cfg.Idle, max(at.Sub(e.cfg.Now()), time.Millisecond))
}

// free tells whether a worker has nothing to do.
func (e *Engine) free() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy < e.cfg.Workers
}

// start claims a unit and has it worked on; false if there is none, or no
// worker is free.
func (e *Engine) start(ctx context.Context, workers *sync.WaitGroup) bool {
	if !e.free() || ctx.Err() != nil {
		return false
	}
	u, f, err := e.cfg.Store.Claim(ctx, e.kinds, e.cfg.Lease)
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
			e.cfg.Log.Error("claim a unit", "error", err)
		}
		return false
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	e.mu.Lock()
	e.busy++
	e.work[f] = cancel
	e.mu.Unlock()
	workers.Go(func() {
		e.attempt(ctx, work, cancel, u, f)
		e.mu.Lock()
		e.busy--
		e.mu.Unlock()
		select {
		case e.freed <- struct{}{}:
		default:
		}
	})
	return true
}

// breakOff ends what this engine has at work of a job; false if that is nothing.
func (e *Engine) breakOff(t store.Tenant, jobID string) (found bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for f, cancel := range e.work {
		if f.Tenant == t && f.Job == jobID {
			cancel(errCancelled)
			found = true
		}
	}
	return found
}
