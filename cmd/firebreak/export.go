package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"firebreak/operations/fetch"
)

// exportCommand is "firebreak export".
type exportCommand struct {
	Server   string   `help:"FHIR base URL of any Bulk Data server." required:"" placeholder:"URL"`
	Group    string   `help:"Export the patients of this Group." xor:"level" placeholder:"ID"`
	Patients bool     `help:"Export all patients." xor:"level"`
	System   bool     `help:"Export everything. This is the default." xor:"level"`
	Type     []string `help:"Only these types of resource." placeholder:"TYPE"`
	Since    string   `help:"Only what changed after this instant, such as the transactionTime of the last export." placeholder:"INSTANT"`
	Gzip     bool     `help:"Ask for compressed transfer."`
	credentials
	Parallel int    `help:"Files downloaded at once." default:"4" placeholder:"N"`
	Out      string `help:"Folder for the files. Run again with the same one, an interrupted export goes on." required:"" type:"path" placeholder:"DIR"`
}

// Run is command.
func (c *exportCommand) Run(ctx context.Context, s streams) error {
	m := newMeter(s.err, "export", 0)
	client, err := fetch.New(fetch.Config{
		HTTP: http.DefaultClient, Base: c.Server, Now: time.Now, NewKey: newID, Parallel: c.Parallel, Gzip: c.Gzip,
		Progress: func(p fetch.Progress) { c.show(m, p) }, Credentials: c.source(),
	})
	if err != nil {
		return err
	}
	report, err := client.Run(ctx, c.request(), c.Out)
	m.end()
	if err != nil {
		return err
	}
	printReport(s, report)
	_, _ = fmt.Fprintf(s.out, "\nAll files are in %s, their counts and sha-256 as in manifest.json there. The job stays on the server until it expires: %s\n", c.Out, report.StatusURL)
	return nil
}

func (c *exportCommand) request() fetch.Request {
	r := fetch.Request{Level: fetch.LevelSystem, Types: c.Type, Since: c.Since}
	switch {
	case c.Group != "":
		r.Level, r.Group = fetch.LevelGroup, c.Group
	case c.Patients:
		r.Level = fetch.LevelPatients
	}
	return r
}

func (c *exportCommand) show(m *meter, p fetch.Progress) {
	if p.Step != fetch.StepDownload {
		m.show(0, fmt.Sprintf("%s %s", p.Step, p.Text))
		return
	}
	if m.total == 0 && p.AllResources > 0 {
		m.grow(p.AllResources)
	}
	m.show(p.Resources, fmt.Sprintf("%s resources, %s, %d of %d files", count(p.Resources), size(p.Bytes), p.Files, p.AllFiles))
}

// verifyCommand is "firebreak verify".
type verifyCommand struct {
	Dir string `arg:"" help:"Folder that 'firebreak export' wrote." type:"existingdir"`
}

// Run is command.
func (c *verifyCommand) Run(_ context.Context, s streams) error {
	report, wrong := fetch.Verify(c.Dir)
	for _, err := range wrong {
		_, _ = fmt.Fprintln(s.err, err)
	}
	if len(wrong) > 0 {
		return errIncomplete
	}
	var sum fetch.FileReport
	for _, f := range report.Files {
		sum.Resources, sum.Bytes = sum.Resources+f.Resources, sum.Bytes+f.Bytes
	}
	_, err := fmt.Fprintf(s.out, "%d files with %s resources (%s) are what the manifest of %s says, by count, size and sha-256.\n",
		len(report.Files), count(sum.Resources), size(sum.Bytes), report.TransactionTime)
	return err
}

// printReport prints what came, type by type.
func printReport(s streams, r fetch.Report) {
	rows := [][]string{{"type", "files", "resources", "bytes"}}
	var sum fetch.TypeReport
	for _, t := range r.Types {
		name := t.Type
		if t.Section != fetch.SectionOutput {
			name += fmt.Sprintf(" (%s)", t.Section)
		}
		rows = append(rows, []string{name, count(t.Files), count(t.Resources), size(t.Bytes)})
		sum.Files, sum.Resources, sum.Bytes = sum.Files+t.Files, sum.Resources+t.Resources, sum.Bytes+t.Bytes
	}
	rows = append(rows, []string{"all", count(sum.Files), count(sum.Resources), size(sum.Bytes)})
	table(s.out, rows)
	_, _ = fmt.Fprintf(s.out, "as of %s; kick-off to manifest %s, download %s\n", r.TransactionTime, short(r.Preparing), short(r.Downloading))
}
