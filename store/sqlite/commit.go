package sqlite

import (
	"context"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// tx is the transaction of a group of requests. They share one tick a tenant.
type tx struct {
	w       *writer
	conn    *sqlite.Conn
	now     store.Tick
	ticks   map[int64]store.Tick // of each tenant that commits in this group
	clocks  map[int64]store.Tick // what the tenant's clock will be
	next    map[space]int64
	touched map[touch]bool // by requests of this group that went through
	mine    []touch        // by the present request
}

// touch is a resource that a request wrote.
type touch struct {
	space space
	id    string
}

func newTx(w *writer) *tx {
	return &tx{
		w: w, conn: w.conn, now: store.TickOf(w.cfg.Now()),
		ticks: map[int64]store.Tick{}, clocks: map[int64]store.Tick{},
		next: map[space]int64{}, touched: map[touch]bool{},
	}
}

// clock is the tenant's clock as this group will leave it.
func (t *tx) clock(tenant int64) store.Tick {
	if at, ok := t.clocks[tenant]; ok {
		return at
	}
	return t.w.clocks[tenant]
}

// tick is the group's tick for a tenant: past all its versions and barriers
// of earlier groups. A barrier within the group is answered after its commit,
// so what shares the group with it may be at or before it.
func (t *tx) tick(tenant int64) store.Tick {
	at, ok := t.ticks[tenant]
	if !ok {
		at = max(t.now, t.w.clocks[tenant]+1)
		t.ticks[tenant] = at
		t.clocks[tenant] = max(at, t.clock(tenant))
	}
	return at
}

// key is a new key of a space.
func (t *tx) key(s space) int64 {
	next, ok := t.next[s]
	if !ok {
		if next, ok = t.w.spaces[s]; !ok {
			next = s.first()
		}
	}
	t.next[s] = next + 1
	return next
}

func (t *tx) saveCounters() error {
	for no, at := range t.clocks {
		if err := t.exec(`UPDATE tenant SET clock=? WHERE no=?`, int64(at), no); err != nil {
			return err
		}
	}
	for s, next := range t.next {
		err := t.exec(`INSERT INTO space (no, next) VALUES (?, ?) ON CONFLICT DO UPDATE SET next=excluded.next`, int64(s), next)
		if err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement with integer arguments.
func (t *tx) exec(query string, args ...int64) error {
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return err
	}
	for i, a := range args {
		stmt.BindInt64(i+1, a)
	}
	_, err = stmt.Step()
	return err
}

// Commit is store.Committer.
func (s *Store) Commit(ctx context.Context, t store.Tenant, b store.Batch) ([]store.Applied, error) {
	bytes := 0
	seen := make(map[fhir.ID]bool, len(b.Puts))
	for _, p := range b.Puts {
		bytes += len(p.Resource.Body)
		if seen[p.Resource.ID] {
			return nil, store.ErrConflict
		}
		seen[p.Resource.ID] = true
	}
	if bytes > s.cfg.MaxBatch {
		return nil, store.ErrTooLarge
	}
	var out []store.Applied
	err := s.w.do(ctx, bytes, func(x *tx) error {
		out = make([]store.Applied, 0, len(b.Puts))
		c := committing{tx: x, tenant: t, batch: b}
		for _, p := range b.Puts {
			a, err := c.put(p)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		return c.link()
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// committing is one batch on its way into a transaction.
type committing struct {
	*tx
	tenant store.Tenant
	batch  store.Batch
	links  []link
}

func (c *committing) put(p store.Put) (store.Applied, error) {
	sp, err := c.space(c.tenant, p.Resource.ID.Type)
	if err != nil {
		return store.Applied{}, err
	}
	at := touch{sp, p.Resource.ID.ID}
	if c.touched[at] {
		return store.Applied{}, errNextGroup
	}
	if !p.Delete && (p.Expect == store.Any || p.Expect == store.Absent) {
		if a, ok, err := c.putNew(sp, p); ok || err != nil {
			c.mine = append(c.mine, at)
			return a, err
		}
	}
	old, err := current(c.conn, sp, p.Resource.ID.ID)
	if err != nil {
		return store.Applied{}, err
	}
	if p.Expect == store.Absent || p.Expect > 0 && p.Expect != old.n {
		return store.Applied{}, store.ErrConflict
	}
	same := p.Delete == old.deleted && (p.Delete || string(old.body) == string(p.Resource.Body))
	if same && old.n > 0 || p.Delete && old.n == 0 {
		return store.Applied{Key: keyText(old.key), N: old.n, At: old.from, Unchanged: true}, nil
	}
	c.mine = append(c.mine, at)
	return c.replace(sp, old, p)
}

// putNew writes version 1 of a resource that was not there before; ok is
// false, and nothing written, if it was.
func (c *committing) putNew(sp space, p store.Put) (a store.Applied, ok bool, err error) {
	next := c.next[sp]
	key := c.key(sp)
	stmt, err := c.conn.Prepare(`INSERT OR IGNORE INTO current (space, id, key) VALUES (?, ?, ?)`)
	if err != nil {
		return a, false, err
	}
	stmt.BindInt64(1, int64(sp))
	bindID(stmt, 2, p.Resource.ID.ID)
	stmt.BindInt64(3, key)
	if _, err := stmt.Step(); err != nil {
		return a, false, err
	}
	if c.conn.Changes() == 0 {
		if c.next[sp] = next; next == 0 {
			delete(c.next, sp)
		}
		return a, false, nil
	}
	v := row{key: key, n: 1, from: c.tick(sp.tenant()), patients: packPatients(search.Compartments(p.Terms))}
	if v.owner, err = c.owner(p.Owner); err != nil {
		return a, false, err
	}
	return store.Applied{Key: keyText(key), N: 1, At: v.from, Created: true}, true, c.insert(sp, v, p)
}

// replace closes a version and writes the next.
func (c *committing) replace(sp space, old row, p store.Put) (store.Applied, error) {
	v := row{key: c.key(sp), n: old.n + 1, from: c.tick(sp.tenant()), deleted: p.Delete, owner: old.owner}
	if p.Delete {
		v.patients = old.patients
	} else {
		v.patients = packPatients(search.Compartments(p.Terms))
	}
	if err := c.exec(`UPDATE version SET "to"=? WHERE key=?`, int64(v.from), old.key); err != nil {
		return store.Applied{}, err
	}
	stmt, err := c.conn.Prepare(`UPDATE current SET key=? WHERE space=? AND id=?`)
	if err != nil {
		return store.Applied{}, err
	}
	stmt.BindInt64(1, v.key)
	stmt.BindInt64(2, int64(sp))
	bindID(stmt, 3, p.Resource.ID.ID)
	if _, err := stmt.Step(); err != nil {
		return store.Applied{}, err
	}
	a := store.Applied{Key: keyText(v.key), N: v.n, At: v.from, Created: old.deleted && !p.Delete}
	return a, c.insert(sp, v, p)
}

func (c *committing) insert(sp space, v row, p store.Put) error {
	stmt, err := c.conn.Prepare(`INSERT INTO version
		(key, space, id, n, "from", deleted, owner, extraction, batch, meta_at, patients, body, detached)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, v.key)
	stmt.BindInt64(2, int64(sp))
	bindID(stmt, 3, p.Resource.ID.ID)
	stmt.BindInt64(4, v.n)
	stmt.BindInt64(5, int64(v.from))
	stmt.BindBool(6, v.deleted)
	stmt.BindInt64(7, v.owner)
	stmt.BindInt64(8, search.Extraction)
	stmt.BindBytes(9, c.batch.ID[:])
	stmt.BindInt64(10, int64(p.Resource.MetaAt))
	if stmt.BindNull(11); v.patients != nil {
		stmt.BindBytes(11, v.patients)
	}
	stmt.BindBool(13, p.Detached)
	if stmt.BindNull(12); p.Delete {
		c.links = appendLinks(c.links, v.key, compartments(v.patients))
	} else {
		stmt.BindBytes(12, p.Resource.Body)
		c.links = appendLinks(c.links, v.key, p.Terms)
	}
	_, err = stmt.Step()
	return err
}

// link writes the links of the batch, in the order of the index.
func (c *committing) link() error {
	slices.SortFunc(c.links, link.compare)
	for _, l := range c.links {
		if err := c.insertLink(l); err != nil {
			return err
		}
	}
	return nil
}

// Barrier is store.Committer.
func (s *Store) Barrier(ctx context.Context, t store.Tenant, round time.Duration) (store.Tick, error) {
	for {
		var at store.Tick
		var early time.Duration
		err := s.w.do(ctx, 0, func(x *tx) error {
			no, err := x.tenant(t)
			if err != nil {
				return err
			}
			if at, early = store.BarrierAt(x.now, x.clock(no), round); early == 0 {
				x.clocks[no] = at
			}
			return nil
		})
		if err != nil || early == 0 {
			return at, err
		}
		if err := wait(ctx, early); err != nil {
			return 0, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Clock is store.Committer.
func (s *Store) Clock(ctx context.Context, t store.Tenant) (store.Tick, error) {
	conn, put, err := s.reader(ctx)
	if err != nil {
		return 0, err
	}
	defer put()
	var at store.Tick
	err = each(conn, `SELECT clock FROM tenant WHERE name=?`, func(st *sqlite.Stmt) { at = store.Tick(st.ColumnInt64(0)) }, string(t))
	return at, orContext(ctx, err)
}
