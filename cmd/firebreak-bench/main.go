// Command firebreak-bench measures Firebreak over a folder of ndjson, and puts
// beside each figure what the machine itself gives in the same run: how fast
// the lines can be parsed at all, the bodies be read, the bytes be copied. The
// ratio of the two is what can be compared from one machine, or one hour, to
// another.
//
//	firebreak-bench --json rows.ndjson FOLDER
//
// With --store it is measured on MongoDB, beside what the driver does with the
// same documents, and with several instances over one database.
//
//	firebreak-bench --store mongodb://HOST/?replicaSet=rs0 FOLDER
//
// The product runs as child processes, on a loopback address, so that its
// memory is its own and everything passes through the doors that users use.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// commands is the command line.
type commands struct {
	Measure options `cmd:"" default:"withargs" help:"Measure over a folder of ndjson; this is the default."`
	History history `cmd:"" help:"Check that a chain of exports with _since, of any server, tells exactly what was written meanwhile."`
}

// options are those of measuring.
type options struct {
	Copies    int           `help:"Load the set so many times, each time under other ids; ${default} if not given." default:"1" placeholder:"N"`
	JSON      string        `name:"json" help:"Write the rows to a file too, one JSON object a line." type:"path" placeholder:"FILE"`
	Only      []string      `help:"Measure only these rows; a name stands for those that begin with it, such as export for export-rss." placeholder:"NAME"`
	Store     string        `help:"Measure on this MongoDB replica set, such as mongodb://HOST:27017/?replicaSet=rs0, in databases that are made for it and dropped at the end. Without it, on SQLite." placeholder:"URI"`
	Dir       string        `help:"Where to make the temporary folder that all is done in; it is removed at the end. Without it, where the system keeps such." type:"existingdir" placeholder:"DIR"`
	Firebreak string        `help:"The program to measure. Without it, firebreak in the folder of this one." type:"existingfile" placeholder:"PATH"`
	For       time.Duration `help:"How long each round of requests lasts; ${default} if not given." default:"2s" placeholder:"DURATION"`
	Large     int           `help:"How many resources of 5 MB the large-… rows are over; ${default} if not given." default:"20" placeholder:"N"`
	List      int           `help:"How many patients the purge-list rows name, of whom ten are there at most; ${default} if not given." default:"100" placeholder:"N"`
	Timeout   time.Duration `help:"When to give up; ${default} if not given." default:"1h" placeholder:"DURATION"`
	Set       string        `arg:"" name:"dir" help:"Folder of .ndjson files." type:"existingdir"`
}

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errHelp says that help was asked for, and printed.
var errHelp = errors.New("help was printed")

// run parses the command line, measures, and prints: rows to stdout, how far
// it is to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, name, err := parse(args, stdout, stderr)
	switch {
	case errors.Is(err, errHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "firebreak-bench: %v\n", err)
		return exitUsage
	}
	if name == "history" {
		err = c.History.check(ctx, stdout, stderr)
	} else {
		ctx, cancel := context.WithTimeoutCause(ctx, c.Measure.Timeout, errors.New("it took longer than --timeout"))
		defer cancel()
		err = measure(ctx, c.Measure, stdout, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "firebreak-bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parse also names the command.
func parse(args []string, stdout, stderr io.Writer) (c commands, name string, err error) {
	parser, err := kong.New(&c, kong.Name("firebreak-bench"),
		kong.Description("Measures Firebreak over a folder of ndjson, each figure beside what the machine gives."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { panic(errHelp) })) // kong prints help, then exits
	if err != nil {
		return c, "", err
	}
	defer func() {
		if p := recover(); p == errHelp { //nolint:errorlint // the very value that was thrown
			err = errHelp
		} else if p != nil {
			panic(p)
		}
	}()
	k, err := parser.Parse(args)
	if err != nil {
		return c, "", err
	}
	if name = k.Selected().Name; name == "history" {
		return c, name, nil
	}
	return c, name, c.Measure.check()
}

func (o options) check() error {
	if o.Copies < 1 || o.Large < 1 || o.List < 1 || o.For <= 0 {
		return errors.New("--copies, --large, --list and --for must be greater than 0")
	}
	for _, name := range o.Only {
		if !o.known(name) {
			return fmt.Errorf("--only %s is no row; there are %v", name, o.names())
		}
	}
	if o.Store == "" {
		return nil
	}
	_, err := parseAddress(o.Store)
	return err
}

// measure runs the bench in a folder of its own. What was measured before an
// error is printed all the same.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	p, err := findProduct(o.Firebreak, stderr)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.Dir, "firebreak-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	db, err := openDatabase(ctx, o.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	b := &bench{opts: o, work: work, err: stderr, product: p, db: db, home: db.place(work, "data")}
	err = b.run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	b.printHead(ctx, stdout)
	printTable(stdout, b.rows)
	printNotes(stdout, b.notes)
	if o.JSON != "" {
		err = errors.Join(err, writeJSON(o.JSON, b.rows))
	}
	return err
}
