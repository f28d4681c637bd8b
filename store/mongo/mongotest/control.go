package mongotest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// control is a program that starts and ends engines.
type control struct{ program, dir string }

func (c control) start(ctx context.Context) (string, error) {
	uri, err := c.call(ctx, "start")
	if err == nil && !strings.HasPrefix(uri, "mongodb") {
		err = fmt.Errorf("%s start: it printed %q, which is no URI", c.program, uri)
	}
	return uri, err
}

func (c control) kill(ctx context.Context) error {
	_, err := c.call(ctx, "kill")
	return err
}

func (c control) stop(ctx context.Context) error {
	_, err := c.call(ctx, "stop")
	return err
}

// call runs one command and returns what it prints.
func (c control) call(ctx context.Context, command string) (string, error) {
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, c.program, command, "--dir", c.dir)
	cmd.Stdout, cmd.Stderr = &out, &log
	// The engine may have kept what it was started with open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", c.program, command, err, log.Bytes())
	}
	return strings.TrimSpace(out.String()), nil
}
