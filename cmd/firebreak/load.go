package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/r4"
	"firebreak/operations/ingest"
)

// loadCommand is "firebreak load".
type loadCommand struct {
	storage
	Server string `help:"FHIR base URL of a server to load into, through its REST API, instead of --data." placeholder:"URL"`
	credentials
	MaxResource int      `help:"Most bytes of one resource, and of one file of a Bundle." default:"268435456" placeholder:"BYTES"`
	Paths       []string `arg:"" name:"path" help:"Files and folders of .ndjson and .json (Bundles), also with .gz."`
}

// Validate refuses paths that are not there before anything is loaded, and
// credentials that do not go together.
func (c *loadCommand) Validate() error {
	for _, path := range c.Paths {
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return c.credentials.Validate()
}

// errIncomplete is how load and export end when something was left out.
var errIncomplete = errors.New("not everything went well; see above")

// Run is command.
func (c *loadCommand) Run(ctx context.Context, s streams) (err error) {
	sources, err := ingest.Sources(c.Paths)
	if err != nil {
		return err
	}
	sink, done, err := c.sink(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return load(ctx, s, c.MaxResource, sink, sources)
}

// sink is what is loaded into.
func (c *loadCommand) sink(ctx context.Context) (ingest.Sink, func() error, error) {
	if c.Server != "" {
		sink, err := newRESTSink(c.Server, c.source())
		return sink, func() error { return nil }, err
	}
	st, err := openStore(ctx, c.storage)
	if err != nil {
		return nil, nil, err
	}
	return serviceSink{newService(st, c.MaxResource)}, st.Close, nil
}

// load takes the sources in, shows how far it is, and sums up.
func load(ctx context.Context, s streams, maxLine int, sink ingest.Sink, sources []ingest.Source) error {
	var total int64
	for _, src := range sources {
		total += src.Size
	}
	m := newMeter(s.err, "load", total)
	sum, err := ingest.Load(ctx, ingest.Config{
		Reader: fhir.Reader{Known: r4.IsType, MaxBytes: maxLine}, Sink: sink, MaxLine: maxLine,
		Problem: func(p ingest.Problem) {
			word := "error"
			if p.Warning {
				word = "warning"
			}
			m.say("%s: %s: %v", p.Place, word, p.Err)
		},
		Done: func(p ingest.Progress) { m.set(p.Bytes, p.All()) },
	}, sources)
	m.end()
	_, _ = fmt.Fprintf(s.out, "%s resources: %s created, %s updated, %s unchanged; %s not loaded; %s, %s resources/s\n",
		count(sum.All()), count(sum.Created), count(sum.Updated), count(sum.Unchanged), count(sum.Failed), short(m.took()), count(m.rate(sum.All())))
	switch {
	case err != nil:
		return fmt.Errorf("loading was broken off: %w", err)
	case sum.Failed > 0:
		return errIncomplete
	}
	return nil
}

// serviceSink loads into a store of this process.
type serviceSink struct{ service *interaction.Service }

// Put is ingest.Sink.
func (s serviceSink) Put(ctx context.Context, rs []fhir.Resource) (ingest.Stored, error) {
	var sum ingest.Stored
	applied, err := s.service.PutAll(ctx, auth.Local(), rs)
	for _, a := range applied {
		switch {
		case a.Unchanged:
			sum.Unchanged++
		case a.Created:
			sum.Created++
		default:
			sum.Updated++
		}
	}
	return sum, err
}
