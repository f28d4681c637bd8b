package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// watching are the options by which a server is watched.
type watching struct {
	OperatorListen string `help:"Loopback address for the operator, with /metrics, /healthz, /readyz and /holds; or 'off'." default:"127.0.0.1:9464" placeholder:"ADDR"`
	OTLPEndpoint   string `name:"otlp-endpoint" help:"OTLP collector, over HTTP, to send traces to. Without it none are made." placeholder:"URL"`
}

// operatorAddr is the address for the operator; "" for none.
func (w watching) operatorAddr() string {
	if w.OperatorListen == "off" {
		return ""
	}
	return w.OperatorListen
}

// observation is what is seen of a running server. A part that is nil is off,
// and costs nothing.
type observation struct {
	metrics *metrics
	traces  *traces
}

func newObservation(ctx context.Context, o watching, log *slog.Logger) (seen observation, err error) {
	if o.OTLPEndpoint != "" {
		seen.traces, err = newTraces(ctx, o.OTLPEndpoint, log)
	}
	if o.operatorAddr() != "" {
		seen.metrics = newMetrics()
	}
	return seen, err
}

// commits is what the stores' Config.Observe is.
func (o observation) commits() func(requests, bytes int, took time.Duration) {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.committed
}

// units is engine.Config.Observe.
func (o observation) units() func(context.Context, job.Unit) (context.Context, func(job.UnitEnd)) {
	if o.metrics == nil && o.traces == nil {
		return nil
	}
	return func(ctx context.Context, u job.Unit) (context.Context, func(job.UnitEnd)) {
		counted, traced := func(job.UnitEnd) {}, func(job.UnitEnd) {}
		if o.metrics != nil {
			counted = o.metrics.unit(u)
		}
		if o.traces != nil {
			ctx, traced = o.traces.unit(ctx, u)
		}
		return ctx, func(end job.UnitEnd) { counted(end); traced(end) }
	}
}

// install has the requests to e seen, and the jobs of st. It is called before
// anything else is installed in e, so that all of it is seen.
func (o observation) install(e *echo.Echo, st store.Jobs) {
	if o.metrics != nil {
		o.metrics.watch(st)
		e.Pre(o.metrics.request)
	}
	if o.traces != nil {
		e.Pre(o.traces.request)
	}
}

// handler is h, seen.
func (o observation) handler(h http.Handler) http.Handler {
	if o.traces == nil {
		return h
	}
	return o.traces.handler(h)
}

// close sends what is still to be sent, until ctx ends.
func (o observation) close(ctx context.Context) error {
	if o.traces == nil {
		return nil
	}
	return o.traces.shutdown(ctx)
}
