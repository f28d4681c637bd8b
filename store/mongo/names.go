package mongo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// names are the numbers that stand for tenants and types in keys. A number is
// given once and for ever, so what is known need not be read again.
type names struct {
	mu      sync.RWMutex
	tenants map[string]int
	types   map[string]int
	ofType  map[int]string
}

// numbered is a document of tenant or type.
type numbered struct {
	Name string `bson:"_id"`
	No   int    `bson:"no"`
}

// The greatest numbers; 0 is none.
const (
	maxTenant = math.MaxUint16
	maxType   = math.MaxUint8
)

// tenant is a tenant's number; 0 if nothing was ever written for it.
func (s *Store) tenant(ctx context.Context, t store.Tenant) (uint16, error) {
	s.names.mu.RLock()
	no := s.names.tenants[string(t)]
	s.names.mu.RUnlock()
	if no > 0 {
		return uint16(no), nil
	}
	var found numbered
	err := s.db.Collection(tenants).FindOne(ctx, field("_id", string(t)), options.FindOne().SetHint(byID)).Decode(&found)
	if isNone(err) {
		return 0, nil
	}
	if err == nil {
		s.learn(&s.names.tenants, found)
	}
	return uint16(found.No), err
}

// newTenant is tenant, which gives it a number if it has none.
func (s *Store) newTenant(ctx context.Context, t store.Tenant) (uint16, error) {
	no, err := s.tenant(ctx, t)
	if no > 0 || err != nil {
		return no, err
	}
	rest := bson.D{{Key: "clock", Value: int64(0)}, {Key: "generation", Value: int64(0)}, {Key: "erasure", Value: int64(0)}}
	if err := s.number(ctx, tenants, string(t), maxTenant, rest); err != nil {
		return 0, err
	}
	if no, err = s.tenant(ctx, t); no == 0 && err == nil {
		err = errUnseen
	}
	return no, err
}

// errUnseen tells that a number was given, and that the primary, which may be
// a new one, does not know yet that a majority has it. 0 is nobody's.
var errUnseen = transientError(errors.New("a number that was given is not seen yet"))

// space is a tenant's space of a type; false if there never was any.
func (s *Store) space(ctx context.Context, t store.Tenant, typ string) (space, bool, error) {
	tenant, err := s.tenant(ctx, t)
	if err != nil || tenant == 0 {
		return space{}, false, err
	}
	no, err := s.typeNo(ctx, typ)
	return space{tenant, no}, no > 0, err
}

// typeNo is a type's number; 0 if nothing of it was ever written.
func (s *Store) typeNo(ctx context.Context, typ string) (uint8, error) {
	s.names.mu.RLock()
	no := s.names.types[typ]
	s.names.mu.RUnlock()
	if no > 0 {
		return uint8(no), nil
	}
	if err := s.readTypes(ctx); err != nil {
		return 0, err
	}
	s.names.mu.RLock()
	defer s.names.mu.RUnlock()
	return uint8(s.names.types[typ]), nil
}

// newType is typeNo, which gives the type a number if it has none.
func (s *Store) newType(ctx context.Context, typ string) (uint8, error) {
	no, err := s.typeNo(ctx, typ)
	if no > 0 || err != nil {
		return no, err
	}
	if err := s.number(ctx, types, typ, maxType, nil); err != nil {
		return 0, err
	}
	if no, err = s.typeNo(ctx, typ); no == 0 && err == nil {
		err = errUnseen
	}
	return no, err
}

// typeName is the type of a number.
func (s *Store) typeName(ctx context.Context, no uint8) (string, error) {
	s.names.mu.RLock()
	name := s.names.ofType[int(no)]
	s.names.mu.RUnlock()
	if name != "" {
		return name, nil
	}
	if err := s.readTypes(ctx); err != nil {
		return "", err
	}
	s.names.mu.RLock()
	defer s.names.mu.RUnlock()
	if name = s.names.ofType[int(no)]; name == "" {
		return "", fmt.Errorf("mongo: there is no type of number %d", no)
	}
	return name, nil
}

// allTypes are the types that any tenant has anything of, in order of number.
func (s *Store) allTypes(ctx context.Context) ([]string, error) {
	if err := s.readTypes(ctx); err != nil {
		return nil, err
	}
	s.names.mu.RLock()
	defer s.names.mu.RUnlock()
	out := slices.Collect(maps.Keys(s.names.types))
	slices.SortFunc(out, func(a, b string) int { return s.names.types[a] - s.names.types[b] })
	return out, nil
}

func (s *Store) readTypes(ctx context.Context) error {
	cur, err := s.db.Collection(types).Find(ctx, bson.D{}, options.Find().SetHint(byID))
	if err != nil {
		return err
	}
	var found []numbered
	if err := cur.All(ctx, &found); err != nil {
		return err
	}
	s.learn(&s.names.types, found...)
	return nil
}

func (s *Store) learn(into *map[string]int, found ...numbered) {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if *into == nil {
		*into = map[string]int{}
	}
	for _, f := range found {
		(*into)[f.Name] = f.No
	}
	if into == &s.names.types {
		s.names.ofType = map[int]string{}
		for name, no := range s.names.types {
			s.names.ofType[no] = name
		}
	}
}

// number gives a name the number after the greatest. Another may give the same
// number to another name at once: the index on numbers lets one of them pass.
func (s *Store) number(ctx context.Context, collection, name string, most int, rest bson.D) error {
	c := s.db.Collection(collection)
	for {
		var last numbered
		err := c.FindOne(ctx, bson.D{}, options.FindOne().SetSort(field("no", -1)).SetHint("number")).Decode(&last)
		if err != nil && !isNone(err) {
			return err
		}
		if last.No >= most {
			return fmt.Errorf("mongo: a database has room for %d in %s", most, collection)
		}
		_, err = c.InsertOne(ctx, append(bson.D{{Key: "_id", Value: name}, {Key: "no", Value: last.No + 1}}, rest...))
		switch {
		case err == nil:
			return nil
		case !mongo.IsDuplicateKeyError(err):
			return err
		}
		if n, err := c.CountDocuments(ctx, field("_id", name), options.Count().SetHint(byID)); n > 0 || err != nil {
			return err
		}
	}
}
