// Package mongotest gives tests a MongoDB to run on. It takes the first of:
//
//   - the engine that FIREBREAK_TEST_MONGODB_URI names;
//   - a mongod on PATH, started as a replica set of one node, with test
//     commands (fail points);
//   - the program that FIREBREAK_TEST_MONGODB_CTL names, called as
//     "PROGRAM start|stop|kill --dir DIR", where start prints the URI, and is
//     the same URI for a DIR that was started before. The stand-in beside this
//     package is such a program.
//
// Where there is none the test is skipped, by name and with the reason; where
// CI is set it fails instead.
package mongotest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// How long an engine may take: to start, which may mean to install it first,
// to end, and to drop a database, which waits for open transactions.
const (
	startPatience = 5 * time.Minute
	stopPatience  = time.Minute
	dropPatience  = 90 * time.Second
	// A database of an engine that was started here may be left to it.
	dropTry = 5 * time.Second
)

// Engine is a MongoDB that takes writes. It may be used by many tests at once.
type Engine struct {
	uri    string
	run    launcher // nil for one that was not started here
	shared bool     // whether other tests have it too
}

// launcher starts and ends the engine of a folder.
type launcher interface {
	// start brings up what does not run, and returns the URI when the engine
	// takes writes. It is the same each time.
	start(context.Context) (string, error)
	// kill ends it as a crash does; what was acknowledged is there afterwards.
	kill(context.Context) error
	// stop ends it in good order.
	stop(context.Context) error
}

// shared is the engine of this process.
var shared process

// Start gives the engine that all tests of the process share; the first that
// asks waits until it is up. TestMain has to run Main, which stops it.
func Start(t testing.TB) *Engine {
	t.Helper()
	return shared.engine(t, environment())
}

// Main is what TestMain runs in place of m: the tests, and then what stops
// the shared engine.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }
func Main(m interface{ Run() int }) interface{ Run() int } { return shared.around(m) }

// Own starts an engine for one test, with a folder of its own, which the test
// may kill and restart as it likes. It ends with the test. An engine that
// FIREBREAK_TEST_MONGODB_URI names cannot be had for one test: Own leaves it
// out.
func Own(t testing.TB) *Engine {
	t.Helper()
	return own(t, environment())
}

func own(t testing.TB, src source) *Engine {
	t.Helper()
	src.uri = ""
	if src.none() {
		src.refuse(t, "an engine of its own")
	}
	e, err := launch(src.launcher(t.TempDir()), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func launch(l launcher, shared bool) (*Engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	uri, err := l.start(ctx)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		return nil, fmt.Errorf("mongotest: start an engine: %w", errors.Join(err, l.stop(ctx)))
	}
	return &Engine{uri: uri, run: l, shared: shared}, nil
}

func (e *Engine) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := e.run.stop(ctx); err != nil {
		return fmt.Errorf("mongotest: stop the engine: %w", err)
	}
	return nil
}

// URI is the connection string of the engine. It stays the same over Kill and
// Restart.
func (e *Engine) URI() string { return e.uri }

// Database gives a name for a database that nobody has, which is dropped when
// the test ends. A transaction that is open in it then holds the test up, for
// a few seconds; on an engine that the tests did not start, until it ends.
func (e *Engine) Database(t testing.TB) string {
	t.Helper()
	name := "firebreak_test_" + bson.NewObjectID().Hex()
	if !e.shared {
		return name // it goes with the engine
	}
	patience := dropPatience
	if e.CanKill() {
		patience = dropTry
	}
	t.Cleanup(func() {
		if err := e.drop(name, patience); err != nil && !e.CanKill() {
			t.Errorf("mongotest: drop the database %s: %v", name, err)
		}
	})
	return name
}

func (e *Engine) drop(database string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(e.uri))
	if err != nil {
		return err
	}
	err = client.Database(database).Drop(ctx)
	return errors.Join(err, client.Disconnect(context.WithoutCancel(ctx)))
}

// CanKill tells whether the tests started the engine, so that Kill and Restart
// may be called. That of Start is shared: a test that kills it must not run
// beside others.
func (e *Engine) CanKill() bool { return e.run != nil }

// Kill ends the engine as a crash does, and returns when it has ended.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	if !e.CanKill() {
		t.Fatalf("mongotest: %s was not started by the tests, and they may not kill it", uriVariable)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := e.run.kill(ctx); err != nil {
		t.Fatalf("mongotest: kill the engine: %v", err)
	}
}

// Restart brings the engine up again after Kill, with its data and at its URI,
// and returns when it takes writes.
func (e *Engine) Restart(t testing.TB) {
	t.Helper()
	if !e.CanKill() {
		t.Fatalf("mongotest: %s was not started by the tests, and they may not restart it", uriVariable)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	uri, err := e.run.start(ctx)
	if err != nil {
		t.Fatalf("mongotest: restart the engine: %v", err)
	}
	if uri != e.uri {
		t.Fatalf("mongotest: the engine came back as %s, it was %s", uri, e.uri)
	}
}

// process holds the one engine that the tests of a process share.
type process struct {
	mu      sync.Mutex
	guarded bool // whether something will stop the engine
	shared  *Engine
	dir     string // of an engine that was started
	err     error  // why there is none, for every test that asks
}

// engine starts the engine for the first test that asks.
func (p *process) engine(t testing.TB, src source) *Engine {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if src.none() {
		src.refuse(t, "a MongoDB")
	}
	if !p.guarded {
		t.Fatal("mongotest: TestMain does not run mongotest.Main, so nobody would stop the engine")
	}
	if p.shared == nil && p.err == nil {
		p.shared, p.err = p.open(src)
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.shared
}

func (p *process) open(src source) (*Engine, error) {
	if src.uri != "" {
		return &Engine{uri: src.uri, shared: true}, nil
	}
	dir, err := os.MkdirTemp("", "firebreak-mongodb-")
	if err != nil {
		return nil, fmt.Errorf("mongotest: %w", err)
	}
	p.dir = dir
	return launch(src.launcher(dir), true)
}

func (p *process) around(m interface{ Run() int }) guarded {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guarded = true
	return guarded{m, p}
}

// guarded runs tests and stops their engine.
type guarded struct {
	m interface{ Run() int }
	p *process
}

// Run runs the tests. An engine that cannot be stopped fails them.
func (g guarded) Run() (code int) {
	defer func() {
		if err := g.p.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	return g.m.Run()
}

func (p *process) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.shared != nil && p.shared.CanKill() {
		err = p.shared.stop()
	}
	p.shared, p.guarded = nil, false
	if p.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
