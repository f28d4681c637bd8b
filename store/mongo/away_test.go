package mongo_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
)

// A call waits 10 s for a primary, and a commit 20 s to be done; beside that
// this much is allowed for a busy machine.
const (
	primaryWait = 10 * time.Second
	commitWait  = 20 * time.Second
	slack       = 10 * time.Second
)

// call is one call of a store.
type call struct {
	name string
	most time.Duration
	do   func(ctx context.Context) error
}

// filled commits something, makes a job with a running unit, and gives calls
// that would all go through.
func filled(t *testing.T, s *mongo.Store, l *ledger) []call {
	t.Helper()
	ctx := t.Context()
	if err := l.commit(ctx, s, patient(t, "1", "kept"), patient(t, "2", "kept")); err != nil {
		t.Fatal(err)
	}
	at, err := s.Barrier(ctx, north, 0)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := s.Split(ctx, north, store.Selection{At: at}, 1<<20)
	if err != nil || len(ranges) != 1 {
		t.Fatalf("ranges: %v, %v", ranges, err)
	}
	j, f := working(t, s, "export")
	return slices.Concat(reads(s, at, ranges[0], j), writes(t, s, l, j, f), erasures(t, s))
}

// working is a job of two units, and somebody who works on one of them.
func working(t *testing.T, s *mongo.Store, kind string) (job.Job, store.Fence) {
	t.Helper()
	j := newJob(kind)
	if _, err := s.Create(t.Context(), j, unitsOf(j, "a", "b"), store.Limit{}); err != nil {
		t.Fatal(err)
	}
	_, f, err := s.Claim(t.Context(), []string{kind}, lease)
	if err != nil {
		t.Fatal(err)
	}
	return j, f
}

func reads(s *mongo.Store, at store.Tick, r store.Range, j job.Job) []call {
	id := fhir.ID{Type: "Patient", ID: "1"}
	return []call{
		{"Barrier", primaryWait, func(ctx context.Context) error { return drop(s.Barrier(ctx, north, 0)) }},
		{"Clock", primaryWait, func(ctx context.Context) error { return drop(s.Clock(ctx, north)) }},
		{"Get", primaryWait, func(ctx context.Context) error { return drop(s.Get(ctx, north, id)) }},
		{"History", primaryWait, func(ctx context.Context) error { return drop(s.History(ctx, north, id, 0, 1)) }},
		{"Split", primaryWait, func(ctx context.Context) error {
			return drop(s.Split(ctx, north, store.Selection{At: at}, 1<<20))
		}},
		{"Scan", primaryWait, func(ctx context.Context) error {
			return s.Scan(ctx, north, store.Selection{At: at}, r, "", func(*store.Version) error { return nil })
		}},
		{"Peek", primaryWait, func(ctx context.Context) error { return drop(s.Peek(ctx, north, j.ID)) }},
		{"Tally", primaryWait, func(ctx context.Context) error { return drop(s.Tally(ctx, north, j.ID)) }},
		{"CountJobs", primaryWait, func(ctx context.Context) error { return drop(s.CountJobs(ctx)) }},
		{"UnitsOf", primaryWait, func(ctx context.Context) error { return drop(s.UnitsOf(ctx, north, j.ID, "", 9)) }},
		{"Voided", primaryWait, func(ctx context.Context) error { return drop(s.Voided(ctx, north, j.ID)) }},
		{"PartsHolding", primaryWait, func(ctx context.Context) error { return drop(s.PartsHolding(ctx, north, "1")) }},
		{"Mentions", primaryWait, func(ctx context.Context) error { return drop(s.Mentions(ctx, north, []fhir.ID{id})) }},
		{"Versions", primaryWait, func(ctx context.Context) error {
			return s.Versions(ctx, north, []fhir.ID{id}, func(*store.Version) error { return nil })
		}},
		{"Residue", primaryWait, func(ctx context.Context) error {
			return drop(s.Residue(ctx, north, store.Gone{IDs: []fhir.ID{id}, Patients: []string{"1"}}))
		}},
		{"Told", primaryWait, func(ctx context.Context) error {
			return drop(s.Told(ctx, north, j.Owner, j.Created, fhir.ID{}, 9))
		}},
		{"Untell", primaryWait, func(ctx context.Context) error { return s.Untell(ctx, j.Created) }},
		{"Certificates", primaryWait, func(ctx context.Context) error { return drop(s.Certificates(ctx, north, 0, 9)) }},
		{"Ledgers", primaryWait, func(ctx context.Context) error { return drop(s.Ledgers(ctx)) }},
		{"Reserve", primaryWait, func(ctx context.Context) error { return s.Reserve(ctx, store.Ledger{ID: "a", To: 1}) }},
		{"Tenants", primaryWait, func(ctx context.Context) error { return drop(s.Tenants(ctx)) }},
		{"Scrub", primaryWait, func(ctx context.Context) error { return drop(s.Scrub(ctx)) }},
		{"Ping", primaryWait, s.Ping},
	}
}

func writes(t *testing.T, s *mongo.Store, l *ledger, j job.Job, f store.Fence) []call {
	start := func(j job.Job) (job.Job, error) { return j.Start(j.Created) }
	// Renew and AddMembers, of one job, wait for each other.
	return []call{
		{"Commit", commitWait, func(ctx context.Context) error {
			p := patient(t, ids.next(), "while it is away")
			_, err := commit(ctx, s, p)
			if errors.Is(err, store.ErrTransient) {
				l.unsure(p)
			}
			return err
		}},
		{"Create", primaryWait, func(ctx context.Context) error {
			return drop(s.Create(ctx, newJob("late"), nil, store.Limit{All: 9}))
		}},
		{"Update", primaryWait, func(ctx context.Context) error { return drop(s.Update(ctx, north, j.ID, start)) }},
		{"Claim", primaryWait, func(ctx context.Context) error { _, _, err := s.Claim(ctx, []string{j.Kind}, lease); return err }},
		{"Renew", commitWait, func(ctx context.Context) error { return s.Renew(ctx, f, lease) }},
		{"AddMembers", commitWait, func(ctx context.Context) error { return s.AddMembers(ctx, f, []string{"1"}) }},
	}
}

// erasures are calls that erase, each under a job of its own, as those of one
// job wait for each other.
func erasures(t *testing.T, s *mongo.Store) []call {
	t.Helper()
	refs := written(t, s, "erased", 2)
	_, erase := working(t, s, "erase")
	_, announce := working(t, s, "announce")
	_, void := working(t, s, "void")
	_, strike := working(t, s, "strike")
	_, tell := working(t, s, "tell")
	_, note := working(t, s, "note")
	_, certify := working(t, s, "certify")
	who := []string{"erased"}
	return []call{
		{"Erase", primaryWait, func(ctx context.Context) error { return drop(s.Erase(ctx, erase, refs)) }},
		{"Announce", primaryWait, func(ctx context.Context) error { return s.Announce(ctx, announce, who) }},
		{"Void", primaryWait, func(ctx context.Context) error { return drop(s.Void(ctx, void, who)) }},
		{"Strike", primaryWait, func(ctx context.Context) error {
			return s.Strike(ctx, strike, store.Gone{IDs: []fhir.ID{refs[0].ID}, Patients: who})
		}},
		{"Tell", primaryWait, func(ctx context.Context) error {
			return s.Tell(ctx, tell, store.Owner{Client: "c"}, time.Now().Add(time.Hour), []fhir.ID{refs[0].ID})
		}},
		{"Note", primaryWait, func(ctx context.Context) error {
			return s.Note(ctx, note, job.Erased{Versions: 2, Resources: 1}, json.RawMessage(`{}`))
		}},
		{"SetHold", primaryWait, func(ctx context.Context) error {
			return s.SetHold(ctx, north, store.Hold{ID: "h", On: store.OnPatient, Subject: "nobody", Set: time.Now()})
		}},
		{"LiftHold", primaryWait, func(ctx context.Context) error {
			return drop(s.LiftHold(ctx, north, "h", "Bob", time.Now()))
		}},
		{"Holds", primaryWait, func(ctx context.Context) error { return drop(s.Holds(ctx, north, time.Now(), "", 9)) }},
		{"HeldAmong", primaryWait, func(ctx context.Context) error {
			return drop(s.HeldAmong(ctx, north, time.Now(), who))
		}},
		{"Certify", primaryWait, func(ctx context.Context) error { return drop(s.Certify(ctx, certify, 1, []byte("doc"))) }},
		{"Forget", primaryWait, func(ctx context.Context) error {
			return s.Forget(ctx, north, []job.Part{{Job: void.Job, ID: "p", Name: "n"}})
		}},
	}
}

// drop leaves of a result its error.
func drop[T any](_ T, err error) error { return err }

// unsure notes a Put whose result was left open.
func (l *ledger) unsure(p store.Put) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[p.Resource.ID.ID] = append(l.of[p.Resource.ID.ID], entry{body: string(p.Resource.Body)})
}

// answers asserts that each of the calls, made at once, fails in time.
func answers(ctx context.Context, t *testing.T, calls []call, want error, most func(call) time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range calls {
		all.Go(func() {
			began := time.Now()
			if err := c.do(ctx); !errors.Is(err, want) {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(began); took > most(c)+slack {
				t.Errorf("%s took %v to say so", c.name, took)
			}
		})
	}
	all.Wait()
}

func TestWhileTheServerIsGoneEveryCallSaysSoInTime(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	s := open(t, mongo.Config{URI: fresh(t, e)})
	var l ledger
	calls := filled(t, s, &l)
	e.Kill(t)
	answers(t.Context(), t, calls, store.ErrTransient, func(c call) time.Duration { return c.most })
	e.Restart(t)
	works(t, s, calls, &l)
}

func TestWhileTheServerIsGoneEveryCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	s := open(t, mongo.Config{URI: fresh(t, e)})
	var l ledger
	calls := filled(t, s, &l)
	e.Kill(t)
	soon := calls[:0:0]
	for _, c := range calls {
		if c.name != "Commit" { // whoever has committed must know how it ended
			soon = append(soon, c)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	answers(ctx, t, soon, context.DeadlineExceeded, func(call) time.Duration { return time.Second - slack/2 })
	e.Restart(t)
	works(t, s, calls, &l)
}

func TestWhileTheServerRefusesEveryCallSaysSoInTime(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	s := open(t, mongo.Config{URI: named(fresh(t, e))})
	var l ledger
	calls := filled(t, s, &l)
	f.hit(always, code(91), "find", "aggregate", "findAndModify", "update", "insert", "delete", "commitTransaction", "abortTransaction")
	answers(t.Context(), t, calls, store.ErrTransient, func(call) time.Duration { return commitWait })
	f.off()
	works(t, s, calls, &l)
}

// works asserts that the store has what it had, and that each call goes
// through.
func works(t *testing.T, s *mongo.Store, calls []call, l *ledger) {
	t.Helper()
	for _, c := range calls {
		if _, err := again(t, c.name, func() error { return c.do(t.Context()) }); err != nil {
			t.Errorf("afterwards %s: %v", c.name, err)
		}
	}
	l.holds(t, s)
}

func TestAStoreClosesThoughTheServerIsGone(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	s, err := mongo.Open(t.Context(), mongo.Config{URI: fresh(t, e)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commit(t.Context(), s, patient(t, "1", "kept")); err != nil {
		t.Fatal(err)
	}
	e.Kill(t)
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > primaryWait+slack {
		t.Errorf("Close took %v", took)
	}
}
