package mongo_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/event"
)

// hook is called before a store sends a command; it may be set while the store
// is in use.
type hook struct {
	f atomic.Pointer[func(*event.CommandStartedEvent)]
}

func (h *hook) set(f func(*event.CommandStartedEvent)) { h.f.Store(&f) }

func (h *hook) see(e *event.CommandStartedEvent) {
	if f := h.f.Load(); f != nil {
		(*f)(e)
	}
}

// hand is a clock that only the test moves, in milliseconds.
type hand struct{ at atomic.Int64 }

func (h *hand) now() time.Time { return time.UnixMilli(h.at.Load()) }

// trio is two stores that commit, and a third that asks for a barrier.
type trio struct {
	t       *testing.T
	clock   *hand
	writers []*mongo.Store
	hooks   map[*mongo.Store]*hook
	lanes   map[int64]*mongo.Store // of the writers, all open
	asker   *mongo.Store
	asking  *hook
}

func newTrio(t *testing.T, e *mongotest.Engine, at int64) *trio {
	t.Helper()
	uri := fresh(t, e)
	x := &trio{t: t, clock: &hand{}, hooks: map[*mongo.Store]*hook{}, lanes: map[int64]*mongo.Store{}}
	x.clock.at.Store(at)
	one := func() (*mongo.Store, *hook) {
		h := &hook{}
		return open(t, mongo.Config{URI: uri, Now: x.clock.now}.Watching(h.see)), h
	}
	for range 2 {
		s, h := one()
		x.writers, x.hooks[s] = append(x.writers, s), h
		h.set(func(e *event.CommandStartedEvent) {
			if collection, _ := e.Command.Lookup("insert").StringValueOK(); collection == "lane" {
				x.lanes[e.Command.Lookup("documents", "0", "_id").Int64()] = s
			}
		})
	}
	for range 2 { // through as many lanes as they have
		for _, s := range x.writers {
			x.commit(s, "first")
		}
	}
	for _, h := range x.hooks {
		h.set(func(*event.CommandStartedEvent) {})
	}
	x.asker, x.asking = one()
	return x
}

// beside is the other one of the writers.
func (x *trio) beside(s *mongo.Store) *mongo.Store {
	if s == x.writers[0] {
		return x.writers[1]
	}
	return x.writers[0]
}

// commit commits something new, and gives its tick.
func (x *trio) commit(s *mongo.Store, says string) store.Tick {
	applied, err := commit(context.Background(), s, patient(x.t, ids.next(), says))
	if err != nil {
		x.t.Errorf("%s: %v", says, err)
		return 0
	}
	return applied[0].At
}

// raising has f called before a barrier raises the last one of the lanes for
// the first time, and for the second, with whose lane it is.
func (x *trio) raising(f func(pass int, writer *mongo.Store)) {
	n := 0
	x.asking.set(func(e *event.CommandStartedEvent) {
		if collection, _ := e.Command.Lookup("findAndModify").StringValueOK(); collection != "lane" {
			return
		}
		if n++; n%len(x.lanes) == 0 {
			f(n/len(x.lanes), x.lanes[e.Command.Lookup("query", "_id").Int64()])
		}
	})
}

func (x *trio) barrier(round time.Duration) store.Tick {
	x.t.Helper()
	at, err := x.asker.Barrier(x.t.Context(), north, round)
	if err != nil {
		x.t.Fatal(err)
	}
	return at
}

func (x *trio) snapshot(at store.Tick) map[string]int64 {
	x.t.Helper()
	found, err := scanned(x.t.Context(), x.asker, store.Selection{At: at})
	if err != nil {
		x.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, v := range found {
		out[v.ID.ID] = v.N
	}
	return out
}

// counter gives ids.
type counter struct{ n atomic.Int64 }

func (c *counter) next() string { return "id-" + time.UnixMilli(c.n.Add(1)).UTC().Format("150405.000") }

var ids counter

// While a barrier raises the lanes for the second time, one writer is within a
// commit through a lane that was raised, and the other one commits at a later
// tick than that.
func TestABarrierHoldsThoughLanesGoOnWhileItRaisesThem(t *testing.T) {
	t.Parallel()
	x := newTrio(t, mongotest.Start(t), 1_000_000)
	release, under, done := make(chan struct{}), make(chan struct{}), make(chan store.Tick, 1)
	passes := 0
	x.raising(func(pass int, last *mongo.Store) {
		passes = pass
		x.clock.at.Add(5)
		first := x.beside(last)
		if pass == 2 {
			x.hooks[first].set(func(e *event.CommandStartedEvent) {
				if e.CommandName == "commitTransaction" {
					close(under)
					<-release
				}
			})
			go func() { done <- x.commit(first, "under way") }()
			<-under
			x.clock.at.Add(5)
		}
		for range 2 { // through either of its lanes
			x.commit(last, "later")
		}
	})
	at := x.barrier(0)
	if passes != 2 {
		t.Fatalf("the lanes were raised %d times", passes)
	}
	before := x.snapshot(at)
	for _, h := range x.hooks {
		h.set(func(*event.CommandStartedEvent) {})
	}
	close(release)
	if tick := <-done; tick <= at {
		t.Errorf("a commit at %d was acknowledged after the barrier %d", tick, at)
	}
	if diff := cmp.Diff(before, x.snapshot(at)); diff != "" {
		t.Errorf("the snapshot at %d changed (- then, + now):\n%s", at, diff)
	}
}

// Another barrier and a commit come between the reading of the lanes and their
// raising, so that the clock of the tenant is ahead.
func TestABarrierIsNeverMoreThanItsRoundAheadOfTheClock(t *testing.T) {
	t.Parallel()
	x := newTrio(t, mongotest.Start(t), 1_000_100)
	tries, raised := 0, 0
	x.asking.set(func(e *event.CommandStartedEvent) {
		switch collection, _ := e.Command.Lookup(e.CommandName).StringValueOK(); collection {
		case "tenant":
			if e.CommandName != "find" {
				return
			}
			if tries++; tries == 3 { // the number, then the tenant for each try
				x.clock.at.Add(1000)
			}
		case "lane":
			if e.CommandName != "findAndModify" {
				return
			}
			if raised++; raised == 1 {
				writer := x.lanes[e.Command.Lookup("query", "_id").Int64()]
				if _, err := writer.Barrier(context.Background(), north, time.Second); err != nil {
					t.Error(err)
				}
				x.commit(writer, "past the other barrier")
			}
		}
	})
	at := x.barrier(time.Second)
	if now := x.clock.at.Load(); int64(at) > now+1000 {
		t.Errorf("barrier %d at %d", at, now)
	}
}
