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
	first   int64         // the number of the first of them, when it was written
	done    chan struct{} // is closed when it was written, or could not be
	err     error
}

// Enter enters resources of a tenant whose versions up to a tick are going to be
// erased: all of them, or those that say something of others that go. When it
// returns, they are on disk. Those who call it at the same time share a sync.
// Entering something again adds no meaning. After an error nothing may be
// erased; the call may be made again. It returns the numbers of the entries, one
// for each resource, in their order.
func (l *Ledger) Enter(ctx context.Context, t store.Tenant, at store.Tick, ids []fhir.ID, entire bool) ([]int64, error) {
	what := detached
	if entire {
		what = erased
	}
	es := make([]entry, len(ids))
	for i, id := range ids {
		es[i] = entry{mac(l.key, t, id), at, what}
	}
	return l.enterAll(ctx, es)
}

// Revoke takes entries back, by their numbers: nothing was erased for them, and
// nothing will be. What other entries say of the same resources stands, from
// before and from after. When it returns, that is on disk.
func (l *Ledger) Revoke(ctx context.Context, numbers []int64) error {
	numbers = slices.Sorted(slices.Values(numbers))
	var es []entry
	for from := 0; from < len(numbers); {
		to := from + 1
		for to < len(numbers) && numbers[to] <= numbers[to-1]+1 {
			to++
		}
		es = append(es, revocation(numbers[from], numbers[to-1]))
		from = to
	}
	_, err := l.enterAll(ctx, es)
	return err
}

func (l *Ledger) enterAll(ctx context.Context, es []entry) ([]int64, error) {
	numbers := make([]int64, 0, len(es))
	for page := range slices.Chunk(es, maxBatch) {
		first, err := l.enter(ctx, page)
		if err != nil {
			return nil, err
		}
		for i := range page {
			numbers = append(numbers, first+int64(i))
		}
	}
	return numbers, nil
}

// enter adds entries to a batch, waits until somebody has written that, and
// returns the number of the first of them; the first of those who wait writes
// for all.
func (l *Ledger) enter(ctx context.Context, es []entry) (first int64, err error) {
	b, before := l.add(es)
	select {
	case <-b.done:
		return b.first + before, b.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case l.turn <- struct{}{}:
	}
	defer func() { <-l.turn }()
	if !b.isDone() {
		l.finish(ctx, b)
	}
	return b.first + before, b.err
}

// finish writes a batch, of which nobody adds to it any more.
func (l *Ledger) finish(ctx context.Context, b *batch) {
	l.mu.Lock()
	if l.pending == b {
		l.pending = nil
	}
	l.mu.Unlock()
	b.first, b.err = l.write(ctx, b.entries)
	close(b.done)
}

// add has entries written with the others that wait; before are how many of
// them.
func (l *Ledger) add(es []entry) (b *batch, before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil || len(l.pending.entries)+len(es) > maxBatch {
		l.pending = &batch{done: make(chan struct{})}
	}
	before = int64(len(l.pending.entries))
	l.pending.entries = append(l.pending.entries, es...)
	return l.pending, before
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

// write reserves numbers for entries, writes them, and returns the first of the
// numbers. That one of those who wait for it gives up does not end it.
func (l *Ledger) write(ctx context.Context, es []entry) (first int64, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if l.store == nil {
		return 0, errNotJoined
	}
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	l.asked = store.Ledger{ID: l.id, From: l.last, To: l.last + int64(len(es))}
	if err := l.reserve(ctx); err != nil {
		return 0, err
	}
	first = l.last + 1
	return first, l.append(es)
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
