package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"
)

// serveCommand is "firebreak serve".
type serveCommand struct {
	serving
}

// Validate refuses numbers with which nothing would work.
func (c *serveCommand) Validate() error {
	for name, ok := range map[string]bool{
		"--workers": c.Workers > 0, "--max-resource": c.MaxResource > 0, "--grace": c.Grace >= 0,
		"--export-lifetime": c.ExportLifetime > 0, "--export-file-size": c.ExportFileSize > 0,
	} {
		if !ok {
			return fmt.Errorf("%s is too small", name)
		}
	}
	return nil
}

// Run is command.
func (c *serveCommand) Run(ctx context.Context, s streams) error {
	srv, err := NewServer(ctx, c.serving, newLog(s.err, c.LogLevel, c.LogFormat))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "Firebreak %s serves %s from %s %s. Ctrl-C stops it.\n", version(), srv.Base(), c.where(), c.whom())
	return errors.Join(srv.Run(ctx), srv.Close())
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // one of the names that the option allows
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// versionCommand is "firebreak version".
type versionCommand struct{}

// Run is command.
func (versionCommand) Run(_ context.Context, s streams) error {
	_, err := fmt.Fprintln(s.out, "firebreak", version())
	return err
}

// setting is a fact of the build; "" if it is not known.
func setting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// version names the commit that was built.
func version() string {
	if rev := setting("vcs.revision"); len(rev) >= 12 {
		if setting("vcs.modified") == "true" {
			return rev[:12] + "+changes"
		}
		return rev[:12]
	}
	return "(development)"
}

// builtAt is the instant of the commit, or a fixed one where it is not known.
func builtAt() time.Time {
	if t, err := time.Parse(time.RFC3339, setting("vcs.time")); err == nil {
		return t
	}
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
}
