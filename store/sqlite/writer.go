package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// maxGroup is how many bytes of bodies are committed together at most, unless
// one request alone has more.
const maxGroup = 8 << 20

// errNextGroup is what a request answers that must not share the transaction,
// and so the tick, of those before it in the group.
var errNextGroup = errors.New("sqlite: wait for the next group")

// request is one piece of work for the writer.
type request struct {
	ctx   context.Context
	bytes int
	run   func(*tx) error
	done  chan error
	alone bool // run it outside of transactions

	refused error // what run answered, while its group is under way
}

// writer owns the one connection that writes. Its loop takes what waits,
// applies it in one transaction, commits, and only then answers.
type writer struct {
	conn     *sqlite.Conn
	cfg      Config
	requests chan *request
	stopped  chan struct{}
	copyWAL  chan struct{} // a hint that there is much to copy
	wal      string        // path of the WAL
	grown    int           // bytes of bodies since the last hint
	pinned   atomic.Bool   // somebody reads for long, so that the WAL cannot start over

	dict   *dictionary // names, those of the open transaction too
	dirty  bool        // dict is not published yet, and may be changed
	spaces map[space]int64
	clocks map[int64]store.Tick
	owners map[store.Owner]int64
	// newOwners: owners has some of the open transaction.
	newOwners bool

	committed atomic.Pointer[dictionary]
	mu        sync.RWMutex
	closed    bool
}

func newWriter(conn *sqlite.Conn, cfg Config) (*writer, error) {
	w := &writer{
		conn: conn, cfg: cfg, wal: filepath.Join(cfg.Dir, File+"-wal"),
		requests: make(chan *request, 256), stopped: make(chan struct{}), copyWAL: make(chan struct{}, 1),
	}
	if err := w.reload(); err != nil {
		return nil, err
	}
	w.publish()
	return w, nil
}

// do has the writer run f and waits until it is durable. f may run twice.
func (w *writer) do(ctx context.Context, bytes int, f func(*tx) error) error {
	return w.ask(ctx, &request{ctx: ctx, bytes: bytes, run: f, done: make(chan error, 1)})
}

// doAlone has the writer run f when nothing else is under way, and outside of
// transactions.
func (w *writer) doAlone(ctx context.Context, f func(conn *sqlite.Conn) error) error {
	run := func(x *tx) error { return f(x.conn) }
	return w.ask(ctx, &request{ctx: ctx, run: run, done: make(chan error, 1), alone: true})
}

func (w *writer) ask(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.RLock()
	if w.closed {
		w.mu.RUnlock()
		return store.ErrClosed
	}
	select {
	case w.requests <- r:
		w.mu.RUnlock()
	case <-ctx.Done():
		w.mu.RUnlock()
		return ctx.Err()
	}
	return <-r.done // not ctx: once it is taken, the caller must know how it ended
}

// close stops taking requests and waits for those taken; false if it was closed.
func (w *writer) close() bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.closed = true
	close(w.requests)
	w.mu.Unlock()
	<-w.stopped
	return true
}

func (w *writer) isClosed() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.closed
}

func (w *writer) loop() {
	defer close(w.stopped)
	var next *request
	for {
		if next == nil {
			var ok bool
			if next, ok = <-w.requests; !ok {
				return
			}
		}
		next = w.group(next)
	}
}

// group commits first and what else waits. It returns a request that must
// wait for the next group, if there is one.
func (w *writer) group(first *request) (left *request) {
	t, began := newTx(w), w.cfg.Now()
	if first.alone {
		first.done <- first.run(t)
		return nil
	}
	if err := w.begin(); err != nil {
		first.done <- err
		return nil
	}
	var applied, refused []*request
	bytes := 0
	for r := first; r != nil; r = w.waiting(bytes) {
		if r.alone {
			left = r
			break
		}
		err := w.apply(t, r)
		if w.conn.AutocommitEnabled() {
			w.lost(slices.Concat(applied, refused, []*request{r}), err)
			return nil
		}
		if errors.Is(err, errNextGroup) {
			left = r
			break
		}
		if err != nil {
			r.refused = err
			refused = append(refused, r)
			continue
		}
		bytes += r.bytes
		applied = append(applied, r)
	}
	err := w.commit(t)
	if w.cfg.Observe != nil && err == nil && len(applied) > 0 {
		w.cfg.Observe(len(applied), bytes, w.cfg.Now().Sub(began))
	}
	for _, r := range applied {
		r.done <- err
	}
	// What refuses a request may be another's work in this group: whoever looks
	// for that now finds it.
	for _, r := range refused {
		r.done <- cmp.Or(err, r.refused)
	}
	w.tendWAL(bytes)
	return left
}

// lost answers a group whose transaction SQLite has rolled back as a whole,
// which it does when the disk is full or cannot be written.
func (w *writer) lost(group []*request, err error) {
	err = errors.Join(fmt.Errorf("sqlite: the transaction was rolled back: %w", err), w.reload())
	for _, r := range group {
		r.done <- err
	}
}

func (w *writer) begin() error {
	return full(step(w.conn, `BEGIN IMMEDIATE`))
}

// waiting takes the next request without waiting for one.
func (w *writer) waiting(bytes int) *request {
	if bytes >= maxGroup {
		return nil
	}
	select {
	case r := <-w.requests: // nil when closed
		return r
	default:
		return nil
	}
}

// apply runs a request in a savepoint.
func (w *writer) apply(t *tx, r *request) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := step(w.conn, `SAVEPOINT request`); err != nil {
		return full(err)
	}
	t.mine = t.mine[:0]
	err := r.run(t)
	if err == nil {
		for _, k := range t.mine {
			t.touched[k] = true
		}
		return full(step(w.conn, `RELEASE request`))
	}
	return errors.Join(full(err), w.undo())
}

// undo takes back what a request wrote, and the names that it added.
func (w *writer) undo() error {
	if w.conn.AutocommitEnabled() {
		return nil // SQLite has rolled back more than that: see lost
	}
	if err := step(w.conn, `ROLLBACK TO request`); err != nil {
		return err
	}
	if err := step(w.conn, `RELEASE request`); err != nil || !w.dirty && !w.newOwners {
		return err
	}
	return w.reloadNames()
}

// commit makes the group durable; on an error nothing of it is there.
func (w *writer) commit(t *tx) error {
	err := t.saveCounters()
	if err == nil {
		err = step(w.conn, `COMMIT`)
	}
	if err != nil {
		if !w.conn.AutocommitEnabled() {
			err = errors.Join(err, step(w.conn, `ROLLBACK`))
		}
		return errors.Join(full(fmt.Errorf("sqlite: commit: %w", err)), w.reload())
	}
	maps.Copy(w.clocks, t.clocks)
	maps.Copy(w.spaces, t.next)
	w.publish()
	return nil
}

// full marks an error of a full disk as such.
func full(err error) error {
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// step runs a statement without result.
func step(conn *sqlite.Conn, query string) error {
	stmt, err := conn.Prepare(query)
	if err != nil {
		return err
	}
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}
