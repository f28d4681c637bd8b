package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
)

// serveIn runs a server with the options, on a new data directory unless they
// name one.
func serveIn(t *testing.T, o serving) *site {
	t.Helper()
	test := onData(o.Data)
	if o.Data == "" {
		test = onData(t.TempDir())
	}
	o.Data, o.Listen, o.MaxResource, o.Grace = test.Data, test.Listen, test.MaxResource, test.Grace
	s, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return runSite(t, s)
}

// runSite runs a server as the program does, until the end of the test or down.
func runSite(t *testing.T, s *Server) *site {
	t.Helper()
	x := &site{T: t, Server: s, log: &lines{}, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	x.stop = append(x.stop, func() {
		cancel()
		x.ok(errors.Join(<-ended, s.Close()))
	})
	t.Cleanup(x.down)
	return x
}

// exportAll exports all, and returns where that is polled and the manifest.
func (s *site) exportAll() (status, manifest string) {
	s.Helper()
	status = s.kickoff("/$export")
	a := s.finished(status)
	s.is("the manifest", a, http.StatusOK)
	return status, a.body
}
