package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"firebreak/operations/hold"
)

// operator serves those who run the server, on an address that only this
// machine reaches: what they see there is not for clients, and nobody has to
// say who they are. The nil operator serves nobody.
type operator struct {
	http     *http.Server
	listener net.Listener
}

// newOperator takes the address; nil if it is "".
func newOperator(ctx context.Context, addr string, h http.Handler, log *slog.Logger) (*operator, error) {
	if addr == "" {
		return nil, nil //nolint:nilnil // no operator is not an error
	}
	if ok, err := isLoopback(addr); err != nil {
		return nil, fmt.Errorf("--operator-listen %s is not HOST:PORT: %w", addr, err)
	} else if !ok {
		return nil, fmt.Errorf("--operator-listen %s is not a loopback address, and what is served there is for this machine only", addr)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--operator-listen: %w; give another address, or 'off'", err)
	}
	return &operator{&http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}, l}, nil
}

// run serves until close.
func (o *operator) run(log *slog.Logger) {
	if o == nil {
		return
	}
	log.Info("the operator is served", "at", "http://"+o.addr())
	if err := o.http.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("the operator is not served any more", "error", err)
	}
}

// close ends run, and gives the address back.
func (o *operator) close() error {
	if o == nil {
		return nil
	}
	err := errors.Join(o.http.Close(), o.listener.Close())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// addr is where it listens; "" where it does not.
func (o *operator) addr() string {
	if o == nil {
		return ""
	}
	return o.listener.Addr().String()
}

// operatorRoutes are what the operator is served.
func (s *Server) operatorRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /certificates", s.listCertificates)
	if s.seen.metrics != nil {
		mux.Handle("GET /metrics", s.seen.metrics.handler(s.log))
	}
	holdsAPI{
		holds:    hold.New(hold.Config{Store: s.store, Now: time.Now, NewID: newID, Record: s.record()}),
		isTenant: s.opts.isTenant, log: s.log,
	}.routes(mux)
	return mux
}

// healthz tells that the server is alive.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	answerHealth(w, http.StatusOK, "ok")
}

// readyz tells whether the server can commit now.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		s.log.Error("not ready", "error", err)
		answerHealth(w, http.StatusServiceUnavailable, "the store cannot commit now")
		return
	}
	answerHealth(w, http.StatusOK, "ready")
}

func answerHealth(w http.ResponseWriter, status int, what string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": what}) // a client that is gone is no fault
}
