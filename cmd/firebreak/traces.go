package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"firebreak/operations/job"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traces are sent to a collector as OTLP over HTTP: a span for each request,
// and one for each attempt at a unit. None holds an id of a resource, a path or
// a query.
type traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// newTraces begins nothing but a queue; shutdown ends it.
func newTraces(ctx context.Context, endpoint string, log *slog.Logger) (*traces, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("--otlp-endpoint is not an http or https URL")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(logged{exporter, log}),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "firebreak"), attribute.String("service.version", version()),
		)),
	)
	return &traces{provider, provider.Tracer("firebreak")}, nil
}

// logged is an exporter whose errors are logged with ours.
type logged struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

// ExportSpans is sdktrace.SpanExporter.
func (l logged) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := l.SpanExporter.ExportSpans(ctx, spans); err != nil {
		l.log.Warn("traces were not sent", "spans", len(spans), "error", err)
	}
	return nil
}

// shutdown sends what is left, until ctx ends.
func (t *traces) shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

type requestKey struct{}

// handler makes a span of each request. What makes it is shown the request
// without its URL, so that nothing of that is in it; next gets the request as
// it came.
func (t *traces) handler(next http.Handler) http.Handler {
	spans := otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if whole, ok := r.Context().Value(requestKey{}).(*http.Request); ok {
			body := r.Body
			r = whole.WithContext(r.Context())
			r.Body = body
		}
		next.ServeHTTP(w, r)
	}), "request",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bare := r.WithContext(context.WithValue(r.Context(), requestKey{}, r))
		bare.URL, bare.Method = &url.URL{}, knownMethod(r.Method)
		spans.ServeHTTP(w, bare)
	})
}

// request names the span of a request by the pattern of its route.
func (t *traces) request(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		span := trace.SpanFromContext(c.Request().Context())
		defer func() {
			if route := c.Path(); route != "" {
				span.SetName(knownMethod(c.Request().Method) + " " + route)
				span.SetAttributes(attribute.String("http.route", route))
			}
		}()
		return next(c)
	}
}

// unit begins the span of an attempt; the function ends it.
func (t *traces) unit(ctx context.Context, u job.Unit) (context.Context, func(job.UnitEnd)) {
	ctx, span := t.tracer.Start(ctx, "unit "+u.Kind, trace.WithAttributes(
		attribute.String("firebreak.job", u.Job), attribute.String("firebreak.unit", u.ID),
		attribute.Int("firebreak.phase", u.Phase), attribute.Int("firebreak.attempt", u.Attempt),
	))
	return ctx, func(end job.UnitEnd) {
		span.SetAttributes(
			attribute.String("firebreak.outcome", outcome(end)),
			attribute.Int64("firebreak.resources", end.Counts.Resources), attribute.Int64("firebreak.bytes", end.Counts.Bytes),
		)
		if end.Reason != nil {
			span.SetStatus(codes.Error, end.Reason.Code)
		}
		span.End()
	}
}
