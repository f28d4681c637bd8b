package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"
	"firebreak/fhir/rest"
	"firebreak/fhir/selection"
	"firebreak/operations/audit"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/ledger"
	"firebreak/operations/opshttp"
	"firebreak/operations/purge"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/labstack/echo/v4"
	"github.com/oklog/ulid/v2"
)

// Server is a running Firebreak: the one place where the parts meet.
type Server struct {
	opts     serving
	log      *slog.Logger
	store    store.Store
	files    files.Files
	engine   *engine.Engine
	http     *http.Server
	listener net.Listener
	seen     observation
	traffic  traffic
	operator *operator
	keys     *keyring       // of certificates; nil: there are none
	ledger   *ledger.Ledger // nil: there is none
	// via is by way of what the ledger uses its file; nil: of nothing else.
	via func(ledger.File) ledger.File
}

// newID makes an id that cannot be guessed, in order of time.
func newID() string { return newULID().String() }

func newULID() ulid.ULID { return ulid.MustNew(ulid.Now(), rand.Reader) }

// NewServer takes the data directory and the address; Run serves.
func NewServer(ctx context.Context, o serving, log *slog.Logger) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.isOff() {
		if err := loopbackOnly(o.Listen); err != nil {
			return nil, err
		}
	}
	seen, err := newObservation(ctx, o.watching, log)
	if err != nil {
		return nil, err
	}
	st, err := openWatched(ctx, o.storage, log, seen.commits())
	if err != nil {
		return nil, errors.Join(err, seen.close(ctx))
	}
	dir, err := openFiles(ctx, o.storage, st)
	if err != nil {
		return nil, errors.Join(err, st.Close(), seen.close(ctx))
	}
	return (&Server{opts: o, log: log, store: st, files: dir, seen: seen}).assembled(ctx)
}

// assemble makes a server of its parts; it owns the store from now on, and
// closes it if it cannot be made.
func assemble(ctx context.Context, o serving, log *slog.Logger, st store.Store, dir files.Files) (*Server, error) {
	seen, err := newObservation(ctx, o.watching, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return (&Server{opts: o, log: log, store: st, files: dir, seen: seen}).assembled(ctx)
}

// assembled is s, ready to run; if it cannot be, all that it has is given back.
func (s *Server) assembled(ctx context.Context) (*Server, error) {
	if err := s.assemble(ctx); err != nil {
		if s.listener != nil {
			err = errors.Join(err, s.listener.Close())
		}
		return nil, errors.Join(err, s.closeLedger(), s.store.Close(), s.seen.close(ctx))
	}
	return s, nil
}

// loopbackOnly refuses an address that others could reach, as long as there is
// no authentication.
func loopbackOnly(addr string) error {
	ok, err := isLoopback(addr)
	if err != nil {
		return fmt.Errorf("--listen %s is not HOST:PORT: %w", addr, err)
	}
	if ok {
		return nil
	}
	return fmt.Errorf("--listen %s is not a loopback address: without authentication only this machine may be served; use --auth=oidc or --auth=clients, or 127.0.0.1 and a proxy that authenticates", addr)
}

// isLoopback tells whether only this machine reaches an address of the form
// HOST:PORT.
func isLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), err
}

// newService makes the interactions over a store.
func newService(st store.Store, maxResource int) *interaction.Service {
	return interaction.New(interaction.Config{
		Store: st, NewID: newID, NewBatchID: newULID, Limits: interaction.Limits{Resource: maxResource}, Server: audit.Client,
	})
}

func (s *Server) assemble(ctx context.Context) error {
	origin := fhirhttp.Origin{PublicBase: s.opts.PublicBase, Trusted: s.opts.TrustedProxy}
	cors := fhirhttp.CORS{Origins: s.opts.CORSOrigin}
	if err := errors.Join(origin.Check(), cors.Check()); err != nil {
		return err
	}
	if err := s.openKeys(); err != nil {
		return err
	}
	if err := s.joinLedger(ctx); err != nil {
		return err
	}
	exports := export.New(export.Config{
		Store: s.store, Files: s.files, Now: time.Now, NewID: newID, MaxFile: s.opts.ExportFileSize,
		Lifetime: s.opts.ExportLifetime, MaxLifetime: s.opts.ExportMaxLifetime, Context: s.opts.ExportContext,
		Limit: store.Limit{PerOwner: s.opts.ExportLimit, All: s.opts.ExportLimitAll},
	})
	purges := purge.New(purge.Config{
		Store: s.store, Files: s.files, Now: time.Now, NewID: newID, NewBatchID: newULID, Lifetime: s.opts.PurgeLifetime,
		Server: audit.Client, Sweep: sweepErased(exports), Parts: exports.EachPart, Holders: export.Holders, Tell: s.opts.AnnouncePurged, Record: s.record(),
		Requests: s.traffic.lately, Certify: s.certify(), Ledger: s.entering(),
	})
	s.engine = engine.New(engine.Config{
		Store: s.store, Now: time.Now, Log: s.log, Workers: s.opts.Workers,
		Handlers: map[string]engine.Handler{export.Kind: exports, purge.Kind: purges, purge.BulkKind: purges, purge.HoldingKind: purges, purge.PreviewKind: purges}, Record: s.record(), Observe: s.seen.units(),
	})
	in, err := s.opts.access(s.log, origin.ClientAddr)
	if err != nil {
		return err
	}
	e := echo.New()
	s.seen.install(e, s.store)
	e.Pre(s.traffic.count)
	fhirhttp.Install(e, fhirhttp.Config{Origin: origin, CORS: cors, NewID: newID, Now: time.Now, Log: s.log, Tenants: s.opts.isTenant, Beside: besides()})
	links, err := s.opts.links(ctx, s.store)
	if err != nil {
		return err
	}
	s.routes(e, exports, purges, links, in)
	return s.listen(ctx, e)
}

// listen takes the addresses, the clients' and the operator's.
func (s *Server) listen(ctx context.Context, h http.Handler) error {
	secure, err := s.opts.tlsConfig(s.log)
	if err != nil {
		return err
	}
	s.http = &http.Server{
		Handler: s.seen.handler(h), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, TLSConfig: secure,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.opts.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.operator, err = newOperator(ctx, s.opts.operatorAddr(), s.operatorRoutes(), s.log)
	return err
}

// record is what makes events durable; nil if they are not to be.
func (s *Server) record() func(context.Context, job.Event) error {
	if s.opts.Audit == "off" {
		return nil
	}
	return audit.New(audit.Config{Store: s.store, Now: time.Now, NewID: newID, NewBatchID: newULID}).Record
}

func (s *Server) routes(e *echo.Echo, exports *export.Export, purges *purge.Purge, links *opshttp.Links, in access) {
	base, who := e.Group(fhirhttp.Root), rest.WithPrincipal(in.who)
	rest.Routes(base, rest.Config{
		Service: newService(s.store, s.opts.MaxResource), MaxBody: int64(s.opts.MaxResource),
		Metadata: capability(in.smart != nil, s.opts.Clients != "", s.keys != nil).JSON(), SMART: in.smart,
	}, who)
	ops := opshttp.Config{Store: s.store, Files: s.files, Now: time.Now, MaxBody: maxParameters, Record: s.record(), Links: links}
	exporting := exportOperation(exports, !s.opts.isOff() && links == nil)
	opshttp.Register(base, ops, exporting, who)
	polled := map[string]string{exporting.Kind: exporting.Status()}
	for _, task := range purgeTasks(purges) {
		opshttp.RegisterTask(base, ops, task, who)
		polled[task.Kind] = task.Status
	}
	registerBulkPurge(e, ops, purges, who)
	opshttp.RegisterJobs(base, ops, polled, who)
	s.certificateRoutes(e, base, ops, who)
	e.GET("/healthz", echo.WrapHandler(http.HandlerFunc(s.healthz)))
	e.GET("/readyz", echo.WrapHandler(http.HandlerFunc(s.readyz)))
}

// maxParameters is the most bytes of a kick-off's Parameters resource.
const maxParameters = 4 << 20

const bulkData = "http://hl7.org/fhir/uv/bulkdata/"

// capability is what /metadata says; smart: tokens are taken, clients: header
// credentials are; certified: purges have certificates.
func capability(smart, clients, certified bool) interaction.Capability {
	definition, says := bulkData+"OperationDefinition/", saysCertified(certified)
	return interaction.Capability{
		Version: version(), Date: builtAt(), Instantiates: []string{bulkData + "CapabilityStatement/bulk-data"},
		Operations: []interaction.Operation{
			{Name: "export", Definition: definition + "export"},
			holdingOperation(says),
			{Type: "Patient", Name: "export", Definition: definition + "patient-export"},
			{Type: "Group", Name: "export", Definition: definition + "group-export"},
			{Type: "Patient", Name: "purge", Definition: "http://hl7.org/fhir/OperationDefinition/Patient-purge", Says: says},
			{Type: "Group", Name: "purge", Definition: "http://hl7.org/fhir/OperationDefinition/Group-purge", Says: says},
			{Type: "Patient", Name: "bulk-purge", Definition: "https://docs.kodjin.com/operation-bulk-purge", Says: says},
		},
		SMART: smart, Clients: clients,
	}
}

// exportOperation hands $export to HTTP. token: its files need an access token.
func exportOperation(x *export.Export, token bool) opshttp.Operation {
	return opshttp.Operation{
		Kind: export.Kind, Name: "$export",
		Routes: []opshttp.Route{
			{Name: string(selection.System), Path: "/$export"},
			{Name: string(selection.Patients), Path: "/Patient/$export"},
			{Name: string(selection.OneGroup), Path: "/Group/:id/$export"},
		},
		Kickoff: func(ctx context.Context, p auth.Principal, c opshttp.Call) (job.Job, error) {
			return x.Kickoff(ctx, p, export.Call{
				Level: selection.Level(c.Route), Group: c.ID, Query: c.Query, Body: c.Body,
				URL: c.URL, Base: c.Base, Lenient: c.Lenient, Key: c.Key, Announce: c.Announce,
			})
		},
		Manifest: func(ctx context.Context, j job.Job, fileURL func(job.Part, string) string) ([]byte, error) {
			return x.Manifest(ctx, j, fileURL, token)
		},
		Find: x.Find, May: export.May,
	}
}

// sweepErased is the sweep of exports as a purge calls it. While it is held up
// the purge makes way, as for a database that does not answer.
func sweepErased(x *export.Export) func(context.Context, store.Tenant) error {
	return func(ctx context.Context, t store.Tenant) error {
		err := x.SweepErased(ctx, t)
		if errors.Is(err, export.ErrHeld) {
			err = fmt.Errorf("%w: %w", store.ErrTransient, err)
		}
		return err
	}
}

// purgeTasks hands $purge and $bulk-purge to HTTP.
func purgeTasks(x *purge.Purge) []opshttp.Task {
	const ofPatient, ofGroup, ofList = "patient", "group", "list"
	kickoff := func(ctx context.Context, p auth.Principal, c opshttp.TaskCall) (job.Job, error) {
		call := purge.Call{Bulk: c.Route == ofList, Params: c.Params, Key: c.Key, Announce: c.Announce}
		switch c.Route {
		case ofPatient:
			call.Patient = c.ID
		case ofGroup:
			call.Group = c.ID
		}
		return x.Kickoff(ctx, p, call)
	}
	preview := opshttp.Task{Kind: purge.PreviewKind, Name: "the preview", Status: "/purge-preview/:job", Result: x.Preview}
	tasks := []opshttp.Task{
		holdingTask(x),
		{
			Kind: purge.Kind, Name: "$purge", Status: "/jobs/:job/result", Kickoff: kickoff, MayRetry: x.MayRetry, Result: x.Outcome, Limit: x.Limit(purge.Kind),
			Routes: []opshttp.TaskRoute{{Name: ofPatient, Path: "/Patient/:id/$purge"}, {Name: ofGroup, Path: "/Group/:id/$purge"}},
		},
		{
			Kind: purge.BulkKind, Name: "$bulk-purge", Status: "/Patient-bulk-purge/:job", Live: true, Kickoff: kickoff, MayRetry: x.MayRetry, Result: x.Progress, Limit: x.Limit(purge.BulkKind),
			Routes: []opshttp.TaskRoute{{Name: ofList, Path: "/Patient/$bulk-purge", AsyncOnly: true}},
		},
	}
	for i := range tasks {
		tasks[i].Preview = &preview
	}
	return append(tasks, preview)
}

// Base is the FHIR base URL on the address that the server listens on.
func (s *Server) Base() string {
	scheme := "http://"
	if s.opts.usesTLS() {
		scheme = "https://"
	}
	return scheme + s.listener.Addr().String() + fhirhttp.Root
}

// serve serves the clients until it is shut down.
func (s *Server) serve() error {
	if s.opts.usesTLS() {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// Run serves until ctx ends. Then requests under way may end within the grace,
// and units at work are put back.
func (s *Server) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var engines, operators sync.WaitGroup
	engines.Go(func() { s.engine.Run(working) })
	operators.Go(func() { s.operator.run(s.log) })
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	if s.http.Shutdown(grace) != nil {
		err = errors.Join(err, s.http.Close()) // downloads that go on are cut; clients resume them
	}
	stop()
	engines.Wait()
	if unsent := s.seen.close(grace); unsent != nil {
		s.log.Warn("the last traces were not sent", "error", unsent)
	}
	closed := s.operator.close()
	operators.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, closed)
}

// Close gives the data directory and the addresses back.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.operator.close(), s.closeLedger(), s.store.Close())
}
