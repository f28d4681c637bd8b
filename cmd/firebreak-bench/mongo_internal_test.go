package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

func TestEveryRowIsMeasuredOnMongoDB(t *testing.T) {
	uri := mongotest.Start(t).URI()
	table := wantEveryRow(t, options{Store: uri})
	for _, says := range []string{"MongoDB ", "insertMany of the same documents", "the budget is 500 ms", "each of 3 servers ended ["} {
		if !strings.Contains(table, says) {
			t.Errorf("%q is not in the table:\n%s", says, table)
		}
	}
	wantNoDatabases(t, uri, table)
}

func TestMongoDBHasNoDatabasesLeftWhenMeasuringIsInterrupted(t *testing.T) {
	uri, product, set := mongotest.Start(t).URI(), buildProduct(t), writeSample(t, 2)
	for name, word := range map[string]string{"at once": "measuring load,", "after a load": " created,", "before an export": "measuring instances-export"} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			stderr := &listener{word: word, heard: interrupt}
			var stdout bytes.Buffer
			code := run(ctx, []string{"--firebreak", product, "--dir", t.TempDir(), "--store", uri, "--only", "load,instances-export", set}, &stdout, stderr)
			if code != exitFailed || !strings.Contains(stderr.String(), "context canceled") {
				t.Errorf("exit code is %d:\n%s", code, stderr)
			}
			wantNoDatabases(t, uri, stdout.String())
		})
	}
}

// listener keeps what is written, and tells when a word is.
type listener struct {
	mu    sync.Mutex
	text  bytes.Buffer
	word  string
	heard func()
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if strings.Contains(l.text.String(), l.word) {
		l.heard()
	}
	return len(p), nil
}

func (l *listener) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var databases = regexp.MustCompile(`databases (firebreak-bench-[0-9a-z]{26}-)\*`)

// wantNoDatabases fails the test if there are databases of the run that
// printed the table.
func wantNoDatabases(t *testing.T, uri, table string) {
	t.Helper()
	found := databases.FindStringSubmatch(table)
	if found == nil {
		t.Fatalf("the table does not say what its databases are called:\n%s", table)
	}
	client, err := driver.Connect(driverOptions(uri, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	left, err := client.ListDatabaseNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$regex", Value: "^" + found[1]}}}})
	if err != nil || len(left) > 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
}

func TestAnAddressTakesTheNameOfADatabase(t *testing.T) {
	tests := map[string]struct{ uri, want, hosts string }{
		"one host":           {"mongodb://h:1/?replicaSet=rs0", "mongodb://h:1/x?replicaSet=rs0", "h:1"},
		"several":            {"mongodb://h:1,i:2/?replicaSet=rs0", "mongodb://h:1,i:2/x?replicaSet=rs0", "h:1,i:2"},
		"no options":         {"mongodb://h", "mongodb://h/x", "h"},
		"a user":             {"mongodb://me:secret%40@h/?replicaSet=rs0", "mongodb://me:secret%40@h/x?replicaSet=rs0&authSource=admin", "h"},
		"a user, no options": {"mongodb://me:secret@h", "mongodb://me:secret@h/x?authSource=admin", "h"},
		"a user somewhere":   {"mongodb://me:secret@h/?authSource=staff", "mongodb://me:secret@h/x?authSource=staff", "h"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseAddress(tt.uri)
			if err != nil || got.database("x") != tt.want || got.plainHosts() != tt.hosts {
				t.Errorf("it is %s, at %s, %v", got.database("x"), got.plainHosts(), err)
			}
		})
	}
}

func TestTheQuickerWayToInsertIsTheLimit(t *testing.T) {
	one, two := 3*time.Second, 2*time.Second
	if got := betterOf(one, two); got.took != two || !strings.Contains(got.beside, "by two goroutines (by one: 1.50 ×") {
		t.Errorf("it is %+v", got)
	}
	if got := betterOf(two, one); got.took != two || !strings.Contains(got.beside, "by one goroutine (by two: 1.50 ×") {
		t.Errorf("it is %+v", got)
	}
}

func TestDocumentsAreReadInBatches(t *testing.T) {
	small, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}})
	if err != nil {
		t.Fatal(err)
	}
	large, err := bson.Marshal(bson.D{{Key: "b", Value: make([]byte, insertBytes/3)}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		file []byte
		want []int
	}{
		"none":      {nil, nil},
		"small":     {bytes.Repeat(small, 2*insertBatch+1), []int{insertBatch, insertBatch, 1}},
		"a batch":   {bytes.Repeat(small, insertBatch), []int{insertBatch}},
		"by length": {bytes.Repeat(large, 4), []int{3, 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := documents{in: bytes.NewReader(tt.file)}
			var got []int
			for batch, err := d.next(); len(batch) > 0 || err != nil; batch, err = d.next() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, len(batch))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
	cut := documents{in: bytes.NewReader(small[:len(small)-1])}
	if batch, err := cut.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a document that is cut off: %v, %v", batch, err)
	}
}
