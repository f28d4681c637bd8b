package mongo

import (
	"context"
	"errors"
	"slices"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// Scan is store.Scanner.
func (s *Store) Scan(ctx context.Context, t store.Tenant, sel store.Selection, r store.Range, after store.Key, yield func(*store.Version) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c := scan{s: s, tenant: t, sel: sel, typ: r.Type, yield: yield}
	if sel.Types != nil && !slices.Contains(sel.Types, r.Type) {
		return nil
	}
	sp, ok, err := s.spaceAt(ctx, t, r.Type, sel.At)
	if err != nil || !ok {
		return failed(ctx, err)
	}
	c.space = sp
	from, to, err := c.bounds(r, after)
	if err != nil {
		return err
	}
	err = c.run(ctx, from, to)
	var own yieldError
	if errors.As(err, &own) {
		return orContext(ctx, own.error)
	}
	return failed(ctx, err)
}

// scan is one call of Scan.
type scan struct {
	s      *Store
	tenant store.Tenant
	sel    store.Selection
	typ    string
	space  space
	yield  func(*store.Version) error
	member func(patient string) bool // of the cohort; nil: it is not looked at
}

// bounds is the range within the space and the instants of the selection.
func (c *scan) bounds(r store.Range, after store.Key) (from, to versionKey, err error) {
	if from, err = parseKey(r.From); err != nil {
		return from, to, err
	}
	if to, err = parseKey(r.To); err != nil {
		return from, to, err
	}
	first, end := c.space.within(c.sel.After, c.sel.At)
	from, to = later(from, first), earlier(to, end)
	if after != "" {
		last, err := parseKey(after)
		if err != nil {
			return from, to, err
		}
		from = later(from, last.next())
	}
	return from, to, nil
}

func later(a, b versionKey) versionKey {
	if string(a[:]) < string(b[:]) {
		return b
	}
	return a
}

func earlier(a, b versionKey) versionKey {
	if string(a[:]) < string(b[:]) {
		return a
	}
	return b
}

func (c *scan) run(ctx context.Context, from, to versionKey) error {
	if string(from[:]) >= string(to[:]) {
		return nil
	}
	crowd, err := c.cohort(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.sel.Deleted:
		c.member = crowd.has
		return c.sequence(ctx, from, to)
	case c.sel.Cohort != "" && crowd.big():
		c.member = crowd.has
		return c.sequence(ctx, from, to)
	case c.sel.IDs == nil && c.sel.Cohort == "":
		return c.sequence(ctx, from, to)
	}
	places, err := c.s.collect(ctx, c.sel, c.named(crowd), from, to)
	if err != nil {
		return err
	}
	return c.pick(ctx, places)
}

// local is a collection as the primary has it. What was once committed by a
// majority every later primary has, though it may not know yet that a majority
// does; and what a majority may turn out not to have is, for a scan, later than
// its T.
func (s *Store) local(collection string) *mongo.Collection {
	return s.db.Collection(collection, options.Collection().SetReadConcern(readconcern.Local()))
}

func span(from, to versionKey) bson.E {
	return bson.E{Key: "_id", Value: bson.D{{Key: "$gte", Value: bson.Binary{Data: from[:]}}, {Key: "$lt", Value: bson.Binary{Data: to[:]}}}}
}

// sequence reads a range in order, whatever is in it, and yields what is meant.
// A cursor that is lost is opened again after the last key.
func (c *scan) sequence(ctx context.Context, from, to versionKey) error {
	var retry backoff
	for {
		began := time.Now()
		last, err := c.follow(ctx, from, to)
		if err == nil || !c.lost(err) || last == from && gone(err, began) || retry.tries > scanTries || !retry.wait(ctx) {
			return err
		}
		if last != from {
			retry = backoff{}
		}
		from = last
	}
}

// scanTries is how often in a row a scan may find that the server is away.
const scanTries = 8

const cursorNotFound = 43

// lost tells whether the cursor, not the yield, is at an end.
func (c *scan) lost(err error) bool {
	var own yieldError
	return !errors.As(err, &own) && (hasCode(err, cursorNotFound) || transient(err))
}

// yieldError is what yield returned, which is not to be tried again.
type yieldError struct{ error }

// follow reads from a key on. It returns from where to go on.
func (c *scan) follow(ctx context.Context, from, to versionKey) (next versionKey, err error) {
	next = from
	filter, by := c.filter(from, to)
	if c.sel.Compartments {
		filter = append(filter, bson.E{Key: "p", Value: field("$exists", true)})
	}
	if o := c.sel.Owner; o != nil {
		filter = append(filter, bson.E{Key: "o", Value: orAbsent(o.Client)}, bson.E{Key: "u", Value: orAbsent(o.User)})
	}
	cur, err := c.s.local(versions).Find(ctx, filter, options.Find().SetHint(by).SetSort(field("_id", 1)).SetBatchSize(scanBatch))
	if err != nil {
		return next, err
	}
	defer cur.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only read
	for cur.Next(ctx) {
		d, err := decode(cur.Current)
		if err != nil {
			return next, err
		}
		if err := c.give(ctx, d); err != nil {
			return next, err
		}
		next = d.key.next()
	}
	return next, cur.Err()
}

// orAbsent is the condition that a member has this text, which is left out if
// there is none.
func orAbsent(text string) any {
	if text == "" {
		return field("$exists", false)
	}
	return text
}

// filter is what a sequence reads, and the index that it reads it by.
func (c *scan) filter(from, to versionKey) (filter bson.D, by string) {
	current := bson.E{Key: "t", Value: field("$gt", int64(c.sel.At))}
	switch {
	case c.sel.Every:
		return bson.D{span(from, to)}, byID
	case c.sel.Deleted:
		return bson.D{{Key: "d", Value: true}, span(from, to), current}, byTombstone
	}
	return bson.D{span(from, to), current, {Key: "d", Value: field("$exists", false)}}, byID
}

// scanBatch is how many versions are fetched at a time at most; what they have
// together is never more than 16 MiB, as an answer is not.
const scanBatch = 1000

// give yields a version if it is meant.
func (c *scan) give(ctx context.Context, d versionDoc) error {
	if c.sel.IDs != nil && !slices.Contains(c.sel.IDs, d.id) {
		return nil
	}
	v, err := c.s.version(ctx, d)
	if err != nil {
		return err
	}
	if c.sel.Cohort != "" && c.member != nil && !c.inCohort(&v) {
		return nil
	}
	if err := c.yield(&v); err != nil {
		return yieldError{err}
	}
	return ctx.Err()
}

func (c *scan) inCohort(v *store.Version) bool {
	if v.ID.Type == patientType {
		return c.member(v.ID.ID)
	}
	return slices.ContainsFunc(v.Patients, c.member)
}

// patientType is the type whose resources a cohort has itself.
const patientType = "Patient"

// pick reads and yields the versions of the places, some at a time.
func (c *scan) pick(ctx context.Context, places []place) error {
	for len(places) > 0 {
		ids, bytes := bson.A{}, int64(0)
		for len(places) > 0 && len(ids) < scanBatch && (bytes == 0 || bytes+places[0].bytes < pickBytes) {
			ids, bytes = append(ids, bson.Binary{Data: places[0].key[:]}), bytes+places[0].bytes
			places = places[1:]
		}
		cur, err := c.s.local(versions).Find(ctx, field("_id", field("$in", ids)), options.Find().SetHint(byID).SetSort(field("_id", 1)).SetBatchSize(scanBatch))
		if err != nil {
			return err
		}
		if err := each(ctx, cur, func(raw bson.Raw) error {
			d, err := decode(raw)
			if err != nil || c.sel.Compartments && len(d.patients) == 0 {
				return err
			}
			return c.give(ctx, d)
		}); err != nil {
			return err
		}
	}
	return nil
}

// pickBytes is about how many bytes are asked for at once.
const pickBytes = 4 << 20
