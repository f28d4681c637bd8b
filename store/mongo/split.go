package mongo

import (
	"context"
	"math/rand/v2"
	"slices"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// granule is about how many bytes of bodies an extent stands for. Each commit
// writes one for each type that it wrote, with a chance of its bytes over the
// granule, and one that stands for the bytes themselves if they are more. So
// the sum over a range is near the bytes in it, whoever wrote them, a small
// commit seldom pays for it, and nobody counts.
const granule = 1 << 20

// extents notes about how many bytes the commit wrote where.
func (t *attempt) extents(ctx context.Context) error {
	type written struct {
		first versionKey
		bytes int64
	}
	of := map[space]*written{}
	for i := range t.writes {
		w := &t.writes[i]
		if of[w.space] == nil {
			of[w.space] = &written{first: w.key}
		}
		of[w.space].bytes += int64(len(w.body))
	}
	var docs []any
	for _, w := range of {
		if w.bytes >= granule || rand.Int64N(granule) < w.bytes { //nolint:gosec // no secret
			docs = append(docs, bson.D{{Key: "_id", Value: bson.Binary{Data: w.first[:]}}, {Key: "z", Value: max(w.bytes, granule)}})
		}
	}
	if len(docs) == 0 {
		return nil
	}
	_, err := t.group.lane.s.db.Collection(extents).InsertMany(ctx, docs)
	return err
}

// Split is store.Scanner.
func (s *Store) Split(ctx context.Context, t store.Tenant, sel store.Selection, bytesEach int64) ([]store.Range, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	out, err := s.split(ctx, t, sel, max(bytesEach, 1))
	return out, failed(ctx, err)
}

func (s *Store) split(ctx context.Context, t store.Tenant, sel store.Selection, bytesEach int64) ([]store.Range, error) {
	tenant, err := s.tenant(ctx, t)
	if err != nil || tenant == 0 {
		return nil, err
	}
	if err := s.reached(ctx, tenant, sel.At); err != nil {
		return nil, err
	}
	known, err := s.allTypes(ctx)
	if err != nil {
		return nil, err
	}
	c := splitting{scan: scan{s: s, tenant: t, sel: sel}, each: bytesEach, spaces: map[string]space{}}
	for _, typ := range known {
		if sel.Types != nil && !slices.Contains(sel.Types, typ) {
			continue
		}
		no, err := s.typeNo(ctx, typ)
		if err != nil {
			return nil, err
		}
		c.types, c.spaces[typ] = append(c.types, typ), space{tenant, no}
	}
	return c.run(ctx)
}

// splitting is one call of Split.
type splitting struct {
	scan
	each   int64
	types  []string // in order of their numbers, and so of keys
	spaces map[string]space
	out    []store.Range
}

func (c *splitting) run(ctx context.Context) ([]store.Range, error) {
	if c.sel.Cohort != "" && c.sel.IDs == nil && !c.sel.Deleted {
		crowd, err := c.cohort(ctx)
		if err != nil {
			return nil, err
		}
		if !crowd.big() {
			err := c.few(ctx, crowd)
			return c.out, err
		}
	}
	for _, typ := range c.types {
		if err := c.one(ctx, typ); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// few cuts what the patients of a small cohort have, whose places are read.
func (c *splitting) few(ctx context.Context, crowd *crowd) error {
	places, err := c.s.collect(ctx, c.sel, pointsOf(crowd.few, c.spaces), versionKey{}, lastKey)
	if err != nil {
		return err
	}
	for _, typ := range c.types {
		_, end := c.spaces[typ].within(c.sel.After, c.sel.At)
		n := 0
		for n < len(places) && string(places[n].key[:]) < string(end[:]) {
			n++
		}
		c.cut(typ, places[:n], end)
		places = places[n:]
	}
	return nil
}

// one cuts what there is of a type.
func (c *splitting) one(ctx context.Context, typ string) error {
	from, to := c.spaces[typ].within(c.sel.After, c.sel.At)
	first, err := c.look(ctx, from, to, 8)
	if err != nil || len(first) == 0 {
		return err
	}
	mean := int64(0)
	for _, p := range first {
		mean += p.bytes
	}
	mean = max(mean/int64(len(first)), 1)
	switch {
	case c.sel.Deleted: // tombstones have no body
		c.add(typ, first[0].key, to, 1)
		return nil
	case c.sel.IDs != nil:
		c.add(typ, first[0].key, to, mean*int64(len(c.sel.IDs)))
		return nil
	case c.each < exact:
		places, err := c.look(ctx, from, to, 0)
		c.cut(typ, places, to)
		return err
	}
	marks, err := c.marks(ctx, from, to)
	if err != nil {
		return err
	}
	c.cut(typ, append([]place{{first[0].key, mean * int64(len(first))}}, marks...), to)
	return nil
}

// exact is below how many bytes a range each version is looked at, as extents
// are too coarse.
const exact = 8 * granule

// look reads the places of a range; n of them, or all if n is 0.
func (c *splitting) look(ctx context.Context, from, to versionKey, n int64) ([]place, error) {
	filter, by := bson.D{span(from, to)}, byID
	if c.sel.Deleted {
		filter, by = bson.D{{Key: "d", Value: true}, span(from, to)}, byTombstone
	}
	return c.s.places(ctx, versions, filter, options.Find().SetHint(by).SetLimit(n))
}

func (c *splitting) marks(ctx context.Context, from, to versionKey) ([]place, error) {
	return c.s.places(ctx, extents, bson.D{span(from, to)}, options.Find().SetHint(byID))
}

// cut makes ranges of about the bytes asked for, as equal as they come.
func (c *splitting) cut(typ string, places []place, end versionKey) {
	total := int64(0)
	for _, p := range places {
		total += p.bytes
	}
	if len(places) == 0 {
		return
	}
	target := (total + max(total/c.each, 1) - 1) / max(total/c.each, 1)
	begin, bytes := places[0].key, int64(0)
	for _, p := range places {
		if bytes >= target && bytes > 0 {
			c.add(typ, begin, p.key, bytes)
			begin, bytes = p.key, 0
		}
		bytes += p.bytes
	}
	c.add(typ, begin, end, bytes)
}

func (c *splitting) add(typ string, from, to versionKey, bytes int64) {
	c.out = append(c.out, store.Range{Type: typ, From: from.text(), To: to.text(), Bytes: max(bytes, 1)})
}
