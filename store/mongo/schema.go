package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// schemaNow is the schema that this binary writes and reads.
const schemaNow = 3

// The collections of a database.
const (
	metas     = "meta"     // what the database is: schema, identity of the files
	tenants   = "tenant"   // one document a tenant: its number and clock
	types     = "type"     // numbers of resource types
	instances = "instance" // who is running, and when it last said so
	lanes     = "lane"     // through which an instance commits to a tenant
	versions  = "version"  // one document a version of a resource
	extents   = "extent"   // about how many bytes are where in version
	jobs      = "job"
	units     = "unit"
	members   = "member" // of cohorts
	finds     = "find"
	parts     = "part"
	limits    = "limit"   // what creating jobs of a kind conflicts on
	erasures  = "erasure" // one document a job and a patient whom it announced
	erasing   = "erasing" // one document a tenant: what announcing and ending units conflict on
	ledgers   = "ledger"  // how far each ledger goes
	notices   = "notice"  // one document an owner and a resource of whose erasure the owner is to hear
	holds     = "hold"
	heldOnes  = "held"        // one document a hold and a patient that it is on
	certified = "certificate" // one document a certificate
)

// The names of the indexes that queries hint at. That of _id is "_id_".
const (
	byID        = "_id_"
	byResource  = "resource"
	byPatient   = "patient"
	byReference = "reference"
	byTombstone = "tombstone"
	byTenant    = "tenant"
	byInstance  = "instance"
)

// collections are all that a database has, besides the probe's. They are made
// at start: whoever writes to one that is not there would make it, and two who
// do so at once may meet.
func collections() []string {
	return []string{tenants, types, instances, lanes, versions, extents, jobs, units, members, finds, parts, holders, limits, erasures, erasing, notices, holds, heldOnes, certified, ledgers}
}

// index is an index of a collection.
type index struct {
	collection, name string
	keys             bson.D
	unique           bool
	only             bson.D        // the documents that are in it; nil: all
	lifetime         time.Duration // of a document after the instant; 0: for ever
}

// dataIndexes are those of resources and of the clock. Nothing in them ever
// changes but lane.ended, so a scan never meets a document twice.
func dataIndexes() []index {
	return []index{
		{collection: tenants, name: "number", keys: bson.D{{Key: "no", Value: 1}}, unique: true},
		{collection: types, name: "number", keys: bson.D{{Key: "no", Value: 1}}, unique: true},
		{collection: lanes, name: byTenant, keys: bson.D{{Key: "tenant", Value: 1}, {Key: "ended", Value: 1}}},
		{collection: lanes, name: byInstance, keys: bson.D{{Key: "instance", Value: 1}, {Key: "ended", Value: 1}}},
		{collection: lanes, name: "ended", keys: bson.D{{Key: "ended", Value: 1}}, lifetime: time.Hour},
		{collection: versions, name: byResource, keys: bson.D{{Key: "h", Value: 1}, {Key: "n", Value: -1}}, unique: true},
		{collection: versions, name: byPatient, keys: bson.D{{Key: "p", Value: 1}, {Key: "_id", Value: 1}}},
		{collection: versions, name: byReference, keys: bson.D{{Key: "r", Value: 1}, {Key: "_id", Value: 1}}},
		{collection: versions, name: byTombstone, keys: bson.D{{Key: "d", Value: 1}, {Key: "_id", Value: 1}}, only: bson.D{{Key: "d", Value: true}}},
	}
}

func exists(field string) bson.D {
	return bson.D{{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}}
}

// migrate makes what is missing of the schema. Any instance may do so, and
// several at once.
func migrate(ctx context.Context, db *mongo.Database) error {
	_, err := db.Collection(metas).InsertOne(ctx, bson.D{{Key: "_id", Value: "schema"}, {Key: "version", Value: schemaNow}})
	if mongo.IsDuplicateKeyError(err) {
		// Schema 1 had no announcements: its binaries must not end units. Schema 2
		// had no holds: its binaries must not erase.
		_, err = db.Collection(metas).UpdateOne(ctx, field("_id", "schema"), field("$max", field("version", schemaNow)), options.UpdateOne().SetHint(byID))
	}
	if err != nil {
		return wrap("mark the database", err)
	}
	for _, c := range collections() {
		if err := db.CreateCollection(ctx, c); err != nil && !hasCode(err, namespaceExists) {
			return fmt.Errorf("mongo: make the collection %s: %w", c, err)
		}
	}
	byCollection := map[string][]mongo.IndexModel{}
	for _, x := range append(dataIndexes(), jobIndexes()...) {
		byCollection[x.collection] = append(byCollection[x.collection], x.model())
	}
	for c, models := range byCollection {
		if _, err := db.Collection(c).Indexes().CreateMany(ctx, models); err != nil {
			return fmt.Errorf("mongo: make the indexes of %s: %w", c, err)
		}
	}
	return nil
}

func (x index) model() mongo.IndexModel {
	o := options.Index().SetName(x.name)
	if x.unique {
		o.SetUnique(true)
	}
	if x.lifetime > 0 {
		o.SetExpireAfterSeconds(int32(x.lifetime / time.Second))
	}
	if x.only != nil {
		o.SetPartialFilterExpression(x.only)
	}
	return mongo.IndexModel{Keys: x.keys, Options: o}
}

// recognise tells whether the database may be used, and touches nothing. One
// that is not Firebreak's, or newer than this binary, is refused.
//
// It lists what is there before it reads the mark: an instance that makes the
// database Firebreak's meanwhile writes the mark before anything else.
func recognise(ctx context.Context, db *mongo.Database) error {
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return wrap("list the collections", err)
	}
	var mark struct {
		Version int `bson:"version"`
	}
	err = db.Collection(metas).FindOne(ctx, field("_id", "schema")).Decode(&mark)
	switch {
	case isNone(err):
		return unclaimed(db.Name(), names)
	case err != nil:
		return wrap("read the schema", err)
	case mark.Version > schemaNow:
		return fmt.Errorf("mongo: the database has schema %d and this binary knows %d at most: run a newer firebreak", mark.Version, schemaNow)
	}
	return nil
}

// unclaimed tells whether a database of these collections is empty, but for
// what an instance has that is just making it Firebreak's.
func unclaimed(database string, names []string) error {
	for _, n := range names {
		if n != metas && n != probes {
			return fmt.Errorf("mongo: the database %s is not Firebreak's, and not empty: name another one in the URI", database)
		}
	}
	return nil
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mongo: %s: %w", doing, err)
}
