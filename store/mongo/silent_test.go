package mongo_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/event"
)

// deadAfter is by when a barrier has found that an instance is dead.
const deadAfter = 10 * time.Second

// sleeper is an instance that stands still within a commit, and another one.
type sleeper struct {
	t      *testing.T
	asleep *mongo.Store
	awake  *mongo.Store
	done   chan answer // of the commit
}

type answer struct {
	applied []store.Applied
	err     error
}

// opens has the sleeper commit, so that its lanes are open.
func (x *sleeper) opens() {
	x.t.Helper()
	for n := range 2 {
		if _, err := commit(x.t.Context(), x.asleep, patient(x.t, "0", fmt.Sprint("awake", n))); err != nil {
			x.t.Fatal(err)
		}
	}
}

// commit begins the commit in which the instance is to fall asleep.
func (x *sleeper) commit() {
	x.done = make(chan answer, 1)
	a, b := patient(x.t, "1", "asleep"), patient(x.t, "2", "asleep")
	go func() {
		applied, err := commit(x.t.Context(), x.asleep, a, b)
		x.done <- answer{applied, err}
	}()
}

// both gives how many of the two resources of the commit are in a snapshot.
func (x *sleeper) both(at store.Tick) map[string]int64 {
	x.t.Helper()
	found, err := scanned(x.t.Context(), x.awake, store.Selection{At: at})
	if err != nil {
		x.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, v := range found {
		if v.ID.ID == "1" || v.ID.ID == "2" {
			out[v.ID.ID] = v.N
		}
	}
	if len(out) == 1 {
		x.t.Errorf("half of a commit is in the snapshot at %d: %v", at, out)
	}
	return out
}

// barrier asks the other instance for one, which must come in time.
func (x *sleeper) barrier(most time.Duration) store.Tick {
	x.t.Helper()
	began := time.Now()
	at, err := x.awake.Barrier(x.t.Context(), north, 0)
	if err != nil {
		x.t.Fatal(err)
	}
	if took := time.Since(began); took > most {
		x.t.Errorf("the barrier was held up for %v", took)
	}
	return at
}

// wakes asserts what holds when the sleeper is awake again: its commit is in
// the snapshot of the barrier, or later, and so is what it commits next.
func (x *sleeper) wakes(at store.Tick, then map[string]int64) {
	x.t.Helper()
	a := <-x.done
	if a.err != nil {
		x.t.Fatalf("the commit of the sleeper: %v", a.err)
	}
	if here := a.applied[0].At <= at; here != (len(then) == 2) {
		x.t.Errorf("the commit was acknowledged at %d, and the snapshot at %d had %v of it", a.applied[0].At, at, then)
	}
	next, err := commit(x.t.Context(), x.asleep, patient(x.t, "3", "awake"), patient(x.t, "2", "awake"))
	if err != nil {
		x.t.Fatalf("the next commit: %v", err)
	}
	if next[0].At <= at || next[1].N != 2 {
		x.t.Errorf("the next commit is %+v after the barrier %d", next, at)
	}
	if diff := cmp.Diff(then, x.both(at)); diff != "" {
		x.t.Errorf("the snapshot at %d changed (- then, + now):\n%s", at, diff)
	}
	later := x.barrier(deadAfter)
	if got := x.both(later); later < next[0].At || got["1"] != 1 || got["2"] != 2 {
		x.t.Errorf("after the commit at %d the barrier %d has %v", next[0].At, later, got)
	}
}

// The server holds one of its commands, and so its transaction stays open.
func TestAnInstanceThatDiesWithinACommitHoldsNoBarrierUpForLong(t *testing.T) {
	for _, command := range []string{"commitTransaction", "insert"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			e := mongotest.Own(t)
			f := faultsOf(t, e)
			uri := fresh(t, e)
			h := &hook{}
			x := &sleeper{t: t, awake: open(t, mongo.Config{URI: uri})}
			x.asleep = open(t, mongo.Config{URI: named(uri)}.Watching(h.see))
			x.opens()
			held := make(chan struct{})
			within(h, command, func() { close(held) })
			f.hit(1, blocked(deadAfter+time.Second), command)
			x.commit()
			<-held
			x.asleep.Silence()
			at := x.barrier(deadAfter)
			then := x.both(at)
			f.off()
			x.wakes(at, then)
		})
	}
}

// within has f called once, before a command of a commit is sent: of a
// transaction that has moved its lane.
func within(h *hook, command string, f func()) {
	var session atomic.Value
	h.set(func(e *event.CommandStartedEvent) {
		of := e.Command.Lookup("lsid").String()
		if collection, _ := e.Command.Lookup("findAndModify").StringValueOK(); collection == "lane" {
			session.Store(of)
		}
		if e.CommandName == command && session.Load() == of {
			h.set(func(*event.CommandStartedEvent) {})
			f()
		}
	})
}

// The instance itself stands still, and then goes on as if nothing had been.
func TestAnInstanceThatSleepsWithinACommitGoesOnAfterItsLaneWasEnded(t *testing.T) {
	for _, command := range []string{"commitTransaction", "insert"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			x, wake := fallAsleep(t, mongotest.Start(t), command)
			x.asleep.Silence()
			at := x.barrier(deadAfter)
			then := x.both(at)
			if len(then) > 0 {
				t.Errorf("what was not committed is in the snapshot: %v", then)
			}
			wake()
			x.wakes(at, then)
		})
	}
}

// fallAsleep has an instance stand still before it sends a command of a commit.
func fallAsleep(t *testing.T, e *mongotest.Engine, command string) (x *sleeper, wake func()) {
	t.Helper()
	uri := fresh(t, e)
	h := &hook{}
	x = &sleeper{t: t, awake: open(t, mongo.Config{URI: uri})}
	x.asleep = open(t, mongo.Config{URI: uri}.Watching(h.see))
	x.opens()
	held, woken := make(chan struct{}), make(chan struct{})
	within(h, command, func() {
		close(held)
		<-woken
	})
	x.commit()
	<-held
	return x, func() { close(woken) }
}

// The instance says that it is there, and does not get on with its commit.
func TestAnInstanceThatHangsWithinACommitHoldsNoBarrierUpForEver(t *testing.T) {
	t.Parallel()
	x, wake := fallAsleep(t, mongotest.Start(t), "commitTransaction")
	at := x.barrier(commitWait + slack)
	then := x.both(at)
	wake()
	// It was tried for too long to be tried again.
	if a := <-x.done; a.err == nil && a.applied[0].At <= at && len(then) == 0 {
		t.Errorf("a commit at %d was acknowledged after the barrier %d", a.applied[0].At, at)
	}
	if diff := cmp.Diff(then, x.both(at)); diff != "" {
		t.Errorf("the snapshot at %d changed (- then, + now):\n%s", at, diff)
	}
	next, err := commit(t.Context(), x.asleep, patient(t, "3", "awake"))
	if err != nil || next[0].At <= at {
		t.Errorf("the next commit: %+v, %v", next, err)
	}
}
