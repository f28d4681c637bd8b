package mongo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// attempt is one plan for a group: what it found, and so what it writes. It is
// good only as long as nobody else writes the same resources, which the index
// of resources and the closing of versions tell.
type attempt struct {
	group  *group
	id     ulid.ULID // names the commit in the lane
	writes []write
	least  store.Tick // the commit is at or after it
	same   bson.A     // keys of the versions that are current and stay so, as Unchanged says
}

// write is a version to be written, and where its answer goes.
type write struct {
	versionDoc
	replaces *versionKey
	answer   *store.Applied
}

// errStale tells that another wrote what the attempt stands on.
var errStale = errors.New("mongo: the attempt stands on what is no longer current")

// errUnknown tells that a commit was sent and not acknowledged.
var errUnknown = errors.New("mongo: the result of a commit is not known")

// errLaneEnded tells that another found this instance silent.
var errLaneEnded = errors.New("mongo: the lane was ended")

// plan reads what is current, and decides what each Put becomes. A request
// with an expectation that does not hold is answered, and left out.
func (t *attempt) plan(ctx context.Context) error {
	wanted := map[string][]int{}
	for _, r := range t.group.requests {
		for _, p := range r.puts {
			wanted[p.resource] = nil
		}
	}
	there := map[string]versionDoc{}
	if err := t.group.lane.s.eachCurrent(ctx, wanted, func(d versionDoc, _ []int) error {
		there[string(d.space.resourceOf(d.id))] = d
		return nil
	}); err != nil {
		return err
	}
	kept := t.group.requests[:0]
	for _, r := range t.group.requests {
		if err := t.request(r, there); err != nil {
			r.done <- err
			continue
		}
		kept = append(kept, r)
	}
	t.group.requests = kept
	return nil
}

func (t *attempt) request(r *request, there map[string]versionDoc) error {
	writes, same := len(t.writes), len(t.same)
	r.out = make([]store.Applied, len(r.puts))
	for i := range r.puts {
		p := &r.puts[i]
		old, ok := there[p.resource]
		if p.Expect == store.Absent && ok || p.Expect > 0 && p.Expect != old.n {
			t.writes, t.same = t.writes[:writes], t.same[:same]
			return store.ErrConflict
		}
		t.put(p, old, &r.out[i])
	}
	return nil
}

// put decides what a Put becomes; old.n is 0 if nothing is there.
func (t *attempt) put(p *wanted, old versionDoc, answer *store.Applied) {
	same := p.Delete == old.deleted && (p.Delete || string(old.body) == string(p.Resource.Body))
	if same && old.n > 0 || p.Delete && old.n == 0 {
		*answer = store.Applied{N: old.n, At: old.from, Unchanged: true}
		if old.n > 0 {
			answer.Key = old.key.text()
			t.same = append(t.same, bson.Binary{Data: old.key[:]})
		}
		return
	}
	w := write{versionDoc: p.document(), answer: answer}
	if old.n > 0 {
		w.n, w.owner, w.replaces = old.n+1, old.owner, &old.key
		t.least = max(t.least, old.from+1)
	}
	if p.Delete {
		w.patients, w.refs, w.body = old.patients, nil, nil
	}
	*answer = store.Applied{N: w.n, Created: !p.Delete && (old.n == 0 || old.deleted)}
	t.writes = append(t.writes, w)
}

// commit writes the plan. again: it was undone, and another plan is needed.
func (t *attempt) commit(ctx context.Context, retry *backoff) (again bool, err error) {
	l := t.group.lane
	if l.id == 0 {
		if err := l.open(ctx); err != nil {
			return transient(err), err
		}
	}
	if len(t.writes) == 0 {
		return t.confirmed(ctx)
	}
	for {
		at, err := t.transaction(ctx)
		if err == nil {
			t.answer(at)
			return false, nil
		}
		if errors.Is(err, errStale) || mongo.IsDuplicateKeyError(err) {
			return true, errStale
		}
		if !transient(err) && !errors.Is(err, errLaneEnded) && !errors.Is(err, errUnknown) {
			return false, err
		}
		// Whatever broke it, the lane says whether it was committed.
		switch at, ended, asked := l.lastCommit(ctx, t.id); {
		case asked == nil && at > 0:
			t.answer(at)
			return false, nil
		case asked == nil && ended:
			l.id = 0 // nothing of it can be committed any more
			return true, err
		}
		if !retry.wait(ctx) {
			return false, err
		}
	}
}

// transaction writes the plan in one transaction. Moving the lane comes first:
// it gives the tick, and a barrier waits for it from then on.
func (t *attempt) transaction(ctx context.Context) (at store.Tick, err error) {
	l := t.group.lane
	if err := settle(ctx, l.session); err != nil {
		return 0, err
	}
	if err := l.session.StartTransaction(options.Transaction().SetReadConcern(readconcern.Snapshot())); err != nil {
		return 0, err
	}
	in := mongo.NewSessionContext(ctx, l.session)
	moved, err := t.move(in)
	at = store.Tick(moved.At)
	if err == nil && moved.Gaps > 0 {
		err = t.unused(in)
	}
	if err == nil {
		err = t.write(in, at)
	}
	if err != nil {
		undo(in, l.session)
		return 0, err
	}
	if err := l.session.CommitTransaction(in); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return at, nil
}

// move gives the lane its next tick: the server's clock, but past its last
// commit, the last barrier, and all that is replaced. A commit whose result
// was unknown, and that went through meanwhile, is not done again: the lane
// has its id.
func (t *attempt) move(ctx context.Context) (moved laneDoc, err error) {
	l := t.group.lane
	id := bson.Binary{Data: t.id[:]}
	err = l.s.db.Collection(lanes).FindOneAndUpdate(ctx, append(open(l.id), bson.E{Key: "last", Value: field("$ne", id)}),
		bson.A{field("$set", bson.D{{Key: "last", Value: id}, {Key: "at", Value: field("$max", bson.A{
			field("$add", bson.A{field("$toLong", l.s.now()), l.s.jump().Milliseconds()}), field("$add", bson.A{"$at", int64(1)}), field("$add", bson.A{"$floor", int64(1)}), int64(t.least),
		})}})}, options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&moved)
	if isNone(err) {
		err = errLaneEnded
	}
	return moved, err
}

// unused sees that nothing is there of what the plan takes for new. Where no
// history of the tenant has lost its beginning, the index of resources does.
func (t *attempt) unused(ctx context.Context) error {
	var created [][]byte
	for i := range t.writes {
		if w := &t.writes[i]; w.replaces == nil {
			created = append(created, w.space.resourceOf(w.id))
		}
	}
	if len(created) == 0 {
		return nil
	}
	err := t.group.lane.s.db.Collection(versions).FindOne(ctx, field("h", in(created)),
		options.FindOne().SetHint(byResource).SetProjection(field("_id", 1))).Err()
	if err == nil {
		return errStale
	}
	return orNone(err)
}

// write closes what is replaced, and writes what is new.
func (t *attempt) write(ctx context.Context, at store.Tick) error {
	l := t.group.lane
	closed := make(bson.A, 0, len(t.writes))
	docs := make([]any, len(t.writes))
	for i := range t.writes {
		w := &t.writes[i]
		w.key, w.from = w.space.key(at, l.number(), i), at
		docs[i] = w.encode()
		if w.replaces != nil {
			closed = append(closed, bson.Binary{Data: w.replaces[:]})
		}
	}
	c := l.s.db.Collection(versions)
	if len(closed) > 0 {
		got, err := c.UpdateMany(ctx, bson.D{{Key: "_id", Value: field("$in", closed)}, {Key: "t", Value: int64(store.Forever)}},
			field("$set", field("t", int64(at))), options.UpdateMany().SetHint(byID))
		if err != nil {
			return err
		}
		if got.ModifiedCount != int64(len(closed)) {
			return errStale
		}
	}
	if _, err := c.InsertMany(ctx, docs); err != nil {
		return err
	}
	if err := t.unchanged(ctx); err != nil {
		return err
	}
	return t.extents(ctx)
}

// unchanged sees, in a transaction that also writes, that what Unchanged says
// is so. The plan may stand on what a primary read that had been deposed, or
// that was new and did not know yet what a majority has.
func (t *attempt) unchanged(ctx context.Context) error {
	if len(t.same) == 0 {
		return nil
	}
	n, err := t.group.lane.s.db.Collection(versions).CountDocuments(ctx,
		bson.D{{Key: "_id", Value: field("$in", t.same)}, {Key: "t", Value: int64(store.Forever)}}, options.Count().SetHint(byID))
	if err == nil && n != int64(len(t.same)) {
		err = errStale
	}
	return err
}

// confirmed is commit where nothing is to be written.
func (t *attempt) confirmed(ctx context.Context) (again bool, err error) {
	err = t.confirm(ctx)
	if errors.Is(err, errLaneEnded) {
		t.group.lane.id = 0
	}
	return errors.Is(err, errStale) || errors.Is(err, errLaneEnded), err
}

// confirm looks at what is unchanged in a transaction of its own.
func (t *attempt) confirm(ctx context.Context) error {
	l := t.group.lane
	return l.s.transact(ctx, func(ctx context.Context) error {
		got, err := l.s.db.Collection(lanes).UpdateOne(ctx, open(l.id), field("$inc", field("raised", int64(1))), options.UpdateOne().SetHint(byID))
		switch {
		case err != nil:
			return err
		case got.MatchedCount == 0:
			return errLaneEnded
		}
		return t.unchanged(ctx)
	})
}

// answer fills in what only the commit's tick tells.
func (t *attempt) answer(at store.Tick) {
	for i := range t.writes {
		w := &t.writes[i]
		w.answer.At, w.answer.Key = at, w.space.key(at, t.group.lane.number(), i).text()
	}
}

// lastCommit tells whether the lane's last commit is the one of that id, by
// its tick, and whether the lane was ended.
func (l *lane) lastCommit(ctx context.Context, id ulid.ULID) (at store.Tick, ended bool, err error) {
	var d laneDoc
	err = l.s.db.Collection(lanes).FindOne(ctx, field("_id", l.id), options.FindOne().SetHint(byID)).Decode(&d)
	if err != nil {
		return 0, isNone(err), orNone(err)
	}
	if string(d.Last.Data) == string(id[:]) {
		at = store.Tick(d.At)
	}
	return at, d.Ended != nil, nil
}

// orNone is no error where there was but no document.
func orNone(err error) error {
	if isNone(err) {
		return nil
	}
	return err
}

// backoff is how long to wait before the next try: a few milliseconds, doubled
// by each to a second at most, and never the same for two who met.
type backoff struct{ tries int }

// wait waits; false if the context ends first.
func (b *backoff) wait(ctx context.Context) bool {
	most := min(4*time.Millisecond<<min(b.tries, 8), time.Second)
	b.tries++
	timer := time.NewTimer(most/2 + rand.N(most/2)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
