package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"
	"firebreak/fhir/rest"
	"firebreak/fhir/selection"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/sqlite"

	"github.com/labstack/echo/v4"
	"github.com/oklog/ulid/v2"
)

// Server is a running Firebreak: the one place where the parts meet.
type Server struct {
	opts     serving
	log      *slog.Logger
	store    store.Store
	engine   *engine.Engine
	http     *http.Server
	listener net.Listener
}

// newID makes an id that cannot be guessed, in order of time.
func newID() string { return newULID().String() }

func newULID() ulid.ULID { return ulid.MustNew(ulid.Now(), rand.Reader) }

// NewServer takes the data directory and the address; Run serves.
func NewServer(ctx context.Context, o serving, log *slog.Logger) (*Server, error) {
	if err := loopbackOnly(o.Listen); err != nil {
		return nil, err
	}
	st, err := openStore(ctx, o.storage)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, log: log, store: st}
	if err := s.assemble(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

func openStore(ctx context.Context, o storage) (store.Store, error) {
	st, err := sqlite.Open(ctx, sqlite.Config{Dir: o.Data, Now: time.Now})
	if errors.Is(err, sqlite.ErrHeld) {
		return nil, fmt.Errorf("%w: %s; is a server running there? Use --server with its address, or stop it", err, o.Data)
	}
	return st, err
}

// loopbackOnly refuses an address that others could reach: there is no
// authentication yet.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("--listen %s is not HOST:PORT: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--listen %s is not a loopback address: without authentication only this machine may be served; use 127.0.0.1 and a proxy that authenticates", addr)
}

// newService makes the interactions over a store.
func newService(st store.Store, maxResource int) *interaction.Service {
	return interaction.New(interaction.Config{
		Store: st, NewID: newID, NewBatchID: newULID, Limits: interaction.Limits{Resource: maxResource},
	})
}

func (s *Server) assemble(ctx context.Context) error {
	origin := fhirhttp.Origin{PublicBase: s.opts.PublicBase, Trusted: s.opts.TrustedProxy}
	if err := origin.Check(); err != nil {
		return err
	}
	dir, err := files.NewDir(filepath.Join(s.opts.Data, "files"))
	if err != nil {
		return err
	}
	exports := export.New(export.Config{
		Store: s.store, Files: dir, Now: time.Now, NewID: newID,
		Lifetime: s.opts.ExportLifetime, MaxFile: s.opts.ExportFileSize,
	})
	s.engine = engine.New(engine.Config{
		Store: s.store, Now: time.Now, Log: s.log, Workers: s.opts.Workers,
		Handlers: map[string]engine.Handler{export.Kind: exports},
	})
	e := echo.New()
	fhirhttp.Install(e, fhirhttp.Config{Origin: origin, NewID: newID, Now: time.Now, Log: s.log})
	s.routes(e, dir, exports)
	s.http = &http.Server{
		Handler: e, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.opts.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func (s *Server) routes(e *echo.Echo, dir files.Files, exports *export.Export) {
	who := rest.WithPrincipal(func(*http.Request) (auth.Principal, error) { return auth.Local(), nil })
	base := e.Group(fhirhttp.Root)
	rest.Routes(base, rest.Config{
		Service: newService(s.store, s.opts.MaxResource), MaxBody: int64(s.opts.MaxResource),
		Metadata: capability().JSON(),
	}, who)
	opshttp.Register(base, opshttp.Config{Store: s.store, Files: dir, Now: time.Now}, exportOperation(exports), who)
	e.GET("/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]string{"status": "ok"}) })
	e.GET("/readyz", s.ready)
}

// ready tells whether the server can commit now.
func (s *Server) ready(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		s.log.Error("not ready", "error", err)
		return c.JSON(http.StatusServiceUnavailable, map[string]string{"status": "the store cannot commit now"})
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ready"})
}

const bulkData = "http://hl7.org/fhir/uv/bulkdata/"

// capability is what /metadata says.
func capability() interaction.Capability {
	definition := bulkData + "OperationDefinition/"
	return interaction.Capability{
		Version: version(), Date: builtAt(), Instantiates: []string{bulkData + "CapabilityStatement/bulk-data"},
		Operations: []interaction.Operation{
			{Name: "export", Definition: definition + "export"},
			{Type: "Patient", Name: "export", Definition: definition + "patient-export"},
			{Type: "Group", Name: "export", Definition: definition + "group-export"},
		},
	}
}

// exportOperation hands $export to HTTP.
func exportOperation(x *export.Export) opshttp.Operation {
	return opshttp.Operation{
		Kind: export.Kind, Name: "$export",
		Routes: []opshttp.Route{
			{Name: string(selection.System), Path: "/$export"},
			{Name: string(selection.Patients), Path: "/Patient/$export"},
			{Name: string(selection.OneGroup), Path: "/Group/:id/$export"},
		},
		Kickoff: func(ctx context.Context, p auth.Principal, c opshttp.Call) (job.Job, error) {
			return x.Kickoff(ctx, p, export.Call{
				Level: selection.Level(c.Route), Group: c.ID, Query: c.Query, URL: c.URL, Lenient: c.Lenient,
			})
		},
		Manifest: func(ctx context.Context, j job.Job, base string) ([]byte, error) {
			return x.Manifest(ctx, j, base, false)
		},
		Find: x.Find,
	}
}

// Base is the FHIR base URL on the address that the server listens on.
func (s *Server) Base() string { return "http://" + s.listener.Addr().String() + fhirhttp.Root }

// Run serves until ctx ends. Then requests under way may end within the grace,
// and units at work are put back.
func (s *Server) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var engines sync.WaitGroup
	engines.Go(func() { s.engine.Run(working) })
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
		defer cancel()
		if s.http.Shutdown(grace) != nil {
			err = s.http.Close() // downloads that go on are cut; clients resume them
		}
	}
	stop()
	engines.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// Close gives the data directory and the address back.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.store.Close())
}
