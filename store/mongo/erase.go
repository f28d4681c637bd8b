package mongo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Erase is store.Eraser. A commit that replaces one of the versions meanwhile
// writes its document too: one of the two is undone, and then finds what the
// other left.
func (s *Store) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (out store.Erased, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	meant, err := s.meantVersions(ctx, f.Tenant, vs)
	if err != nil {
		return out, failed(ctx, err)
	}
	out, err = s.erase(ctx, f, meant, of, false)
	if errors.Is(err, errGap) {
		if err = s.makeGap(ctx, f.Tenant); err == nil {
			out, err = s.erase(ctx, f, meant, of, true)
		}
	}
	if err != nil {
		return store.Erased{}, failed(ctx, err)
	}
	return out, nil
}

// errGap tells that an erasure makes a gap at the beginning of a history.
var errGap = errors.New("mongo: a first version is erased, and later ones stay")

// makeGap has every later commit of the tenant look whether what it creates is
// there. Else it is guarded by the first version, which is another's, and which
// is going to be erased. It is no part of the erasure's transaction, so that it
// waits for commits under way; and it counts, so that each is a write.
func (s *Store) makeGap(ctx context.Context, t store.Tenant) error {
	no, err := s.tenant(ctx, t)
	if err != nil {
		return err
	}
	gap := field("$inc", field("gaps", int64(1)))
	if _, err := s.db.Collection(tenants).UpdateOne(ctx, field("no", int(no)), gap, options.UpdateOne().SetHint("number")); err != nil {
		return err
	}
	_, err = s.db.Collection(lanes).UpdateMany(ctx, bson.D{{Key: "tenant", Value: int(no)}, {Key: "ended", Value: nil}},
		gap, options.UpdateMany().SetHint(byTenant))
	return err
}

func (s *Store) erase(ctx context.Context, f store.Fence, meant map[identity]bool, of []string, mayGap bool) (out store.Erased, err error) {
	now := func() (time.Time, error) { return s.clock(ctx) }
	err = s.fenced(ctx, f, func(ctx context.Context) error {
		if err := s.unheld(ctx, f.Tenant, now, of); err != nil {
			return err
		}
		e := erasure{s: s, doomed: map[versionKey]bool{}, first: map[string]bool{}}
		if out, err = e.run(ctx, meant); err != nil {
			return err
		}
		if len(e.first) > 0 && !mayGap {
			return errGap
		}
		return s.changeUnit(ctx, f, bson.D{
			{Key: "erased_versions", Value: addTo("erased_versions", out.Versions)},
			{Key: "erased_resources", Value: addTo("erased_resources", out.Resources)},
			{Key: "updated", Value: s.now()},
		})
	})
	return out, err
}

// addTo adds to a member that may be absent, as an expression of an aggregation.
func addTo(member string, n int64) bson.D {
	return field("$add", bson.A{field("$ifNull", bson.A{"$" + member, int64(0)}), n})
}

// identity is what a version must be to be erased.
type identity struct {
	key      versionKey
	resource string // as resourceOf names it
	n        int64
}

// meantVersions leaves out what cannot be there.
func (s *Store) meantVersions(ctx context.Context, t store.Tenant, vs []store.VersionRef) (map[identity]bool, error) {
	spaces, err := s.spacesOf(ctx, t, vs)
	if err != nil {
		return nil, err
	}
	meant := make(map[identity]bool, len(vs))
	for _, v := range vs {
		k, err := parseKey(v.Key)
		if err != nil {
			return nil, err
		}
		if sp, ok := spaces[v.ID.Type]; ok {
			meant[identity{k, string(sp.resourceOf(v.ID.ID)), v.N}] = true
		}
	}
	return meant, nil
}

// spacesOf are the tenant's spaces of the types of versions. One that is not
// known may still be there: that is asked of a primary that cannot hide it.
func (s *Store) spacesOf(ctx context.Context, t store.Tenant, vs []store.VersionRef) (map[string]space, error) {
	of, asked := map[string]space{}, map[string]bool{}
	for _, v := range vs {
		if asked[v.ID.Type] {
			continue
		}
		asked[v.ID.Type] = true
		sp, ok, err := s.space(ctx, t, v.ID.Type)
		if err == nil && !ok {
			var n naming
			n, err = s.naming(ctx, t)
			sp, ok = n.space(v.ID.Type)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			of[v.ID.Type] = sp
		}
	}
	return of, nil
}

// erasure is one try to erase versions, within a transaction.
type erasure struct {
	s      *Store
	doomed map[versionKey]bool
	whole  [][]byte        // resources whose current version is doomed
	first  map[string]bool // other resources whose first version is
}

func (e *erasure) run(ctx context.Context, meant map[identity]bool) (out store.Erased, err error) {
	places := make(map[versionKey]bool, len(meant))
	for is := range meant {
		places[is.key] = true
	}
	for page := range slices.Chunk(slices.SortedFunc(maps.Keys(places), compareKeys), pageOf) {
		if err := e.find(ctx, page, meant); err != nil {
			return out, err
		}
	}
	for _, h := range e.whole {
		delete(e.first, string(h))
	}
	for page := range slices.Chunk(e.whole, pageOf) {
		if err := e.leavesNone(ctx, page); err != nil {
			return out, err
		}
	}
	for page := range slices.Chunk(slices.SortedFunc(maps.Keys(e.doomed), compareKeys), pageOf) {
		if _, err := e.s.db.Collection(versions).DeleteMany(ctx, field("_id", inKeys(page)), options.DeleteMany().SetHint(byID)); err != nil {
			return out, err
		}
	}
	return store.Erased{Versions: int64(len(e.doomed)), Resources: int64(len(e.whole))}, nil
}

func inKeys(keys []versionKey) bson.D {
	values := make([][]byte, len(keys))
	for i := range keys {
		values[i] = keys[i][:]
	}
	return in(values)
}

// find looks which of the versions are there.
func (e *erasure) find(ctx context.Context, page []versionKey, meant map[identity]bool) error {
	return e.read(ctx, field("_id", inKeys(page)), byID, func(d versionDoc) error {
		resource := d.space.resourceOf(d.id)
		if !meant[identity{d.key, string(resource), d.n}] {
			return nil
		}
		e.doomed[d.key] = true
		if d.n == 1 {
			e.first[string(resource)] = true
		}
		if d.to == store.Forever {
			e.whole = append(e.whole, resource)
		}
		return nil
	})
}

// leavesNone answers ErrConflict if another version of one of the resources is
// there.
func (e *erasure) leavesNone(ctx context.Context, resources [][]byte) error {
	return e.read(ctx, field("h", in(resources)), byResource, func(d versionDoc) error {
		if !e.doomed[d.key] {
			return store.ErrConflict
		}
		return nil
	})
}

// read reads versions without their bodies.
func (e *erasure) read(ctx context.Context, filter bson.D, by string, f func(versionDoc) error) error {
	cur, err := e.s.db.Collection(versions).Find(ctx, filter, options.Find().SetHint(by).SetBatchSize(placeBatch).
		SetProjection(ascending("h", "n", "t")))
	if err != nil {
		return err
	}
	return each(ctx, cur, func(raw bson.Raw) error {
		d, err := decode(raw)
		if err != nil {
			return err
		}
		return f(d)
	})
}
