package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the numbers that Prometheus reads. No label holds an id, a path
// or a word of a client's.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	units    unitMetrics
	commits  commitMetrics
}

type unitMetrics struct {
	working          *prometheus.GaugeVec
	ended            *prometheus.CounterVec
	seconds          *prometheus.HistogramVec
	resources, bytes *prometheus.CounterVec
}

type commitMetrics struct{ requests, bytes, seconds prometheus.Histogram }

// quick and slow are buckets, in seconds.
func quick() []float64 { return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5} }
func slow() []float64  { return append(quick(), 10, 30, 120, 600) }

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: histograms("http_request_duration_seconds", "Time from a request to the end of its answer.", slow(), "method", "route", "status"),
		units: unitMetrics{
			working:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "firebreak", Name: "units_at_work", Help: "Units of jobs that are worked on."}, []string{"kind"}),
			ended:     counters("units_ended_total", "Attempts at units, by how they ended.", "kind", "outcome"),
			seconds:   histograms("unit_duration_seconds", "Time of an attempt at a unit.", slow(), "kind"),
			resources: counters("unit_resources_total", "Resources of units that succeeded: with kind export, those exported.", "kind"),
			bytes:     counters("unit_bytes_total", "Bytes of units that succeeded: with kind export, those exported.", "kind"),
		},
		commits: commitMetrics{
			requests: histogram("commit_requests", "Requests that shared a commit of the store.", prometheus.ExponentialBuckets(1, 2, 9)),
			bytes:    histogram("commit_bytes", "Bytes of resources in a commit of the store.", prometheus.ExponentialBuckets(1<<10, 8, 6)),
			seconds:  histogram("commit_duration_seconds", "Time of a commit of the store.", quick()),
		},
	}
	m.registry.MustRegister(
		m.requests, m.units.working, m.units.ended, m.units.seconds, m.units.resources, m.units.bytes,
		m.commits.requests, m.commits.bytes, m.commits.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "firebreak", Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "firebreak", Name: name, Help: help, Buckets: buckets})
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "firebreak", Name: name, Help: help, Buckets: buckets}, labels)
}

// handler answers a scrape. What cannot be read now is left out, and logged.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	})
}

// committed is what the SQLite store tells of its commits.
func (m *metrics) committed(requests, bytes int, took time.Duration) {
	m.commits.requests.Observe(float64(requests))
	m.commits.bytes.Observe(float64(bytes))
	m.commits.seconds.Observe(took.Seconds())
}

// unit counts an attempt that begins; the function counts its end.
func (m *metrics) unit(u job.Unit) func(job.UnitEnd) {
	began := time.Now()
	m.units.working.WithLabelValues(u.Kind).Inc()
	return func(end job.UnitEnd) {
		m.units.working.WithLabelValues(u.Kind).Dec()
		m.units.ended.WithLabelValues(u.Kind, outcome(end)).Inc()
		m.units.seconds.WithLabelValues(u.Kind).Observe(time.Since(began).Seconds())
		if end.State == job.Succeeded {
			m.units.resources.WithLabelValues(u.Kind).Add(float64(end.Counts.Resources))
			m.units.bytes.WithLabelValues(u.Kind).Add(float64(end.Counts.Bytes))
		}
	}
}

// outcome is how an attempt ended, in a word.
func outcome(end job.UnitEnd) string {
	switch {
	case end.State == "":
		return "lost"
	case end.State == job.Queued && end.Erred:
		return "retried"
	case end.State == job.Queued:
		return "put-back"
	}
	return string(end.State)
}

// request measures a request, which it names by the pattern of its route. It
// comes before Echo's own middleware, and sees their answers.
func (m *metrics) request(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		defer func() {
			status := strconv.Itoa(c.Response().Status/100) + "xx"
			m.requests.WithLabelValues(knownMethod(c.Request().Method), c.Path(), status).Observe(time.Since(began).Seconds())
		}()
		return next(c)
	}
}

// knownMethod is the method, or one word for all that HTTP does not have.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// jobMetrics reads from the store, at each scrape, how many jobs there are.
type jobMetrics struct {
	store        store.Jobs
	jobs, oldest *prometheus.Desc
}

// watch adds the jobs of a store.
func (m *metrics) watch(st store.Jobs) {
	m.registry.MustRegister(jobMetrics{
		store:  st,
		jobs:   prometheus.NewDesc("firebreak_jobs", "Jobs in the store.", []string{"kind", "state"}, nil),
		oldest: prometheus.NewDesc("firebreak_oldest_queued_job_seconds", "Age of the oldest job that is queued.", []string{"kind"}, nil),
	})
}

// Describe is prometheus.Collector.
func (j jobMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- j.jobs; ch <- j.oldest }

// Collect is prometheus.Collector.
func (j jobMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := j.store.CountJobs(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(j.jobs, err)
		return
	}
	for _, c := range counts {
		ch <- prometheus.MustNewConstMetric(j.jobs, prometheus.GaugeValue, float64(c.Jobs), c.Kind, string(c.State))
		if c.State == job.Queued {
			ch <- prometheus.MustNewConstMetric(j.oldest, prometheus.GaugeValue, time.Since(c.Oldest).Seconds(), c.Kind)
		}
	}
}
