package storetest

import (
	"context"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func closedCases() []testCase {
	return []testCase{
		{"a store that is open answers a Ping", closedPing},
		{"every method of a closed store is ErrClosed", closedMethods},
		{"every method ends with a context that has ended, and writes nothing", closedContext},
		{"Watch of an ended context holds nobody up", closedWatch},
	}
}

func closedPing(e *env) { e.ok("Ping", e.Ping(e.ctx)) }

// call is one method, called with arguments that would work.
type call struct {
	name string
	do   func(ctx context.Context) error
}

// calls are all methods that take a context and return an error. f is the fence
// of a running unit of j, r a range with something in it.
func (e *env) calls(j job.Job, f store.Fence, s store.Selection, r store.Range) []call {
	id, kinds := idOf("Patient/1"), []string{j.Kind}
	calls := []call{
		{"Commit", func(ctx context.Context) error {
			return drop(e.Commit(ctx, north, batchOf([]change{write("Patient/1", "b"), write("Patient/2", "b")})))
		}},
		{"Barrier", func(ctx context.Context) error { return drop(e.Barrier(ctx, north, time.Millisecond)) }},
		{"Clock", func(ctx context.Context) error { return drop(e.Clock(ctx, north)) }},
		{"Get", func(ctx context.Context) error { return drop(e.Get(ctx, north, id)) }},
		{"Version", func(ctx context.Context) error { return drop(e.Version(ctx, north, id, 1)) }},
		{"History", func(ctx context.Context) error { return drop(e.History(ctx, north, id, 0, 1)) }},
		{"Split", func(ctx context.Context) error { return drop(e.Split(ctx, north, s, 1)) }},
		{"Scan", func(ctx context.Context) error {
			return e.Scan(ctx, north, s, r, "", func(*store.Version) error { return nil })
		}},
		{"Referrers", func(ctx context.Context) error {
			return drop(e.Referrers(ctx, north, s.At, "Patient", idsOf("Patient/2")))
		}},
		{"Referrers of a type that is not there", func(ctx context.Context) error {
			return drop(e.Referrers(ctx, north, s.At, "Medication", idsOf("Patient/2")))
		}},
		{"Scan of tombstones", func(ctx context.Context) error {
			s := s
			s.Deleted = true
			return e.Scan(ctx, north, s, r, "", func(*store.Version) error { return nil })
		}},
		{"Mentions", func(ctx context.Context) error { return drop(e.Mentions(ctx, north, idsOf("Patient/1"))) }},
		{"Versions", func(ctx context.Context) error {
			return e.Versions(ctx, north, idsOf("Patient/1"), func(*store.Version) error { return nil })
		}},
		{"Residue", func(ctx context.Context) error {
			return drop(e.Residue(ctx, north, store.Gone{IDs: idsOf("Patient/1"), Patients: []string{"1"}}))
		}},
		{"Told", func(ctx context.Context) error {
			return drop(e.Told(ctx, north, ann(), e.clock.Now(), idOf("Observation/1"), 9))
		}},
		{"Untell", func(ctx context.Context) error { return e.Untell(ctx, e.clock.Now()) }},
		{"SetHold", func(ctx context.Context) error {
			return e.SetHold(ctx, north, store.Hold{ID: "h", On: store.OnPatient, Subject: "1", Set: e.clock.Now()})
		}},
		{"LiftHold", func(ctx context.Context) error { return drop(e.LiftHold(ctx, north, "h", "Bob", e.clock.Now())) }},
		{"Holds", func(ctx context.Context) error { return drop(e.Holds(ctx, north, e.clock.Now(), "", 9)) }},
		{"HeldAmong", func(ctx context.Context) error { return drop(e.HeldAmong(ctx, north, e.clock.Now(), []string{"1"})) }},
		{"Certificate", func(ctx context.Context) error { return drop(e.Certificate(ctx, north, j.ID)) }},
		{"Certificates", func(ctx context.Context) error { return drop(e.Certificates(ctx, north, 0, 9)) }},
		{"Ledgers", func(ctx context.Context) error { return drop(e.Ledgers(ctx)) }},
		{"Reserve", func(ctx context.Context) error { return e.Reserve(ctx, store.Ledger{ID: "a", To: 1}) }},
		{"Tenants", func(ctx context.Context) error { return drop(e.Tenants(ctx)) }},
		{"Scrub", func(ctx context.Context) error { return drop(e.Scrub(ctx)) }},
		{"Ping", func(ctx context.Context) error { return e.Ping(ctx) }},
		{"Claim", func(ctx context.Context) error { _, _, err := e.Claim(ctx, kinds, lease); return err }},
		{"NextRun", func(ctx context.Context) error { return drop(e.NextRun(ctx, kinds)) }},
	}
	return append(append(calls, e.jobCalls(j)...), e.fencedCalls(j, f)...)
}

func (e *env) jobCalls(j job.Job) []call {
	start := func(j job.Job) (job.Job, error) { return j.Start(e.clock.Now()) }
	return []call{
		{"Create", func(ctx context.Context) error {
			return drop(e.Create(ctx, e.newJob(north, "late"), nil, store.Limit{}))
		}},
		{"Create under a key and a limit", func(ctx context.Context) error {
			return drop(e.Create(ctx, e.keyed(ann(), "late", "k", "d"), nil, store.Limit{PerOwner: 1, All: 1}))
		}},
		{"Job", func(ctx context.Context) error { return drop(e.Job(ctx, north, j.Owner, j.ID)) }},
		{"List", func(ctx context.Context) error { return drop(e.List(ctx, north, j.Owner, "", 9)) }},
		{"List in an unknown tenant", func(ctx context.Context) error { return drop(e.List(ctx, "nowhere", j.Owner, "", 9)) }},
		{"Peek", func(ctx context.Context) error { return drop(e.Peek(ctx, north, j.ID)) }},
		{"Update", func(ctx context.Context) error { return drop(e.Update(ctx, north, j.ID, start)) }},
		{"Attend", func(ctx context.Context) error { return drop(e.Attend(ctx, e.clock.Now(), false, "", 9)) }},
		{"Remove", func(ctx context.Context) error { return e.Remove(ctx, north, j.ID) }},
		{"Retry", func(ctx context.Context) error { return drop(e.Retry(ctx, north, j.ID, e.clock.Now(), store.Limit{})) }},
		{"Tally", func(ctx context.Context) error { return drop(e.Tally(ctx, north, j.ID)) }},
		{"UnitsOf", func(ctx context.Context) error { return drop(e.UnitsOf(ctx, north, j.ID, "", 9)) }},
		{"Members", func(ctx context.Context) error { return drop(e.Members(ctx, north, store.CohortID(j.ID), "", 9)) }},
		{"Finds", func(ctx context.Context) error { return drop(e.Finds(ctx, north, j.ID, idOf("Observation/1"), 9)) }},
		{"PartsOf", func(ctx context.Context) error { return drop(e.PartsOf(ctx, north, j.ID, "", 9)) }},
		{"Part", func(ctx context.Context) error {
			return drop(e.Part(ctx, north, j.ID, job.PartName{Category: job.Output, Type: "Patient", N: 1}))
		}},
		{"Voided", func(ctx context.Context) error { return drop(e.Voided(ctx, north, j.ID)) }},
		{"PartsHolding", func(ctx context.Context) error { return drop(e.PartsHolding(ctx, north, "1")) }},
		{"Forget", func(ctx context.Context) error {
			return e.Forget(ctx, north, []job.Part{{Job: j.ID, ID: "p1", Name: "n"}})
		}},
	}
}

func (e *env) fencedCalls(j job.Job, f store.Fence) []call {
	refs := e.refsTo("Patient/1")
	return []call{
		{"Add", func(ctx context.Context) error { return e.Add(ctx, f, unitsOf(j, unit("late", 5))) }},
		{"AddMembers", func(ctx context.Context) error { return e.AddMembers(ctx, f, []string{"late"}) }},
		{"AddFinds", func(ctx context.Context) error { return e.AddFinds(ctx, f, idsOf("Patient/late")) }},
		{"Erase", func(ctx context.Context) error { return drop(e.Erase(ctx, f, refs)) }},
		{"Announce", func(ctx context.Context) error { return e.Announce(ctx, f, []string{"1"}) }},
		{"Void", func(ctx context.Context) error { return drop(e.Void(ctx, f, []string{"1"})) }},
		{"Strike", func(ctx context.Context) error {
			return e.Strike(ctx, f, store.Gone{IDs: idsOf("Patient/1"), Patients: []string{"1"}})
		}},
		{"Tell", func(ctx context.Context) error {
			return e.Tell(ctx, f, ann(), e.clock.Now(), idsOf("Patient/1"))
		}},
		{"Certify", func(ctx context.Context) error { return drop(e.Certify(ctx, f, 2, []byte("late"))) }},
		{"Note", func(ctx context.Context) error { return e.Note(ctx, f, job.Erased{Versions: 1}, nil) }},
		{"Renew", func(ctx context.Context) error { return e.Renew(ctx, f, time.Hour) }},
		{"End", func(ctx context.Context) error {
			return e.End(ctx, f, job.UnitEnd{State: job.Succeeded, Parts: []job.Part{part(f, "late", 2)}})
		}},
	}
}

// allCalls makes what the calls need.
func (e *env) allCalls() ([]call, job.Job, store.Fence) {
	e.Helper()
	e.commit(write("Patient/1", "a"))
	certified, of := e.planner(north)
	e.certify(of, 1, "first")
	e.ok("Remove", e.Remove(e.ctx, north, certified.ID))
	j, f := e.filled(north, "export")
	s := store.Selection{At: e.barrier()}
	return e.calls(j, f, s, e.wholeType(s)), j, f
}

func closedMethods(e *env) {
	calls, _, _ := e.allCalls()
	e.close()
	for _, c := range calls {
		e.is(c.name, c.do(e.ctx), store.ErrClosed)
	}
}

func closedContext(e *env) {
	e.clock.stop()
	calls, j, f := e.allCalls()
	before := e.tally(j)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	for _, c := range calls {
		e.is(c.name, c.do(ctx), context.Canceled)
	}
	e.same("the resource", e.get("Patient/1").N, int64(1))
	e.same("the new resource", e.get("Patient/2").N, int64(0))
	e.same("the job", e.read(j), j)
	e.same("jobs", e.attended(e.clock.Now()), []string{j.ID})
	e.same("the tally", e.tally(j), before)
	e.same("members", sorted(e.members(store.CohortID(j.ID), 9)), []string{"1", "2"})
	e.same("finds", e.found(j, 9), []string{"Observation/1", "Patient/2"})
	e.same("parts", partIDs(e.parts(j)), []string{"p1"})
	e.same("holds", e.holdsOf(north, time.Time{}, 9), nil)
	e.same("certificates", e.chain(north, 9), []string{"first"})
	e.clock.advance(lease + time.Second)
	u, again := e.claim("export")
	e.that(u.ID == f.Unit && u.Attempt == 2 && u.Lost == 1, "claimed %+v", u)
	e.succeed(again)
}

func closedWatch(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	e.Watch(ctx)
	e.create("export", unit("a", 0))
}

// drop leaves of a result its error.
func drop[T any](_ T, err error) error { return err }
