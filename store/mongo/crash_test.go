package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// load is writers on two stores, beside exports that follow each other.
type load struct {
	t      *testing.T
	stores []*mongo.Store
	ledger ledger
	rounds chan struct{} // gets a value, at times, when a writer has been through
	chain  chain

	mu     sync.Mutex
	jobs   []*worked
	purged []*purged

	writing, exporting context.Context //nolint:containedctx // they end the load
	stop, last         context.CancelFunc
	writers, exporter  sync.WaitGroup
}

// putOn puts on a load, which done takes off.
func putOn(t *testing.T, uri string) *load {
	t.Helper()
	l := &load{t: t, rounds: make(chan struct{}, 1), chain: chain{current: map[string]store.Version{}, seen: map[string]bool{}}}
	l.writing, l.stop = context.WithCancel(context.Background())
	l.exporting, l.last = context.WithCancel(context.Background())
	t.Cleanup(l.stop)
	t.Cleanup(l.last)
	for range 2 {
		l.stores = append(l.stores, open(t, mongo.Config{URI: uri}))
	}
	for i := range 4 {
		l.writers.Go(func() { l.write(l.stores[i%2], i) })
	}
	l.exporter.Go(l.export)
	for i := range 3 {
		l.writers.Go(func() { l.work(l.stores[i%2], fmt.Sprint("work", i)) })
	}
	l.writers.Go(func() { l.purge(l.stores[1]) })
	return l
}

// write creates, updates and deletes, round after round.
func (l *load) write(s *mongo.Store, writer int) {
	for n := 0; l.writing.Err() == nil; n++ {
		for _, puts := range [][]store.Put{
			{patient(l.t, fmt.Sprint("w", writer, "-", n), "new"), patient(l.t, fmt.Sprint("of", writer), fmt.Sprint(n))},
			{patient(l.t, fmt.Sprint("w", writer, "-", n), "changed"), deleted(fmt.Sprint("w", writer, "-", n-1))},
		} {
			// Not the load's context: it only ends the rounds.
			if err := l.ledger.commit(context.Background(), s, puts...); err != nil {
				l.t.Errorf("writer %d, round %d: %v", writer, n, err)
				return
			}
		}
		select {
		case l.rounds <- struct{}{}:
		default:
		}
	}
}

// passes waits until writers have been through some rounds more.
func (l *load) passes() {
	for range 12 {
		select {
		case <-l.rounds:
		case <-time.After(time.Minute):
			l.t.Fatal("the writers do not get on")
		}
	}
}

// work makes jobs, claims their units and ends them.
func (l *load) work(s *mongo.Store, kind string) {
	for l.writing.Err() == nil && !l.t.Failed() {
		w := &worked{t: l.t, s: s, j: newJob(kind), ended: map[string]bool{}}
		w.call("Create", func() error {
			_, err := s.Create(context.Background(), w.j, unitsOf(w.j, "a", "b", "c"), store.Limit{All: 1000})
			return err
		})
		for range 3 {
			w.one()
		}
		l.mu.Lock()
		l.jobs = append(l.jobs, w)
		l.mu.Unlock()
	}
}

// worked is a job that somebody worked on.
type worked struct {
	t     *testing.T
	s     *mongo.Store
	j     job.Job
	ended map[string]bool // units
}

func (w *worked) call(what string, f func() error, or ...error) {
	_, err := again(w.t, what, f)
	if err != nil && !slices.ContainsFunc(or, func(e error) bool { return errors.Is(err, e) }) {
		w.t.Errorf("%s: %v", what, err)
	}
}

// one claims a unit and ends it. There is none if a claim was not heard of.
func (w *worked) one() {
	var f store.Fence
	w.call("Claim", func() (err error) {
		_, f, err = w.s.Claim(context.Background(), []string{w.j.Kind}, lease)
		return err
	}, store.ErrNotFound)
	if f.Unit == "" || f.Job != w.j.ID {
		return // none, or of a job before whose claim was not heard of
	}
	w.call("AddMembers", func() error { return w.s.AddMembers(context.Background(), f, []string{f.Unit}) })
	w.call("End", func() error {
		return w.s.End(context.Background(), f, job.UnitEnd{
			State: job.Succeeded, Counts: job.Counts{Resources: 7},
			Parts: []job.Part{{ID: f.Unit, Job: f.Job, Unit: f.Unit, Category: job.Output, Type: "Patient", Name: f.Unit}},
		})
	}, store.ErrFenced) // an end that was not heard of has ended the attempt
	w.ended[f.Unit] = true
}

// stands asserts that each unit that was ended is, once.
func (w *worked) stands(t *testing.T) {
	t.Helper()
	tally, err := w.s.Tally(context.Background(), north, w.j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if tally.Succeeded != len(w.ended) || tally.Done.Resources != int64(7*len(w.ended)) || tally.Attempts > 3 {
		t.Errorf("%d units were ended: %+v", len(w.ended), tally)
	}
	parts, err := w.s.PartsOf(context.Background(), north, w.j.ID, "", 9)
	if err != nil || len(parts) != len(w.ended) {
		t.Errorf("%d units were ended, and there are %d parts: %v", len(w.ended), len(parts), err)
	}
	members, err := w.s.Members(context.Background(), north, store.CohortID(w.j.ID), "", 9)
	if err != nil || len(members) != len(w.ended) {
		t.Errorf("%d units were ended, and there are %d members: %v", len(w.ended), len(members), err)
	}
}

// export makes one export after the other, each of what the last one left.
func (l *load) export() {
	for n := 0; ; n++ {
		last := l.exporting.Err() != nil
		err := l.chain.link(l.stores[n%2], &l.ledger)
		if err != nil && !errors.Is(err, store.ErrTransient) {
			l.t.Errorf("export %d: %v", n, err)
			return
		}
		if last && err == nil {
			return
		}
	}
}

// done ends the load, and asserts that nothing is lost and nothing is there
// twice, in the store and over all exports.
func (l *load) done() {
	l.t.Helper()
	l.stop()
	l.writers.Wait()
	l.last()
	l.exporter.Wait()
	for _, s := range l.stores {
		l.ledger.holds(l.t, s)
	}
	for _, w := range l.jobs {
		w.stands(l.t)
	}
	for _, p := range l.purged {
		p.stands(l.t)
	}
	l.t.Logf("%d jobs, %d of them erased", len(l.jobs)+len(l.purged), len(l.purged))
	l.chain.is(l.t, l.stores[0], &l.ledger)
}

// chain is what somebody has who makes exports, each with the instant of the
// one before as _since.
type chain struct {
	since   store.Tick
	links   int
	current map[string]store.Version
	seen    map[string]bool // versions, by id and number
}

// link is one export. An error leaves the chain as it was, and the export is
// made again.
func (c *chain) link(s *mongo.Store, l *ledger) error {
	before := l.acknowledged()
	at, err := s.Barrier(context.Background(), north, 10*time.Millisecond)
	if err != nil {
		return err
	}
	if at < c.since {
		return fmt.Errorf("the barrier %d comes after %d", at, c.since)
	}
	sel := store.Selection{At: at, After: c.since}
	written, err := scanned(context.Background(), s, sel)
	if err != nil {
		return err
	}
	sel.Deleted = true
	gone, err := scanned(context.Background(), s, sel)
	if err != nil {
		return err
	}
	for _, v := range append(written, gone...) {
		name := fmt.Sprint(v.ID.ID, " version ", v.N)
		if c.seen[name] || v.From <= c.since || v.From > at {
			return fmt.Errorf("%s, of %d, is in the export of (%d, %d], and in one before: %v", name, v.From, c.since, at, c.seen[name])
		}
		c.seen[name] = true
		c.current[v.ID.ID] = v
	}
	for id, a := range before {
		if a.At > at || c.current[id].N < a.N {
			return fmt.Errorf("%s version %d was acknowledged at %d; after the export at %d its version is %d", id, a.N, a.At, at, c.current[id].N)
		}
	}
	c.since = at
	c.links++
	return nil
}

// is asserts that the chain has what the store has.
func (c *chain) is(t *testing.T, s *mongo.Store, l *ledger) {
	t.Helper()
	for id := range l.of {
		got, err := s.Get(context.Background(), north, fhir.ID{Type: "Patient", ID: id})
		if err != nil {
			t.Fatal(err)
		}
		if mine := c.current[id]; mine.N != got[0].N || mine.Deleted != got[0].Deleted || string(mine.Body) != string(got[0].Body) {
			t.Errorf("%s: the exports end with version %d, the store has %d", id, mine.N, got[0].N)
		}
	}
	t.Logf("%d resources, %d versions in %d exports", len(l.of), len(c.seen), c.links)
}

func TestACrashOfTheServerUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	l := putOn(t, fresh(t, e))
	for range 3 {
		l.passes()
		e.Kill(t)
		e.Restart(t)
	}
	l.passes()
	l.done()
}

func TestChangesOfThePrimaryUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	l := putOn(t, fresh(t, e))
	client := connect(t, e.URI())
	for range 3 {
		l.passes()
		stepDown(t, client, 2*time.Second)
		// It becomes primary again, as nobody else can.
		if err := client.Ping(t.Context(), readpref.Primary()); err != nil {
			t.Error(err)
		}
	}
	l.passes()
	l.done()
}

// stepDown has the primary give up for a time.
func stepDown(t *testing.T, client *driver.Client, d time.Duration) {
	t.Helper()
	err := client.Database("admin").RunCommand(t.Context(), bson.D{
		{Key: "replSetStepDown", Value: int(d.Seconds())}, {Key: "secondaryCatchUpPeriodSecs", Value: 0}, {Key: "force", Value: true},
	}).Err()
	// A server may hang up on whoever has it step down.
	if err != nil && !driver.IsNetworkError(err) {
		t.Fatal(err)
	}
}
