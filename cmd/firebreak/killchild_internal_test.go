package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"firebreak/operations/audit"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/ingest"
	"firebreak/operations/purge"
)

// childOrder is the environment by which this program, run again, is told that
// it is a child, and what to do.
const childOrder = "FIREBREAK_KILL_CHILD"

// toldBy begins each line that a child says to its parent.
const toldBy = "child: "

// order is what a child is to do.
type order struct {
	storage
	Load   []string // paths to load; none: serve
	Ledger string   // of what is purged; "": none
	Point  int64    // of its fault; 0: none
	// Call is the first call that it dies after; with "before " at its beginning
	// the one that it dies before. "": none.
	Call string
	// Hold is the call after whose first return the work waits until it is
	// broken off; from there on points count. "": none.
	Hold    string
	Refuse  string // the unit whose erasures fail until it is given up; "": none
	Late    string // the call that waits until the last unit of a purge begins; "": none
	Workers int    // of the engine; 0: its own number
}

// TestKillChild is the child's side, and nothing by itself.
func TestKillChild(t *testing.T) {
	doc := os.Getenv(childOrder)
	if doc == "" {
		t.Skip("this is for processes that other tests start")
	}
	var o order
	if err := json.Unmarshal([]byte(doc), &o); err != nil {
		t.Fatal(err)
	}
	f := &fault{point: o.Point, call: o.Call, hold: o.Hold, refuse: o.Refuse, late: o.Late}
	if o.Late != "" {
		f.finishing = make(chan struct{})
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end says that this process is not wanted any more
		stop()
	}()
	var err error
	if len(o.Load) > 0 {
		err = loadAsChild(ctx, o, f)
	} else {
		err = serveAsChild(ctx, o, f)
	}
	if err != nil {
		t.Fatal(err)
	}
	tell("calls", f.calls.Load())
}

// tinyUnits are sizes with which few resources are many units, files and joins.
func tinyUnits() export.Config {
	return export.Config{UnitSize: 6 << 10, SmallJob: 1, MaxFile: 20 << 10, JoinSize: 12 << 10}
}

// sharedLease is the lease of units where a restart does not end those of
// before, as the instance may live.
const sharedLease = time.Second

// newTiny makes a server like NewServer, but one that cuts exports small. With
// a fault, its calls and file operations are places to die.
func newTiny(ctx context.Context, o order, f *fault) (*Server, error) {
	opts := serving{storage: o.storage, Listen: "127.0.0.1:0", MaxResource: 1 << 20, Grace: time.Second, Audit: "off"}
	opts.Ledger, opts.SigningKeys = o.Ledger, killedKeys(o.storage)
	st, err := openStore(ctx, opts.storage)
	if err != nil {
		return nil, err
	}
	dir, err := openFiles(ctx, opts.storage, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if f != nil {
		st, dir = faultyStore{st, f}, faultyFiles{dir, f}
	}
	log := newLog(os.Stderr, "warn", "text")
	seen, err := newObservation(ctx, opts.watching, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s, err := (&Server{opts: opts, log: log, store: st, files: dir, seen: seen, via: f.viaLedger}).assembled(ctx)
	if err != nil {
		return nil, err
	}
	cfg := tinyUnits()
	cfg.Store, cfg.Files, cfg.Now, cfg.NewID = s.store, s.files, time.Now, newID
	exports := export.New(cfg)
	purges := purge.New(purge.Config{
		Store: s.store, Files: s.files, Now: time.Now, NewID: newID, NewBatchID: newULID,
		Server: audit.Client, Sweep: exports.SweepErased, Parts: exports.EachPart, Holders: export.Holders, Certify: s.certify(), Ledger: s.enteringOr(f),
	})
	work := engine.Config{
		Store: s.store, Now: time.Now, Log: log, Workers: o.Workers,
		Handlers: map[string]engine.Handler{export.Kind: exports, purge.Kind: purges, purge.BulkKind: purges, purge.HoldingKind: purges},
	}
	if o.Store != "" {
		work.Lease = sharedLease
	}
	s.engine = engine.New(work)
	s.http.Handler = unseen(s.http.Handler)
	return s, nil
}

// serveAsChild serves like serve.
func serveAsChild(ctx context.Context, o order, f *fault) error {
	s, err := newTiny(ctx, o, f)
	if err != nil {
		return err
	}
	tell("serves", s.Base())
	return errors.Join(s.Run(ctx), s.Close())
}

// loadAsChild loads like load --data.
func loadAsChild(ctx context.Context, o order, f *fault) error {
	st, err := openStore(ctx, o.storage)
	if err != nil {
		return err
	}
	sources, err := ingest.Sources(o.Load)
	if err == nil {
		sink := serviceSink{newService(faultyStore{st, f}, 1<<20)}
		err = load(ctx, streams{io.Discard, io.Discard}, 1<<20, sink, sources)
	}
	return errors.Join(err, st.Close())
}

// victim is a process of this program as its parent sees it.
type victim struct {
	*testing.T
	cmd    *exec.Cmd
	stdin  io.Closer
	told   chan string
	stderr *bytes.Buffer
	died   string   // where it killed itself
	calls  int64    // how many there were, if it ended by itself
	units  []string // that it ended, with their states
}

func startVictim(t *testing.T, o order) *victim {
	t.Helper()
	doc, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &victim{T: t, told: make(chan string, 100_000), stderr: &bytes.Buffer{}}
	c.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKillChild$")
	c.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GOCOVERDIR=") }), childOrder+"="+string(doc))
	c.cmd.Stderr = c.stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.told)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if line, ok := strings.CutPrefix(lines.Text(), toldBy); ok {
				c.told <- line
			}
		}
	}()
	return c
}

// next is the next thing that the child says; false when it has ended.
func (c *victim) next() (word, rest string, ok bool) {
	line, ok := <-c.told
	word, rest = c.hears(line)
	return word, rest, ok
}

// hears notes what the child says.
func (c *victim) hears(line string) (word, rest string) {
	word, rest, _ = strings.Cut(line, " ")
	switch word {
	case "dies":
		c.died = rest
	case "unit":
		c.units = append(c.units, strings.TrimSpace(rest))
	case "calls":
		if err := json.Unmarshal([]byte(rest), &c.calls); err != nil {
			c.Fatal(err)
		}
	}
	return word, rest
}

// await waits until the child says a word; false when it has ended before.
func (c *victim) await(word string) (rest string, ok bool) {
	for {
		got, rest, ok := c.next()
		if !ok || got == word {
			return rest, ok
		}
	}
}

// kill is kill -9.
func (c *victim) kill() {
	c.died = "at a moment from outside"
	_ = c.cmd.Process.Kill() // it may have ended by itself
}

// end has the child end, and waits until it has. It tells whether it was
// killed; any other end but the orderly one is an error.
func (c *victim) end() (killed bool) {
	c.Helper()
	_ = c.stdin.Close() // it may have ended by itself
	c.await("")
	err := c.cmd.Wait()
	if err == nil {
		return false
	}
	if s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		c.Fatalf("the child ended with %v\n%s", err, c.stderr)
	}
	return true
}
