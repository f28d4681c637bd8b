// Command firebreak is a FHIR R4 server for asynchronous operations on whole
// patient records, with the tools to load, export and try it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, and not all went well; the text says what
	exitUsage  = 2 // the call's words are off
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run parses the command line and runs the command that it names.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args, stdout, stderr)
	if err != nil {
		if !errors.Is(err, errHelp) {
			_, _ = fmt.Fprintf(stderr, "firebreak: %v\n", err)
			return exitUsage
		}
		return exitOK
	}
	if err := cmd.Run(ctx, streams{stdout, stderr}); err != nil {
		_, _ = fmt.Fprintf(stderr, "firebreak: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// streams are where a command writes: results to out, all else to err.
type streams struct{ out, err io.Writer }

// command is one subcommand with its options.
type command interface {
	Run(ctx context.Context, s streams) error
}
