package mongo

import (
	"context"
	"errors"
	"sync"

	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Clock is store.Committer.
func (s *Store) Clock(ctx context.Context, t store.Tenant) (store.Tick, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	no, err := s.tenant(ctx, t)
	if err != nil || no == 0 {
		return 0, failed(ctx, err)
	}
	doc, open, err := s.lanesOf(ctx, no)
	return latest(doc, open), failed(ctx, err)
}

// latest is the tenant's clock: the last commit or barrier.
func latest(t tenantDoc, open []laneDoc) store.Tick {
	at := t.Clock
	for _, l := range open {
		at = max(at, l.At)
	}
	return store.Tick(at)
}

// clocks are the greatest instants of barriers that a primary was seen to have.
type clocks struct {
	mu sync.Mutex
	of map[uint16]store.Tick // by the tenant's number
}

func (c *clocks) note(tenant uint16, at store.Tick) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[uint16]store.Tick{}
	}
	c.of[tenant] = max(c.of[tenant], at)
}

func (c *clocks) has(tenant uint16, at store.Tick) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[tenant] >= at
}

// errBehind tells that what answered has less than a majority had.
var errBehind = transientError(errors.New("the primary does not have the barrier's instant"))

// reached sees to it that what answers has all that was committed until a
// barrier. A primary that was deposed and does not know may lack it, and what
// is read there would lack it without a word. Each later primary has what one
// of them had, and the driver does not go back to an earlier one.
func (s *Store) reached(ctx context.Context, tenant uint16, at store.Tick) error {
	if s.clocks.has(tenant, at) {
		return nil
	}
	var t tenantDoc
	err := s.local(tenants).FindOne(ctx, field("no", int(tenant)), options.FindOne().SetHint("number")).Decode(&t)
	if err != nil {
		return err
	}
	s.clocks.note(tenant, store.Tick(t.Clock))
	if store.Tick(t.Clock) < at {
		return errBehind
	}
	return nil
}

// abreast sees to it that what is read from now on, as the primary has it, has
// all that was committed before, where there is no barrier to tell. A beat
// writes in any case: a primary that was deposed does not get a majority to
// acknowledge it, and of those that do, each later one has what it had.
func (s *Store) abreast(ctx context.Context) error { return s.beat(ctx) }

// seen runs f, which only reads, in a transaction that also writes. If it is
// committed, what f found is what a majority has, and nothing of what had been
// committed before is hidden from it: reading alone would not tell a primary
// that was deposed, nor one whose last writes will be undone. What is written
// is gone in the same moment, and nobody else's.
func (s *Store) seen(ctx context.Context, f func(ctx context.Context) error) error {
	c, mark := s.db.Collection(probes), field("_id", ulid.Make().String())
	return s.transact(ctx, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		if _, err := c.InsertOne(ctx, mark); err != nil {
			return err
		}
		_, err := c.DeleteOne(ctx, mark, options.DeleteOne().SetHint(byID))
		return err
	})
}

// spaceAt is space as it was at the instant of a barrier.
func (s *Store) spaceAt(ctx context.Context, t store.Tenant, typ string, at store.Tick) (space, bool, error) {
	tenant, err := s.tenant(ctx, t)
	if err != nil || tenant == 0 {
		return space{}, false, err
	}
	if err := s.reached(ctx, tenant, at); err != nil {
		return space{}, false, err
	}
	no, err := s.typeNo(ctx, typ)
	return space{tenant, no}, no > 0, err
}
