package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/store"
)

const (
	// maxBatch is how many entries are written at once, and so how many numbers
	// a crash leaves empty at most.
	maxBatch = 1000
	// patience is how long the store may take to reserve numbers.
	patience = time.Minute
)

// batch is entries that are written and synced together.
type batch struct {
	entries []entry
	done    chan struct{} // is closed when it was written, or could not be
	err     error
}

// Enter enters resources of a tenant whose versions up to a tick are going to be
// erased: all of them, or those that say something of others that go. When it
// returns, they are on disk. Those who call it at the same time share a sync.
// Entering something again adds no meaning. After an error nothing may be
// erased; the call may be made again.
func (l *Ledger) Enter(ctx context.Context, t store.Tenant, at store.Tick, ids []fhir.ID, entire bool) error {
	what := detached
	if entire {
		what = erased
	}
	for page := range slices.Chunk(ids, maxBatch) {
		es := make([]entry, len(page))
		for i, id := range page {
			es[i] = entry{mac(l.key, t, id), at, what}
		}
		if err := l.enter(ctx, es); err != nil {
			return err
		}
	}
	return nil
}

// enter adds entries to a batch, and waits until somebody has written that; the
// first of those who wait writes for all.
func (l *Ledger) enter(ctx context.Context, es []entry) error {
	b := l.add(es)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case l.turn <- struct{}{}:
	}
	defer func() { <-l.turn }()
	if b.isDone() {
		return b.err
	}
	l.mu.Lock()
	if l.pending == b {
		l.pending = nil
	}
	l.mu.Unlock()
	b.err = l.write(ctx, b.entries)
	close(b.done)
	return b.err
}

// add has entries written with the others that wait.
func (l *Ledger) add(es []entry) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil || len(l.pending.entries)+len(es) > maxBatch {
		l.pending = &batch{done: make(chan struct{})}
	}
	l.pending.entries = append(l.pending.entries, es...)
	return l.pending
}

func (b *batch) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// errNotJoined is what happens before Join.
var errNotJoined = errors.New("ledger: it was not held against a store")

// write reserves numbers for entries, and writes them. That one of those who
// wait for it gives up does not end it.
func (l *Ledger) write(ctx context.Context, es []entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if l.store == nil {
		return errNotJoined
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	l.asked = store.Ledger{ID: l.id, From: l.last, To: l.last + int64(len(es))}
	if err := l.reserve(ctx); err != nil {
		return err
	}
	return l.append(es)
}

// settle brings the file to where the store was asked to take it for: after a
// crash, or after an error of the store or of the disk.
func (l *Ledger) settle(ctx context.Context) error {
	if l.asked.To <= l.last {
		return l.broken
	}
	if err := l.reserve(ctx); err != nil {
		return err
	}
	for l.last < l.asked.To {
		none := slices.Repeat([]entry{{kind: empty}}, int(min(l.asked.To-l.last, maxBatch)))
		if err := l.append(none); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) reserve(ctx context.Context) error {
	err := l.store.Reserve(ctx, l.asked)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("ledger: the database does not know of the last entries: it was restored while this server ran, or another one has a copy of the ledger; stop this server, and start it again: %w", err)
	}
	if err != nil {
		return fmt.Errorf("ledger: reserve numbers: %w", err)
	}
	return nil
}

// append writes entries behind the last, and syncs them. What an error leaves
// of them is written over by the next.
func (l *Ledger) append(es []entry) error {
	if l.broken != nil {
		return l.broken
	}
	b := make([]byte, 0, len(es)*recordSize)
	for i, e := range es {
		b = l.appendRecord(b, l.last+1+int64(i), e)
	}
	if _, err := l.f.WriteAt(b, offsetOf(l.last+1)); err != nil {
		return fmt.Errorf("ledger: write: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		l.broken = fmt.Errorf("ledger: sync: nothing more is entered until it was opened again: %w", err)
		return l.broken
	}
	l.last += int64(len(es))
	return nil
}
