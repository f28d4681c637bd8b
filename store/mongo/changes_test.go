package mongo_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
)

// never is longer than any test: a hint that comes is not of the clock's.
const never = time.Hour

// polled has the driver ask how a server is. A server that is asked to say so
// by itself, as by default, says so when it steps down; the engine here does not.
const polled = "&serverMonitoringMode=poll&heartbeatFrequencyMS=500"

// streaming is a store that hears of changes from streams, and of nothing else.
func streaming(t *testing.T) (*mongo.Store, *streams) {
	t.Helper()
	e := mongotest.Start(t)
	from := streamsTo(t, e)
	return open(t, mongo.Config{URI: from.wire.uri(e.Database(t)) + polled}.Glancing(never)), from
}

// hinted waits for a hint.
func hinted(t *testing.T, what string, hints <-chan struct{}) {
	t.Helper()
	select {
	case <-hints:
	case <-time.After(slack):
		t.Fatalf("%s: there is no hint", what)
	}
}

// watching is a watcher that has had its first hint, and no event since.
func watching(t *testing.T, ctx context.Context, s *mongo.Store, from *streams) <-chan struct{} { //nolint:revive // the test comes first here
	t.Helper()
	hints := s.Watch(ctx)
	from.hears("getMore")
	hinted(t, "the stream is opened", hints)
	return hints
}

func TestAWatcherIsWokenEachSecondAndTheServerIsAskedForAStreamOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))}.Watching(func(e *event.CommandStartedEvent) {
		if ofStream(e) && e.CommandName == "aggregate" {
			asked.Add(1)
		}
	}))
	began := time.Now()
	hints := s.Watch(t.Context())
	for range 3 {
		hinted(t, "nothing happens", hints)
	}
	if took := time.Since(began); took > slack/2 {
		t.Errorf("three hints took %v", took)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestAServerWithoutChangeStreamsIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for says, code := range map[string]int32{
		"no replica set": 40573, "no such stage": 40324, "not supported": 115, "not allowed": 13, "something else": 8000,
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			e := mongotest.Start(t)
			from := streamsTo(t, e)
			log := &lines{}
			s := open(t, mongo.Config{
				URI: from.wire.uri(e.Database(t)),
				Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			from.refuse(1, failure(code))
			for range 3 {
				ctx, leave := context.WithCancel(t.Context())
				hinted(t, "nothing happens", s.Watch(ctx))
				leave()
			}
			if _, opened := from.counts(); opened > 0 || len(from.heard) != 1 {
				t.Errorf("%d streams were opened, with %d commands", opened, len(from.heard))
			}
			if text := log.text(); strings.Count(text, `"level":"DEBUG"`) != 1 || !strings.Contains(text, "polling") {
				t.Errorf("the log does not say once that it polls: %s", text)
			}
		})
	}
}

func TestAServerThatIsNotReadyIsAskedForAStreamAgain(t *testing.T) {
	t.Parallel()
	s, from := streaming(t)
	from.refuse(5, failure(11602, "RetryableReadError"))
	hints := watching(t, t.Context(), s, from)
	from.tell()
	hinted(t, "an event", hints)
}

func TestAnEventWakesAllWatchersThroughOneStream(t *testing.T) {
	t.Parallel()
	s, from := streaming(t)
	ctx, leave := context.WithCancel(t.Context())
	all := []<-chan struct{}{watching(t, ctx, s, from), s.Watch(ctx), s.Watch(ctx)}
	for range 3 {
		from.tell()
		for _, hints := range all {
			hinted(t, "an event", hints)
		}
	}
	if open, opened := from.counts(); open != 1 || opened != 1 {
		t.Errorf("%d streams are open, and %d were", open, opened)
	}
	leave()
	from.hears("killCursors")
	if open, _ := from.counts(); open > 0 {
		t.Errorf("%d streams are open, and nobody watches", open)
	}
	again := watching(t, t.Context(), s, from)
	from.tell()
	hinted(t, "an event for one who came later", again)
}

func TestAStreamThatBreaksIsOpenedAgainAndHints(t *testing.T) {
	t.Parallel()
	for how, reply := range map[string]bson.D{
		"the connection is cut":      nil,
		"the primary steps down":     failure(189, "ResumableChangeStreamError"),
		"the cursor is gone":         failure(43),
		"the token is lost":          failure(286, "NonResumableChangeStreamError"),
		"the database was dropped":   (&streams{}).batch(nil, 0, "nextBatch"),
		"an answer that is nonsense": {{Key: "ok", Value: 1.0}},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, from := streaming(t)
			hints := watching(t, t.Context(), s, from)
			for range 3 {
				from.now().breaks <- reply
				from.hears("aggregate")
				hinted(t, "the stream is opened again", hints)
				from.hears("getMore")
				from.tell()
				hinted(t, "an event", hints)
			}
		})
	}
}

func TestAStreamThatAlwaysBreaksIsOpenedAgainWithRests(t *testing.T) {
	t.Parallel()
	s, from := streaming(t)
	began := time.Now()
	s.Watch(t.Context())
	const times = 10
	for range times {
		from.hears("getMore")
		from.now().breaks <- failure(43)
	}
	// Half of 4, 8, 16 … 512, 1000 ms at least.
	if took := time.Since(began); took < time.Second {
		t.Errorf("it was opened %d times in %v", times, took)
	}
}

func TestCloseEndsTheStreamAtOnce(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	from := streamsTo(t, e)
	s, err := mongo.Open(t.Context(), mongo.Config{URI: from.wire.uri(e.Database(t))}.Glancing(never))
	if err != nil {
		t.Fatal(err)
	}
	watching(t, t.Context(), s, from)
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > slack/2 {
		t.Errorf("Close took %v", took)
	}
	if open, opened := from.counts(); open != 0 || opened != 1 {
		t.Errorf("%d streams are open, and %d were", open, opened)
	}
	from.hears("killCursors")
}

func TestNoCommitWaitsForTheStream(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	from := streamsTo(t, e)
	s := open(t, mongo.Config{URI: from.wire.uri(e.Database(t)) + "&maxPoolSize=1"}.Glancing(never))
	watching(t, t.Context(), s, from)
	ctx, cancel := context.WithTimeout(t.Context(), slack/2)
	defer cancel()
	if _, err := commit(ctx, s, patient(t, "1", "a")); err != nil {
		t.Errorf("Commit: %v", err)
	}
	if _, err := s.Create(ctx, newJob("x"), nil, store.Limit{}); err != nil {
		t.Errorf("Create: %v", err)
	}
	if _, opened := from.counts(); opened != 1 {
		t.Errorf("%d streams were opened", opened)
	}
}

func TestAStreamThatWaitsIsNoSlowCommand(t *testing.T) {
	t.Parallel()
	e := mongotest.Start(t)
	from := streamsTo(t, e)
	log := &lines{}
	s := open(t, mongo.Config{URI: from.wire.uri(e.Database(t)), Log: slog.New(slog.NewJSONHandler(log, nil))})
	hints := watching(t, t.Context(), s, from)
	for range 2 { // seconds
		hinted(t, "nothing happens", hints)
	}
	from.tell()
	from.hears("getMore")
	if text := log.text(); strings.Contains(text, "getMore") {
		t.Errorf("the log has the wait: %s", text)
	}
}
