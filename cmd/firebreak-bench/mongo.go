package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"firebreak/store"
	"firebreak/store/mongo"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	driveroptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Of a database of the product, the collection of versions and the member of
// them that is the body.
const (
	versions   = "version"
	bodyMember = "b"
)

const (
	mongoMemoryBudget = 250 // MiB, of any load or export
	besideFind        = "a find of the same bodies, 1,000 each time, to a file"
	besideDeleteMany  = "deleteMany by _id of the same documents, 1,000 each time; the budget is a ratio of 0.4"
	besideFindAll     = "a find of the same bodies, 1,000 each time"
	besideStats       = "the ndjson; the size is storageSize and indexSize of dbStats"

	findBatch   = 1000
	mongoSelect = 10 * time.Second // how long to look for a primary
	// Dropping waits for transactions of what was killed, which end after a
	// minute.
	mongoDrop = 90 * time.Second
)

// mongoEngine is a MongoDB. Each place in it is a database with a name that
// nobody has, under a name for the run.
type mongoEngine struct {
	address address
	client  *driver.Client
	run     string // what the names of the databases begin with

	mu   sync.Mutex
	made map[string]bool // names that were given away and not dropped
}

// openMongo makes sure that the engine answers.
func openMongo(ctx context.Context, uri string) (database, error) {
	at, err := parseAddress(uri)
	if err != nil {
		return database{}, err
	}
	client, err := driver.Connect(driverOptions(uri, 1))
	if err != nil {
		return database{}, fmt.Errorf("--store: %w", err)
	}
	var info struct {
		Version string `bson:"version"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return database{}, fmt.Errorf("--store: %w", errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))))
	}
	m := &mongoEngine{
		address: at, client: client, made: map[string]bool{},
		run: "firebreak-bench-" + strings.ToLower(ulid.Make().String()),
	}
	return database{
		engine: m, memory: mongoMemoryBudget,
		head:         fmt.Sprintf("MongoDB %s at %s, databases %s-*", info.Version, at.plainHosts(), m.run),
		besideBodies: besideFind, besideDisk: besideStats, besideGroup: besideMongoGroup,
		besidePurge: besideDeleteMany, besideScan: besideFindAll,
	}, nil
}

// besideMongoGroup also says what the export of ten patients may take, however
// many others there are.
func besideMongoGroup(id string) string {
	if id == smallGroup {
		return besideGet + "; the budget is 500 ms"
	}
	return besideGet
}

// driverOptions are what a plain program would have: acknowledged means on the
// disks of a majority.
func driverOptions(uri string, connections uint64) *driveroptions.ClientOptions {
	journal := true
	return driveroptions.Client().SetServerSelectionTimeout(mongoSelect).ApplyURI(uri).
		SetAppName("firebreak-bench").SetMaxPoolSize(connections).
		SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journal})
}

// address is a URI that names no database.
type address struct{ scheme, hosts, query string }

// parseAddress refuses a URI that names a database: the bench drops those that
// it measures in.
func parseAddress(uri string) (address, error) {
	o := driveroptions.Client().ApplyURI(uri)
	if err := o.Validate(); err != nil {
		return address{}, fmt.Errorf("--store: %w", err)
	}
	scheme, rest, _ := strings.Cut(uri, "://")
	rest, query, _ := strings.Cut(rest, "?")
	hosts, name, _ := strings.Cut(rest, "/")
	if name != "" {
		return address{}, errors.New("--store may name no database, as those that are measured in are made and dropped; with users, authSource=NAME says where they are")
	}
	// Without it, whoever names a database is looked for there.
	if o.Auth != nil && !strings.Contains(strings.ToLower(query), "authsource=") {
		query = strings.TrimPrefix(query+"&authSource="+url.QueryEscape(o.Auth.AuthSource), "&")
	}
	return address{scheme, hosts, query}, nil
}

// database is the URI of a database.
func (a address) database(name string) string {
	return strings.TrimSuffix(a.scheme+"://"+a.hosts+"/"+name+"?"+a.query, "?")
}

// plainHosts leaves the user out.
func (a address) plainHosts() string {
	return a.hosts[strings.LastIndexByte(a.hosts, '@')+1:]
}

func (m *mongoEngine) place(dir, name string) place {
	m.mu.Lock()
	defer m.mu.Unlock()
	db := m.run + "-" + name
	m.made[db] = true
	return place{data: filepath.Join(dir, name), store: m.address.database(db)}
}

// in is the database of a place.
func (m *mongoEngine) in(p place) *driver.Database {
	name := strings.TrimPrefix(p.store, m.address.scheme+"://"+m.address.hosts+"/")
	name, _, _ = strings.Cut(name, "?")
	return m.client.Database(name)
}

func (m *mongoEngine) bodies(ctx context.Context, p place, to string) (n int64, took time.Duration, err error) {
	began := time.Now()
	f, err := os.Create(to)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(to)) }()
	out := bufio.NewWriterSize(f, fileBuffer)
	err = m.eachBody(ctx, p, func(body []byte) error {
		n++
		if _, err := out.Write(body); err != nil {
			return err
		}
		return out.WriteByte('\n')
	})
	if err == nil {
		err = errors.Join(out.Flush(), f.Sync())
	}
	return n, time.Since(began), err
}

func (m *mongoEngine) scan(ctx context.Context, p place) (bytes int64, took time.Duration, err error) {
	began := time.Now()
	err = m.eachBody(ctx, p, func(body []byte) error {
		bytes += int64(len(body))
		return nil
	})
	return bytes, time.Since(began), err
}

// eachBody calls f with every body; one is valid until f returns.
func (m *mongoEngine) eachBody(ctx context.Context, p place, f func(body []byte) error) error {
	only := bson.D{{Key: "_id", Value: 0}, {Key: bodyMember, Value: 1}}
	return m.eachVersion(ctx, p, only, func(raw bson.Raw) error {
		_, body, ok := raw.Lookup(bodyMember).BinaryOK()
		if !ok {
			return nil // a tombstone
		}
		return f(body)
	})
}

// eachVersion calls f with all versions in order of their keys; nil: with all
// members. What f is called with is valid until it returns.
func (m *mongoEngine) eachVersion(ctx context.Context, p place, members bson.D, f func(bson.Raw) error) error {
	byID := bson.D{{Key: "_id", Value: 1}}
	o := driveroptions.Find().SetSort(byID).SetHint(byID).SetBatchSize(findBatch)
	if members != nil {
		o.SetProjection(members)
	}
	cur, err := m.in(p).Collection(versions).Find(ctx, bson.D{}, o)
	if err != nil {
		return err
	}
	defer cur.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only read
	for cur.Next(ctx) {
		if err := f(cur.Current); err != nil {
			return err
		}
	}
	return cur.Err()
}

func (m *mongoEngine) open(ctx context.Context, p place) (store.Store, error) {
	return mongo.Open(ctx, mongo.Config{URI: p.store})
}

func (m *mongoEngine) size(ctx context.Context, p place) (int64, error) {
	stats, err := m.in(p).RunCommand(ctx, bson.D{{Key: "dbStats", Value: 1}}).Raw()
	if err != nil {
		return 0, err
	}
	data, ok := stats.Lookup("storageSize").AsInt64OK()
	indexes, both := stats.Lookup("indexSize").AsInt64OK()
	if !ok || !both {
		return 0, errors.New("dbStats of the database tells no sizes")
	}
	return data + indexes, nil
}

func (m *mongoEngine) drop(ctx context.Context, p place) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mongoDrop)
	defer cancel()
	db := m.in(p)
	if err := db.Drop(ctx); err != nil {
		return fmt.Errorf("drop the database %s: %w", db.Name(), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.made, db.Name())
	return nil
}

// close has its own time: what was made is dropped though measuring was
// interrupted.
func (m *mongoEngine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), mongoDrop)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	for name := range m.made {
		if dropped := m.client.Database(name).Drop(ctx); dropped != nil {
			err = errors.Join(err, fmt.Errorf("drop the database %s: %w", name, dropped))
		}
	}
	return errors.Join(err, m.client.Disconnect(ctx))
}
