package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// load writes while the stand-in is killed: single documents, and transactions of three documents over two
// collections. It remembers what was acknowledged.
type load struct {
	c       *mongo.Client
	mu      sync.Mutex
	singles []string
	triples []string
	unknown atomic.Int64
}

func (l *load) run(ctx context.Context, worker int) {
	db := l.c.Database("crash")
	for i := 0; ctx.Err() == nil; i++ {
		id := strconv.Itoa(worker) + "-" + strconv.Itoa(i)
		// The operations have no part in ctx's end: what they say at the last moment counts as well.
		op, stop := context.WithTimeout(context.Background(), 20*time.Second)
		if _, err := db.Collection("singles").InsertOne(op, bson.M{"_id": id}); err == nil {
			l.mu.Lock()
			l.singles = append(l.singles, id)
			l.mu.Unlock()
		}
		switch err := l.triple(op, id); {
		case err == nil:
			l.mu.Lock()
			l.triples = append(l.triples, id)
			l.mu.Unlock()
		default:
			if l.unknown.Add(1) < 4 {
				println(err.Error())
			}
		}
		stop()
	}
}

func (l *load) triple(ctx context.Context, id string) error {
	s, err := l.c.StartSession()
	if err != nil {
		return err
	}
	defer s.EndSession(context.Background())
	_, err = s.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		for part, name := range []string{"triplesA", "triplesB", "triplesB"} {
			_, err := l.c.Database("crash").Collection(name).InsertOne(ctx, bson.M{"_id": id + "/" + strconv.Itoa(part), "of": id})
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// check looks at what is there after the crash.
func (l *load) check(t *testing.T) {
	t.Helper()
	db := l.c.Database("crash")
	ids := func(name, field string) map[string]int {
		cur, err := db.Collection(name).Find(t.Context(), bson.M{})
		out := map[string]int{}
		for _, d := range all(t, cur, err) {
			out[d[field].(string)]++
		}
		return out
	}
	singles := ids("singles", "_id")
	for _, id := range l.singles {
		if singles[id] != 1 {
			t.Errorf("the acknowledged document %s is gone", id)
		}
	}
	a, b := ids("triplesA", "of"), ids("triplesB", "of")
	for _, id := range l.triples {
		if a[id] != 1 || b[id] != 2 {
			t.Errorf("the committed transaction %s is there in parts: %d, %d", id, a[id], b[id])
		}
	}
	for id := range b {
		if a[id] != 1 || b[id] != 2 {
			t.Errorf("the transaction %s is there in parts: %d, %d", id, a[id], b[id])
		}
	}
	t.Logf("%d documents and %d transactions were acknowledged, %d transactions failed", len(l.singles), len(l.triples), l.unknown.Load())
}

func pidIn(t *testing.T, dir, file string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	must(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	must(t, err)
	return pid
}

func TestCrashUnderLoad(t *testing.T) {
	crashes := map[string]func(*testing.T, string){
		"everything": func(t *testing.T, dir string) { _, err := cli("kill", "--dir", dir); must(t, err) },
		"PostgreSQL": func(t *testing.T, dir string) { must(t, syscall.Kill(pidIn(t, dir, "postgres.pid"), syscall.SIGKILL)) },
		"gateway":    func(t *testing.T, dir string) { must(t, syscall.Kill(pidIn(t, dir, "gateway.pid"), syscall.SIGKILL)) },
	}
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			dir, uri := own(t)
			c := connectTo(t, uri, options.Client().SetWriteConcern(writeconcern.Majority()))
			l := &load{c: c}
			for _, n := range []string{"singles", "triplesA", "triplesB"} {
				must(t, c.Database("crash").CreateCollection(t.Context(), n))
			}
			ctx, stop := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() { l.run(ctx, w) })
			}
			for range 3 {
				time.Sleep(500 * time.Millisecond)
				crash(t, dir)
				time.Sleep(200 * time.Millisecond)
				again, err := cli("start", "--dir", dir)
				must(t, err)
				equal(t, "uri", again, uri)
			}
			time.Sleep(300 * time.Millisecond)
			stop()
			wg.Wait()
			l.check(t)
		})
	}
}

// TestNumbersOutliveACrash sends a write again under its number after everything was killed.
func TestNumbersOutliveACrash(t *testing.T) {
	dir, uri := own(t)
	c := connectTo(t, uri)
	coll := collection(t, c)
	_, err := coll.InsertOne(t.Context(), bson.M{"_id": 1, "n": 0})
	must(t, err)
	lsid := bson.M{"id": bson.Binary{Subtype: 4, Data: []byte("0123456789abcdef")}}
	inc := bson.D{
		{Key: "update", Value: "c"},
		{Key: "updates", Value: bson.A{bson.M{"q": bson.M{"_id": 1}, "u": bson.M{"$inc": bson.M{"n": 1}}}}},
		{Key: "lsid", Value: lsid},
		{Key: "txnNumber", Value: int64(1)},
	}
	must(t, coll.Database().RunCommand(t.Context(), inc).Err())
	_, err = cli("kill", "--dir", dir)
	must(t, err)
	_, err = cli("start", "--dir", dir)
	must(t, err)
	must(t, coll.Database().RunCommand(t.Context(), inc).Err())
	var d struct{ N int }
	must(t, coll.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&d))
	equal(t, "n", d.N, 1)
}

func TestStoppedLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	_, err := cli("start", "--dir", dir)
	must(t, err)
	gateway, postgres := pidIn(t, dir, "gateway.pid"), pidIn(t, dir, "postgres.pid")
	_, err = cli("stop", "--dir", dir)
	must(t, err)
	for _, pid := range []int{gateway, postgres} {
		// A zombie has a line of status, but no command line any more.
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); len(b) > 0 {
			t.Errorf("process %d still runs", pid)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	if strings.Contains(string(mounts), dir) {
		t.Error("something is still mounted")
	}
}
