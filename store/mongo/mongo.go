package mongo

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"firebreak/store"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Config says where the store is.
type Config struct {
	// URI names the replica set and the database:
	// mongodb://HOST,HOST/DATABASE?replicaSet=NAME. Without a database in it,
	// it is "firebreak".
	URI string
	// Now takes the place of the server's clock in tests; nil: the server's.
	Now func() time.Time
	// Observe is told of each commit: how many requests shared it, the bytes of
	// bodies in them, and how long it took. nil: nobody is.
	Observe func(requests, bytes int, took time.Duration)
	// Log is told of commands that take a second or more and, at the debug
	// level, that the database gives no change stream, so that idle instances
	// only poll; nil: it is not.
	Log *slog.Logger

	most    int                              // bytes of a version's document; 0: maxDocument
	started func(*event.CommandStartedEvent) // sees every command
	glance  time.Duration                    // how often watchers are woken by themselves; 0: glance
	skew    func() time.Duration             // is added to the clock that ticks come from; nil: nothing
}

// Store is a store.Store in MongoDB.
type Store struct {
	cfg      Config
	client   *mongo.Client
	db       *mongo.Database
	instance string // this Store's own name among those that share the database
	names    names
	clocks   clocks
	watch    store.Watchers
	changes  changes
	turns    turns
	sessions sessions

	mu      sync.Mutex
	lanes   map[store.Tenant]*lane
	closed  bool
	under   sync.WaitGroup  // calls and goroutines that use the client
	life    context.Context //nolint:containedctx // ends with Close; what runs beside the calls lives under it
	endLife context.CancelFunc
}

var _ store.Store = (*Store)(nil)

// Open connects, makes sure that the server has real transactions, and brings
// the schema up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	client, err := connect(clientOptions(cfg.URI).SetMonitor(cfg.monitor()))
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, client: client, db: client.Database(databaseOf(cfg.URI)), instance: ulid.Make().String(), lanes: map[store.Tenant]*lane{}}
	s.life, s.endLife = context.WithCancel(context.Background())
	if err := s.start(ctx); err != nil {
		s.endLife()
		return nil, errors.Join(orContext(ctx, err), client.Disconnect(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := recognise(ctx, s.db); err != nil {
		return err
	}
	if err := probe(ctx, s.client, s.db); err != nil {
		return err
	}
	if err := migrate(ctx, s.db); err != nil {
		return err
	}
	if err := s.beat(ctx); err != nil {
		return err
	}
	s.under.Go(s.tend)
	return nil
}

// clientOptions are what every client of ours has: acknowledged means on the
// disks of a majority, and reading is from the primary. A pool has room for one
// connection more than it is told to: the change stream has one nearly all the
// time, and no commit is to wait for that.
func clientOptions(uri string) *options.ClientOptions {
	journal := true
	o := options.Client().SetAppName("firebreak").ApplyURI(uri)
	most := uint64(100)
	if o.MaxPoolSize != nil {
		most = *o.MaxPoolSize
	}
	if most > 0 { // 0: there is no limit
		o.SetMaxPoolSize(most + 1)
	}
	return o.
		SetServerSelectionTimeout(selection).
		SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journal}).
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary())
}

// selection is how long a call waits for a primary.
const selection = 10 * time.Second

// enter begins a call: ErrClosed, or the context's own end. leave must follow.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	s.under.Add(1)
	return s.under.Done, nil
}

// Ping is store.Store: it writes what says that this instance is alive.
func (s *Store) Ping(ctx context.Context) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.beat(ctx))
}

// Close waits for commits under way, ends this instance's lanes, and releases
// the store. Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := s.lanes
	s.mu.Unlock()
	for _, l := range open {
		l.stop()
	}
	s.endLife()
	s.under.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), selection)
	defer cancel()
	err := s.leave(ctx)
	s.sessions.end()
	return errors.Join(err, s.client.Disconnect(ctx))
}

// now is the server's clock as an expression of an aggregation.
func (s *Store) now() any {
	if s.cfg.Now != nil {
		return s.cfg.Now()
	}
	return "$$NOW"
}

// jump is by how much the clock that ticks come from is wrong, in tests.
func (s *Store) jump() time.Duration {
	if s.cfg.skew == nil {
		return 0
	}
	return s.cfg.skew()
}

// clock asks the server what time it is.
func (s *Store) clock(ctx context.Context) (time.Time, error) {
	if s.cfg.Now != nil {
		return s.cfg.Now(), nil
	}
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}, options.RunCmd().SetReadPreference(readpref.Primary())).Decode(&hello)
	return hello.LocalTime, err
}
